import { describe, expect, it } from "vitest";
import type { CborValue } from "../../src/codec/cbor.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { installs } from "../../simulator/mote/sealed-trust.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { uriPath } from "../../src/coap/options.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope } from "../../src/suit/build.ts";
import { transferUpdate, trustOf, type DeviceTrust } from "../../src/suit/trust.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { decoded } from "../support/coap-get.ts";
import { author, classId, makeImage, sign, vendorId } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { envelopeOf, override, suitDigest } from "../support/suit-build.ts";
import { keyOf, signedUpdate } from "../support/trust-bench.ts";

const [K2, K3, OPERATOR] = [2, 3, 4].map(keyOf) as [PrivateKey, PrivateKey, PrivateKey];
const image = makeImage(9, 1_500);
const digest = nodeCrypto.sha256(image);
const plain = trustOf([author.publicKey]);
const ofRadio = trustOf([{ ...author.publicKey, rights: [{ component: [utf8("radio")] }] }]);

/** A client that a factory sealed, at a gateway. */
function siteWith(trust: DeviceTrust): Lwm2mSite {
  const site = new Lwm2mSite();
  site.addMote("m", {}, { anchors: { vendorId, trust } });
  site.bench.run(2);
  return site;
}

/** Publishes what is signed so; how the client's update to it ends. */
function updated(site: Lwm2mSite, envelope: Uint8Array): string {
  site.bench.disk.upstream.set("sim:9", image);
  expect(site.bench.publishEnvelope(envelope, "sim:9")).toMatchObject({ kind: "published" });
  site.update("m", { force: true }, { digest: toHex(digest), size: image.length, version: "9.0.0" });
  site.settle(["m"]);
  const { state, reason } = site.job("m");
  return state === "succeeded" ? state : `${state} ${reason}`;
}

const nine = (): Uint8Array => sign(image, 9, { version: "9.0.0" });

function signedBy(key: PrivateKey, sequenceNumber: number, component: Uint8Array = Uint8Array.of(0)): Uint8Array {
  const payloads = [{ image: { digest, size: image.length }, uri: `/${imagePath(digest).join("/")}` }];
  const components = [{ id: [component], payloads, version: "9.0.0" }];
  return signedUpdate({ sequenceNumber, components }, key);
}

/** The class goes from its author to K2, and on to K3. */
function handOver(site: Lwm2mSite): void {
  const { loop, gateway } = site.bench;
  const definition = {
    id: toHex(classId),
    vendorId: toHex(vendorId),
    name: "sensor",
    escrow: [],
    operators: [],
    epoch: 0,
    hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 },
    authorities: [{ ...keyRecord(author.publicKey), name: "author" }],
  };
  const told: boolean[] = [];
  const tell = ({ ok }: { readonly ok: boolean }): void => void told.push(ok);
  loop.call((nowUs) => gateway.desk.submit(nowUs, "o", { kind: "class-defined", definition }, tell));
  site.bench.run(1);
  for (const [by, to] of [
    [author, K2],
    [K2, K3],
  ] as const) {
    const transfer = { epoch: told.length, authorities: [to.publicKey] };
    const built = buildEnvelope(nodeCrypto, transferUpdate(vendorId, [classId], transfer));
    const envelope = signEnvelope(nodeCrypto, by, built);
    loop.call((nowUs) => gateway.desk.transfer(nowUs, "o", toHex(classId), envelope, [], tell));
    site.bench.run(1);
  }
  expect(told).toEqual([true, true, true]);
}

describe("a client with what its factory sealed", () => {
  it("takes what its authority has signed", () => {
    expect(updated(siteWith(plain), nine())).toBe("succeeded");
  });

  it("not what is beyond that authority's rights, whatever the gateway gives it", () => {
    expect(updated(siteWith(ofRadio), nine())).toBe("failed result-5");
  });

  it("not an image of a component that it does not have, by whoever may change that", () => {
    const radio = signedBy(author, 9, utf8("radio"));
    for (const trust of [ofRadio, plain]) expect(updated(siteWith(trust), radio)).toBe("failed result-5");
  });

  it.each([
    ["load", 8],
    ["invoke", 9],
    ["uninstall", 24],
  ])("not what is fetched at %s only: an update installs it", (_when, section) => {
    const fetch = (index: number, bytes: Uint8Array): CborValue[] => {
      const about = [
        [P.IMAGE_DIGEST, suitDigest(bytes)],
        [P.IMAGE_SIZE, bytes.length],
        [P.URI, `/${imagePath(nodeCrypto.sha256(bytes)).join("/")}`],
      ] as const;
      return [D.SET_COMPONENT_INDEX, index, ...override(...about), D.FETCH, 15];
    };
    const ids = override([P.VENDOR_IDENTIFIER, vendorId], [P.CLASS_IDENTIFIER, classId]);
    const shared = [D.SET_COMPONENT_INDEX, true, ...ids, C.VENDOR_IDENTIFIER, 15, C.CLASS_IDENTIFIER, 15];
    const sections = { 20: fetch(0, makeImage(3, 100)), [section]: fetch(1, image) };
    const envelope = envelopeOf({ key: author, sequenceNumber: 9, components: [["radio"], ["\0"]], shared, sections });
    const own = { vendorId, classId, slot: 1, running: new Uint8Array(32), digest, size: image.length };
    for (const trust of [ofRadio, plain]) expect(installs(nodeCrypto, envelope, trust, own)).toBe(false);
    expect(installs(nodeCrypto, nine(), plain, own)).toBe(true);
    expect(installs(nodeCrypto, nine(), plain, { ...own, size: 1 })).toBe(false);
  });

  it("not other bytes in the envelope than those whose digest was signed, though the manifest never asks for that", () => {
    const ids = override([P.VENDOR_IDENTIFIER, vendorId], [P.CLASS_IDENTIFIER, classId]);
    const about = [
      [P.IMAGE_DIGEST, suitDigest(image)],
      [P.IMAGE_SIZE, image.length],
      [P.URI, "#app"],
    ] as const;
    const shared = [...ids, C.VENDOR_IDENTIFIER, 15, C.CLASS_IDENTIFIER, 15, ...override(...about)];
    const of = (bytes: Uint8Array): Uint8Array =>
      envelopeOf({
        key: author,
        sequenceNumber: 9,
        components: [["\0"]],
        shared,
        sections: { 20: [D.FETCH, 15] },
        integrated: { "#app": bytes },
      });
    const candidate = (bytes: Uint8Array) => ({
      vendorId,
      classId,
      slot: 1,
      running: new Uint8Array(32),
      digest: nodeCrypto.sha256(bytes),
      size: bytes.length,
    });
    const other = makeImage(4, image.length);
    expect(installs(nodeCrypto, of(image), plain, candidate(image))).toBe(true);
    expect(installs(nodeCrypto, of(other), plain, candidate(other))).toBe(false);
  });

  it("not without its operator's countersignature", () => {
    const trust = { ...plain, operators: [OPERATOR.publicKey] };
    expect(updated(siteWith(trust), nine())).toBe("failed result-5");
    expect(updated(siteWith(trust), signEnvelope(nodeCrypto, OPERATOR, nine()))).toBe("succeeded");
  });

  it("follows hand-overs, one after the other, where it knows none who signed; and remembers", () => {
    const site = siteWith(plain);
    handOver(site);
    const asked = new Set<string>();
    site.fate = ({ from, bytes }) => {
      const path = uriPath(decoded(bytes).options) ?? [];
      if (from === "mote" && path[0] === "t") asked.add(path[2]!);
      return 1;
    };
    expect(updated(site, signedBy(K3, 9))).toBe("succeeded");
    expect([...asked]).toEqual(["1", "2"]);
    site.rebootMote("m");
    asked.clear();
    expect(updated(site, signedBy(K3, 10))).toBe("succeeded");
    expect([...asked]).toEqual([]);
  });

  it("believes nobody behind a factory reset (Device object, resource 5)", () => {
    const site = siteWith(plain);
    const { operations } = site.bench.gateway.devices;
    site.bench.loop.call(() => operations.submit("m", { operation: "execute", path: "/3/0/5" }, {}, () => {}));
    site.bench.run(10);
    expect(site.mote("m").boots).toBe(2);
    expect(updated(site, nine())).toBe("failed result-5");
  });
});

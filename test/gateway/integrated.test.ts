import { beforeEach, describe, expect, it } from "vitest";
import { encodeCbor, tagged } from "../../src/codec/cbor.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath, releasePath } from "../../src/gateway/catalogue.ts";
import { openRelease } from "../../src/suit/release.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { Condition as C, Directive as D, Parameter as P, SuitTag } from "../../src/suit/keys.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { siteOf } from "../support/rollout-site.ts";
import { envelopeOf, identity, override, sha256, suitDigest } from "../support/suit-build.ts";
import { TrustBench } from "../support/trust-bench.ts";

const bytes = makeImage(91, 3_000);
const digest = sha256(bytes);

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

/** A release whose image is in its envelope (draft-ietf-suit-manifest-37 section 7.5). */
const integrated = (sequenceNumber: number, image = bytes): Uint8Array => {
  const payloads = [{ image: { digest: sha256(image), size: image.length }, uri: "#app", integrated: image }];
  return site.update({ sequenceNumber, components: [{ id: [Uint8Array.of(0)], payloads }] });
};
/** Without any source: there is nothing to fetch. */
function publish(envelope: Uint8Array): string {
  const outcome = site.bench.publishEnvelope(envelope, undefined);
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}
const paths = (...images: Uint8Array[]): string[] =>
  [manifestPath(classId, "00"), ...images.map((image) => imagePath(sha256(image)))].map((path) => site.ask(path));

/** Fetches an image, and processes another manifest that it brings along. */
function manifestWith(id: string, image: Uint8Array, dependency?: Uint8Array): Uint8Array {
  const uri = `sim:${id}`;
  site.bench.disk.upstream.set(uri, image);
  const payloads = [{ image: { digest: sha256(image), size: image.length }, uri }];
  const integratedOne = dependency && {
    id: [utf8(`manifest of ${id}`)],
    digest: digestOf(decodeEnvelope(dependency)),
    uri: "#other",
    integrated: dependency,
  };
  const dependencies = integratedOne === undefined ? [] : [integratedOne];
  return site.update({ components: [{ id: [utf8(id)], payloads }], dependencies, invoke: false });
}

describe("a release that brings its image along", () => {
  it("is on offer, its image too, for clients that read no manifest; behind a restart and behind the next one as well", () => {
    expect(publish(integrated(1))).toBe("published");
    expect(paths(bytes)).toEqual(["2.05", "2.05"]);
    site.bench.restart();
    expect(site.bench.gateway.imageState(toHex(digest)).state).toBe("disk");
    expect(paths(bytes)).toEqual(["2.05", "2.05"]);
    const next = makeImage(92, 2_000);
    expect(publish(integrated(2, next))).toBe("published");
    expect(paths(bytes, next)).toEqual(["2.05", "2.05", "2.05"]);
    site.bench.restart();
    expect(paths(bytes, next)).toEqual(["2.05", "2.05", "2.05"]);
    site.revoke();
    expect(paths(bytes, next)).toEqual(["4.04", "4.04", "4.04"]);
  });

  it("takes no room among the images on disk", () => {
    for (const n of [1, 2]) publish(integrated(n));
    expect([...site.bench.disk.blobs.keys()]).toEqual([]);
  });

  it("keeps its bytes where a later release says that they are somewhere else, and nothing is there", () => {
    publish(integrated(1));
    const payloads = [{ image: { digest, size: bytes.length }, uri: "sim:nowhere" }];
    const envelope = site.update({ sequenceNumber: 2, components: [{ id: [Uint8Array.of(0)], payloads }] });
    expect(publish(envelope)).toBe("not-found");
    site.bench.restart();
    expect(paths(bytes)).toEqual(["2.05", "2.05"]);
  });

  it("may say of another one where it is: both are its images", () => {
    const images = [95, 96].map((seed) => makeImage(seed, 1_000));
    site.bench.disk.upstream.set("sim:1", images[1]!);
    const payloads = images.map((image, slot) => {
      const described = { digest: sha256(image), size: image.length };
      return slot === 0
        ? { slot, image: described, uri: "#0", integrated: image }
        : { slot, image: described, uri: "sim:1" };
    });
    expect(publish(site.update({ components: [{ id: [Uint8Array.of(0)], payloads }] }))).toBe("published");
    expect(paths(...images)).toEqual(["2.05", "2.05", "2.05"]);
    expect(site.bench.gateway.listings()[0]!.images).toHaveLength(2);
  });

  it("may bring several, larger together than what is kept in memory", () => {
    site = new TrustBench({ budget: { maxImageBytes: 10_000, diskBytes: 10_000, memoryBytes: 4_000 } });
    const images = [95, 96, 97].map((seed) => makeImage(seed, 3_000));
    const payloads = images.map((image, slot) => {
      return { slot, image: { digest: sha256(image), size: image.length }, uri: `#${slot}`, integrated: image };
    });
    expect(publish(site.update({ components: [{ id: [Uint8Array.of(0)], payloads }] }))).toBe("published");
    expect(paths(...images)).toEqual(["2.05", "2.05", "2.05", "2.05"]);
  });

  it("is refused where its bytes are not what was signed", () => {
    const payloads = [{ image: { digest, size: bytes.length }, uri: "#app", integrated: makeImage(93, 3_000) }];
    const envelope = site.update({ components: [{ id: [Uint8Array.of(0)], payloads }] });
    expect(publish(envelope)).toBe("integrated-payload-mismatch");
    expect(paths(bytes)).toEqual(["4.04", "4.04"]);
  });

  it("is refused where any of them was changed by somebody else: the envelope's payloads are not signed, their digests are", () => {
    const images = [95, 96, 97].map((seed) => makeImage(seed, 300));
    const payloads = images.map((image, slot) => {
      return { slot, image: { digest: sha256(image), size: image.length }, uri: `#${slot}`, integrated: image };
    });
    const envelope = site.update({ components: [{ id: [Uint8Array.of(0)], payloads }] });
    for (const slot of [0, 1, 2]) {
      const members = new Map(decodeEnvelope(envelope).members).set(`#${slot}`, makeImage(66, 300));
      expect(publish(encodeCbor(tagged(SuitTag.ENVELOPE, members)))).toBe("integrated-payload-mismatch");
    }
    expect(publish(envelope)).toBe("published");
  });

  it("is refused so too where some fetch what it is to be", () => {
    site.bench.disk.upstream.set("sim:1", bytes);
    const image = { digest, size: bytes.length };
    const payloads = [
      { slot: 0, image, uri: "sim:1" },
      { slot: 1, image, uri: "#", integrated: makeImage(66, 3_000) },
    ];
    expect(publish(site.update({ components: [{ id: [Uint8Array.of(0)], payloads }] }))).toBe(
      "integrated-payload-mismatch",
    );
  });

  it("may depend on others that come with it, at any depth", () => {
    const images = [95, 96, 97].map((seed) => makeImage(seed, 300));
    const leaf = manifestWith("leaf", images[0]!);
    const middle = manifestWith("middle", images[1]!, leaf);
    expect(publish(manifestWith("app", images[2]!, middle))).toBe("published");
    expect(paths(...images).slice(1)).toEqual(["2.05", "2.05", "2.05"]);
  });

  it("is kept from a device in quarantine as its image is", () => {
    site.define();
    const device = "07".repeat(8);
    site.submit({ kind: "device-provisioned", device, classId: toHex(classId), stage: 2 });
    expect([publish(integrated(1)), publish(integrated(2, makeImage(92, 2_000)))]).toEqual(["published", "published"]);
    site.submit({ kind: "device-quarantined", device, reason: "odd" });
    site.bench.disk.entries.set(`held/${device}`, utf8(CLIENT.address));
    site.bench.restart();
    const asked = [imagePath(digest), releasePath(classId, digest), manifestPath(classId, "00")];
    expect(asked.map((path) => site.ask(path))).toEqual(["4.03", "4.03", "2.05"]);
    expect(site.bench.counters.snapshot()["coap_refused.quarantined"]).toBe(2);
  });

  it("is given to such a device with all its images where one of them is the recovery image", () => {
    site.define();
    const device = "07".repeat(8);
    site.submit({ kind: "device-provisioned", device, classId: toHex(classId), stage: 2 });
    const images = [95, 96].map((seed) => makeImage(seed, 300));
    const payloads = images.map((image, slot) => {
      return { slot, image: { digest: sha256(image), size: image.length }, uri: `#${slot}`, integrated: image };
    });
    expect(publish(site.update({ components: [{ id: [Uint8Array.of(0)], payloads }] }))).toBe("published");
    expect(publish(integrated(2))).toBe("published");
    site.submit({ kind: "recovery-set", classId: toHex(classId), digest: toHex(sha256(images[0]!)) });
    site.submit({ kind: "device-quarantined", device, reason: "odd" });
    site.bench.disk.entries.set(`held/${device}`, utf8(CLIENT.address));
    site.bench.restart();
    const asked = [...images.map((image) => imagePath(sha256(image))), releasePath(classId, sha256(images[0]!))];
    expect(asked.map((path) => site.ask(path))).toEqual(["2.05", "2.05", "2.05"]);
  });

  it("is refused where no digest says what it is", () => {
    const asked = [P.VENDOR_IDENTIFIER, vendorId, P.CLASS_IDENTIFIER, classId] as const;
    const [vendor, vendorBytes, klass, classBytes] = asked;
    const shared = [
      ...override([vendor, vendorBytes], [klass, classBytes]),
      C.VENDOR_IDENTIFIER,
      15,
      C.CLASS_IDENTIFIER,
      15,
    ];
    const sections = { 20: [...override([P.URI, "#0"]), D.FETCH, 15] };
    const made = { key: author, components: [["app"]], shared, sections, integrated: { "#0": bytes } };
    expect(publish(envelopeOf(made))).toBe("no-digest-or-size");
  });

  it("updates an LwM2M client by push", () => {
    const fleet = siteOf(1);
    const { bench } = fleet;
    const image = makeImage(94, 400);
    const payloads = [{ image: { digest: sha256(image), size: image.length }, uri: "#app", integrated: image }];
    const components = [{ id: [Uint8Array.of(0)], payloads, version: "3.0.0" }];
    const envelope = site.update({ sequenceNumber: 9, components });
    expect(bench.publishEnvelope(envelope, undefined)).toMatchObject({ kind: "published" });
    const target = { digest: toHex(sha256(image)), size: image.length, version: "3.0.0" };
    const job = fleet.update("m0", { methods: ["push"] }, target);
    bench.run(600);
    expect(bench.gateway.devices.updates.get("m0")).toMatchObject({ id: job.id, state: "succeeded" });
  });
});

it("a release that writes what its manifest says has that as its image, and a dependency is none", () => {
  const anchors = [author.publicKey];
  const written = utf8("setting");
  const shared = identity([P.IMAGE_DIGEST, suitDigest(written)], [P.IMAGE_SIZE, written.length]);
  const sections = { 20: [...override([P.CONTENT, written]), D.WRITE, 15] };
  const opened = openRelease(nodeCrypto, envelopeOf({ key: author, components: [["app"]], shared, sections }), {
    anchors,
  });
  expect(opened).toMatchObject({ ok: true, release: { images: [{ size: 7, content: written }] } });
});

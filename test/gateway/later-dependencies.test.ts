import { beforeEach, describe, expect, it } from "vitest";
import type { CborValue } from "../../src/codec/cbor.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import { manifestPath } from "../../src/gateway/catalogue.ts";
import { keyRecord, type Authority } from "../../src/lifecycle/classes.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { buildEnvelope09 } from "../../src/suit/dialect-09.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { digestIn, envelopeOf, override, seq, sha256, suitDigest } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";

const radioVendor = keyOf(51);
let site: TrustBench;
beforeEach(() => (site = new TrustBench({ anchors: [author.publicKey, radioVendor.publicKey] })));

const app = makeImage(3, 1_000);
const ids: CborValue[] = [
  ...override([P.VENDOR_IDENTIFIER, vendorId], [P.CLASS_IDENTIFIER, classId]),
  C.VENDOR_IDENTIFIER,
  15,
  C.CLASS_IDENTIFIER,
  15,
];
const at = (index: number): CborValue[] => [D.SET_COMPONENT_INDEX, index];
const fetchApp: CborValue[] = [
  ...at(0),
  ...override([P.IMAGE_DIGEST, suitDigest(app)], [P.IMAGE_SIZE, app.length], [P.URI, "sim:app"]),
  D.FETCH,
  15,
  C.IMAGE_MATCH,
  15,
];

/** A manifest that only does something when the device starts. */
function starting(component: readonly string[], sequenceNumber = 1): Uint8Array {
  const trust = component[0] === "blockferry";
  const invoke = trust ? [...override([P.CONTENT, utf8("x")]), D.WRITE, 15] : [D.INVOKE, 15];
  const key = trust ? author : radioVendor;
  return envelopeOf({ key, sequenceNumber, components: [component], shared: ids, sections: { 9: invoke } });
}

/** Keeps the one or the other, by slot, and has whichever is there do its part at each start. */
function bySlot(first: Uint8Array, second: Uint8Array): Uint8Array {
  const choose = (slot: number, uri: string, one: Uint8Array): Uint8Array =>
    seq(
      ...override([P.COMPONENT_SLOT, slot]),
      C.COMPONENT_SLOT,
      15,
      ...at(1),
      ...override([P.URI, uri], [P.IMAGE_DIGEST, digestIn(one)]),
    );
  const run = (one: Uint8Array): Uint8Array =>
    seq(...at(1), ...override([P.IMAGE_DIGEST, digestIn(one)]), C.IMAGE_MATCH, 15, D.PROCESS_DEPENDENCY, 15);
  const keep = [...at(1), D.FETCH, 15, C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15];
  return envelopeOf({
    key: author,
    components: [["app"], ["other"]],
    dependencies: new Map([[1, new Map()]]),
    shared: [...at(0), ...ids],
    integrated: { "#one": first, "#two": second },
    sections: {
      15: [...at(0), D.TRY_EACH, [choose(0, "#one", first), choose(1, "#two", second)], ...keep],
      20: fetchApp,
      9: [...at(0), D.TRY_EACH, [run(first), run(second)], D.INVOKE, 15],
    },
  });
}

function publish(envelope: Uint8Array): string {
  site.bench.disk.upstream.set("sim:app", app);
  const outcome = site.bench.publishEnvelope(envelope, undefined);
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}

const named = ({ publicKey }: PrivateKey, name: string, rights?: Authority["rights"]): Authority => ({
  ...keyRecord(publicKey),
  name,
  rights,
});

describe("dependencies of one component, by slot, of which one is there when the device starts", () => {
  const [good, fine] = [starting(["radio"]), starting(["radio"], 2)];
  const [evil, trust] = [starting(["boot"]), starting(["blockferry", "trust"])];

  it.each([
    [good, fine, "published"],
    [evil, good, "no-right"],
    [good, evil, "no-right"],
    [trust, good, "trust-in-release"],
    [good, trust, "trust-in-release"],
  ] as const)("each is looked at (%#)", (first, second, fate) => {
    const authorities = [named(author, "author"), named(radioVendor, "radio", [{ component: "radio" }])];
    site.define({ authorities });
    expect(publish(bySlot(first, second))).toBe(fate);
  });
});

describe("a dependency that only starts do something with", () => {
  /** The update processes it on a way that no device takes. */
  const late = (one: Uint8Array): Uint8Array => {
    const slot = (n: number): CborValue[] => [...override([P.COMPONENT_SLOT, n]), C.COMPONENT_SLOT, 15];
    const never = seq(...slot(5), ...slot(6), D.PROCESS_DEPENDENCY, 15);
    const known = override([P.URI, "#one"], [P.IMAGE_DIGEST, digestIn(one)]);
    return envelopeOf({
      key: author,
      components: [["app"], ["other"]],
      dependencies: new Map([[1, new Map()]]),
      shared: [...at(0), ...ids],
      integrated: { "#one": one },
      sections: {
        20: [...fetchApp, ...at(1), ...known, D.FETCH, 15, D.TRY_EACH, [never, null]],
        9: [...at(1), ...known, C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15, ...at(0), D.INVOKE, 15],
      },
    });
  };

  it.each([false, true])("changes no trust, and goes with its signer's key; governed: %s", (governed) => {
    if (governed) site.define({ authorities: [named(author, "author"), named(radioVendor, "radio")] });
    expect(publish(late(starting(["blockferry", "trust"])))).toBe("trust-in-release");
    expect(publish(late(starting(["radio"])))).toBe("published");
    const path = manifestPath(classId, toHex(utf8("app")));
    expect(site.ask(path)).toBe("2.05");
    site.revoke(radioVendor);
    expect(site.ask(path)).toBe("4.04");
  });
});

describe("RIOT's slots are where they lie in flash", () => {
  const key = keyPairOf("Ed25519", new Uint8Array(32).fill(1));
  const publishSlots = (slots: readonly number[]): string => {
    site.define({ dialect: "riot-09", authorities: [named(key, "author")] });
    const images = slots.map((slot) => makeImage(slot, 900));
    const payloads = slots.map((slot, i) => {
      const image = images[i]!;
      return { slot, image: { digest: sha256(image), size: image.length }, uri: `coap://[2001:db8::1]/${slot}` };
    });
    const update = {
      sequenceNumber: 1,
      vendorId,
      classIds: [classId],
      components: [{ id: [Uint8Array.of(0)], payloads }],
    };
    const envelope = buildEnvelope09(nodeCrypto, [key], update);
    const sources = Object.fromEntries(images.map((image) => [toHex(sha256(image)), `sim:${toHex(sha256(image))}`]));
    for (const image of images) site.bench.disk.upstream.set(sources[toHex(sha256(image))]!, image);
    const request = { envelope, dialect: "riot-09", sources } as const;
    site.bench.loop.call((nowUs) => site.bench.gateway.publish(nowUs, 1, request));
    site.bench.run(1);
    const outcome = site.bench.outcomes.at(-1)!;
    return outcome.kind === "refused" ? outcome.reason : outcome.kind;
  };

  it.each([
    [[4_096, 135_168], "published"],
    [[4_096, 135_168, 266_240], "dry-run-failed"],
  ] as const)("%j: %s", (slots, fate) => {
    expect(publishSlots(slots)).toBe(fate);
  });
});

import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import { buildEnvelope09, openEnvelope09 } from "../../src/suit/dialect-09.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import { payloadsOf } from "../../src/suit/payloads.ts";
import { planProcedure } from "../../src/suit/plan.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { openRelease } from "../../src/suit/release.ts";
import { fromHex, toHex, utf8 } from "../../src/util/bytes.ts";
import { newDevice, sha256 } from "../support/suit-build.ts";
import { RIOT_VECTORS } from "../support/riot-vectors.ts";

const key = keyPairOf(
  "Ed25519",
  Uint8Array.from({ length: 32 }, (_, i) => i),
);
const trust = { anchors: [key.publicKey] };
const vector = (name: string): Uint8Array => fromHex(RIOT_VECTORS[name]!)!;
const vendorId = fromHex("547d0d746d3a5a9296624881afd9407b")!;
const classId = fromHex("9251dc23fd9d503f94c4bfb95f3167b1")!;

describe("draft -09, as RIOT reads it", () => {
  it.each([
    ["twoSlots", 1, 2],
    ["otherClass", 2, 2],
    ["oneComponent", 2, 1],
    ["twoComponents", 3, 2],
  ])("%s of RIOT's own tool verifies, and tells what is fetched", (name, sequenceNumber, payloads) => {
    const open = openEnvelope09(nodeCrypto, vector(name), trust);
    expect(open.manifest.sequenceNumber).toBe(sequenceNumber);
    const ways = planProcedure(nodeCrypto, open, "update");
    expect(ways.every(({ outcome }) => outcome.ok)).toBe(true);
    expect(payloadsOf(ways)).toHaveLength(payloads);
  });

  it("unsigned, or signed by somebody else, is refused; and so is any changed bit", () => {
    expect(() => openEnvelope09(nodeCrypto, vector("unsigned"), trust)).toThrow(/unsigned/);
    const stranger = { anchors: [keyPairOf("Ed25519", new Uint8Array(32).fill(9)).publicKey] };
    const good = vector("oneComponent");
    expect(() => openEnvelope09(nodeCrypto, good, stranger)).toThrow(/signature-invalid/);
    for (let at = 0; at < good.length; at++) {
      const changed = good.slice();
      changed[at]! ^= 1 << (at % 8);
      expect(() => openEnvelope09(nodeCrypto, changed, trust), `byte ${at}`).toThrow(EnvelopeError);
    }
  });

  it("runs on the processor of draft -37", () => {
    const open = openEnvelope09(nodeCrypto, vector("oneComponent"), trust);
    const fetch = (uri: string): Uint8Array => utf8(uri === "test://test/file1.bin" ? "foo\n" : "");
    const device = newDevice({ vendorIds: [vendorId], classIds: [classId], fetch });
    expect(processManifest(open, "update", device, { crypto: nodeCrypto })).toMatchObject({ ok: true });
    expect(Buffer.from([...device.components.values()][0]!).toString()).toBe("foo\n");
    const other = newDevice({ vendorIds: [vendorId], classIds: [vendorId], fetch });
    expect(processManifest(open, "update", other, { crypto: nodeCrypto })).toMatchObject({ ok: false });
  });

  it("is never taken for draft -37, nor the other way round", () => {
    expect(() => openEnvelope(nodeCrypto, vector("oneComponent"), trust)).toThrow(EnvelopeError);
    expect(openRelease(nodeCrypto, vector("oneComponent"), trust).ok).toBe(false);
    const release = openRelease(nodeCrypto, vector("oneComponent"), { ...trust, dialect: "riot-09" });
    expect(release).toMatchObject({ ok: true, release: { sequenceNumber: 2, imageSize: 4, dialect: "riot-09" } });
  });

  it("what we write is, but for the signature's own bytes, what RIOT's tool writes", () => {
    const image = utf8("foo\n");
    const uri = "coap://test/file1.bin";
    const payloads = [{ image: { digest: sha256(image), size: image.length }, uri }];
    const update = {
      sequenceNumber: 2,
      vendorId,
      classIds: [classId],
      components: [{ id: [utf8("ram"), utf8("0")], payloads }],
    };
    const ours = toHex(buildEnvelope09(nodeCrypto, [key], update));
    // The tool's example has its test: URI in this place; all else is equal, Ed25519 being deterministic over equal bytes.
    const manifest = (hex: string): string => hex.slice(hex.indexOf("0358"));
    const theirs = manifest(RIOT_VECTORS["oneComponent"]!).replace(toHex(utf8("test://")), toHex(utf8("coap://")));
    expect(manifest(ours)).toBe(theirs);
    expect(openEnvelope09(nodeCrypto, fromHex(ours)!, trust).manifest.sequenceNumber).toBe(2);
  });

  it("what RIOT could not read is not written", () => {
    const payload = { image: { digest: sha256(utf8("x")), size: 1 }, uri: "/relative" };
    const update = {
      sequenceNumber: 1,
      vendorId,
      classIds: [classId],
      components: [{ id: [utf8("0")], payloads: [payload] }],
    };
    expect(() => buildEnvelope09(nodeCrypto, [key], update)).toThrow(RangeError);
    expect(() => buildEnvelope09(nodeCrypto, [key], { ...update, components: [] })).toThrow(RangeError);
    const { image } = payload;
    const slots = [0, 4_096].map((slot) => ({ image, slot, uri: `coap://[fd00::1]/i/${slot}` }));
    const two = buildEnvelope09(nodeCrypto, [key], { ...update, components: [{ id: [utf8("0")], payloads: slots }] });
    expect(planProcedure(nodeCrypto, openEnvelope09(nodeCrypto, two, trust), "update")).toHaveLength(2);
  });
});

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import {
  authenticate,
  checkSevered,
  decodeEnvelope,
  decodeManifestMap,
  EnvelopeError,
} from "../../src/suit/envelope.ts";
import { readManifest } from "../../src/suit/manifest.ts";
import { ModelDevice } from "../../src/suit/model-device.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import { payloadsOf } from "../../src/suit/payloads.ts";
import { planProcedure } from "../../src/suit/plan.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { noShared, readHex, vectorPath } from "../support/shared.ts";
import { DECRYPTION_KEYS, draftKeys, vectors, type AppendixB } from "../support/suit-vectors.ts";

describe.skipIf(noShared)("official SUIT vectors", () => {
  const keys = noShared ? [] : draftKeys();
  const all = noShared ? [] : vectors();

  it("are thirteen", () => expect(all).toHaveLength(13));

  it.each(all)("%s verifies with both implementations, and is read", (_name, bytes) => {
    const envelope = decodeEnvelope(bytes);
    for (const crypto of [nodeCrypto, nobleCrypto]) expect(authenticate(crypto, envelope, keys)).toHaveLength(1);
    const map = decodeManifestMap(envelope);
    checkSevered(nodeCrypto, envelope, map);
    const manifest = readManifest(map, envelope);
    expect(manifest.sequenceNumber).toBeGreaterThanOrEqual(0);
  });

  it.each(all)("%s does not verify with any bit of its digest, manifest or signature changed", (_name, bytes) => {
    let verified = 0;
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 1 << (at % 8);
      try {
        const envelope = decodeEnvelope(changed);
        authenticate(nodeCrypto, envelope, keys);
        // A changed unprotected member (an integrated payload, a severed one) is caught elsewhere.
        expect(envelope.manifestBytes).toEqual(decodeEnvelope(bytes).manifestBytes);
        verified++;
      } catch (error) {
        expect(error).toBeInstanceOf(EnvelopeError);
      }
    }
    expect(verified).toBeLessThan(bytes.length);
  });

  it("the one that must not verify does not", () => {
    const envelope = decodeEnvelope(readHex("fwenc__suit-manifest-es-ecdh-dependency.hex.signed"));
    expect(() => authenticate(nodeCrypto, envelope, keys)).toThrow(/signature-invalid/);
  });

  it("unsigned forms are refused as unsigned", () => {
    const appendix = JSON.parse(readFileSync(vectorPath("manifest-37-appendixB.json"), "utf8")) as AppendixB;
    for (const [name, { unsigned }] of Object.entries(appendix.vectors)) {
      if (name === "example2") continue; // its second form is the severed one, and is signed
      const envelope = decodeEnvelope(new Uint8Array(Buffer.from(unsigned, "hex")));
      expect(() => authenticate(nodeCrypto, envelope, keys)).toThrow(/unsigned/);
    }
  });

  it("the parameters of Appendix B.2 are read", () => {
    const bytes = all.find(([name]) => name === "Appendix B example1")![1];
    const open = openEnvelope(nodeCrypto, bytes, { anchors: keys });
    const ways = planProcedure(nodeCrypto, open, "update");
    const [payload, ...others] = payloadsOf(ways);
    expect(others).toEqual([]);
    expect(payload).toMatchObject({ size: 34_768, uri: "http://example.com/file.bin" });
    expect(Buffer.from(payload!.digest!).toString("hex").slice(0, 16)).toBe("0011223344556677");
    const vendor = ways[0]!.steps.find((step) => step.kind === "identifier" && step.which === "vendor");
    expect(vendor).toMatchObject({ value: new Uint8Array(Buffer.from("fa6b4a53d5ad5fdfbe9de663e4d41ffe", "hex")) });
  });

  it.each(all)("%s can be processed on some device, and nothing in it is unknown", (_name, bytes) => {
    const trusted = { anchors: keys };
    const open = openEnvelope(nodeCrypto, bytes, trusted);
    const dependency = { open: (envelope: Uint8Array) => openEnvelope(nodeCrypto, envelope, trusted) };
    for (const procedure of ["update", "invocation"] as const) {
      const ways = planProcedure(nodeCrypto, open, procedure, { ...dependency, requireIdentity: false });
      const outcomes = ways.map(({ outcome }) => (outcome.ok ? "ok" : outcome.detail));
      // One example fetches its dependency from elsewhere, which a plan cannot follow.
      if (_name === "mtd__example1_process.hex" && procedure === "update")
        expect(outcomes).toEqual([expect.stringMatching(/^dependency 1 is not in the envelope/)]);
      else expect(outcomes).toContain("ok");
    }
  });

  it.each([
    ["mtd__example1_process.hex", "30.30"],
    ["mtd__example2_integrated.hex", "30.30"],
  ])("%s writes what its dependency and it hold", (name) => {
    const trusted = { anchors: keys };
    const dependency = readHex("mtd__example0_dependent.hex");
    const device = new ModelDevice(nodeCrypto, nodeCipher, { vendorIds: [], classIds: [], fetch: () => dependency });
    const options = {
      crypto: nodeCrypto,
      open: (envelope: Uint8Array) => openEnvelope(nodeCrypto, envelope, trusted),
      requireIdentity: false,
    };
    const open = openEnvelope(nodeCrypto, readHex(name), trusted);
    expect(processManifest(open, "update", device, options)).toMatchObject({ ok: true });
    const text = [...device.components].map(([id, bytes]) => [id, Buffer.from(bytes).toString()]);
    expect(text).toContainEqual(["3030", "hello world"]);
    expect(text).toContainEqual(["3130", " in multiple trust domains"]);
    expect(processManifest(open, "invocation", device, options)).toMatchObject({ ok: true });
    expect(device.invoked.map(({ args }) => Buffer.from(args!).toString())).toEqual(["cat 00 10"]);
  });

  it.each([
    "fwenc__suit-manifest-aes-kw-content.hex.signed",
    "fwenc__suit-manifest-aes-kw.hex.signed",
    "fwenc__suit-manifest-aes-kw-slot.hex.signed",
    "fwenc__suit-manifest-es-ecdh-content.hex.signed",
  ])("%s is decrypted as it is stored", (name) => {
    const device = new ModelDevice(nodeCrypto, nodeCipher, {
      vendorIds: [],
      classIds: [],
      fetch: () => readHex("encrypted-payload-aes-kw-aes-gcm.hex"),
      decryptionKeys: DECRYPTION_KEYS,
    });
    const open = openEnvelope(nodeCrypto, readHex(name), { anchors: keys });
    const outcome = processManifest(open, "update", device, { crypto: nodeCrypto, requireIdentity: false });
    expect(outcome).toMatchObject({ ok: true });
    const texts = [...device.components.values()].map((bytes) => Buffer.from(bytes).toString());
    expect(texts).toContain("This is a real firmware image.");
  });
});

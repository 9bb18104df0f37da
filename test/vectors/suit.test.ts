import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import {
  authenticate,
  checkSevered,
  decodeEnvelope,
  decodeManifestMap,
  EnvelopeError,
} from "../../src/suit/envelope.ts";
import { readManifest } from "../../src/suit/manifest.ts";
import { noShared, readHex, vectorPath } from "../support/shared.ts";

function draftKeys(): Verifier[] {
  const jwk = createPrivateKey(readFileSync(vectorPath("appendixB-test-private-key.pem"))).export({ format: "jwk" });
  const point = Buffer.concat([Buffer.of(4), Buffer.from(jwk.x!, "base64url"), Buffer.from(jwk.y!, "base64url")]);
  return [
    { algorithm: "ES256", bytes: new Uint8Array(point) },
    { algorithm: "HMAC-256", bytes: new Uint8Array(32).fill(0x61) },
  ];
}

interface AppendixB {
  vectors: Record<string, { title: string; signed: string; unsigned: string }>;
}

function vectors(): [name: string, bytes: Uint8Array][] {
  const appendix = JSON.parse(readFileSync(vectorPath("manifest-37-appendixB.json"), "utf8")) as AppendixB;
  const examples = Object.entries(appendix.vectors).map(([name, vector]): [string, Uint8Array] => [
    `Appendix B ${name}`,
    new Uint8Array(Buffer.from(vector.signed, "hex")),
  ]);
  const files = [
    "mtd__example0_dependent.hex",
    "mtd__example1_process.hex",
    "mtd__example2_integrated.hex",
    "fwenc__suit-manifest-aes-kw-content.hex.signed",
    "fwenc__suit-manifest-aes-kw-slot.hex.signed",
    "fwenc__suit-manifest-aes-kw.hex.signed",
    "fwenc__suit-manifest-es-ecdh-content.hex.signed",
  ];
  return [...examples, ...files.map((file): [string, Uint8Array] => [file, readHex(file)])];
}

describe.skipIf(noShared)("official SUIT vectors", () => {
  const keys = noShared ? [] : draftKeys();
  const all = noShared ? [] : vectors();

  it("are thirteen", () => expect(all).toHaveLength(13));

  it.each(all)("%s verifies with both implementations, and is read", (_name, bytes) => {
    const envelope = decodeEnvelope(bytes);
    for (const crypto of [nodeCrypto, nobleCrypto]) expect(authenticate(crypto, envelope, keys)).toHaveLength(1);
    const map = decodeManifestMap(envelope);
    checkSevered(nodeCrypto, envelope, map);
    const manifest = readManifest(map, (key) => envelope.members.get(key) as Uint8Array | undefined);
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
    const { components } = readManifest(decodeManifestMap(decodeEnvelope(bytes)), () => undefined);
    expect(components).toHaveLength(1);
    expect(components[0]).toMatchObject({ imageSize: 34_768, uri: "http://example.com/file.bin" });
    expect(Buffer.from(components[0]!.vendorId!).toString("hex")).toBe("fa6b4a53d5ad5fdfbe9de663e4d41ffe");
    expect(Buffer.from(components[0]!.imageDigest!).toString("hex").slice(0, 16)).toBe("0011223344556677");
  });
});

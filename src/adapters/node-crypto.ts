import { createHash, createHmac, createPrivateKey, createPublicKey, sign, verify, type KeyObject } from "node:crypto";
import { LRUCache } from "lru-cache";
import { ed25519 } from "@noble/curves/ed25519.js";
import type { Crypto, PrivateKey, PublicKey, Sha256 } from "../ports/crypto.ts";

/** The crypto port over node:crypto (OpenSSL): what a gateway uses. */
export const nodeCrypto: Crypto = {
  sha256: (bytes) => digestOf(createHash("sha256").update(bytes)),
  newSha256: (): Sha256 => {
    const hash = createHash("sha256");
    return { update: (bytes) => void hash.update(bytes), digest: () => digestOf(hash) };
  },
  hmacSha256: (key, bytes) => new Uint8Array(createHmac("sha256", key).update(bytes).digest()),
  verify: (key, bytes, signature) => {
    try {
      const hash = key.algorithm === "ES256" ? "sha256" : null;
      return verify(hash, bytes, { key: toPublicKeyObject(key), dsaEncoding: "ieee-p1363" }, signature);
    } catch {
      return false; // a key that is no point of its curve, a signature of the wrong length
    }
  },
  isPublicKey: (key) => {
    try {
      // OpenSSL looks at points of P-256 here, and at those of Ed25519 not before a signature is verified.
      if (key.algorithm === "Ed25519") ed25519.Point.fromBytes(key.bytes).assertValidity();
      else toPublicKeyObject(key);
      return true;
    } catch {
      return false;
    }
  },
  sign: (key, bytes) => {
    const hash = key.algorithm === "ES256" ? "sha256" : null;
    return new Uint8Array(sign(hash, bytes, { key: toPrivateKeyObject(key), dsaEncoding: "ieee-p1363" }));
  },
};

function digestOf(hash: ReturnType<typeof createHash>): Uint8Array {
  return new Uint8Array(hash.digest());
}

const base64Url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");

function publicJwk(key: PublicKey): Record<string, string> {
  if (key.algorithm === "Ed25519") return { kty: "OKP", crv: "Ed25519", x: base64Url(key.bytes) };
  if (key.bytes.length !== 65 || key.bytes[0] !== 4) throw new RangeError("an ES256 key is an uncompressed point");
  return { kty: "EC", crv: "P-256", x: base64Url(key.bytes.subarray(1, 33)), y: base64Url(key.bytes.subarray(33)) };
}

/** To read a key takes longer than to verify with it, and the same ones come again and again. */
const publicKeys = new LRUCache<string, KeyObject>({ max: 1_000 });

export function toPublicKeyObject(key: PublicKey): KeyObject {
  const name = `${key.algorithm} ${base64Url(key.bytes)}`;
  const known = publicKeys.get(name);
  if (known !== undefined) return known;
  const made = createPublicKey({ key: publicJwk(key), format: "jwk" });
  publicKeys.set(name, made);
  return made;
}

export function toPrivateKeyObject(key: PrivateKey): KeyObject {
  return createPrivateKey({ key: { ...publicJwk(key.publicKey), d: base64Url(key.secret) }, format: "jwk" });
}

import { ed25519 } from "@noble/curves/ed25519.js";
import { p256 } from "@noble/curves/nist.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Crypto, PrivateKey, SignatureAlgorithm } from "../ports/crypto.ts";

/**
 * The crypto port in plain JavaScript: for tools, for motes, and as the other implementation that
 * node:crypto is checked against. COSE does not ask for low S (RFC 9053 section 2.1), hence
 * `lowS: false`.
 */
export const nobleCrypto: Crypto = {
  sha256,
  newSha256: () => {
    const hash = sha256.create();
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
  },
  hmacSha256: (key, bytes) => hmac(sha256, key, bytes),
  verify: (key, bytes, signature) => {
    try {
      return key.algorithm === "ES256"
        ? p256.verify(signature, bytes, key.bytes, { lowS: false })
        : ed25519.verify(signature, bytes, key.bytes, { zip215: false });
    } catch {
      return false;
    }
  },
  isPublicKey: (key) => {
    try {
      (key.algorithm === "ES256" ? p256 : ed25519).Point.fromBytes(key.bytes).assertValidity();
      return key.algorithm === "Ed25519" || key.bytes.length === 65;
    } catch {
      return false;
    }
  },
  sign: (key, bytes) =>
    key.algorithm === "ES256" ? p256.sign(bytes, key.secret, { lowS: false }) : ed25519.sign(bytes, key.secret),
};

/** The key pair of a 32-byte secret. */
export function keyPairOf(algorithm: SignatureAlgorithm, secret: Uint8Array): PrivateKey {
  const bytes = algorithm === "ES256" ? p256.getPublicKey(secret, false) : ed25519.getPublicKey(secret);
  return { algorithm, secret, publicKey: { algorithm, bytes } };
}

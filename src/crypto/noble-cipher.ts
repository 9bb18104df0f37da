import { aeskw, ctr, gcm } from "@noble/ciphers/aes.js";
import { p256 } from "@noble/curves/nist.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Cipher } from "../ports/cipher.ts";

/** The cipher port in plain JavaScript. */
export const nobleCipher: Cipher = {
  encrypt: (cipher, key, iv, aad, plaintext) =>
    cipher.endsWith("CTR") ? ctr(key, iv).encrypt(plaintext) : gcm(key, iv, aad).encrypt(plaintext),
  decrypt: (cipher, key, iv, aad, ciphertext) =>
    attempt(() => (cipher.endsWith("CTR") ? ctr(key, iv).decrypt(ciphertext) : gcm(key, iv, aad).decrypt(ciphertext))),
  wrapKey: (kek, key) => aeskw(kek).encrypt(key),
  unwrapKey: (kek, wrapped) => attempt(() => aeskw(kek).decrypt(wrapped)),
  agree: (own, peerPoint) => attempt(() => p256.getSharedSecret(own.secret, peerPoint, true).slice(1)),
  hkdf: (secret, salt, info, length) => hkdf(sha256, secret, salt, info, length),
};

function attempt(work: () => Uint8Array): Uint8Array | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

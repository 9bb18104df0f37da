import { createCipheriv, createDecipheriv, createECDH, hkdfSync, type CipherGCM, type DecipherGCM } from "node:crypto";
import type { Cipher, ContentCipher } from "../ports/cipher.ts";
import { concatBytes } from "../util/bytes.ts";

const TAG_BYTES = 16;
/** RFC 3394 section 2.2.3.1. */
const KEY_WRAP_IV = Buffer.from("a6a6a6a6a6a6a6a6", "hex");

/** The cipher port over node:crypto (OpenSSL). */
export const nodeCipher: Cipher = {
  encrypt: (cipher, key, iv, aad, plaintext) => {
    const stream = createCipheriv(nameOf(cipher), key, iv);
    if (cipher.endsWith("CTR")) return whole(stream, plaintext);
    const sealed = stream as CipherGCM;
    sealed.setAAD(aad);
    return concatBytes(whole(sealed, plaintext), sealed.getAuthTag());
  },
  decrypt: (cipher, key, iv, aad, ciphertext) =>
    attempt(() => {
      const stream = createDecipheriv(nameOf(cipher), key, iv);
      if (cipher.endsWith("CTR")) return whole(stream, ciphertext);
      const sealed = stream as DecipherGCM;
      if (ciphertext.length < TAG_BYTES) return undefined;
      sealed.setAAD(aad);
      sealed.setAuthTag(ciphertext.subarray(-TAG_BYTES));
      return whole(sealed, ciphertext.subarray(0, -TAG_BYTES));
    }),
  wrapKey: (kek, key) => whole(createCipheriv(wrapName(kek), kek, KEY_WRAP_IV), key),
  unwrapKey: (kek, wrapped) => attempt(() => whole(createDecipheriv(wrapName(kek), kek, KEY_WRAP_IV), wrapped)),
  agree: (own, peerPoint) =>
    attempt(() => {
      const ecdh = createECDH("prime256v1");
      ecdh.setPrivateKey(own.secret);
      return new Uint8Array(ecdh.computeSecret(peerPoint));
    }),
  hkdf: (secret, salt, info, length) => new Uint8Array(hkdfSync("sha256", secret, salt, info, length)),
};

const nameOf = (cipher: ContentCipher): string => `aes-${cipher.slice(1, 4)}-${cipher.slice(4).toLowerCase()}`;
const wrapName = (kek: Uint8Array): string => `id-aes${kek.length * 8}-wrap`;

function whole(stream: { update(bytes: Uint8Array): Buffer; final(): Buffer }, bytes: Uint8Array): Uint8Array {
  return concatBytes(stream.update(bytes), stream.final());
}

function attempt(work: () => Uint8Array | undefined): Uint8Array | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** Content encryption of COSE (RFC 9053 section 4.1, RFC 9459 section 4). */
export type ContentCipher = "A128GCM" | "A128CTR" | "A192CTR" | "A256CTR" | "A192GCM" | "A256GCM";

/** A P-256 key pair for ECDH: a 32-byte scalar and its uncompressed point. */
export interface EcdhKey {
  readonly secret: Uint8Array;
  readonly publicPoint: Uint8Array;
}

/** Synchronous ciphers. What does not authenticate, or is no point, gives undefined; never an exception. */
export interface Cipher {
  /** GCM's tag is the last 16 bytes; CTR has none, and ignores `aad`. */
  encrypt(cipher: ContentCipher, key: Uint8Array, iv: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  decrypt(
    cipher: ContentCipher,
    key: Uint8Array,
    iv: Uint8Array,
    aad: Uint8Array,
    ciphertext: Uint8Array,
  ): Uint8Array | undefined;
  /** AES Key Wrap (RFC 3394). */
  wrapKey(kek: Uint8Array, key: Uint8Array): Uint8Array;
  unwrapKey(kek: Uint8Array, wrapped: Uint8Array): Uint8Array | undefined;
  /** x coordinate of the shared point on P-256. */
  agree(own: EcdhKey, peerPoint: Uint8Array): Uint8Array | undefined;
  /** HKDF with SHA-256 (RFC 5869). */
  hkdf(secret: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array;
}

/** Signature algorithms by their COSE meaning: ECDSA P-256 with SHA-256, and Ed25519. */
export type SignatureAlgorithm = "ES256" | "Ed25519";

/** A public key: 65 bytes (uncompressed point, SEC 1) for ES256, 32 bytes for Ed25519. */
export interface PublicKey {
  readonly algorithm: SignatureAlgorithm;
  readonly bytes: Uint8Array;
}

/** A private key: 32 bytes (scalar for ES256, seed for Ed25519), with the public half beside it. */
export interface PrivateKey {
  readonly algorithm: SignatureAlgorithm;
  readonly secret: Uint8Array;
  readonly publicKey: PublicKey;
}

/** Incremental SHA-256. */
export interface Sha256 {
  update(bytes: Uint8Array): void;
  digest(): Uint8Array;
}

/** Synchronous cryptography. Bad keys and signatures make `verify` false, never an exception. */
export interface Crypto {
  sha256(bytes: Uint8Array): Uint8Array;
  newSha256(): Sha256;
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  /** `signature` is r || s (64 bytes) for ES256, 64 bytes for Ed25519. */
  verify(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean;
  /** Whether a key can verify anything: a point of its curve. */
  isPublicKey(key: PublicKey): boolean;
  sign(key: PrivateKey, bytes: Uint8Array): Uint8Array;
}

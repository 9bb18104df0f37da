import { LRUCache } from "lru-cache";
import type { Crypto, PublicKey } from "../ports/crypto.ts";
import { toHex, utf8 } from "../util/bytes.ts";

/** Cryptography that verifies the same signature over the same bytes once, while it is among the last `max`. */
export function verifyingOnce(crypto: Crypto, max: number): Crypto {
  const known = new LRUCache<string, boolean>({ max });
  /** Of one size, whatever somebody calls a signature. */
  const nameOf = (key: PublicKey, bytes: Uint8Array, signature: Uint8Array): string => {
    const hash = crypto.newSha256();
    hash.update(utf8(`${key.algorithm} ${key.bytes.length} ${signature.length} `));
    for (const part of [key.bytes, signature, bytes]) hash.update(part);
    return toHex(hash.digest());
  };
  return {
    sha256: (bytes) => crypto.sha256(bytes),
    newSha256: () => crypto.newSha256(),
    hmacSha256: (key, bytes) => crypto.hmacSha256(key, bytes),
    isPublicKey: (key) => crypto.isPublicKey(key),
    sign: (key, bytes) => crypto.sign(key, bytes),
    verify: (key, bytes, signature) => {
      const name = nameOf(key, bytes, signature);
      const before = known.get(name);
      if (before !== undefined) return before;
      const holds = crypto.verify(key, bytes, signature);
      known.set(name, holds);
      return holds;
    },
  };
}

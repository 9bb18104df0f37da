import { LRUCache } from "lru-cache";
import type { Crypto } from "../ports/crypto.ts";
import { toHex } from "../util/bytes.ts";

/** Cryptography that verifies the same signature over the same bytes once, while it is among the last `max`. */
export function verifyingOnce(crypto: Crypto, max: number): Crypto {
  const known = new LRUCache<string, boolean>({ max });
  return {
    sha256: (bytes) => crypto.sha256(bytes),
    newSha256: () => crypto.newSha256(),
    hmacSha256: (key, bytes) => crypto.hmacSha256(key, bytes),
    isPublicKey: (key) => crypto.isPublicKey(key),
    sign: (key, bytes) => crypto.sign(key, bytes),
    verify: (key, bytes, signature) => {
      const asked = [key.bytes, signature, crypto.sha256(bytes)].map(toHex);
      const name = `${key.algorithm} ${asked.join(" ")}`;
      const before = known.get(name);
      if (before !== undefined) return before;
      const holds = crypto.verify(key, bytes, signature);
      known.set(name, holds);
      return holds;
    },
  };
}

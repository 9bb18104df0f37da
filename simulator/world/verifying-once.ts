import { LRUCache } from "lru-cache";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import { toHex } from "../../src/util/bytes.ts";

const MAX_KNOWN = 1_000;

/**
 * Cryptography for many motes in one process: all of them get the same manifest, so the same signature over the same bytes
 * is verified once. What that costs each mote is charged by its profile, not by this machine's time.
 */
function verifyingOnce(crypto: Crypto): Crypto {
  const known = new LRUCache<string, boolean>({ max: MAX_KNOWN });
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

/** For all motes of all cells. */
export const moteCrypto: Crypto = verifyingOnce(nobleCrypto);

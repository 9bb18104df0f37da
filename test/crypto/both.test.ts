import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { randomBytes } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";

const random = new SeededRandom(1, "crypto");
const implementations = [
  { name: "node:crypto", crypto: nodeCrypto },
  { name: "noble", crypto: nobleCrypto },
] as const;

describe.each(["ES256", "Ed25519"] as const)("%s", (algorithm) => {
  const key = keyPairOf(algorithm, randomBytes(random, 32));

  for (const signer of implementations) {
    for (const verifier of implementations) {
      it(`${verifier.name} accepts all of 40 signatures by ${signer.name}, and none of a changed message`, () => {
        for (let i = 0; i < 40; i++) {
          const message = randomBytes(random, i * 7);
          const signature = signer.crypto.sign(key, message);
          expect(signature).toHaveLength(64);
          expect(verifier.crypto.verify(key.publicKey, message, signature)).toBe(true);
          const changed = signature.slice();
          changed[i]! ^= 1 << (i % 8);
          expect(verifier.crypto.verify(key.publicKey, message, changed)).toBe(false);
          expect(verifier.crypto.verify(key.publicKey, Uint8Array.of(...message, 0), signature)).toBe(false);
        }
      });
    }
  }

  it.each(implementations)("$name says false, and does not throw, for bad keys and lengths", ({ crypto }) => {
    const signature = crypto.sign(key, Uint8Array.of(1));
    const bad = { algorithm, bytes: key.publicKey.bytes.map((byte, i) => (i > 0 ? byte ^ 0xff : byte)) };
    expect(crypto.verify(bad, Uint8Array.of(1), signature)).toBe(false);
    expect(crypto.verify({ algorithm, bytes: new Uint8Array(0) }, Uint8Array.of(1), signature)).toBe(false);
    expect(crypto.verify(key.publicKey, Uint8Array.of(1), signature.subarray(1))).toBe(false);
    expect(crypto.verify(key.publicKey, Uint8Array.of(1), new Uint8Array(64))).toBe(false);
  });
});

it("hashes and MACs are the same", () => {
  for (let length = 0; length < 300; length += 13) {
    const [bytes, key] = [randomBytes(random, length), randomBytes(random, 1 + (length % 90))];
    expect(nobleCrypto.sha256(bytes)).toEqual(nodeCrypto.sha256(bytes));
    expect(nobleCrypto.hmacSha256(key, bytes)).toEqual(nodeCrypto.hmacSha256(key, bytes));
    const [a, b] = [nobleCrypto.newSha256(), nodeCrypto.newSha256()];
    for (const hash of [a, b]) {
      hash.update(bytes.subarray(0, length >> 1));
      hash.update(bytes.subarray(length >> 1));
    }
    expect(a.digest()).toEqual(nodeCrypto.sha256(bytes));
    expect(b.digest()).toEqual(nodeCrypto.sha256(bytes));
  }
});

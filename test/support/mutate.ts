import type { Random } from "../../src/ports/random.ts";
import { randomBytes, uintBelow } from "../../src/util/random.ts";

/** One of the usual ways to break a datagram. */
export function mutate(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  let bytes = seeds[uintBelow(random, seeds.length)]!.slice();
  for (let i = uintBelow(random, 4); i >= 0; i--) {
    const at = uintBelow(random, Math.max(1, bytes.length));
    switch (uintBelow(random, 7)) {
      case 0:
        if (bytes.length > 0) bytes[at]! ^= 1 << uintBelow(random, 8);
        break;
      case 1:
        if (bytes.length > 0) bytes[at] = uintBelow(random, 256);
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = Uint8Array.of(...bytes, ...randomBytes(random, uintBelow(random, 40)));
        break;
      case 4:
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...randomBytes(random, 3), ...bytes.subarray(at));
        break;
      case 5: {
        const other = seeds[uintBelow(random, seeds.length)]!;
        bytes = Uint8Array.of(...bytes.subarray(0, at), ...other.subarray(uintBelow(random, other.length)));
        break;
      }
      default:
        if (bytes.length > 3) bytes[1] = uintBelow(random, 256);
    }
  }
  return bytes;
}

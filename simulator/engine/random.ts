import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";
import type { Random } from "../../src/ports/random.ts";

/**
 * A named random stream (xoroshiro128+). A fork's state comes from the seed and the labels alone,
 * never from how much its parent has drawn.
 */
export class SeededRandom implements Random {
  readonly #path: string;
  readonly #generator: { next(): number };

  constructor(seed: number | string, label = "") {
    this.#path = `${seed}/${label}`;
    this.#generator = xoroshiro128plusFromState([0, 1, 2, 3].map((lane) => hash32(`${lane}:${this.#path}`) | 0));
  }

  uint32(): number {
    return this.#generator.next() >>> 0;
  }

  fork(label: string): SeededRandom {
    return new SeededRandom(this.#path, label);
  }
}

/** FNV-1a with a final avalanche (murmur3's), 32 bits. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

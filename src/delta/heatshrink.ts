import { PatchError } from "./patch-error.ts";

/**
 * heatshrink's bit stream (https://github.com/atomicobject/heatshrink): most significant bit first; 1 and eight bits are a
 * byte, 0 is a copy: how far back less one in WINDOW_BITS, its length less one in LOOKAHEAD_BITS.
 */
export const WINDOW_BITS = 8;
export const LOOKAHEAD_BITS = 4;
const WINDOW = 1 << WINDOW_BITS;
const LOOKAHEAD = 1 << LOOKAHEAD_BITS;
/** A copy takes 13 bits and a byte 9. */
const SHORTEST = 2;

class BitWriter {
  readonly #bytes: number[] = [];
  #byte = 0;
  #used = 0;

  write(value: number, bits: number): void {
    for (let i = bits - 1; i >= 0; i--) {
      this.#byte = (this.#byte << 1) | ((value >> i) & 1);
      if (++this.#used === 8) this.#flush();
    }
  }

  end(): Uint8Array {
    while (this.#used > 0) this.write(0, 1);
    return Uint8Array.from(this.#bytes);
  }

  #flush(): void {
    this.#bytes.push(this.#byte);
    this.#byte = this.#used = 0;
  }
}

/** The longest copy is taken at each byte. */
export function compress(bytes: Uint8Array): Uint8Array {
  const out = new BitWriter();
  for (let at = 0; at < bytes.length;) {
    const { back, length } = longestBehind(bytes, at);
    if (length < SHORTEST) {
      out.write(1, 1);
      out.write(bytes[at++]!, 8);
      continue;
    }
    out.write(0, 1);
    out.write(back - 1, WINDOW_BITS);
    out.write(length - 1, LOOKAHEAD_BITS);
    at += length;
  }
  return out.end();
}

function longestBehind(bytes: Uint8Array, at: number): { back: number; length: number } {
  const most = Math.min(LOOKAHEAD, bytes.length - at);
  let best = { back: 0, length: 0 };
  for (let back = 1; back <= Math.min(WINDOW, at) && best.length < most; back++) {
    let length = 0;
    while (length < most && bytes[at - back + length] === bytes[at + length]) length++;
    if (length > best.length) best = { back, length };
  }
  return best;
}

/** A byte of what is packed, such as one in flash; undefined behind its end. */
export type ByteAt = (offset: number) => number | undefined;

/** Unpacks byte by byte, with no more than the window in memory. */
export class Expander {
  readonly #byteAt: ByteAt;
  readonly #window = new Uint8Array(WINDOW);
  #at: number;
  #bit = 7;
  #head = 0;
  #copyFrom = 0;
  #copies = 0;

  constructor(byteAt: ByteAt, start: number) {
    this.#byteAt = byteAt;
    this.#at = start;
  }

  /** The next byte; a PatchError where there is none. */
  next(): number {
    if (this.#copies === 0) {
      if (this.#bits(1) === 1) return this.#put(this.#bits(8));
      this.#copyFrom = this.#head - (this.#bits(WINDOW_BITS) + 1);
      this.#copies = this.#bits(LOOKAHEAD_BITS) + 1;
    }
    this.#copies--;
    return this.#put(this.#window[this.#copyFrom++ & (WINDOW - 1)]!);
  }

  #put(byte: number): number {
    this.#window[this.#head++ & (WINDOW - 1)] = byte;
    return byte;
  }

  #bits(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++) {
      const byte = this.#byteAt(this.#at);
      if (byte === undefined) throw new PatchError("patch-too-short");
      value = (value << 1) | ((byte >> this.#bit) & 1);
      if (this.#bit-- > 0) continue;
      this.#bit = 7;
      this.#at++;
    }
    return value;
  }
}

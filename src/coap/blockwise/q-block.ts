import type { Random } from "../../ports/random.ts";
import { dithered } from "../../util/random.ts";
import { exchangeLifetimeUs, type TransmissionParameters } from "../parameters.ts";

/** Blocks that are sent without waiting for a word of the receiver (RFC 9177 section 7.2). */
export const MAX_PAYLOADS = 10;

/** NON_TIMEOUT: the least pause between two sets. */
const nonTimeoutUs = (p: TransmissionParameters): number => p.ackTimeoutUs;
/** NON_TIMEOUT_RANDOM: the pause, drawn once for a body and the same between all its sets. */
export const nonTimeoutRandomUs = (p: TransmissionParameters, random: Random): number =>
  dithered(random, nonTimeoutUs(p), p.ackRandomFactor);
/** NON_RECEIVE_TIMEOUT: how long missing blocks are waited for before they are asked for. */
export const nonReceiveTimeoutUs = (p: TransmissionParameters): number =>
  Math.max(2 * nonTimeoutUs(p), nonTimeoutUs(p) * p.ackRandomFactor + 1_000_000);
/** NON_PARTIAL_TIMEOUT: how long a body with gaps is kept. */
export const nonPartialTimeoutUs = (p: TransmissionParameters): number => exchangeLifetimeUs(p);
/** NON_MAX_RETRANSMIT: how often the same blocks are asked for in vain. */
export const nonMaxRetransmit = (p: TransmissionParameters): number => p.maxRetransmit;

/** First block behind the MAX_PAYLOADS_SET of block `num`. */
export const setEnd = (num: number): number => (Math.floor(num / MAX_PAYLOADS) + 1) * MAX_PAYLOADS;

/** Body of a 4.08: block numbers as a CBOR sequence of unsigned integers (RFC 9177 section 5). */
export function encodeMissingBlocks(nums: readonly number[]): Uint8Array {
  const out: number[] = [];
  for (const num of nums) {
    if (num < 24) out.push(num);
    else if (num < 0x100) out.push(0x18, num);
    else if (num < 0x1_0000) out.push(0x19, num >> 8, num & 0xff);
    else out.push(0x1a, num >>> 24, (num >> 16) & 0xff, (num >> 8) & 0xff, num & 0xff);
  }
  return Uint8Array.from(out);
}

/** The block numbers of a 4.08; undefined when they are no such sequence, or not ascending (section 5). */
export function decodeMissingBlocks(bytes: Uint8Array): number[] | undefined {
  const out: number[] = [];
  for (let at = 0; at < bytes.length;) {
    const head = bytes[at++]!;
    const length = head < 24 ? 0 : head === 0x18 ? 1 : head === 0x19 ? 2 : head === 0x1a ? 4 : undefined;
    if (length === undefined || at + length > bytes.length) return undefined;
    let num = length === 0 ? head : 0;
    for (let i = 0; i < length; i++) num = num * 256 + bytes[at++]!;
    if (out.length > 0 && num <= out.at(-1)!) return undefined;
    out.push(num);
  }
  return out.length === 0 ? undefined : out;
}

/** A bit per block of a body that is being received. */
export class BlockMap {
  readonly count: number;
  readonly #bits: Uint8Array;
  #received = 0;
  #highest = -1;
  /** Everything below is there. */
  #whole = 0;

  constructor(count: number) {
    this.count = count;
    this.#bits = new Uint8Array(Math.ceil(count / 8));
  }

  get whole(): boolean {
    return this.#received === this.count;
  }

  /** Blocks that are there. */
  get received(): number {
    return this.#received;
  }

  /** The highest block that is there; -1 when none is. */
  get highest(): number {
    return this.#highest;
  }

  has(num: number): boolean {
    return (this.#bits[num >> 3]! & (1 << (num & 7))) !== 0;
  }

  /** Marks a block; false when it was there before. */
  add(num: number): boolean {
    if (this.has(num)) return false;
    this.#bits[num >> 3]! |= 1 << (num & 7);
    this.#received++;
    if (num > this.#highest) this.#highest = num;
    while (this.#whole < this.count && this.has(this.#whole)) this.#whole++;
    return true;
  }

  /** The first `limit` blocks below `end` that are not there. */
  missing(end: number, limit: number): number[] {
    const out: number[] = [];
    for (let num = this.#whole; num < Math.min(end, this.count) && out.length < limit; num++)
      if (!this.has(num)) out.push(num);
    return out;
  }
}

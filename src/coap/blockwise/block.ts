import { decodeUint, encodeUint, optionValue, type CoapOption } from "../message.ts";
import { Option } from "../numbers.ts";

/** Block size exponent: a block has 2^(szx + 4) bytes; 0 to 6 (RFC 7959 section 2.2). */
export type Szx = 0 | 1 | 2 | 3 | 4 | 5 | 6;

/** Value of a Block1 or Block2 option. */
export interface BlockValue {
  readonly num: number;
  readonly more: boolean;
  readonly szx: number;
}

/** NUM has 20 bits (RFC 7959 section 2.2), so a body has at most 1,048,576 blocks. */
export const MAX_BLOCK_NUM = 0xf_ffff;

export const blockSize = (szx: number): number => 16 << szx;

/** The exponent for a block of `size` bytes; undefined when that is no block size. */
export function szxOf(size: number): Szx | undefined {
  const szx = Math.log2(size) - 4;
  return Number.isInteger(szx) && szx >= 0 && szx <= 6 ? (szx as Szx) : undefined;
}

export function decodeBlock(value: Uint8Array): BlockValue {
  const word = decodeUint(value);
  return { num: Math.floor(word / 16), more: (word & 8) !== 0, szx: word & 7 };
}

export function encodeBlock(block: BlockValue): Uint8Array {
  return encodeUint(block.num * 16 + (block.more ? 8 : 0) + block.szx);
}

export function blockOption(options: readonly CoapOption[], optionNumber: number): BlockValue | undefined {
  const value = optionValue(options, optionNumber);
  return value === undefined ? undefined : decodeBlock(value);
}

/** Whether a request, by Block2 or by Q-Block2, is for a block behind the first. */
export function asksLaterBlock(options: readonly CoapOption[]): boolean {
  const block = blockOption(options, Option.BLOCK2) ?? blockOption(options, Option.Q_BLOCK2);
  return block !== undefined && block.num > 0;
}

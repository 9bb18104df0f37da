import { Tag } from "cbor-x";
import { concatBytes, utf8 } from "../util/bytes.ts";
import type { CborValue } from "./cbor.ts";

/** A number that is a float even where it is whole: a reader that knows the type takes no integer for one. */
export class CborFloat {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** What is written: values, with floats marked where it matters. */
export type CborData = CborValue | CborFloat | readonly CborData[] | ReadonlyMap<CborData, CborData>;

/**
 * Encodes data with shortest heads and definite lengths (RFC 8949 section 4.1). Own code, since cbor-x writes whole
 * numbers as integers whatever they are, and integers of more than 32 bits as floats.
 */
export function encodeData(value: CborData): Uint8Array {
  const parts: Uint8Array[] = [];
  write(value, parts);
  return concatBytes(...parts);
}

function write(value: CborData, out: Uint8Array[]): void {
  if (typeof value === "number") out.push(Number.isSafeInteger(value) ? integer(BigInt(value)) : float(value));
  else if (typeof value === "bigint") out.push(integer(value));
  else if (typeof value === "boolean") out.push(Uint8Array.of(value ? 0xf5 : 0xf4));
  else if (typeof value === "string") withHead(3, utf8(value), out);
  else if (value === null) out.push(Uint8Array.of(0xf6));
  else if (value instanceof Uint8Array) withHead(2, value, out);
  else if (value instanceof CborFloat) out.push(float(value.value));
  else if (value instanceof Tag) {
    out.push(head(6, BigInt(value.tag)));
    write(value.value as CborData, out);
  } else if (Array.isArray(value)) {
    out.push(head(4, BigInt(value.length)));
    for (const item of value as readonly CborData[]) write(item, out);
  } else {
    const map = value as ReadonlyMap<CborData, CborData>;
    out.push(head(5, BigInt(map.size)));
    for (const pair of map) for (const item of pair) write(item, out);
  }
}

function withHead(major: number, bytes: Uint8Array, out: Uint8Array[]): void {
  out.push(head(major, BigInt(bytes.length)), bytes);
}

/** Throws RangeError for what does not fit 64 bits. */
function integer(value: bigint): Uint8Array {
  return value >= 0n ? head(0, value) : head(1, -1n - value);
}

function head(major: number, argument: bigint): Uint8Array {
  const first = major << 5;
  if (argument < 24n) return Uint8Array.of(first | Number(argument));
  const width = argument < 0x100n ? 0 : argument < 0x1_0000n ? 1 : argument < 0x1_0000_0000n ? 2 : 3;
  if (argument >= 1n << 64n) throw new RangeError(`${argument} does not fit 64 bits`);
  const out = new Uint8Array(1 + (1 << width));
  out[0] = first | (24 + width);
  for (let i = out.length - 1, rest = argument; i > 0; i--, rest >>= 8n) out[i] = Number(rest & 0xffn);
  return out;
}

/** In 4 bytes where that is exact. */
function float(value: number): Uint8Array {
  const short = Math.fround(value) === value || Number.isNaN(value);
  const out = new DataView(new ArrayBuffer(short ? 5 : 9));
  out.setUint8(0, short ? 0xfa : 0xfb);
  if (short) out.setFloat32(1, value);
  else out.setFloat64(1, value);
  return new Uint8Array(out.buffer);
}

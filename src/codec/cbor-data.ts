import { addExtension, Decoder } from "cbor-x";
import { concatBytes } from "../util/bytes.ts";
import { narrow } from "../util/integers.ts";
import { CBOR_LIMITS, CborError } from "./cbor-check.ts";
import type { CborValue } from "./cbor.ts";

/*
 * CBOR that carries data and is not signed: SenML and LwM2M CBOR, as it arrives: with floats, indefinite lengths and
 * heads of any width (RFC 8949 section 3). cbor-data-encode.ts writes it.
 */
const options = {
  mapsAsObjects: false,
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
};
const codec = new Decoder(options);

/**
 * Decodes one item of any well-formed encoding within CBOR_LIMITS, but for strings in pieces; a fault
 * throws CborError. A time is the number that its tag stands before.
 */
export function decodeData(bytes: Uint8Array): CborValue {
  const scan = new Scan(bytes);
  const end = scan.item(0, 0);
  if (end !== bytes.length) throw new CborError("trailing-bytes", end);
  return narrowed(codec.decode(scan.withoutTags()) as CborValue);
}

/** Integers beyond 2^53 stay exact; the others are numbers. */
function narrowed(value: CborValue): CborValue {
  if (value instanceof DecimalFraction) return value.valueOf();
  if (typeof value === "bigint") return narrow(value);
  if (Array.isArray(value)) return (value as CborValue[]).map(narrowed);
  if (value instanceof Map)
    return new Map(
      [...(value as ReadonlyMap<CborValue, CborValue>)].map(([key, item]) => [narrowed(key), narrowed(item)]),
    );
  return value;
}

/** The tags that these formats have: times (RFC 8949 section 3.4.2), decimal fractions (section 3.4.4, RFC 8428 section 6). */
const EPOCH_TIME = 1;
const DECIMAL_FRACTION = 4;

const isWhole = (part: unknown): part is number | bigint => typeof part === "bigint" || Number.isInteger(part);

/** 273.15 as [-2, 27315]. cbor-x has a reader of its own, which multiplies and so is off in the last digit. */
class DecimalFraction extends Number {}
addExtension({
  Class: DecimalFraction,
  tag: DECIMAL_FRACTION,
  encode: () => {
    throw new RangeError("decimal fractions are read, not written");
  },
  decode: (content: unknown) => {
    const [exponent, mantissa, ...more] = Array.isArray(content) ? (content as unknown[]) : [];
    if (!isWhole(exponent) || !isWhole(mantissa) || more.length > 0) throw new CborError("bad-fraction", 0);
    return new DecimalFraction(`${mantissa}e${exponent}`);
  },
});

const BREAK = 0xff;
/** Sees that an item is well-formed and small before a library makes anything of the lengths that it claims. */
class Scan {
  readonly #bytes: Uint8Array;
  /** Where tags stand. */
  readonly #tags: [start: number, end: number][] = [];
  #items = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  withoutTags(): Uint8Array {
    if (this.#tags.length === 0) return this.#bytes;
    const ends = [0, ...this.#tags.map(([, end]) => end)];
    const parts = ends.map((end, i) => this.#bytes.subarray(end, this.#tags[i]?.[0] ?? this.#bytes.length));
    return concatBytes(...parts);
  }

  /** Returns the offset behind the item at `at`. */
  item(at: number, depth: number): number {
    if (depth > CBOR_LIMITS.maxDepth) throw new CborError("too-deep", at);
    if (++this.#items > CBOR_LIMITS.maxItems) throw new CborError("too-many-items", at);
    const head = this.#byte(at);
    const [major, info] = [head >> 5, head & 31];
    if (info > 27 && info < 31) throw new CborError("reserved-additional-information", at);
    const width = info < 24 ? 0 : info === 31 ? 0 : 1 << (info - 24);
    const content = this.#within(at + 1, width);
    if (info === 31) return this.#indefinite(content, major, depth);
    if (major < 2 || major === 7) return content;
    const argument = info < 24 ? info : this.#uint(at + 1, width);
    if (major === 6) {
      if (argument === DECIMAL_FRACTION) return this.item(content, depth + 1);
      if (argument !== EPOCH_TIME) throw new CborError("tag-not-expected", at);
      this.#tags.push([at, content]);
      return this.item(content, depth + 1);
    }
    if (major < 4) return this.#within(content, argument);
    let next = content;
    for (let left = major === 5 ? 2 * argument : argument; left > 0; left--) next = this.item(next, depth + 1);
    return next;
  }

  #indefinite(start: number, major: number, depth: number): number {
    if (major !== 4 && major !== 5) throw new CborError("indefinite-length", start);
    let [at, count] = [start, 0];
    for (; this.#byte(at) !== BREAK; count++) at = this.item(at, depth + 1);
    if (major === 5 && count % 2 === 1) throw new CborError("truncated", at);
    return at + 1;
  }

  #uint(at: number, width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.#byte(at + i);
    return value;
  }

  #byte(at: number): number {
    const byte = this.#bytes[at];
    if (byte === undefined) throw new CborError("truncated", at);
    return byte;
  }

  #within(at: number, length: number): number {
    if (length > this.#bytes.length - at) throw new CborError("truncated", at);
    return at + length;
  }
}

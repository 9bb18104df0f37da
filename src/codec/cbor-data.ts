import { Encoder, Tag } from "cbor-x";
import { concatBytes } from "../util/bytes.ts";
import { CBOR_LIMITS, CborError } from "./cbor-check.ts";
import type { CborValue } from "./cbor.ts";

/*
 * CBOR that carries data and is not signed: SenML and LwM2M CBOR. What arrives may have floats,
 * indefinite lengths and heads of any width (RFC 8949 section 3); what leaves has none of these but
 * floats.
 */
const options = {
  mapsAsObjects: false,
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
  int64AsNumber: true, // known to cbor-x, unknown to its types
};
const codec = new Encoder(options);

/**
 * Decodes one item of any well-formed encoding within CBOR_LIMITS, but for strings in pieces; a fault
 * throws CborError. A time is the number that its tag stands before.
 */
export function decodeData(bytes: Uint8Array): CborValue {
  const scan = new Scan(bytes);
  const end = scan.item(0, 0);
  if (end !== bytes.length) throw new CborError("trailing-bytes", end);
  return codec.decode(scan.withoutTags()) as CborValue;
}

export function encodeData(value: CborValue): Uint8Array {
  return new Uint8Array(codec.encode(wide(value)));
}

/** cbor-x writes integers of more than 32 bits as floats, but bigints as integers. */
function wide(value: CborValue): CborValue {
  if (typeof value === "number")
    return Number.isSafeInteger(value) && (value > 0xffff_ffff || value < -0x8000_0000) ? BigInt(value) : value;
  if (value instanceof Uint8Array || value === null || typeof value !== "object") return value;
  if (value instanceof Tag) return new Tag(wide(value.value as CborValue), value.tag);
  if (Array.isArray(value)) return (value as CborValue[]).map(wide);
  return new Map([...(value as ReadonlyMap<CborValue, CborValue>)].map(([key, item]) => [wide(key), wide(item)]));
}

const BREAK = 0xff;
/** The one tag that these formats have (RFC 8949 section 3.4.2). */
const EPOCH_TIME = 1;

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

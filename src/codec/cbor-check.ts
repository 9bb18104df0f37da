import { fromUtf8, toHex } from "../util/bytes.ts";

export type CborFault =
  | "truncated"
  | "trailing-bytes"
  | "indefinite-length"
  | "not-shortest-form"
  | "reserved-additional-information"
  | "too-deep"
  | "too-many-items"
  | "integer-too-large"
  | "duplicate-map-key"
  | "map-keys-not-sorted"
  | "not-utf8"
  | "tag-not-expected"
  | "bad-fraction"
  | "simple-value-not-expected";

export class CborError extends Error {
  readonly fault: CborFault;
  readonly offset: number;

  constructor(fault: CborFault, offset: number) {
    super(`CBOR: ${fault} at byte ${offset}`);
    this.fault = fault;
    this.offset = offset;
  }
}

/** Nesting and items beyond these are refused before anything is built from them. */
export const CBOR_LIMITS = { maxDepth: 16, maxItems: 4_096 } as const;

/** COSE leaves the order of a header's labels open (RFC 9052 section 1.4); SUIT does not. */
export type MapOrder = "sorted" | "any";

/** Checks that bytes are one item in deterministic encoding, made only of what SUIT and COSE use. */
export function checkCbor(bytes: Uint8Array, allowedTags: ReadonlySet<number>, order: MapOrder = "sorted"): void {
  const checker = new Checker(bytes, allowedTags, order);
  const end = checker.item(0, 0);
  if (end !== bytes.length) throw new CborError("trailing-bytes", end);
}

/** RFC 8949 section 4.2.1 (core deterministic encoding) without floats, which none of our formats signs. */
class Checker {
  readonly #bytes: Uint8Array;
  readonly #tags: ReadonlySet<number>;
  readonly #order: MapOrder;
  #items = 0;
  /** Argument of the head read last. */
  #argument = 0;

  constructor(bytes: Uint8Array, tags: ReadonlySet<number>, order: MapOrder) {
    this.#bytes = bytes;
    this.#tags = tags;
    this.#order = order;
  }

  /** Checks the item at `at`; returns the offset behind it. */
  item(at: number, depth: number): number {
    if (depth > CBOR_LIMITS.maxDepth) throw new CborError("too-deep", at);
    if (++this.#items > CBOR_LIMITS.maxItems) throw new CborError("too-many-items", at);
    const head = this.#byte(at);
    const major = head >> 5;
    if (major === 7) return this.#simple(at, head);
    const content = this.#head(at, head);
    const argument = this.#argument;
    // What could not be written again in the shortest form is not read: no format here has such numbers.
    if (major === 1 && argument >= 0x8000_0000) throw new CborError("integer-too-large", at);
    switch (major) {
      case 2:
        return this.#skip(content, argument);
      case 3:
        return this.#text(content, argument);
      case 4:
        return this.#array(content, argument, depth);
      case 5:
        return this.#map(content, argument, depth);
      case 6:
        if (!this.#tags.has(argument)) throw new CborError("tag-not-expected", at);
        return this.item(content, depth + 1);
      default:
        return content; // unsigned or negative integer
    }
  }

  #byte(at: number): number {
    const byte = this.#bytes[at];
    if (byte === undefined) throw new CborError("truncated", at);
    return byte;
  }

  /** Reads the argument (RFC 8949 section 3) and returns the offset behind the head. */
  #head(at: number, head: number): number {
    const info = head & 31;
    if (info < 24) {
      this.#argument = info;
      return at + 1;
    }
    if (info === 31) throw new CborError("indefinite-length", at);
    if (info > 27) throw new CborError("reserved-additional-information", at);
    const length = 1 << (info - 24);
    let value = 0;
    for (let i = 1; i <= length; i++) value = value * 256 + this.#byte(at + i);
    if (value > Number.MAX_SAFE_INTEGER) throw new CborError("integer-too-large", at);
    const least = info === 24 ? 24 : 2 ** (4 * length);
    if (value < least) throw new CborError("not-shortest-form", at);
    this.#argument = value;
    return at + 1 + length;
  }

  #skip(at: number, length: number): number {
    if (length > this.#bytes.length - at) throw new CborError("truncated", at);
    return at + length;
  }

  #text(at: number, length: number): number {
    const end = this.#skip(at, length);
    if (fromUtf8(this.#bytes.subarray(at, end)) === undefined) throw new CborError("not-utf8", at);
    return end;
  }

  #array(start: number, count: number, depth: number): number {
    let at = start;
    for (let i = 0; i < count; i++) at = this.item(at, depth + 1);
    return at;
  }

  #map(start: number, count: number, depth: number): number {
    let at = start;
    let previous: [number, number] | undefined;
    const seen = new Set<string>();
    for (let i = 0; i < count; i++) {
      const keyEnd = this.item(at, depth + 1);
      if (this.#order === "any") this.#checkNew(seen, at, keyEnd);
      else if (previous !== undefined) this.#checkOrder(previous, [at, keyEnd]);
      previous = [at, keyEnd];
      at = this.item(keyEnd, depth + 1);
    }
    return at;
  }

  #checkNew(seen: Set<string>, at: number, end: number): void {
    const key = toHex(this.#bytes.subarray(at, end));
    if (seen.has(key)) throw new CborError("duplicate-map-key", at);
    seen.add(key);
  }

  #checkOrder(a: [number, number], b: [number, number]): void {
    const length = Math.min(a[1] - a[0], b[1] - b[0]);
    for (let i = 0; i < length; i++) {
      const difference = this.#bytes[a[0] + i]! - this.#bytes[b[0] + i]!;
      if (difference < 0) return;
      if (difference > 0) throw new CborError("map-keys-not-sorted", b[0]);
    }
    // No well-formed item is a proper prefix of another, so equal up to here is equal.
    throw new CborError("duplicate-map-key", b[0]);
  }

  /** false, true and null. */
  #simple(at: number, head: number): number {
    if (head < 0xf4 || head > 0xf6) throw new CborError("simple-value-not-expected", at);
    return at + 1;
  }
}

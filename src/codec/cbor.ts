import { Encoder, Tag } from "cbor-x";
import { checkCbor, type MapOrder } from "./cbor-check.ts";

export type CborValue = number | bigint | string | boolean | null | Uint8Array | readonly CborValue[] | CborMap | Tag;
export type CborMap = ReadonlyMap<CborValue, CborValue>;

/** The options that make cbor-x write what RFC 8949 section 4.2.1 asks, given sorted maps. */
const options = {
  mapsAsObjects: false,
  useRecords: false,
  variableMapSize: true,
  tagUint8Array: false,
  int64AsNumber: true,
  useTag259ForMaps: false, // known to cbor-x, unknown to its types
};
const codec = new Encoder(options);

const NO_TAGS: ReadonlySet<number> = new Set();

/** A tagged item. */
export const tagged = (tag: number, value: CborValue): Tag => new Tag(value, tag);

/**
 * Decodes one item. The bytes are checked before cbor-x sees them, so that what it is lax about
 * never reaches it; a fault throws CborError. Byte strings are views of `bytes`.
 */
export function decodeCbor(bytes: Uint8Array, allowedTags: ReadonlySet<number> = NO_TAGS, order?: MapOrder): CborValue {
  checkCbor(bytes, allowedTags, order);
  return codec.decode(bytes) as CborValue;
}

/**
 * Deterministic encoding: shortest heads, definite lengths, map keys in bytewise order. Negative
 * integers below -2^31 throw: cbor-x has no shortest form for them, and no format of ours has them.
 */
export function encodeCbor(value: CborValue): Uint8Array {
  const bytes = new Uint8Array(codec.encode(canonical(value)));
  checkCbor(bytes, ANY_TAG);
  return bytes;
}

/** Everything is expected of what we wrote ourselves; the check is an assertion on cbor-x. */
const ANY_TAG: ReadonlySet<number> = Object.assign(new Set<number>(), { has: () => true });

function canonical(value: CborValue): CborValue {
  // cbor-x writes integers of more than 32 bits as floats, but bigints as integers.
  if (typeof value === "number") {
    return Number.isSafeInteger(value) && (value > 0xffff_ffff || value < -0x8000_0000) ? BigInt(value) : value;
  }
  if (value instanceof Uint8Array || value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return (value as CborValue[]).map(canonical);
  if (value instanceof Tag) return new Tag(canonical(value.value as CborValue), value.tag);
  const entries = [...(value as CborMap)].map(([key, item]) => {
    const canonicalKey = canonical(key);
    return { sortKey: new Uint8Array(codec.encode(canonicalKey)), key: canonicalKey, item: canonical(item) };
  });
  entries.sort((a, b) => compareBytes(a.sortKey, b.sortKey));
  return new Map(entries.map(({ key, item }) => [key, item]));
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}

export const isMap = (value: CborValue | undefined): value is CborMap => value instanceof Map;
export const isBytes = (value: CborValue | undefined): value is Uint8Array => value instanceof Uint8Array;
export const isArray = (value: CborValue | undefined): value is readonly CborValue[] => Array.isArray(value);
export const isUint = (value: CborValue | undefined): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

import { Tag } from "cbor-x";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { decodeCbor, encodeCbor, isArray, isBytes, isMap, tagged, type CborValue } from "../../src/codec/cbor.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { EnvelopeKey, SuitTag } from "../../src/suit/keys.ts";
import { AUTHOR, suitDigest } from "./suit-build.ts";

/** What stands in the place of each item in turn. */
const INSTEAD: readonly CborValue[] = [
  null,
  true,
  0,
  7,
  2 ** 33,
  -3,
  "x",
  new Uint8Array(0),
  new Uint8Array(17),
  [],
  [1],
  new Map(),
];

/** A value with one item of it gone, doubled or another: each way there is, encoded sequences within byte strings included. */
export function* damagedOf(value: CborValue): Iterable<CborValue> {
  yield* INSTEAD;
  if (isArray(value)) yield* damagedList(value);
  else if (isMap(value)) yield* damagedMap([...value]);
  else if (isBytes(value)) yield* damagedBytes(value);
  else if (value instanceof Tag)
    for (const inner of damagedOf(value.value as CborValue)) yield tagged(value.tag, inner);
}

function* damagedList(list: readonly CborValue[]): Iterable<CborValue> {
  for (let i = 0; i < list.length; i++) {
    yield list.toSpliced(i, 1);
    yield list.toSpliced(i, 0, list[i]!);
    for (const other of damagedOf(list[i]!)) yield list.with(i, other);
  }
}

function* damagedMap(entries: readonly (readonly [CborValue, CborValue])[]): Iterable<CborValue> {
  for (let i = 0; i < entries.length; i++) {
    const [key, inner] = entries[i]!;
    yield new Map(entries.toSpliced(i, 1));
    for (const other of [999, -1, "x"]) yield new Map([...entries.toSpliced(i, 1), [other, inner]]);
    for (const other of damagedOf(inner)) yield new Map(entries.with(i, [key, other]));
  }
}

function* damagedBytes(bytes: Uint8Array): Iterable<CborValue> {
  yield bytes.subarray(0, -1);
  let inner: CborValue;
  try {
    inner = decodeCbor(bytes);
  } catch {
    return;
  }
  if (isArray(inner) || isMap(inner)) for (const other of damagedOf(inner)) yield encodeCbor(other);
}

/** Envelopes whose manifest is damaged in one place, and which are signed all the same. */
export function* damagedEnvelopes(envelope: Uint8Array): Iterable<Uint8Array> {
  const item = decodeCbor(envelope, new Set([SuitTag.ENVELOPE]));
  const members = item instanceof Tag ? (item.value as CborValue) : item;
  if (!isMap(members)) throw new Error("no envelope");
  const manifest = decodeCbor(members.get(EnvelopeKey.MANIFEST) as Uint8Array);
  for (const damaged of damagedOf(manifest)) {
    const bytes = encodeCbor(damaged);
    const all = new Map(members);
    all.set(EnvelopeKey.AUTHENTICATION_WRAPPER, encodeCbor([suitDigest(encodeCbor(bytes))]));
    all.set(EnvelopeKey.MANIFEST, bytes);
    yield signEnvelope(nodeCrypto, AUTHOR, encodeCbor(tagged(SuitTag.ENVELOPE, all)));
  }
}

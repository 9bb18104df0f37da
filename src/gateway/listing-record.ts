import { decodeCbor, encodeCbor, isArray, isBytes, type CborValue } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { StoreOp } from "../ports/store.ts";
import { DIALECTS } from "../suit/dialect.ts";
import { openRelease } from "../suit/release.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { asReplaced, isReplaced, type Listing } from "./catalogue.ts";

export const RELEASE_PREFIX = "release/";
/** Releases that others took the place of. */
export const REPLACED_PREFIX = "replaced/";
export const VALIDATOR_PREFIX = "validator/";

/** The writes that make a listing last, and the one that it takes the place of. */
export function listingOps(listing: Listing, before: Listing | undefined): StoreOp[] {
  return [
    { kind: "put", key: RELEASE_PREFIX + listing.release.key, value: recordOf(listing) },
    ...listing.images.map(({ digest }): StoreOp => ({ kind: "delete", key: VALIDATOR_PREFIX + digest })),
    ...(before !== undefined && isReplaced(before, listing) ? [replacedOp(before)] : []),
  ];
}

/** The writes by which releases are kept as those that another, of another key, took the place of. */
export const overtakenOps = (overtaken: readonly Listing[]): StoreOp[] =>
  overtaken.flatMap((listing) => [replacedOp(listing), { kind: "delete", key: RELEASE_PREFIX + listing.release.key }]);

function recordOf({ release, images, source, alias, tables }: Listing): Uint8Array {
  const sources = images.map(({ uri }) => uri ?? null);
  const signers = release.signers.map(({ bytes }) => bytes);
  return encodeCbor([release.envelope, source ?? null, alias ?? null, sources, [...tables], release.dialect, signers]);
}

/** `replaced/<vendor>/<class>/<component>/<number>`. */
const replacedKey = ({ release }: Listing): string =>
  `${REPLACED_PREFIX}${release.key}/${String(release.sequenceNumber)}`;

export const replacedOp = (listing: Listing): StoreOp => ({
  kind: "put",
  key: replacedKey(listing),
  value: recordOf(asReplaced(listing)),
});

/** The writes by which what is not kept any longer goes from the disk too. */
export const forgetOps = (releases: readonly Listing[]): StoreOp[] =>
  releases.map((listing) => ({ kind: "delete", key: replacedKey(listing) }));

/** A listing from the store; its envelope is authenticated again, by the anchors of today. */
export function recoverListing(crypto: Crypto, record: Uint8Array, anchors: readonly Verifier[]): Listing | string {
  const fields = tryDecode(record);
  if (!isArray(fields) || !isBytes(fields[0])) return "record-damaged";
  const dialect = DIALECTS.find((known) => known === fields[5]);
  // Who has signed it is tried first: there may be a thousand others.
  const signers = isArray(fields[6]) ? fields[6].filter(isBytes) : [];
  const likely = anchors.filter((key) => signers.some((bytes) => bytesEqual(bytes, key.bytes)));
  const opened = openRelease(crypto, fields[0], { anchors: [...likely, ...anchors], dialect });
  if (!opened.ok) return opened.reason;
  const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
  const { release } = opened;
  const source = text(fields[1]);
  // A record of an earlier version has the source of its one image only.
  const uris = isArray(fields[3]) ? fields[3].map(text) : [source];
  const images = release.images.map(({ digest, size, content }, i) => ({
    digest: toHex(digest),
    size,
    uri: uris[i],
    content,
  }));
  const tables = new Map<string, Uint8Array>();
  for (const entry of isArray(fields[4]) ? fields[4] : [])
    if (isArray(entry) && typeof entry[0] === "string" && isBytes(entry[1])) tables.set(entry[0], entry[1]);
  const digest = toHex(release.imageDigest);
  return { release, digest, images, tables, source, alias: text(fields[2]) };
}

function tryDecode(record: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(record);
  } catch {
    return undefined;
  }
}

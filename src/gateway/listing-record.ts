import { decodeCbor, encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { StoreOp } from "../ports/store.ts";
import type { WantedImage } from "../image/image-fetch.ts";
import { DIALECTS } from "../suit/dialect.ts";
import { openRelease } from "../suit/release.ts";
import { toHex } from "../util/bytes.ts";
import { asReplaced, isReplaced, type Forgotten, type Listing } from "./catalogue.ts";

export const RELEASE_PREFIX = "release/";
/** Releases that others took the place of. */
export const REPLACED_PREFIX = "replaced/";
export const IMAGE_PREFIX = "image/";
export const VALIDATOR_PREFIX = "validator/";

/** The writes that make a listing last, and the one that it takes the place of. */
export function listingOps(listing: Listing, before: Listing | undefined): StoreOp[] {
  return [
    { kind: "put", key: RELEASE_PREFIX + listing.release.key, value: recordOf(listing) },
    ...listing.images.map(imageOp),
    ...listing.images.map(({ digest }): StoreOp => ({ kind: "delete", key: VALIDATOR_PREFIX + digest })),
    ...(before !== undefined && isReplaced(before, listing) ? [replacedOp(before)] : []),
  ];
}

function recordOf({ release, images, source, alias, tables }: Listing): Uint8Array {
  const sources = images.map(({ uri }) => uri ?? null);
  return encodeCbor([release.envelope, source ?? null, alias ?? null, sources, [...tables], release.dialect]);
}

/** `replaced/<vendor>/<class>/<component>/<number>`. */
const replacedKey = ({ release }: Listing): string =>
  `${REPLACED_PREFIX}${release.key}/${String(release.sequenceNumber)}`;

const replacedOp = (listing: Listing): StoreOp => ({
  kind: "put",
  key: replacedKey(listing),
  value: recordOf(asReplaced(listing)),
});

const imageOp = ({ digest, size, uri }: WantedImage): StoreOp => ({
  kind: "put",
  key: IMAGE_PREFIX + digest,
  value: encodeCbor([size, uri ?? null]),
});

/** The writes by which what is not kept any longer goes from the disk too. */
export const forgetOps = ({ releases, images }: Forgotten): StoreOp[] =>
  [...releases.map(replacedKey), ...images.flatMap((digest) => [IMAGE_PREFIX + digest, VALIDATOR_PREFIX + digest])].map(
    (key) => ({ kind: "delete", key }),
  );

/** A listing from the store; its envelope is authenticated again, by the anchors of today. */
export function recoverListing(crypto: Crypto, record: Uint8Array, anchors: readonly Verifier[]): Listing | string {
  const fields = tryDecode(record);
  if (!isArray(fields) || !isBytes(fields[0])) return "record-damaged";
  const dialect = DIALECTS.find((known) => known === fields[5]);
  const opened = openRelease(crypto, fields[0], { anchors, dialect });
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

export function recoverImage(digest: string, record: Uint8Array): WantedImage | undefined {
  const fields = tryDecode(record);
  if (!/^[0-9a-f]{64}$/.test(digest) || !isArray(fields) || !isUint(fields[0])) return undefined;
  return { digest, size: fields[0], uri: typeof fields[1] === "string" ? fields[1] : undefined };
}

function tryDecode(record: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(record);
  } catch {
    return undefined;
  }
}

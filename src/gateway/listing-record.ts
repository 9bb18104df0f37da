import { decodeCbor, encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { StoreOp } from "../ports/store.ts";
import type { WantedImage } from "../image/image-fetch.ts";
import type { KeyRecord } from "../lifecycle/classes.ts";
import { DIALECTS } from "../suit/dialect.ts";
import { openRelease } from "../suit/release.ts";
import { toHex } from "../util/bytes.ts";
import type { Catalogue, ImageFacts, Listing } from "./catalogue.ts";

export const RELEASE_PREFIX = "release/";
export const IMAGE_PREFIX = "image/";
export const VALIDATOR_PREFIX = "validator/";

/** The writes that make a listing last, and what it leaves behind. */
export function listingOps(listing: Listing, catalogue: Catalogue): StoreOp[] {
  const { release, images, source, alias } = listing;
  const tables = [...listing.tables];
  const sources = images.map(({ uri }) => uri ?? null);
  const { kept, forgotten } = catalogue.leftBehind(listing);
  return [
    {
      kind: "put",
      key: RELEASE_PREFIX + release.key,
      value: encodeCbor([release.envelope, source ?? null, alias ?? null, sources, tables, release.dialect]),
    },
    ...images.map((image) =>
      imageOp(image, catalogue.factsWith(image.digest, catalogue.factsOf(listing, image.digest))),
    ),
    ...images.map(({ digest }): StoreOp => ({ kind: "delete", key: VALIDATOR_PREFIX + digest })),
    ...Array.from(kept, ([digest, facts]) => imageOp(catalogue.image(digest)!, facts)),
    ...forgotten.flatMap(forgetOps),
  ];
}

function imageOp({ digest, size, uri }: WantedImage, { vouchers, classes }: ImageFacts): StoreOp {
  const keys = vouchers.map(({ algorithm, key }) => [algorithm, key]);
  return { kind: "put", key: IMAGE_PREFIX + digest, value: encodeCbor([size, uri ?? null, keys, [...classes]]) };
}

export const forgetOps = (digest: string): StoreOp[] =>
  [IMAGE_PREFIX, VALIDATOR_PREFIX].map((prefix) => ({ kind: "delete", key: prefix + digest }));

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
  const images = release.images.map(({ digest, size }, i) => ({ digest: toHex(digest), size, uri: uris[i] }));
  const tables = new Map<string, Uint8Array>();
  for (const entry of isArray(fields[4]) ? fields[4] : [])
    if (isArray(entry) && typeof entry[0] === "string" && isBytes(entry[1])) tables.set(entry[0], entry[1]);
  const digest = toHex(release.imageDigest);
  return { release, digest, images, tables, source, alias: text(fields[2]) };
}

export function recoverImage(
  digest: string,
  record: Uint8Array,
): { readonly image: WantedImage; readonly facts: ImageFacts } | undefined {
  const fields = tryDecode(record);
  if (!/^[0-9a-f]{64}$/.test(digest) || !isArray(fields) || !isUint(fields[0])) return undefined;
  const vouchers: KeyRecord[] = [];
  // A record of an earlier version names nobody.
  for (const entry of isArray(fields[2]) ? fields[2] : []) {
    const [algorithm, key] = isArray(entry) ? entry : [];
    if (typeof algorithm === "string" && typeof key === "string")
      vouchers.push({ algorithm: algorithm as KeyRecord["algorithm"], key });
  }
  const classes = (isArray(fields[3]) ? fields[3] : []).filter((id): id is string => typeof id === "string");
  const uri = typeof fields[1] === "string" ? fields[1] : undefined;
  return { image: { digest, size: fields[0], uri }, facts: { vouchers, classes } };
}

function tryDecode(record: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(record);
  } catch {
    return undefined;
  }
}

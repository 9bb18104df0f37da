import { decodeCbor, encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { StoreOp } from "../ports/store.ts";
import type { WantedImage } from "../image/image-fetch.ts";
import { isSameKey, type KeyRecord } from "../lifecycle/classes.ts";
import { DIALECTS } from "../suit/dialect.ts";
import { openRelease, type Release } from "../suit/release.ts";
import { toBase64Url, toHex } from "../util/bytes.ts";

export const RELEASE_PREFIX = "release/";
export const IMAGE_PREFIX = "image/";
export const VALIDATOR_PREFIX = "validator/";

/** A release that the gateway offers, and where its image comes from. */
export interface Listing {
  readonly release: Release;
  /** SHA-256 of the first image in hex. */
  readonly digest: string;
  /** All images that devices of the class may fetch. */
  readonly images: readonly WantedImage[];
  readonly source: string | undefined;
  /** Signed tables of images' sectors, by the image's digest in hex. */
  readonly tables: ReadonlyMap<string, Uint8Array>;
  /** A further path for the image, for clients whose URI is fixed. */
  readonly alias: string | undefined;
  /** Keys of the authorities that signed it. */
  readonly vouchers: readonly KeyRecord[];
}

/** `/i/<id>`: 48 bits of the image's digest, short enough for a frame of 802.15.4. */
export const imagePath = (digest: Uint8Array): string[] => ["i", toBase64Url(digest.subarray(0, 6))];

/** `/m/<class>`, and the component behind it when it is not the only one of its class. */
export function manifestPath(classId: Uint8Array, componentId: string): string[] {
  return componentId === "00" ? ["m", toBase64Url(classId)] : ["m", toBase64Url(classId), componentId];
}

/** `/s/<id>`: the signed table of an image's sectors. */
export const sectorTablePath = (digest: Uint8Array): string[] => ["s", toBase64Url(digest.subarray(0, 6))];

/** `/t/<class>/<epoch>`: what hands devices of a class over to new authorities,, one after the other. */
export const transferPath = (classId: Uint8Array, epoch: number): string[] => ["t", toBase64Url(classId), `${epoch}`];

/** Where the manifest of a release is served: at a path of each class. */
export function manifestPaths(release: Release): string[][] {
  return release.classIds.map((classId) => manifestPath(classId, componentOf(release)));
}

export const componentOf = (release: Release): string => release.key.split("/")[2]!;

/** What the gateway offers: one listing per (vendor, class, component), and every image it may serve. */
export class Catalogue {
  readonly #listings = new Map<string, Listing>();
  readonly #images = new Map<string, WantedImage>();
  /** Who has ever stood for an image, in whatever release; empty where that is not known. */
  readonly #vouchers = new Map<string, readonly KeyRecord[]>();
  /** Keys of listings that nobody stands for any more: kept for the rollback check, and offered to nobody. */
  readonly withdrawn: Set<string> = new Set();

  get(key: string): Listing | undefined {
    return this.#listings.get(key);
  }

  get size(): number {
    return this.#listings.size;
  }

  listings(): Iterable<Listing> {
    return this.#listings.values();
  }

  image(digest: string): WantedImage | undefined {
    return this.#images.get(digest);
  }

  images(): Iterable<WantedImage> {
    return this.#images.values();
  }

  isCurrent(digest: string): boolean {
    for (const listing of this.#listings.values())
      if (listing.images.some((image) => image.digest === digest)) return true;
    return false;
  }

  /** Whether a release on offer has this image for devices of a class. */
  isOffered(digest: string, classId?: string): boolean {
    for (const { release, images } of this.#listings.values())
      if (
        !this.withdrawn.has(release.key) &&
        (classId === undefined || release.classIds.some((id) => toHex(id) === classId)) &&
        images.some((image) => image.digest === digest)
      )
        return true;
    return false;
  }

  put(listing: Listing): void {
    this.withdrawn.delete(listing.release.key);
    this.#listings.set(listing.release.key, listing);
    for (const image of listing.images) this.putImage(image, listing.vouchers);
  }

  putImage(image: WantedImage, vouchers: readonly KeyRecord[]): void {
    this.#images.set(image.digest, image);
    this.#vouchers.set(image.digest, this.vouchersWith(image.digest, vouchers));
  }

  /** Those who stood for an image so far, and `more`. */
  vouchersWith(digest: string, more: readonly KeyRecord[]): readonly KeyRecord[] {
    const known = this.#vouchers.get(digest) ?? [];
    return [...known, ...more.filter((key) => !known.some((other) => isSameKey(other, key)))];
  }

  /** Whether an image is one that nobody offers, and nobody with a valid key has ever stood for. */
  isForsaken(digest: string, isRevoked: (key: KeyRecord) => boolean): boolean {
    const vouchers = this.#vouchers.get(digest) ?? [];
    const isWithdrawn = [...this.withdrawn].some((key) => this.get(key)?.images.some((one) => one.digest === digest));
    return !this.isOffered(digest) && (isWithdrawn || (vouchers.length > 0 && vouchers.every(isRevoked)));
  }

  forgetImage(digest: string): void {
    this.#images.delete(digest);
    this.#vouchers.delete(digest);
  }
}

/**
 * Where the images of a release come from: `sources` by digest, or a URI of the manifest that is absolute. An author who
 * names a file means one of his own machine.
 */
export function imagesOf(release: Release, sources: ReadonlyMap<string, string>): WantedImage[] {
  return release.images.map(({ digest, size, uri }) => {
    const hex = toHex(digest);
    const signed = /^(?!file:)[a-z][a-z0-9+.-]*:/i.test(uri) ? uri : undefined;
    return { digest: hex, size, uri: sources.get(hex) ?? signed };
  });
}

/** The writes that make a listing last. `vouchers`: all who have stood for an image, by its digest. */
export function listingOps(listing: Listing, vouchers: (digest: string) => readonly KeyRecord[]): StoreOp[] {
  const { release, images, source, alias } = listing;
  const tables = [...listing.tables];
  const sources = images.map(({ uri }) => uri ?? null);
  return [
    {
      kind: "put",
      key: RELEASE_PREFIX + release.key,
      value: encodeCbor([release.envelope, source ?? null, alias ?? null, sources, tables, release.dialect]),
    },
    ...images.map(({ digest, size, uri }): StoreOp => ({
      kind: "put",
      key: IMAGE_PREFIX + digest,
      value: encodeCbor([size, uri ?? null, vouchers(digest).map(({ algorithm, key }) => [algorithm, key])]),
    })),
    ...images.map(({ digest }): StoreOp => ({ kind: "delete", key: VALIDATOR_PREFIX + digest })),
  ];
}

/** A listing from the store; its envelope is authenticated again, by the anchors of today. */
export function recoverListing(
  crypto: Crypto,
  record: Uint8Array,
  anchors: readonly Verifier[],
  vouchersOf: (release: Release) => readonly KeyRecord[],
): Listing | string {
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
  return { release, digest, images, tables, source, alias: text(fields[2]), vouchers: vouchersOf(release) };
}

export function recoverImage(
  digest: string,
  record: Uint8Array,
): { readonly image: WantedImage; readonly vouchers: KeyRecord[] } | undefined {
  const fields = tryDecode(record);
  if (!isArray(fields) || !isUint(fields[0])) return undefined;
  const vouchers: KeyRecord[] = [];
  // A record of an earlier version names nobody.
  for (const entry of isArray(fields[2]) ? fields[2] : []) {
    const [algorithm, key] = isArray(entry) ? entry : [];
    if (typeof algorithm === "string" && typeof key === "string")
      vouchers.push({ algorithm: algorithm as KeyRecord["algorithm"], key });
  }
  return { image: { digest, size: fields[0], uri: typeof fields[1] === "string" ? fields[1] : undefined }, vouchers };
}

function tryDecode(record: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(record);
  } catch {
    return undefined;
  }
}

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

/** What is remembered of an image when its release was replaced: who has ever stood for it, and for which classes it was. */
export interface ImageFacts {
  readonly vouchers: readonly KeyRecord[];
  readonly classes: readonly string[];
}

const NO_FACTS: ImageFacts = { vouchers: [], classes: [] };

/** What the gateway offers: one listing per (vendor, class, component), and every image it may serve. */
export class Catalogue {
  readonly #listings = new Map<string, Listing>();
  readonly #images = new Map<string, WantedImage>();
  readonly #facts = new Map<string, ImageFacts>();
  /** Keys of the listings that have an image. */
  readonly #having = new Map<string, Set<string>>();
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
    return this.#having.has(digest);
  }

  /** Releases on offer that have an image. */
  offering(digest: string): Listing[] {
    return [...(this.#having.get(digest) ?? [])].flatMap((key) =>
      this.withdrawn.has(key) ? [] : [this.#listings.get(key)!],
    );
  }

  /** Whether a release on offer has this image for devices of a class. */
  isOffered(digest: string, classId?: string): boolean {
    return this.offering(digest).some(
      ({ release }) => classId === undefined || release.classIds.some((id) => toHex(id) === classId),
    );
  }

  put(listing: Listing): void {
    const { key } = listing.release;
    for (const { digest } of this.#listings.get(key)?.images ?? []) {
      const keys = this.#having.get(digest);
      keys?.delete(key);
      if (keys?.size === 0) this.#having.delete(digest);
    }
    this.withdrawn.delete(key);
    this.#listings.set(key, listing);
    for (const image of listing.images) {
      this.putImage(image, factsOf(listing, image.digest));
      this.#having.set(image.digest, (this.#having.get(image.digest) ?? new Set()).add(key));
    }
  }

  putImage(image: WantedImage, facts: ImageFacts): void {
    this.#images.set(image.digest, image);
    this.#facts.set(image.digest, this.factsWith(image.digest, facts));
  }

  /** What is known of an image, and `more`. */
  factsWith(digest: string, more: ImageFacts = NO_FACTS): ImageFacts {
    const { vouchers, classes } = this.#facts.get(digest) ?? NO_FACTS;
    const others = more.vouchers.filter((key) => !vouchers.some((other) => isSameKey(other, key)));
    return { vouchers: [...vouchers, ...others], classes: [...new Set([...classes, ...more.classes])] };
  }

  /** Whether an image is one that nobody offers, and nobody with a valid key has ever stood for. */
  isForsaken(digest: string, isDead: (key: KeyRecord) => boolean): boolean {
    const { vouchers } = this.factsWith(digest);
    const isWithdrawn = this.isCurrent(digest); // and yet nobody offers it
    return this.offering(digest).length === 0 && (isWithdrawn || (vouchers.length > 0 && vouchers.every(isDead)));
  }

  forgetImage(digest: string): void {
    this.#images.delete(digest);
    this.#facts.delete(digest);
  }
}

/** What a listing says of one of its images. */
function factsOf({ release, vouchers }: Listing, digest: string): ImageFacts {
  const image = release.images.find((one) => toHex(one.digest) === digest);
  return { vouchers, classes: (image?.classIds ?? []).map(toHex) };
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

/** The writes that make a listing last; `catalogue` has what is known of its images already. */
export function listingOps(listing: Listing, catalogue: Catalogue): StoreOp[] {
  const { release, images, source, alias } = listing;
  const tables = [...listing.tables];
  const sources = images.map(({ uri }) => uri ?? null);
  return [
    {
      kind: "put",
      key: RELEASE_PREFIX + release.key,
      value: encodeCbor([release.envelope, source ?? null, alias ?? null, sources, tables, release.dialect]),
    },
    ...images.map(({ digest, size, uri }): StoreOp => {
      const { vouchers, classes } = catalogue.factsWith(digest, factsOf(listing, digest));
      const keys = vouchers.map(({ algorithm, key }) => [algorithm, key]);
      return { kind: "put", key: IMAGE_PREFIX + digest, value: encodeCbor([size, uri ?? null, keys, classes]) };
    }),
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
): { readonly image: WantedImage; readonly facts: ImageFacts } | undefined {
  const fields = tryDecode(record);
  if (!isArray(fields) || !isUint(fields[0])) return undefined;
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

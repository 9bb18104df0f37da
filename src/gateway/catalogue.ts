import { decodeCbor, encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { StoreOp } from "../ports/store.ts";
import type { WantedImage } from "../image/image-fetch.ts";
import { openRelease, type Release } from "../suit/release.ts";
import { toBase64Url, toHex } from "../util/bytes.ts";

export const RELEASE_PREFIX = "release/";
export const IMAGE_PREFIX = "image/";
export const VALIDATOR_PREFIX = "validator/";

/** A release that the gateway offers, and where its image comes from. */
export interface Listing {
  readonly release: Release;
  /** SHA-256 of the image in hex. */
  readonly digest: string;
  readonly source: string | undefined;
  /** A further path for the image, for clients whose URI is fixed. */
  readonly alias: string | undefined;
}

/** `/i/<id>`: 48 bits of the image's digest, short enough for a frame of 802.15.4. */
export const imagePath = (digest: Uint8Array): string[] => ["i", toBase64Url(digest.subarray(0, 6))];

/** `/m/<class>`, and the component behind it when it is not the only one of its class. */
export function manifestPath(classId: Uint8Array, componentId: string): string[] {
  return componentId === "00" ? ["m", toBase64Url(classId)] : ["m", toBase64Url(classId), componentId];
}

export const componentOf = (release: Release): string => release.key.split("/")[2]!;

/** What the gateway offers: one listing per (vendor, class, component), and every image it may serve. */
export class Catalogue {
  readonly #listings = new Map<string, Listing>();
  readonly #images = new Map<string, WantedImage>();

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
    for (const listing of this.#listings.values()) if (listing.digest === digest) return true;
    return false;
  }

  put(listing: Listing): void {
    this.#listings.set(listing.release.key, listing);
    this.#images.set(listing.digest, imageOf(listing));
  }

  putImage(image: WantedImage): void {
    this.#images.set(image.digest, image);
  }

  forgetImage(digest: string): void {
    this.#images.delete(digest);
  }
}

export function imageOf(listing: Listing): WantedImage {
  return { digest: listing.digest, size: listing.release.imageSize, uri: listing.source };
}

/** The writes that make a listing last. */
export function listingOps(listing: Listing): StoreOp[] {
  const { release, digest, source, alias } = listing;
  return [
    {
      kind: "put",
      key: RELEASE_PREFIX + release.key,
      value: encodeCbor([release.envelope, source ?? null, alias ?? null]),
    },
    { kind: "put", key: IMAGE_PREFIX + digest, value: encodeCbor([release.imageSize, source ?? null]) },
  ];
}

/** A listing from the store; its envelope is authenticated again, by the anchors of today. */
export function recoverListing(crypto: Crypto, record: Uint8Array, anchors: readonly Verifier[]): Listing | string {
  const fields = tryDecode(record);
  if (!isArray(fields) || !isBytes(fields[0])) return "record-damaged";
  const opened = openRelease(crypto, fields[0], { anchors });
  if (!opened.ok) return opened.reason;
  const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
  return {
    release: opened.release,
    digest: toHex(opened.release.imageDigest),
    source: text(fields[1]),
    alias: text(fields[2]),
  };
}

export function recoverImage(digest: string, record: Uint8Array): WantedImage | undefined {
  const fields = tryDecode(record);
  if (!isArray(fields) || !isUint(fields[0])) return undefined;
  return { digest, size: fields[0], uri: typeof fields[1] === "string" ? fields[1] : undefined };
}

function tryDecode(record: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(record);
  } catch {
    return undefined;
  }
}

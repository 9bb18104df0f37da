import type { WantedImage } from "../image/image-fetch.ts";
import type { Release } from "../suit/release.ts";
import { toBase64Url, toHex } from "../util/bytes.ts";
import { Holders, type Change } from "./holders.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

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
}

/** `/i/<id>`: 48 bits of the image's digest, short enough for a frame of 802.15.4. */
export const imagePath = (digest: Uint8Array): string[] => ["i", toBase64Url(digest.subarray(0, 6))];

/** `/m/<class>`, and the component behind it when it is not the only one of its class. */
export function manifestPath(classId: Uint8Array, componentId: string): string[] {
  return componentId === "00" ? ["m", toBase64Url(classId)] : ["m", toBase64Url(classId), componentId];
}

/** `/s/<id>`: the signed table of an image's sectors. */
export const sectorTablePath = (digest: Uint8Array): string[] => ["s", toBase64Url(digest.subarray(0, 6))];

/** `/t/<class>/<epoch>`: what hands devices of a class over to new authorities, one after the other. */
export const transferPath = (classId: Uint8Array, epoch: number): string[] => ["t", toBase64Url(classId), `${epoch}`];

/** Where the manifest of a release is served: at a path of each class. */
export function manifestPaths(release: Release): string[][] {
  return release.classIds.map((classId) => manifestPath(classId, componentOf(release)));
}

export const componentOf = (release: Release): string => release.key.split("/")[2]!;

/** What is not kept any longer. */
export interface Forgotten {
  readonly releases: readonly Listing[];
  /** Digests of images. */
  readonly images: readonly string[];
}

/** The releases by their keys (vendor, class, component), what is on offer of them, and every image that may be served. */
export class Catalogue {
  readonly #listings = new Map<string, Listing>();
  /** Releases that others took the place of, by key and number: their images stay for whoever has begun. */
  readonly #replaced = new Map<string, Map<number, Listing>>();
  /** Those that somebody stands for, replaced ones too. */
  readonly #standing = new Set<Listing>();
  readonly #images = new Map<string, WantedImage>();
  /** Releases that have an image, replaced ones too. */
  readonly #having = new Map<string, Set<Listing>>();
  readonly #holders = new Holders();

  get(key: string): Listing | undefined {
    return this.#listings.get(key);
  }

  get size(): number {
    return this.#listings.size;
  }

  /** One for each key; those that nobody stands for are kept too. */
  listings(): Iterable<Listing> {
    return this.#listings.values();
  }

  /** All of them, and those that were replaced. */
  *releases(): Iterable<Listing> {
    yield* this.#listings.values();
    for (const replaced of this.#replaced.values()) yield* replaced.values();
  }

  /** The release at a path, of a manifest or an alias. */
  at(path: string): Listing | undefined {
    return this.#listings.get(this.#holders.at(path) ?? "");
  }

  /** Others that have a path, be they there or not. */
  claimants(path: string, but: string): Listing[] {
    return [...this.#holders.claimants(path)].flatMap((key) => (key === but ? [] : [this.#listings.get(key)!]));
  }

  isOnOffer(key: string): boolean {
    return this.#holders.isOnOffer(key);
  }

  image(digest: string): WantedImage | undefined {
    return this.#images.get(digest);
  }

  images(): Iterable<WantedImage> {
    return this.#images.values();
  }

  /** Whether the release of a key has it, on offer or not. */
  isCurrent(digest: string): boolean {
    return this.having(digest).some((listing) => this.#isCurrent(listing));
  }

  #isCurrent(listing: Listing): boolean {
    return this.#listings.get(listing.release.key) === listing;
  }

  /** Releases that have an image, whoever stands for them. */
  having(digest: string): Listing[] {
    return [...(this.#having.get(digest) ?? [])];
  }

  stands(listing: Listing): boolean {
    return this.#standing.has(listing);
  }

  /** Releases on offer that have an image. */
  offering(digest: string): Listing[] {
    return this.having(digest).filter((listing) => this.#isCurrent(listing) && this.isOnOffer(listing.release.key));
  }

  /** Whether a release on offer has this image for devices of a class. */
  isOffered(digest: string, classId: string): boolean {
    return this.manifestOf(digest, classId) !== undefined;
  }

  /** Where a manifest is on offer that has this image: that of a class, if it is known. */
  manifestOf(digest: string, classId: string | undefined): readonly string[] | undefined {
    for (const { release } of this.offering(digest))
      for (const [i, path] of manifestPaths(release).entries())
        if (this.#holders.at(path.join("/")) === release.key && isOf(release.classIds[i]!, classId)) return path;
    return undefined;
  }

  /** Puts a listing in the place of the one by its key; what changed at which paths. */
  put(listing: Listing, stands: boolean): Map<string, Change> {
    const { key, sequenceNumber } = listing.release;
    const before = this.#listings.get(key);
    this.#listings.set(key, listing);
    if (before !== undefined && isReplaced(before, listing)) this.#keep(asReplaced(before), this.stands(before));
    if (before !== undefined) this.#drop(before);
    for (const image of listing.images) this.putImage(image);
    this.#take(listing, stands);
    const manifests = manifestPaths(listing.release).map((path) => path.join("/"));
    const changes = this.#holders.set(key, { sequenceNumber, manifests, alias: listing.alias, stands });
    // What is at a path that it has had is another one now.
    for (const path of [...manifests, listing.alias])
      if (path !== undefined && !changes.has(path) && this.#holders.at(path) === key)
        changes.set(path, { before: key, after: key });
    return changes;
  }

  /** One that was replaced before the restart; false where none of its images is here any more. */
  putReplaced(listing: Listing, stands: boolean): boolean {
    if (!listing.images.some(({ digest }) => this.#images.has(digest))) return false;
    // Its size is signed, and where it comes from is in a record that fits it.
    for (const image of listing.images)
      if (this.#images.has(image.digest) && (image.content !== undefined || !this.isCurrent(image.digest)))
        this.putImage(image);
    const { key, sequenceNumber } = listing.release;
    if (this.#replaced.get(key)?.has(sequenceNumber) !== true) this.#keep(listing, stands);
    return true;
  }

  #keep(listing: Listing, stands: boolean): void {
    const { key, sequenceNumber } = listing.release;
    this.#replaced.set(key, (this.#replaced.get(key) ?? new Map()).set(sequenceNumber, listing));
    this.#take(listing, stands);
  }

  #take(listing: Listing, stands: boolean): void {
    if (stands) this.#standing.add(listing);
    for (const { digest } of listing.images)
      this.#having.set(digest, (this.#having.get(digest) ?? new Set()).add(listing));
  }

  /** It is no more, and nor are images that no other one has. */
  #drop(listing: Listing): string[] {
    const { key, sequenceNumber } = listing.release;
    if (this.#replaced.get(key)?.get(sequenceNumber) === listing) this.#replaced.get(key)!.delete(sequenceNumber);
    this.#standing.delete(listing);
    const forgotten: string[] = [];
    for (const { digest } of listing.images) {
      const having = this.#having.get(digest);
      having?.delete(listing);
      if (having?.size !== 0) continue;
      this.#having.delete(digest);
      this.#images.delete(digest);
      forgotten.push(digest);
    }
    return forgotten;
  }

  /** Somebody stands for a release again, or nobody does any more. */
  judge(listing: Listing, stands: boolean): Map<string, Change> {
    if (stands) this.#standing.add(listing);
    else this.#standing.delete(listing);
    return this.#isCurrent(listing) ? this.#holders.judge(listing.release.key, stands) : new Map();
  }

  /** Of more than some replaced releases the oldest go, but for those that have an image that is needed. */
  trim(key: string, isNeeded: (digest: string) => boolean): Forgotten {
    const held = new Set(this.#listings.get(key)?.images.map(({ digest }) => digest));
    const byAge = [...(this.#replaced.get(key)?.values() ?? [])].toSorted(
      (a, b) => b.release.sequenceNumber - a.release.sequenceNumber,
    );
    const gone = byAge.filter(({ images }, i) => {
      const isKept =
        i < GATEWAY_LIMITS.maxReplaced || images.some(({ digest }) => !held.has(digest) && isNeeded(digest));
      if (isKept) for (const { digest } of images) held.add(digest);
      return !isKept;
    });
    return { releases: gone, images: gone.flatMap((listing) => this.#drop(listing)) };
  }

  putImage(image: WantedImage): void {
    // Bytes that one release brings along are there for another that says where they could be fetched.
    const content = image.content ?? this.#images.get(image.digest)?.content;
    this.#images.set(image.digest, { ...image, content });
  }

  /** An image is not here any more, and nor are replaced releases that had no other. */
  forgetImage(digest: string): Forgotten {
    this.#images.delete(digest);
    const gone = this.having(digest).filter(
      (listing) => !this.#isCurrent(listing) && !listing.images.some((image) => this.#images.has(image.digest)),
    );
    for (const listing of gone) this.#drop(listing);
    return { releases: gone, images: [digest] };
  }
}

const isOf = (id: Uint8Array, classId: string | undefined): boolean => classId === undefined || toHex(id) === classId;

/** Classes whose devices fetch an image of a release. */
export const classesOf = ({ release }: Listing, digest: string): string[] =>
  release.images.find((one) => toHex(one.digest) === digest)?.classIds.map(toHex) ?? [];

/** What is kept of one that another took the place of. */
export const asReplaced = (listing: Listing): Listing => ({ ...listing, tables: new Map(), alias: undefined });

/** Not so where the same manifest comes back under another signature. */
export const isReplaced = (before: Listing, after: Listing): boolean =>
  before.release.sequenceNumber !== after.release.sequenceNumber;

/**
 * Where the images of a release come from: `sources` by digest, or a URI of the manifest that is absolute. An author who
 * names a file means one of his own machine.
 */
export function imagesOf(release: Release, sources: ReadonlyMap<string, string>): WantedImage[] {
  return release.images.map(({ digest, size, uri, content }) => {
    const hex = toHex(digest);
    const signed = /^(?!file:)[a-z][a-z0-9+.-]*:/i.test(uri) ? uri : undefined;
    return { digest: hex, size, uri: sources.get(hex) ?? signed, content };
  });
}

import type { WantedImage } from "../image/image-fetch.ts";
import { isSameKey, type KeyRecord } from "../lifecycle/classes.ts";
import type { Release } from "../suit/release.ts";
import { toBase64Url, toHex } from "../util/bytes.ts";
import { Holders, type Change } from "./holders.ts";

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

/** `/t/<class>/<epoch>`: what hands devices of a class over to new authorities,, one after the other. */
export const transferPath = (classId: Uint8Array, epoch: number): string[] => ["t", toBase64Url(classId), `${epoch}`];

/** Where the manifest of a release is served: at a path of each class. */
export function manifestPaths(release: Release): string[][] {
  return release.classIds.map((classId) => manifestPath(classId, componentOf(release)));
}

export const componentOf = (release: Release): string => release.key.split("/")[2]!;

/** What is remembered of an image when its releases were replaced: who stood for it then, and for which classes it was. */
export interface ImageFacts {
  readonly vouchers: readonly KeyRecord[];
  readonly classes: readonly string[];
}

const NO_FACTS: ImageFacts = { vouchers: [], classes: [] };

/** What a catalogue asks about trust. */
export interface CatalogueParts {
  /** Whoever signed a release and whose word counts now. `again`: some may have become authorities since it was read. */
  readonly vouchersOf: (release: Release, again: boolean) => readonly KeyRecord[];
  /** Whether an image is kept whatever becomes of its release: a recovery image is. */
  readonly isKept: (digest: string) => boolean;
}

/** What becomes of the images of a listing when another one takes its place. */
export interface LeftBehind {
  readonly kept: ReadonlyMap<string, ImageFacts>;
  readonly forgotten: readonly string[];
}

/** The releases by their keys (vendor, class, component), what is on offer of them, and every image that may be served. */
export class Catalogue {
  readonly #parts: CatalogueParts;
  readonly #listings = new Map<string, Listing>();
  readonly #images = new Map<string, WantedImage>();
  readonly #facts = new Map<string, ImageFacts>();
  /** Keys of the listings that have an image. */
  readonly #having = new Map<string, Set<string>>();
  readonly #holders = new Holders();

  constructor(parts: CatalogueParts) {
    this.#parts = parts;
  }

  get(key: string): Listing | undefined {
    return this.#listings.get(key);
  }

  get size(): number {
    return this.#listings.size;
  }

  /** All of them; those that nobody stands for are kept too. */
  listings(): Iterable<Listing> {
    return this.#listings.values();
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

  /** Whether a listing has it, on offer or not. */
  isCurrent(digest: string): boolean {
    return this.#having.has(digest);
  }

  /** Releases on offer that have an image. */
  offering(digest: string): Listing[] {
    return [...(this.#having.get(digest) ?? [])].flatMap((key) =>
      this.isOnOffer(key) ? [this.#listings.get(key)!] : [],
    );
  }

  /** Whether a release on offer has this image for devices of a class. */
  isOffered(digest: string, classId: string): boolean {
    return this.#places(digest).some((place) => place.classId === classId);
  }

  /** Whether a release that is on offer to nobody is the one that has this image for a class now. */
  isWithdrawn(digest: string, classId: string): boolean {
    const listings = [...(this.#having.get(digest) ?? [])].map((key) => this.#listings.get(key)!);
    const having = listings.filter((listing) => classesOf(listing, digest).includes(classId));
    return having.length > 0 && having.every(({ release }) => !this.isOnOffer(release.key));
  }

  /** Where a manifest is on offer that has this image: that of a class, if it is known and has one. */
  manifestOf(digest: string, classId: string | undefined): readonly string[] | undefined {
    const places = this.#places(digest);
    return (places.find((place) => place.classId === classId) ?? places[0])?.path;
  }

  #places(digest: string): { readonly classId: string; readonly path: readonly string[] }[] {
    return this.offering(digest).flatMap(({ release }) =>
      manifestPaths(release).flatMap((path, i) =>
        this.#holders.at(path.join("/")) === release.key ? [{ classId: toHex(release.classIds[i]!), path }] : [],
      ),
    );
  }

  /** Puts a listing in the place of the one by its key; what changed at which paths. */
  put(listing: Listing, stands: boolean): Map<string, Change> {
    const { key, sequenceNumber } = listing.release;
    const { kept, forgotten } = this.leftBehind(listing);
    for (const { digest } of this.#listings.get(key)?.images ?? []) {
      const keys = this.#having.get(digest);
      keys?.delete(key);
      if (keys?.size === 0) this.#having.delete(digest);
    }
    for (const [digest, facts] of kept) this.#facts.set(digest, facts);
    for (const digest of forgotten) this.forgetImage(digest);
    this.#listings.set(key, listing);
    for (const image of listing.images) {
      this.putImage(image, this.factsOf(listing, image.digest));
      this.#having.set(image.digest, (this.#having.get(image.digest) ?? new Set()).add(key));
    }
    const manifests = manifestPaths(listing.release).map((path) => path.join("/"));
    const changes = this.#holders.set(key, { sequenceNumber, manifests, alias: listing.alias, stands });
    // What is at a path that it has had is another one now.
    for (const path of [...manifests, listing.alias])
      if (path !== undefined && !changes.has(path) && this.#holders.at(path) === key)
        changes.set(path, { before: key, after: key });
    return changes;
  }

  /** Somebody stands for a release again, or nobody does any more. */
  judge(key: string, stands: boolean): Map<string, Change> {
    return this.#holders.judge(key, stands);
  }

  /**
   * Of a release that was on offer the images stay: whoever has begun may end, and a rollout may go back. Of one that
   * nobody stood for nothing stays.
   */
  leftBehind({ release, images }: Listing): LeftBehind {
    const kept = new Map<string, ImageFacts>();
    const forgotten: string[] = [];
    const before = this.#listings.get(release.key);
    const left = before?.images.filter(({ digest }) => !images.some((image) => image.digest === digest)) ?? [];
    const isOnOffer = this.isOnOffer(release.key);
    const vouchers = isOnOffer && left.length > 0 ? this.#parts.vouchersOf(before!.release, true) : [];
    for (const { digest } of left) {
      const isElsewhere = this.#having.get(digest)!.size > 1;
      if (isOnOffer) kept.set(digest, this.factsWith(digest, { vouchers, classes: classesOf(before!, digest) }));
      else if (!isElsewhere && !this.#parts.isKept(digest)) {
        // What other classes had it for does not go with this one.
        const { vouchers: others, classes } = this.factsWith(digest);
        const own = new Set(before!.release.classIds.map(toHex));
        const rest = classes.filter((id) => !own.has(id));
        if (rest.length > 0) kept.set(digest, { vouchers: others, classes: rest });
        else forgotten.push(digest);
      }
    }
    return { kept, forgotten };
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

  /** What a listing says of one of its images. */
  factsOf(listing: Listing, digest: string): ImageFacts {
    return { vouchers: this.#parts.vouchersOf(listing.release, false), classes: classesOf(listing, digest) };
  }

  /** Whether an image is one that nobody offers, and that nobody whose word counts has ever stood for. */
  isForsaken(digest: string, counts: (key: KeyRecord, classes: readonly string[]) => boolean): boolean {
    if (this.offering(digest).length > 0) return false;
    if (this.isCurrent(digest)) return true; // withdrawn
    const { vouchers, classes } = this.factsWith(digest);
    return vouchers.length > 0 && !vouchers.some((key) => counts(key, classes));
  }

  forgetImage(digest: string): void {
    this.#images.delete(digest);
    this.#facts.delete(digest);
  }
}

const classesOf = ({ release }: Listing, digest: string): string[] =>
  release.images.find((one) => toHex(one.digest) === digest)?.classIds.map(toHex) ?? [];

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

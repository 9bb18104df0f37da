import type { WantedImage } from "../image/image-fetch.ts";
import { distinctImages, type Release } from "../suit/release.ts";
import { bytesEqual, toBase64Url, toHex } from "../util/bytes.ts";
import { Holders, type Change } from "./holders.ts";
import { classesOf, type Listing } from "./listing.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import { superfluous, type Kept } from "./retention.ts";

export { classesOf, type Listing } from "./listing.ts";

/** `/i/<id>`: 48 bits of the image's digest, short enough for a frame of 802.15.4. */
export const imagePath = (digest: Uint8Array): string[] => ["i", toBase64Url(digest.subarray(0, 6))];

/** `/m/<class>`, and the component behind it when it is not the only one of its class. */
export function manifestPath(classId: Uint8Array, componentId: string): string[] {
  return componentId === "00" ? ["m", toBase64Url(classId)] : ["m", toBase64Url(classId), componentId];
}

/**
 * `/r/<class>/<id>`: the manifest by which devices of a class come to have an image. At the path of the class another may
 * be by the time that they ask.
 */
export const releasePath = (classId: Uint8Array, digest: Uint8Array): string[] => [
  "r",
  toBase64Url(classId),
  toBase64Url(digest.subarray(0, 6)),
];

/** `/s/<id>`: the signed table of an image's sectors. */
export const sectorTablePath = (digest: Uint8Array): string[] => ["s", toBase64Url(digest.subarray(0, 6))];

/** `/t/<class>/<epoch>`: what hands devices of a class over to new authorities, one after the other. */
export const transferPath = (classId: Uint8Array, epoch: number): string[] => ["t", toBase64Url(classId), `${epoch}`];

/** Where the manifest of a release is served: at a path of each class. */
export function manifestPaths(release: Release): string[][] {
  return release.classIds.map((classId) => manifestPath(classId, componentOf(release)));
}

export const componentOf = (release: Release): string => release.key.split("/")[2]!;

type KeptLimits = Readonly<Record<"maxReplaced" | "maxReplacedBytes" | "maxKeptBytes", number>>;

/** The releases by their keys (vendor, class, component), what is on offer of them, and the images that they have. */
export class Catalogue {
  readonly #listings = new Map<string, Listing>();
  /** Releases that others took the place of, by key and number: whoever has begun may end, and a rollout may go back. */
  readonly #replaced = new Map<string, Map<number, Listing>>();
  #replacedBytes = 0;
  readonly #limits: KeptLimits;
  /** Those that somebody stands for, replaced ones too. */
  readonly #standing = new Set<Listing>();
  /** Releases that have an image, replaced ones too. */
  readonly #having = new Map<string, Set<Listing>>();
  /** Images as `image` found them last. */
  readonly #found = new Map<string, WantedImage>();
  readonly #holders = new Holders();

  constructor(limits: KeptLimits = GATEWAY_LIMITS) {
    this.#limits = limits;
  }

  /** Whether there is room for what another release takes the place of. */
  get hasRoom(): boolean {
    return this.#replacedBytes < this.#limits.maxKeptBytes;
  }

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

  /** An image as those that have it say together: where it comes from, unless one of them brings its bytes along. */
  image(digest: string): WantedImage | undefined {
    const known = this.#found.get(digest);
    if (known !== undefined) return known;
    const images = this.having(digest).flatMap((listing) => listing.images.filter((image) => image.digest === digest));
    const found =
      images.find(({ content }) => content !== undefined) ?? images.find(({ uri }) => uri !== undefined) ?? images[0];
    if (found !== undefined) this.#found.set(digest, found);
    return found;
  }

  /** Whether it is an image that runs, and no patch. */
  runs(digest: string): boolean {
    return this.having(digest).some(({ release }) =>
      distinctImages(release).some((one) => toHex(one.digest) === digest),
    );
  }

  /** Digests of all of them. */
  images(): Iterable<string> {
    return this.#having.keys();
  }

  /** Whether the release of a key has it, on offer or not. */
  isCurrent(digest: string): boolean {
    return this.having(digest).some((listing) => this.#isCurrent(listing));
  }

  #isCurrent(listing: Listing): boolean {
    return this.#listings.get(listing.release.key) === listing;
  }

  /** Releases that have an image, whoever stands for them: the current ones first, and of those the latest. */
  having(digest: string): Listing[] {
    const rank = (listing: Listing): number => Number(this.#isCurrent(listing));
    return [...(this.#having.get(digest) ?? [])].toSorted((a, b) => rank(b) - rank(a) || byAge(a, b));
  }

  stands(listing: Listing): boolean {
    return this.#standing.has(listing);
  }

  /** Releases on offer that have an image. */
  offering(digest: string): Listing[] {
    return this.having(digest).filter((listing) => this.#isCurrent(listing) && this.isOnOffer(listing.release.key));
  }

  /** Whether a release is on offer to a class with this image, be it for its devices or for others. */
  isOffered(digest: string, classId: string): boolean {
    return this.offering(digest).some(({ release }) =>
      release.classes.some((id, i) => {
        const path = manifestPaths(release)[i]!.join("/");
        return id === classId && this.#holders.at(path) === release.key;
      }),
    );
  }

  /** Whether devices of a class come to have an image by a release that has another one for them as well. */
  comesWith(digest: string, other: string, classId: string): boolean {
    const hasBoth = (listing: Listing): boolean =>
      this.stands(listing) && [digest, other].every((one) => classesOf(listing, one).includes(classId));
    return [...(this.#having.get(other) ?? [])].some(hasBoth);
  }

  /** Others whose place a release takes at each of their paths: it is for all of their classes, and later. */
  overtakenBy(release: Release): Listing[] {
    const keys = new Set<string>();
    for (const path of manifestPaths(release)) for (const key of this.#holders.claimants(path.join("/"))) keys.add(key);
    keys.delete(release.key);
    const isEarlier = ({ release: other }: Listing): boolean =>
      other.sequenceNumber < release.sequenceNumber && isForAllOf(release, other);
    return [...keys].map((key) => this.#listings.get(key)!).filter(isEarlier);
  }

  /** Puts a listing in the place of the one by its key, and of those that it overtakes; what changed at which paths. */
  put(listing: Listing, stands: boolean): Map<string, Change> {
    const { key, sequenceNumber } = listing.release;
    const before = this.#listings.get(key);
    this.#listings.set(key, listing);
    this.#take(listing, stands);
    if (before !== undefined && isReplaced(before, listing)) this.#keep(asReplaced(before), this.stands(before));
    if (before !== undefined) this.#drop(before);
    const manifests = manifestPaths(listing.release).map((path) => path.join("/"));
    const changes = this.#holders.set(key, { sequenceNumber, manifests, alias: listing.alias, stands });
    for (const other of stands ? this.overtakenBy(listing.release) : []) {
      this.#listings.delete(other.release.key);
      this.#keep(asReplaced(other), this.stands(other));
      this.#drop(other);
      for (const [path, change] of this.#holders.remove(other.release.key))
        if (!changes.has(path)) changes.set(path, change);
    }
    // What is at a path that it has had is another one now.
    for (const path of [...manifests, listing.alias])
      if (path !== undefined && !changes.has(path) && this.#holders.at(path) === key)
        changes.set(path, { before: key, after: key });
    return changes;
  }

  /** One that was replaced before the restart. */
  putReplaced(listing: Listing, stands: boolean): void {
    const { key, sequenceNumber } = listing.release;
    const current = this.#listings.get(key);
    const isThere = current !== undefined && !isReplaced(current, listing);
    if (!isThere && this.#replaced.get(key)?.has(sequenceNumber) !== true) this.#keep(listing, stands);
  }

  #keep(listing: Listing, stands: boolean): void {
    const { key, sequenceNumber } = listing.release;
    this.#replaced.set(key, (this.#replaced.get(key) ?? new Map()).set(sequenceNumber, listing));
    this.#replacedBytes += bytesOf(listing);
    this.#take(listing, stands);
  }

  #take(listing: Listing, stands: boolean): void {
    if (stands) this.#standing.add(listing);
    for (const { digest } of listing.images) {
      this.#having.set(digest, (this.#having.get(digest) ?? new Set()).add(listing));
      this.#found.delete(digest);
    }
  }

  #drop(listing: Listing): void {
    const { key, sequenceNumber } = listing.release;
    const replaced = this.#replaced.get(key);
    if (replaced?.get(sequenceNumber) === listing) {
      replaced.delete(sequenceNumber);
      this.#replacedBytes -= bytesOf(listing);
    }
    if (replaced?.size === 0) this.#replaced.delete(key);
    this.#standing.delete(listing);
    for (const { digest } of listing.images) {
      const having = this.#having.get(digest);
      having?.delete(listing);
      if (having?.size === 0) this.#having.delete(digest);
      this.#found.delete(digest);
    }
  }

  /** Somebody stands for a release again, or nobody does any more. */
  judge(listing: Listing, stands: boolean): Map<string, Change> {
    if (stands) this.#standing.add(listing);
    else this.#standing.delete(listing);
    return this.#isCurrent(listing) ? this.#holders.judge(listing.release.key, stands) : new Map();
  }

  /** Keys that have releases which were replaced. */
  replacedKeys(): string[] {
    return [...this.#replaced.keys()];
  }

  /** Releases that others took the place of, by their key or at each of their paths, and that somebody stands for. */
  replaced(): Listing[] {
    const isOnOffer = (listing: Listing): boolean => this.#isCurrent(listing) && this.isOnOffer(listing.release.key);
    const isReplacedOne = (listing: Listing): boolean => !isOnOffer(listing) && this.stands(listing);
    return [...this.releases()].filter(isReplacedOne).toSorted(byAge);
  }

  /** Of more than some replaced releases those go that nobody needs, and that are the last ones for nobody. Those that went. */
  trim(key: string, needOf: Kept["needOf"], deedsOf: Kept["deedsOf"]): Listing[] {
    const { maxReplaced, maxReplacedBytes } = this.#limits;
    const replaced = [...(this.#replaced.get(key)?.values() ?? [])].toSorted(byAge);
    const stands = this.stands.bind(this);
    const last = !this.hasRoom ? 0 : this.#replacedBytes > maxReplacedBytes ? 1 : maxReplaced;
    const gone = superfluous({ current: this.#listings.get(key), replaced, stands, needOf, deedsOf, last });
    for (const listing of gone) this.#drop(listing);
    return gone;
  }

  /** An image is on the disk no longer: replaced releases that do not bring it along go. Those that went. */
  evict(digest: string): Listing[] {
    const needsDisk = ({ images }: Listing): boolean =>
      images.some((image) => image.digest === digest && image.content === undefined);
    const gone = this.having(digest).filter((listing) => !this.#isCurrent(listing) && needsDisk(listing));
    for (const listing of gone) this.#drop(listing);
    return gone;
  }
}

/** Its envelope, and about what is made of it. */
const bytesOf = ({ release }: Listing): number => release.envelope.length + 7_000;

/** The latest first; of equal ones not the one that came first, but always the same. */
const byAge = ({ release: a }: Listing, { release: b }: Listing): number =>
  b.sequenceNumber - a.sequenceNumber || (a.key < b.key ? -1 : 1);

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

/** Whether a release is for all classes of the other one, and the same component: their devices take it in its place. */
export const isForAllOf = (release: Release, other: Release): boolean =>
  componentOf(release) === componentOf(other) &&
  other.classIds.every((id) => release.classIds.some((one) => bytesEqual(id, one)));

/** An alias may go from either to the other, when somebody stands for one of them only. */
export const isForTheSame = (release: Release, other: Release): boolean =>
  isForAllOf(release, other) && isForAllOf(other, release);

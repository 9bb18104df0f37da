import { parsePath, type Path } from "../lwm2m/path.ts";
import type { Component, Method } from "../lwm2m/update/job.ts";
import { toHex } from "../util/bytes.ts";
import { distinctImages, type ReleaseImage } from "../suit/release.ts";
import { componentOf as componentIdOf, imagePath, type Listing } from "./catalogue.ts";

/** What an operator says of one component of a client that is to be updated. */
export interface ComponentInput {
  /** Key, digest (or its beginning), path, alias or version of a published image. */
  readonly image: string;
  /** What the version resource has to read afterwards; the release's version when absent. */
  readonly version?: string | undefined;
  /** `/5/0`, or an instance of 33629. */
  readonly object: string;
  readonly versionPath?: string | undefined;
}

/** What an operator may mean. */
export interface Nameable {
  /** Releases on offer. */
  readonly listings: readonly Listing[];
  /** Replaced ones that somebody stands for, the latest first: meant where none on offer is, since a rollout may go back. */
  readonly replaced: readonly Listing[];
}

/**
 * The component that is meant, or what is wrong with it. A client that does not read manifests cannot choose among the
 * images of a release, so the operator names one of them; only by the SUIT trigger the manifest chooses.
 */
export function updateTarget(
  { listings, replaced }: Nameable,
  given: ComponentInput,
  methods: readonly Method[],
): Component | string {
  const { image } = given;
  const offered = meant(listings, image);
  const found = offered.length > 0 ? offered : meantOf(replaced, image);
  const [first, ...others] = found;
  if (first === undefined) return `no published image is ${image}: see blockferry images`;
  const { listing, named } = first;
  if (others.length > 0) {
    // A key is of what is on offer.
    const names = found.map((one) =>
      offered.length > 0 ? one.listing.release.key : shortOf(distinctImages(one.listing.release)[0]!),
    );
    return `${image} may be ${names.join(", ")}: write one of these, or more of its digest`;
  }
  const images = distinctImages(listing.release);
  const triggered = methods.every((method) => method === "trigger");
  const wanted = named.length === 0 ? images : named;
  if (wanted.length > 1 && !(triggered && named.length === 0))
    return `${image} has ${images.length} images, for other classes, slots or components: write the digest of the one that this client runs (${images.map(shortOf).join(", ")}), or leave the choice to its manifest with the method trigger`;
  const one = wanted[0]!;
  if (one.encrypted && !triggered)
    return `${shortOf(one)} is encrypted, and only a device that reads its manifest can decrypt it: use the method trigger`;
  return componentOf(listing, one, given);
}

/**
 * What an operator should know who goes back to an image that another release has taken the place of: devices that look at
 * sequence numbers take none that is not higher (draft -37 section 6.3).
 */
export function wentBack({ listings, replaced }: Nameable, digest: string): string | undefined {
  const has = ({ images }: Listing): boolean => images.some((image) => image.digest === digest);
  const latestFor = (classId: string, component: string): Listing | undefined =>
    listings
      .filter(({ release }) => release.classes.includes(classId) && componentIdOf(release) === component)
      .toSorted((one, other) => other.release.sequenceNumber - one.release.sequenceNumber)[0];
  for (const { release } of [...listings, ...replaced].filter(has))
    for (const classId of release.classes) {
      const latest = latestFor(classId, componentIdOf(release));
      if (latest === undefined || has(latest) || latest.release.sequenceNumber <= release.sequenceNumber) continue;
      const now = latest.release.sequenceNumber;
      return `image ${digest.slice(0, 12)} is of number ${release.sequenceNumber} for class ${classId}, and ${now} is on offer there: devices that read manifests refuse to go back to it; for them sign it again, with a number above ${now}`;
    }
  return undefined;
}

/** A release that may be meant, and which of its images are, where the name is of some. */
interface Meant {
  readonly listing: Listing;
  readonly named: readonly ReleaseImage[];
}

function meant(listings: readonly Listing[], name: string): Meant[] {
  const all = listings.map((listing) => ({
    listing,
    named: distinctImages(listing.release).filter((one) => isImage(one, name)),
  }));
  const isKey = ({ listing: { release, alias } }: Meant): boolean => release.key === name || alias === bare(name);
  const exact = all.filter((one) => isKey(one) || one.named.length > 0);
  return exact.length > 0 ? exact : all.filter(({ listing: { release } }) => release.version === name);
}

/** The latest of those with the same images: a key is of what is on offer. */
function meantOf(replaced: readonly Listing[], name: string): Meant[] {
  const found = meant(replaced, name).filter(({ listing: { release } }) => release.key !== name);
  const idOf = ({ listing, named }: Meant): string => {
    const images = named.length > 0 ? named : distinctImages(listing.release);
    return [listing.release.key, ...images.map(({ digest }) => toHex(digest))].join(" ");
  };
  return found.filter((one, i) => found.findIndex((other) => idOf(other) === idOf(one)) === i);
}

const bare = (text: string): string => text.replace(/^\//, "");
const shortOf = ({ digest }: ReleaseImage): string => toHex(digest).slice(0, 12);

/** By its digest or the beginning of that, or by its path as `blockferry images` prints it. */
function isImage({ digest }: ReleaseImage, name: string): boolean {
  const path = imagePath(digest);
  return toHex(digest).startsWith(name.toLowerCase()) || [path.join("/"), path.at(-1)].includes(bare(name));
}

function componentOf({ release }: Listing, image: ReleaseImage, given: ComponentInput): Component | string {
  const version = given.version ?? release.version;
  if (version === undefined)
    return `the manifest of ${release.key} has no version: say with --expect what the device is to read afterwards`;
  const object = parsePath(given.object)!;
  if (object.length !== 2) return `${given.object} is no object instance such as /5/0`;
  const versionPath: Path | undefined = given.versionPath === undefined ? undefined : parsePath(given.versionPath);
  return { object, digest: toHex(image.digest), size: image.size, version, versionPath };
}

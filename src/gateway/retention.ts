import { isSameKey } from "../codec/cose.ts";
import type { Deeds } from "../lifecycle/admission.ts";
import { bytesEqual } from "../util/bytes.ts";
import { classesOf, type Listing } from "./listing.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

/** Who needs an image: an operator, by a recovery image, a rollout or an update, or a device that has begun to fetch it. */
export type Need = "ordered" | "begun";

export interface Kept {
  readonly current: Listing | undefined;
  /** Releases of the same key that others took the place of, the latest first. */
  readonly replaced: readonly Listing[];
  readonly stands: (listing: Listing) => boolean;
  readonly needOf: (digest: string) => Need | undefined;
  /** What a release does that takes a right; undefined where nobody can say. */
  readonly deedsOf: (listing: Listing) => Deeds | undefined;
  /** So many stay whoever needs them. */
  readonly last: number;
}

/**
 * Replaced releases that go. Besides the last ones those stay that are the last for some class, and of those with an image
 * that is needed the last ones for each of their classes that are as good. What operators need has its place whatever
 * devices have begun.
 */
export function superfluous({ current, replaced, stands, needOf, deedsOf, last }: Kept): Listing[] {
  const { maxReplaced, maxReplacedBegun, maxReplacedOrdered } = GATEWAY_LIMITS;
  const kept: Listing[] = [];
  /** Classes for which one is kept that stands. */
  const covered = new Set<string>();
  const keep = (listing: Listing): void => {
    kept.push(listing);
    if (stands(listing)) for (const id of listing.release.classes) covered.add(id);
  };
  if (current !== undefined) keep(current);
  const gone: Listing[] = [];
  let [ordered, begun] = [0, 0];
  for (const [i, listing] of replaced.entries()) {
    const { classes } = listing.release;
    const isLast = i < last || (stands(listing) && classes.some((id) => !covered.has(id)));
    const isAlike = (other: Listing): boolean =>
      (stands(other) || !stands(listing)) && isAsGood(other, listing) && isWithin(deedsOf(other), deedsOf(listing));
    const needed = isLast ? [] : listing.images.filter(({ digest }) => needOf(digest) !== undefined);
    const alike = needed.length === 0 ? [] : kept.filter(isAlike);
    const isFew = (digest: string): boolean =>
      classes.some((id) => alike.filter((other) => gives(other, listing, digest, id)).length < maxReplaced);
    const needs = new Set(needed.filter(({ digest }) => isFew(digest)).map(({ digest }) => needOf(digest)));
    const isOrdered = needs.has("ordered") && ordered < maxReplacedOrdered;
    const isBegun = !isOrdered && needs.has("begun") && begun < maxReplacedBegun;
    if (isOrdered) ordered++;
    if (isBegun) begun++;
    if (isLast || isOrdered || isBegun) keep(listing);
    else gone.push(listing);
  }
  return gone;
}

const isWithin = (some: Deeds | undefined, all: Deeds | undefined): boolean =>
  some !== undefined && all !== undefined && [...some.keys()].every((one) => all.has(one));

/** Whether devices of a class get an image by one release as by another. */
function gives(other: Listing, listing: Listing, digest: string, classId: string): boolean {
  const [device, only] = [listing.release.deviceOf.get(classId), other.release.deviceOf.get(classId)];
  if (only !== undefined && (device === undefined || !bytesEqual(only, device))) return false;
  // Those that read no manifest get only what is for their class.
  const isTheirs = classesOf(listing, digest).includes(classId);
  return isTheirs ? classesOf(other, digest).includes(classId) : other.images.some((image) => image.digest === digest);
}

/**
 * Whether one stands, and is valid, whenever the other does and is, unless it does more: nothing can take it away that
 * leaves the other one.
 */
function isAsGood({ release: a }: Listing, { release: b }: Listing): boolean {
  const haveSame = a.signers.every((key) => b.signers.some((another) => isSameKey(key, another)));
  const isLonger = a.useBefore === undefined || (b.useBefore !== undefined && a.useBefore >= b.useBefore);
  return (
    isLonger &&
    haveSame &&
    a.signers.length === b.signers.length &&
    // What counts some day, or is another's say.
    !b.isSignedByOthers &&
    !a.depends &&
    a.dialect === b.dialect &&
    a.classes.every((id) => b.classes.includes(id))
  );
}

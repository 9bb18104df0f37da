import { isSameKey } from "../codec/cose.ts";
import { toHex } from "../util/bytes.ts";
import type { Listing } from "./listing.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

/** Who needs an image: an operator, by a recovery image, a rollout or an update, or a device that has begun to fetch it. */
export type Need = "ordered" | "begun";

export interface Kept {
  readonly current: Listing | undefined;
  /** Releases of the same key that others took the place of, the latest first. */
  readonly replaced: readonly Listing[];
  readonly stands: (listing: Listing) => boolean;
  readonly needOf: (digest: string) => Need | undefined;
  /** So many stay whoever needs them. */
  readonly last: number;
}

/**
 * Replaced releases that go. Besides the last ones those stay that are the last for some class, and of those with an image
 * that is needed the last ones for each of their classes, by the same signers. What operators need has its place whatever devices have begun.
 */
export function superfluous({ current, replaced, stands, needOf, last }: Kept): Listing[] {
  const { maxReplaced, maxReplacedBegun } = GATEWAY_LIMITS;
  const kept = current === undefined ? [] : [current];
  const gone: Listing[] = [];
  let begun = 0;
  for (const [i, listing] of replaced.entries()) {
    const classIds = classesIn(listing);
    const peers = kept.filter((other) => stands(other) || !stands(listing));
    const isLast = i < last || (stands(listing) && classIds.some((id) => !peers.some((other) => isFor(other, id))));
    // A key that is revoked may take all those away that it has signed.
    const alike = isLast ? [] : peers.filter((other) => hasSignersOf(other, listing));
    const isFew = (digest: string): boolean =>
      classIds.some((id) => alike.filter((other) => isFor(other, id) && has(other, digest)).length < maxReplaced);
    const missed = isLast ? [] : listing.images.filter(({ digest }) => isFew(digest));
    const needs = new Set(missed.map(({ digest }) => needOf(digest)));
    const isBegun = needs.has("begun") && begun < maxReplacedBegun;
    if (isLast || needs.has("ordered")) kept.push(listing);
    else if (isBegun) {
      kept.push(listing);
      begun++;
    } else gone.push(listing);
  }
  return gone;
}

const classesIn = ({ release }: Listing): string[] => release.classIds.map(toHex);

const isFor = (listing: Listing, classId: string): boolean => classesIn(listing).includes(classId);

const has = ({ images }: Listing, digest: string): boolean => images.some((image) => image.digest === digest);

const hasSignersOf = (other: Listing, { release }: Listing): boolean =>
  release.signers.every((key) => other.release.signers.some((another) => isSameKey(key, another)));

import type { Verifier } from "../codec/cose.ts";
import type { ImageCache } from "../image/image-cache.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import { TRANSFER_PREFIX, type TransferTable } from "../transfer/transfer-table.ts";
import { fromUtf8 } from "../util/bytes.ts";
import { FLOOR_PREFIX } from "./floors.ts";
import type { Publications } from "./publications.ts";
import { isReplaced, type Catalogue, type Listing } from "./catalogue.ts";
import { recoverListing, RELEASE_PREFIX, REPLACED_PREFIX, replacedOp, VALIDATOR_PREFIX } from "./listing-record.ts";

/** Records that earlier versions wrote of each image. */
const FORMER_IMAGE_PREFIX = "image/";

/** What is filled from the store after a restart. */
export interface RecoveryParts {
  readonly crypto: Crypto;
  readonly anchors: readonly Verifier[];
  readonly log: Log;
  readonly metrics: Metrics;
  readonly catalogue: Catalogue;
  readonly cache: ImageCache;
  readonly transfers: TransferTable;
  readonly publications: Publications;
  readonly storeLazily: (ops: readonly StoreOp[]) => void;
}

type Entries = Iterable<readonly [key: string, value: Uint8Array]>;

/** What the disk has of releases. */
export interface RecoveredReleases {
  /** To be offered again. */
  readonly listings: readonly Listing[];
  /** Others took their place. */
  readonly replaced: readonly Listing[];
}

/** Takes back what concerns images. A damaged record is logged, and only that is lost. */
export function recoverImages(parts: RecoveryParts, entries: Entries): RecoveredReleases {
  const { crypto, anchors, cache, transfers, publications } = parts;
  const { floors } = publications;
  const listings = new Map<string, Listing>();
  const replaced: Listing[] = [];
  const demoted: Listing[] = [];
  for (const [key, value] of entries) {
    if (key.startsWith(RELEASE_PREFIX) || key.startsWith(REPLACED_PREFIX)) {
      const listing = recoverListing(crypto, value, anchors);
      if (typeof listing === "string") tellDamaged(parts, key, listing);
      else if (key.startsWith(REPLACED_PREFIX)) replaced.push(listing);
      else demoted.push(...keepNewer(listings, listing));
    } else if (key.startsWith(FORMER_IMAGE_PREFIX)) parts.storeLazily([{ kind: "delete", key }]);
    else if (key.startsWith(FLOOR_PREFIX)) {
      if (!floors.recover(key, value)) tellDamaged(parts, key, "record-damaged");
    } else if (key.startsWith(VALIDATOR_PREFIX)) {
      cache.recoverValidator(key.slice(VALIDATOR_PREFIX.length), fromUtf8(value) ?? "");
    } else if (key.startsWith(TRANSFER_PREFIX) && !transfers.recover(key, value))
      tellDamaged(parts, key, "record-damaged");
  }
  for (const { release } of replaced) if (floors.raise(release)) parts.storeLazily(floors.ops(release));
  for (const listing of listings.values()) {
    const { release } = listing;
    if (floors.isStale(release)) {
      tellDamaged(parts, RELEASE_PREFIX + release.key, "older-sequence-number");
      listings.delete(release.key);
      demoted.push(listing);
    } else if (floors.raise(release)) parts.storeLazily(floors.ops(release)); // damaged, or from before there were any
  }
  if (demoted.length > 0) parts.storeLazily(demoted.map(replacedOp));
  return { listings: [...listings.values()], replaced: [...replaced, ...demoted] };
}

/** Whoever keeps records: undefined for one that is not its own, false for one that is damaged. */
export interface RecordOwner {
  recover(key: string, record: Uint8Array, nowUs: number): boolean | undefined;
}

/** Takes back what concerns devices; the images must be there by then. */
export function recoverDevices(
  parts: RecoveryParts,
  owners: readonly RecordOwner[],
  nowUs: number,
  entries: Entries,
): void {
  for (const [key, value] of entries)
    for (const owner of owners) {
      const taken = owner.recover(key, value, nowUs);
      if (taken === false) tellDamaged(parts, key, "record-damaged");
      if (taken !== undefined) break;
    }
}

/** Removes images that no record names, unless it is the records that are gone. */
export function removeStrays({ catalogue, cache, log, metrics }: RecoveryParts): void {
  const isKnown = (digest: string): boolean => catalogue.image(digest) !== undefined;
  if (catalogue.size > 0 || cache.diskBytes === 0) return cache.removeStrays(isKnown);
  // A store that lost its records is no reason to throw the images away as well.
  log.event("error", "store-lost-records", {
    reason: "there are images, but no record names one",
    bytes: cache.diskBytes,
  });
  metrics.count("store_lost_records");
}

export function tellDamaged(
  { log, metrics }: Pick<RecoveryParts, "log" | "metrics">,
  key: string,
  reason: string,
): void {
  log.event("warn", "record-not-recovered", { key, reason });
  metrics.count("records_not_recovered", reason);
}

/** A damaged store may bring an old record back beside the newer one: no release goes backwards. Those that were replaced. */
function keepNewer(listings: Map<string, Listing>, listing: Listing): Listing[] {
  const { key, sequenceNumber } = listing.release;
  const other = listings.get(key);
  if (other === undefined || other.release.sequenceNumber < sequenceNumber) {
    listings.set(key, listing);
    return other === undefined ? [] : [other];
  }
  return isReplaced(listing, other) ? [listing] : [];
}

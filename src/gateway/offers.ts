import type { Router } from "../coap/router.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { KeyRecord } from "../lifecycle/classes.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import type { Updates } from "../lwm2m/update/updates.ts";
import { fromHex, toHex } from "../util/bytes.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import { imagePath, manifestPaths, sectorTablePath, type Catalogue, type Listing } from "./catalogue.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import { manifestResource, type ServedImages } from "./resources.ts";

/** What may take away who stands for a release, or give it back. */
const JUDGED: ReadonlySet<string> = new Set([
  "key-revoked",
  "class-defined",
  "authority-added",
  "authority-transferred",
] satisfies LifecycleEvent["kind"][]);

const STOPPING: ReadonlySet<string> = new Set([...JUDGED, "device-quarantined", "device-decommissioned"]);

/** Whose word counts for what. */
interface Judge {
  /** Why nobody stands for a release any more. */
  standing(listing: Listing): Refusal | undefined;
  /** Whether nobody believes a key any more. */
  isDead(key: KeyRecord): boolean;
  /** Whether the signed table of an image's sectors is by a key that counts. */
  tableStands(listing: Listing, digest: string): boolean;
}

interface OfferParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly catalogue: Catalogue;
  readonly served: ServedImages;
  readonly router: Router;
  readonly desk: LifecycleDesk;
  readonly updates: () => Updates;
  /** Tells who observes a path that it has changed. */
  readonly notify: (nowUs: number, path: string) => void;
  readonly judge: Judge;
}

/** Releases on the air: their manifests and their images, for as long as somebody stands for them. */
export class Offers {
  readonly #parts: OfferParts;

  constructor(parts: OfferParts) {
    this.#parts = parts;
  }

  /** Puts a listing on the air in place of the one before. */
  offer(nowUs: number, listing: Listing): void {
    const { catalogue, served, crypto, router } = this.#parts;
    const before = catalogue.get(listing.release.key);
    if (before?.alias !== undefined && before.alias !== listing.alias) served.withdraw([before.alias]);
    catalogue.put(listing);
    for (const { digest } of listing.images) this.serveImage(digest);
    if (listing.alias !== undefined) served.serve([listing.alias], listing.images[0]!);
    const { release } = listing;
    const etag = crypto.sha256(release.envelope).subarray(0, 8);
    // Classes that it leaves out have no release by this key any more.
    const paths = new Set(manifestPaths(release).map((path) => path.join("/")));
    for (const path of before === undefined ? [] : manifestPaths(before.release))
      if (!paths.has(path.join("/"))) router.remove(path);
    for (const path of manifestPaths(release))
      router.add(path, manifestResource(release.envelope, etag, path.join("/")));
    for (const [digest, table] of listing.tables)
      if (this.#parts.judge.tableStands(listing, digest)) this.#serveTable(digest, table);
    this.#withdrawForsaken(nowUs, listing);
  }

  /** Whoever knows what it is for fetches it before the image; who does not, does without. */
  #serveTable(digest: string, table: Uint8Array): void {
    const { crypto, router } = this.#parts;
    const etag = crypto.sha256(table).subarray(0, 8);
    const body = { bytes: table, etag, contentFormat: ContentFormat.OCTET_STREAM };
    router.add(sectorTablePath(fromHex(digest)!), { get: () => ({ code: Code.CONTENT, body }) });
  }

  /** Also of a release that was replaced since: whoever has begun may end. Not of one that nobody stands for. */
  serveImage(digest: string): void {
    const { catalogue, served } = this.#parts;
    const image = catalogue.image(digest);
    const bytes = fromHex(digest);
    if (image === undefined || bytes === undefined || this.#isForsaken(digest)) return;
    served.serve(imagePath(bytes), image);
  }

  #isForsaken(digest: string): boolean {
    const { catalogue, judge } = this.#parts;
    return catalogue.isForsaken(digest, (key) => judge.isDead(key));
  }

  /** The lifecycle has changed: what nobody stands for is offered no longer, and held devices get no more. */
  review(nowUs: number, event: LifecycleEvent): void {
    const { catalogue } = this.#parts;
    const { kind } = event;
    if (JUDGED.has(kind)) {
      const classId = kind === "class-defined" ? event.definition.id : "classId" in event ? event.classId : undefined;
      for (const listing of catalogue.listings()) {
        if (classId !== undefined && !listing.release.classIds.some((id) => toHex(id) === classId)) continue;
        if (!catalogue.withdrawn.has(listing.release.key)) this.#withdrawForsaken(nowUs, listing);
        else if (this.#parts.judge.standing(listing) === undefined) this.offer(nowUs, listing);
        for (const digest of listing.tables.keys())
          if (!this.#parts.judge.tableStands(listing, digest))
            this.#parts.router.remove(sectorTablePath(fromHex(digest)!));
      }
      for (const { digest } of catalogue.images()) if (this.#isForsaken(digest)) this.#withdrawImage(digest);
    }
    if (STOPPING.has(kind)) this.sweep(nowUs);
  }

  /**
   * Why an LwM2M client may not be given an image. It reads no manifest, so what a device would look at there is looked
   * at here: who stands for it, class and expiry. `byManifest`: it reads one, and chooses among the images itself.
   */
  refusalToGive(unixMs: number, endpoint: string, digest: string, byManifest: boolean): Refusal | undefined {
    const { catalogue, desk } = this.#parts;
    if (!desk.mayHave("", endpoint, digest))
      return { reason: "quarantined", detail: `${endpoint} may have the current image or the recovery image only` };
    const device = desk.lifecycle.state.byEndpoint(endpoint);
    if (device !== undefined && desk.lifecycle.state.recovery.get(device.classId) === digest) return undefined;
    if (catalogue.image(digest) === undefined || this.#isForsaken(digest))
      return { reason: "release-withdrawn", detail: `image ${digest.slice(0, 12)} is on offer no longer` };
    // None: it was replaced since, and may be what a rollout goes on with, or back to.
    const releases = catalogue.offering(digest).map(({ release }) => release);
    const unixS = unixMs / 1_000;
    const valid = releases.filter(({ useBefore }) => useBefore === undefined || unixS < useBefore);
    if (releases.length > 0 && valid.length === 0)
      return { reason: "expired", detail: `image ${digest.slice(0, 12)} was to be used before now` };
    const classes = byManifest
      ? valid.flatMap(({ classIds }) => classIds.map(toHex))
      : catalogue.factsWith(digest).classes;
    return device === undefined || classes.length === 0 || classes.includes(device.classId)
      ? undefined
      : { reason: "other-class", detail: `${endpoint} is of class ${device.classId}, and that image is for another` };
  }

  /** Ends the updates of clients that may not have what they are being given. */
  sweep(nowUs: number): void {
    const { desk, updates, log, metrics } = this.#parts;
    const reasonOf = (endpoint: string, digest: string): string | undefined => {
      if (!desk.mayHave("", endpoint, digest)) return "held";
      return this.#isForsaken(digest) ? "release-withdrawn" : undefined;
    };
    for (const { endpoint, components } of updates().all()) {
      const [reason] = components.flatMap(({ digest }) => reasonOf(endpoint, digest) ?? []);
      if (reason === undefined || !updates().cancel(nowUs, endpoint)) continue;
      log.event("warn", "update-stopped", { endpoint, reason });
      metrics.count("updates_stopped", reason);
    }
  }

  /** Manifest, images, their tables and the alias. */
  #withdrawForsaken(nowUs: number, listing: Listing): void {
    const { release, images, alias } = listing;
    const { judge, router, log, metrics, catalogue, served, notify } = this.#parts;
    const refusal = judge.standing(listing);
    if (refusal === undefined) return;
    catalogue.withdrawn.add(release.key);
    for (const path of manifestPaths(release)) {
      router.remove(path);
      notify(nowUs, path.join("/")); // whoever observes it hears that it has gone
    }
    if (alias !== undefined) served.withdraw([alias]);
    for (const { digest } of images) if (!catalogue.isOffered(digest)) this.#withdrawImage(digest);
    log.event("warn", "release-withdrawn", { key: release.key, reason: refusal.reason });
    metrics.count("releases_withdrawn", refusal.reason);
  }

  #withdrawImage(digest: string): void {
    const bytes = fromHex(digest);
    if (bytes === undefined) return;
    this.#parts.served.withdraw(imagePath(bytes));
    this.#parts.router.remove(sectorTablePath(bytes));
  }
}

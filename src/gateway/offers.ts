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

  /** Puts a listing on the air in place of the one before; on record only, where nobody stands for it. */
  offer(nowUs: number, listing: Listing): void {
    const { catalogue, crypto, router, judge } = this.#parts;
    const { release } = listing;
    const before = catalogue.withdrawn.has(release.key) ? undefined : catalogue.get(release.key);
    const refusal = judge.standing(listing) ?? this.#taken(listing, before);
    catalogue.put(listing);
    const isOn = refusal === undefined;
    // Classes that it leaves out have no release by this key any more.
    const freed = before !== undefined && this.#takeDown(before, isOn ? listing : undefined);
    if (isOn) {
      for (const { digest } of listing.images) this.serveImage(digest);
      if (listing.alias !== undefined) this.#parts.served.serve([listing.alias], listing.images[0]!);
      const etag = crypto.sha256(release.envelope).subarray(0, 8);
      for (const path of manifestPaths(release))
        router.add(path, manifestResource(release.envelope, etag, path.join("/")));
      for (const [digest, table] of listing.tables)
        if (judge.tableStands(listing, digest)) this.#serveTable(digest, table);
    } else this.#withdraw(listing, refusal);
    if (freed) this.#giveBack(nowUs);
  }

  /** A path of it is another's: one that nobody stood for keeps no class from a later release. */
  #taken({ release }: Listing, before: Listing | undefined): Refusal | undefined {
    const own = new Set(pathsOf(before));
    const { router } = this.#parts;
    const taken = manifestPaths(release).find((path) => !own.has(path.join("/")) && router.has(path));
    return taken && { reason: "class-taken", detail: `/${taken.join("/")} is a later release's` };
  }

  /** Paths that a listing had, and the one in its place has not. True when there are any. */
  #takeDown({ release, alias }: Listing, next: Listing | undefined): boolean {
    const { router, served } = this.#parts;
    if (alias !== undefined && alias !== next?.alias) served.withdraw([alias]);
    const kept = new Set(pathsOf(next));
    const left = manifestPaths(release).filter((path) => !kept.has(path.join("/")));
    for (const path of left) router.remove(path);
    return left.length > 0;
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
      for (const listing of catalogue.listings()) if (isFor(listing, classId)) this.#judge(nowUs, listing);
      this.#giveBack(nowUs, classId);
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

  #judge(nowUs: number, listing: Listing): void {
    const { judge, router, catalogue, notify } = this.#parts;
    if (catalogue.withdrawn.has(listing.release.key)) return;
    const refusal = judge.standing(listing);
    if (refusal !== undefined) {
      this.#takeDown(listing, undefined);
      for (const path of pathsOf(listing)) notify(nowUs, path); // whoever observes it hears that it has gone
      this.#withdraw(listing, refusal);
    }
    for (const digest of listing.tables.keys())
      if (!judge.tableStands(listing, digest)) router.remove(sectorTablePath(fromHex(digest)!));
  }

  /** What somebody stands for again, the later of two for one path. */
  #giveBack(nowUs: number, classId?: string): void {
    const { catalogue, judge } = this.#parts;
    const listings = [...catalogue.withdrawn].map((key) => catalogue.get(key)!).filter((one) => isFor(one, classId));
    for (const listing of latestFirst(listings))
      if (judge.standing(listing) === undefined && this.#taken(listing, undefined) === undefined)
        this.offer(nowUs, listing);
  }

  /** It is on the record only: its images go, and their tables. */
  #withdraw({ release, images }: Listing, { reason }: Refusal): void {
    const { log, metrics, catalogue } = this.#parts;
    catalogue.withdrawn.add(release.key);
    for (const { digest } of images) if (!catalogue.isOffered(digest)) this.#withdrawImage(digest);
    log.event("warn", "release-withdrawn", { key: release.key, reason });
    metrics.count("releases_withdrawn", reason);
  }

  #withdrawImage(digest: string): void {
    const bytes = fromHex(digest);
    if (bytes === undefined) return;
    this.#parts.served.withdraw(imagePath(bytes));
    this.#parts.router.remove(sectorTablePath(bytes));
  }
}

const pathsOf = (listing: Pick<Listing, "release"> | undefined): string[] =>
  listing === undefined ? [] : manifestPaths(listing.release).map((path) => path.join("/"));

const isFor = ({ release }: Listing, classId: string | undefined): boolean =>
  classId === undefined || release.classIds.some((id) => toHex(id) === classId);

/** Numbers only rise, so of two for one path the later has the higher. */
export const latestFirst = (listings: readonly Listing[]): Listing[] =>
  listings.toSorted((a, b) => b.release.sequenceNumber - a.release.sequenceNumber);

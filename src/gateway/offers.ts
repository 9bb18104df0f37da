import type { Router } from "../coap/router.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import type { Updates } from "../lwm2m/update/updates.ts";
import { fromHex, toHex } from "../util/bytes.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import { classesOf, imagePath, sectorTablePath, type Catalogue, type Forgotten, type Listing } from "./catalogue.ts";
import type { Change } from "./holders.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import { forgetOps } from "./listing-record.ts";
import type { RecoveredReleases } from "./recovery.ts";
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
  /** Whether an image has to stay on the disk. */
  readonly isNeeded: (nowUs: number, digest: string) => boolean;
  readonly storeLazily: (ops: readonly StoreOp[]) => void;
}

/** Releases on the air: their manifests and their images, for as long as somebody stands for them. */
export class Offers {
  readonly #parts: OfferParts;

  constructor(parts: OfferParts) {
    this.#parts = parts;
  }

  /** Puts a listing in the place of the one before: on the air, where somebody stands for it. */
  offer(nowUs: number, listing: Listing): void {
    const { catalogue, isNeeded } = this.#parts;
    for (const digest of this.#put(nowUs, listing)) this.#showImage(digest);
    this.#forget(catalogue.trim(listing.release.key, (digest) => isNeeded(nowUs, digest)));
  }

  /** Behind a restart: each image is looked at once, when all releases are there. */
  recover(nowUs: number, { listings, replaced }: RecoveredReleases): void {
    const { catalogue, judge } = this.#parts;
    for (const listing of listings) this.#put(nowUs, listing);
    const isKept = (listing: Listing): boolean => catalogue.putReplaced(listing, judge.standing(listing) === undefined);
    this.#forget({ releases: replaced.filter((listing) => !isKept(listing)), images: [] });
    for (const { digest } of catalogue.images()) this.#showImage(digest);
  }

  /** Digests of the images that are to be shown anew. */
  #put(nowUs: number, listing: Listing): Set<string> {
    const { catalogue, judge } = this.#parts;
    const before = catalogue.get(listing.release.key);
    const refusal = judge.standing(listing);
    const touched = this.#show(nowUs, catalogue.put(listing, refusal === undefined));
    for (const { digest } of [...(before?.images ?? []), ...listing.images]) touched.add(digest);
    if (refusal !== undefined) this.#tellWithdrawn(listing, refusal);
    return touched;
  }

  /** Brings what is at some paths up to date. Digests of the images of whoever was there, and is. */
  #show(nowUs: number, changes: ReadonlyMap<string, Change>): Set<string> {
    const { catalogue, crypto, router, served, notify } = this.#parts;
    const touched = new Set<string>();
    for (const [path, { before, after }] of changes) {
      const listing = after === undefined ? undefined : catalogue.get(after)!;
      for (const key of new Set([before, after]))
        for (const { digest } of key === undefined ? [] : catalogue.get(key)!.images) touched.add(digest);
      if (!path.includes("/")) {
        if (listing === undefined) served.withdraw([path]);
        else served.serve([path], listing.images[0]!);
        continue;
      }
      if (listing === undefined) router.remove(path.split("/"));
      else {
        const { envelope } = listing.release;
        router.add(path.split("/"), manifestResource(envelope, crypto.sha256(envelope).subarray(0, 8), path));
      }
      notify(nowUs, path); // whoever observes it hears that it has gone, too
    }
    return touched;
  }

  /** Whoever knows what it is for fetches it before the image; who does not, does without. */
  #serveTable(digest: string, table: Uint8Array): void {
    const { crypto, router } = this.#parts;
    const etag = crypto.sha256(table).subarray(0, 8);
    const body = { bytes: table, etag, contentFormat: ContentFormat.OCTET_STREAM };
    router.add(sectorTablePath(fromHex(digest)!), { get: () => ({ code: Code.CONTENT, body }) });
  }

  /** Also of a release that was replaced since: whoever has begun may end. Not of one that nobody stands for. */
  #showImage(digest: string): void {
    const { catalogue, served, router } = this.#parts;
    const image = catalogue.image(digest);
    const path = imagePath(fromHex(digest)!);
    if (image === undefined || this.withheld(digest) !== undefined) served.withdraw(path);
    else served.serve(path, image);
    const table = this.#tableOf(digest);
    if (table === undefined) router.remove(sectorTablePath(fromHex(digest)!));
    else this.#serveTable(digest, table);
  }

  /** The signed table of an image's sectors that a release on offer brought. */
  #tableOf(digest: string): Uint8Array | undefined {
    const { catalogue, judge } = this.#parts;
    return catalogue
      .offering(digest)
      .find((listing) => judge.tableStands(listing, digest))
      ?.tables.get(digest);
  }

  /** An image that is not here any more. */
  forget(digest: string): void {
    this.#forget(this.#parts.catalogue.forgetImage(digest));
  }

  #forget(forgotten: Forgotten): void {
    // Of those that went it may have been the last one that stood for an image which another has still.
    const digests = forgotten.releases.flatMap(({ images }) => images.map(({ digest }) => digest));
    for (const digest of new Set([...forgotten.images, ...digests])) this.#showImage(digest);
    const ops = forgetOps(forgotten);
    if (ops.length > 0) this.#parts.storeLazily(ops);
  }

  /** The lifecycle has changed: what nobody stands for is offered no longer, and held devices get no more. */
  review(nowUs: number, event: LifecycleEvent): void {
    const { catalogue, judge } = this.#parts;
    const { kind } = event;
    if (JUDGED.has(kind)) {
      const classId = kind === "class-defined" ? event.definition.id : "classId" in event ? event.classId : undefined;
      const touched = new Set<string>();
      for (const listing of catalogue.releases()) {
        const { key, classIds } = listing.release;
        if (classId !== undefined && !classIds.some((id) => toHex(id) === classId)) continue;
        const refusal = judge.standing(listing);
        const wasOn = catalogue.get(key) === listing && catalogue.isOnOffer(key);
        const changed = this.#show(nowUs, catalogue.judge(listing, refusal === undefined));
        for (const digest of [...changed, ...listing.images.map((image) => image.digest)]) touched.add(digest);
        if (wasOn && refusal !== undefined) this.#tellWithdrawn(listing, refusal);
      }
      for (const digest of touched) this.#showImage(digest);
    }
    if (STOPPING.has(kind)) this.sweep(nowUs);
  }

  /**
   * Why nobody gets an image, or no device of a class: nobody stands for any release with it, be it one that was replaced
   * since and that a rollout goes on with, or back to. `byManifest`: a device reads one, and chooses among its images.
   */
  withheld(digest: string, classId?: string, byManifest = false): Refusal | undefined {
    const { catalogue } = this.#parts;
    const fitting = this.#fitting(digest, classId, byManifest);
    if (fitting.some((listing) => catalogue.stands(listing))) return undefined;
    if (fitting.length === 0 && this.#fitting(digest).length > 0)
      return { reason: "other-class", detail: `image ${digest.slice(0, 12)} is for another class than ${classId}` };
    return { reason: "release-withdrawn", detail: `image ${digest.slice(0, 12)} is on offer no longer` };
  }

  /** Releases with an image that is here: all of them, or those by which devices of a class come to have it. */
  #fitting(digest: string, classId?: string, byManifest = false): Listing[] {
    const { catalogue } = this.#parts;
    if (catalogue.image(digest) === undefined) return [];
    const having = catalogue.having(digest);
    return classId === undefined ? having : having.filter((listing) => isFor(listing, digest, classId, byManifest));
  }

  /**
   * Why an LwM2M client may not be given an image. It reads no manifest, so what a device would look at there is looked
   * at here: who stands for it, class and expiry. `byManifest`: it reads one.
   */
  refusalToGive(unixMs: number, endpoint: string, digest: string, byManifest: boolean): Refusal | undefined {
    const { catalogue, desk } = this.#parts;
    if (!desk.mayHave("", endpoint, digest))
      return { reason: "quarantined", detail: `${endpoint} may have the current image or the recovery image only` };
    const classId = desk.lifecycle.state.byEndpoint(endpoint)?.classId;
    const withheld = this.withheld(digest, classId, byManifest);
    if (withheld !== undefined) return withheld;
    if (byManifest && catalogue.manifestOf(digest, classId) === undefined)
      return { reason: "release-withdrawn", detail: `no manifest with image ${digest.slice(0, 12)} is on offer to it` };
    // What is on offer says it, or what was before.
    const standing = this.#fitting(digest, classId, byManifest).filter((listing) => catalogue.stands(listing));
    const onOffer = catalogue.offering(digest);
    const offered = standing.filter((listing) => onOffer.includes(listing));
    const releases = offered.length > 0 ? offered : standing;
    const isValid = ({ release: { useBefore } }: Listing): boolean =>
      useBefore === undefined || unixMs / 1_000 < useBefore;
    return releases.some(isValid)
      ? undefined
      : { reason: "expired", detail: `image ${digest.slice(0, 12)} was to be used before now` };
  }

  /** Ends the updates of clients that may not have what they are being given. */
  sweep(nowUs: number): void {
    const { desk, updates, log, metrics } = this.#parts;
    const reasonOf = (endpoint: string, digest: string): string | undefined => {
      if (!desk.mayHave("", endpoint, digest)) return "held";
      const classId = desk.lifecycle.state.byEndpoint(endpoint)?.classId;
      const reason = this.withheld(digest, classId)?.reason;
      return reason === "other-class" ? this.withheld(digest)?.reason : reason;
    };
    for (const { endpoint, components } of updates().all()) {
      const [reason] = components.flatMap(({ digest }) => reasonOf(endpoint, digest) ?? []);
      if (reason === undefined || !updates().cancel(nowUs, endpoint)) continue;
      log.event("warn", "update-stopped", { endpoint, reason });
      metrics.count("updates_stopped", reason);
    }
  }

  #tellWithdrawn({ release: { key } }: Listing, { reason }: Refusal): void {
    const { log, metrics } = this.#parts;
    log.event("warn", "release-withdrawn", { key, reason });
    metrics.count("releases_withdrawn", reason);
  }
}

/** Whether devices of a class come to have an image by a release, or by its manifest whichever that chooses for them. */
const isFor = (listing: Listing, digest: string, classId: string, byManifest: boolean): boolean =>
  (byManifest ? listing.release.classIds.map(toHex) : classesOf(listing, digest)).includes(classId);

import type { CoapResponse } from "../coap/request.ts";
import type { ResourceHandler, Router } from "../coap/router.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import type { Deeds, Refusal } from "../lifecycle/admission.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import { fromHex } from "../util/bytes.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import { classesOf, imagePath, releasePath, sectorTablePath, type Catalogue, type Listing } from "./catalogue.ts";
import type { Change } from "./holders.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import { forgetOps, VALIDATOR_PREFIX } from "./listing-record.ts";
import type { Need } from "./retention.ts";
import { unservedBy } from "./served-paths.ts";
import type { RecoveredReleases } from "./recovery.ts";
import { manifestResource, type ManifestHandler, type ServedImages } from "./resources.ts";

/** What may take away who stands for a release, or give it back. */
const JUDGING = [
  "key-revoked",
  "class-defined",
  "authority-added",
  "authority-transferred",
] satisfies LifecycleEvent["kind"][];
const JUDGED: ReadonlySet<string> = new Set(JUDGING);
/** What may take an image from a device that is being given it. */
const STOPPING: ReadonlySet<string> = new Set([
  ...JUDGING,
  "device-provisioned",
  "device-quarantined",
  "device-decommissioned",
  "recovery-set",
] satisfies LifecycleEvent["kind"][]);

/** Whose word counts for what. */
interface Judge {
  /** Why nobody stands for a release any more. */
  standing(listing: Listing): Refusal | undefined;
  /** Whether the signed table of an image's sectors is by a key that counts. */
  tableStands(listing: Listing, digest: string): boolean;
  /** What it does that takes a right; undefined where nobody can say. */
  deedsOf(listing: Listing): Deeds | undefined;
}

interface OfferParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly catalogue: Catalogue;
  readonly served: ServedImages;
  readonly router: Router;
  readonly desk: LifecycleDesk;
  /** Ends the updates of clients that may not have what they are being given. */
  readonly stopUnfit: (nowUs: number, endpoint?: string) => void;
  /** Tells who observes a path that it has changed. */
  readonly notify: (nowUs: number, path: string) => void;
  readonly judge: Judge;
  /** Why an image has to stay on the disk. */
  readonly needOf: (nowUs: number, digest: string) => Need | undefined;
  readonly storeLazily: (ops: readonly StoreOp[]) => void;
}

/** Releases on the air: their manifests and their images, for as long as somebody stands for them. */
export class Offers {
  readonly #parts: OfferParts;
  /** Paths of manifests by the image that they are for. */
  readonly #manifests = new Map<string, readonly string[]>();

  constructor(parts: OfferParts) {
    this.#parts = parts;
  }

  /** Puts a listing in the place of the one before: on the air, where somebody stands for it. */
  offer(nowUs: number, listing: Listing): void {
    const overtaken = this.#parts.catalogue.overtakenBy(listing.release);
    for (const digest of this.#put(nowUs, listing)) this.#showImage(digest);
    for (const { release } of [listing, ...overtaken]) this.#trim(nowUs, release.key);
    this.makeRoom(nowUs);
    this.#parts.stopUnfit(nowUs);
  }

  /** Behind a restart: each image is looked at once, when all releases are there. */
  recover(nowUs: number, { listings, replaced }: RecoveredReleases): void {
    const { catalogue, judge } = this.#parts;
    for (const listing of listings) this.#put(nowUs, listing);
    for (const listing of replaced) catalogue.putReplaced(listing, judge.standing(listing) === undefined);
    for (const digest of catalogue.images()) this.#showImage(digest);
  }

  /** Behind a restart, when all is known that needs an image. */
  begin(nowUs: number): void {
    this.#trimAll(nowUs);
    this.#parts.stopUnfit(nowUs);
  }

  /** Where there is none for another release: what was needed may be needed no longer. */
  makeRoom(nowUs: number): void {
    if (!this.#parts.catalogue.hasRoom) this.#trimAll(nowUs);
  }

  #trimAll(nowUs: number): void {
    for (const key of this.#parts.catalogue.replacedKeys()) this.#trim(nowUs, key);
  }

  #trim(nowUs: number, key: string): void {
    const { catalogue, needOf, judge } = this.#parts;
    const gone = catalogue.trim(key, (digest) => needOf(nowUs, digest), judge.deedsOf.bind(judge));
    this.#forget(nowUs, gone);
  }

  /** Digests of the images that are to be shown anew. */
  #put(nowUs: number, listing: Listing): Set<string> {
    const { catalogue, judge } = this.#parts;
    const before = [catalogue.get(listing.release.key) ?? [], catalogue.overtakenBy(listing.release)].flat();
    const refusal = judge.standing(listing);
    const touched = this.#show(nowUs, catalogue.put(listing, refusal === undefined));
    for (const { images } of [...before, listing]) for (const { digest } of images) touched.add(digest);
    if (refusal !== undefined) this.#tellWithdrawn(listing, refusal);
    return touched;
  }

  /** Brings what is at some paths up to date. Digests of the images of whoever was there, and is. */
  #show(nowUs: number, changes: ReadonlyMap<string, Change>): Set<string> {
    const { catalogue, router, served, notify } = this.#parts;
    const touched = new Set<string>();
    for (const [path, { before, after }] of changes) {
      const listing = after === undefined ? undefined : catalogue.get(after)!;
      for (const key of new Set([before, after]))
        for (const { digest } of catalogue.get(key ?? "")?.images ?? []) touched.add(digest);
      if (!path.includes("/")) {
        if (listing === undefined) served.withdraw([path]);
        else served.serve([path], listing.images[0]!);
        continue;
      }
      if (listing === undefined) router.remove(path.split("/"));
      else router.add(path.split("/"), this.#manifest(listing, path));
      notify(nowUs, path); // whoever observes it hears that it has gone, too
    }
    return touched;
  }

  #manifest({ release: { envelope }, images }: Listing, observable?: string): ManifestHandler {
    const { crypto, served } = this.#parts;
    const refusal = (peer: PeerAddress): CoapResponse | undefined => served.manifestRefusal(peer, images);
    return manifestResource(envelope, etagOf(crypto, envelope), refusal, observable);
  }

  /** Whoever knows what it is for fetches it before the image; who does not, does without. */
  #serveTable(digest: string, table: Uint8Array): void {
    const { crypto, router } = this.#parts;
    const body = { bytes: table, etag: etagOf(crypto, table), contentFormat: ContentFormat.OCTET_STREAM };
    router.add(sectorTablePath(fromHex(digest)!), { get: () => ({ code: Code.CONTENT, body }) });
  }

  /** Also of a release that was replaced since: whoever has begun may end. Not of one that nobody stands for. */
  #showImage(digest: string): void {
    const { catalogue, served, router } = this.#parts;
    const image = catalogue.image(digest);
    const path = imagePath(fromHex(digest)!);
    if (image === undefined || this.withheld(digest) !== undefined) served.withdraw(path);
    else served.serve(path, image);
    this.#showManifests(digest);
    const table = this.#tableOf(digest);
    if (table === undefined) router.remove(sectorTablePath(fromHex(digest)!));
    else this.#serveTable(digest, table);
  }

  /** Of each class the manifest by which its devices come to have an image, be it one that was replaced. */
  #showManifests(digest: string): void {
    const { catalogue, router } = this.#parts;
    const byClass = new Map<string, Listing[]>();
    for (const listing of catalogue.having(digest))
      for (const id of listing.release.classes) {
        const listings = byClass.get(id);
        if (listings === undefined) byClass.set(id, [listing]);
        else listings.push(listing);
      }
    const found = new Map<string, ResourceHandler>();
    for (const [id, listings] of byClass) {
      const standing = bringingTo(id, digest, listings).filter((one) => catalogue.stands(one));
      const path = releasePath(fromHex(id)!, fromHex(digest)!).join("/");
      if (standing.length > 0) found.set(path, this.#oneOf(forMost(id, standing)));
    }
    for (const path of this.#manifests.get(digest) ?? []) if (!found.has(path)) router.remove(path.split("/"));
    for (const [path, handler] of found) router.add(path.split("/"), handler);
    if (found.size === 0) this.#manifests.delete(digest);
    else this.#manifests.set(digest, [...found.keys()]);
  }

  /** The manifest of the first that is valid when it is asked for. */
  #oneOf(listings: readonly Listing[]): ResourceHandler {
    const { desk } = this.#parts;
    const made = new Map<Listing, ManifestHandler>();
    return {
      get: (nowUs, request) => {
        const listing = listings.find((one) => isValid(one, desk.unixMs(nowUs))) ?? listings[0]!;
        const handler = made.get(listing) ?? this.#manifest(listing);
        made.set(listing, handler);
        return handler.get(nowUs, request);
      },
    };
  }

  /** Where devices of a class, if it is known, find the manifest by which they come to have an image. */
  manifestPath(digest: string, classId: string | undefined): readonly string[] | undefined {
    const listing = this.#fitting(digest, classId, true).find((one) => this.#leads(one));
    const id = classId === undefined ? listing?.release.classId : fromHex(classId);
    return listing && id && releasePath(id, fromHex(digest)!);
  }

  /** The signed table of an image's sectors that a release on offer brought. */
  #tableOf(digest: string): Uint8Array | undefined {
    const { catalogue, judge } = this.#parts;
    return catalogue
      .offering(digest)
      .find((listing) => judge.tableStands(listing, digest))
      ?.tables.get(digest);
  }

  /** An image is on the disk no longer. */
  evicted(nowUs: number, digest: string): void {
    this.#forget(nowUs, this.#parts.catalogue.evict(digest));
  }

  #forget(nowUs: number, gone: readonly Listing[]): void {
    if (gone.length === 0) return;
    const { catalogue, needOf, storeLazily } = this.#parts;
    const digests = new Set(gone.flatMap(({ images }) => images.map(({ digest }) => digest)));
    for (const digest of digests) this.#showImage(digest);
    const isStray = (digest: string): boolean =>
      catalogue.having(digest).length === 0 && needOf(nowUs, digest) === undefined;
    const strays = [...digests].filter(isStray);
    const validators = strays.map((digest): StoreOp => ({ kind: "delete", key: VALIDATOR_PREFIX + digest }));
    storeLazily([...forgetOps(gone), ...validators]);
  }

  /** The lifecycle has changed: what nobody stands for is offered no longer, and held devices get no more. */
  review(nowUs: number, event: LifecycleEvent): void {
    const { kind } = event;
    if (JUDGED.has(kind)) {
      const classId = kind === "class-defined" ? event.definition.id : "classId" in event ? event.classId : undefined;
      const isConcerned = ({ release: { classes } }: Listing): boolean =>
        classId === undefined || classes.includes(classId);
      this.#judgeAgain(nowUs, [...this.#parts.catalogue.releases()].filter(isConcerned));
    }
    if (STOPPING.has(kind)) this.#stopUnfit(nowUs, event);
    if (kind === "recovery-set") this.#trimAll(nowUs); // the one before is needed no longer
  }

  #stopUnfit(nowUs: number, event: LifecycleEvent): void {
    const { desk, stopUnfit } = this.#parts;
    if (!("device" in event)) return stopUnfit(nowUs);
    const endpoint = desk.lifecycle.state.devices.get(event.device)?.endpoint;
    return endpoint === undefined ? undefined : stopUnfit(nowUs, endpoint);
  }

  /** All are judged before anything is shown: what takes the place of one that goes may go too. */
  #judgeAgain(nowUs: number, listings: readonly Listing[]): void {
    const { catalogue, judge } = this.#parts;
    const wereOn = new Set(listings.filter((one) => catalogue.stands(one) && catalogue.isOnOffer(one.release.key)));
    const changes = new Map<string, Change>();
    for (const listing of listings) {
      const refusal = judge.standing(listing);
      for (const [path, { before, after }] of catalogue.judge(listing, refusal === undefined)) {
        const known = changes.get(path);
        changes.set(path, { before: known === undefined ? before : known.before, after });
      }
      const isCurrent = catalogue.get(listing.release.key) === listing;
      if (isCurrent && wereOn.has(listing) && refusal !== undefined) this.#tellWithdrawn(listing, refusal);
    }
    const touched = this.#show(nowUs, new Map([...changes].filter(([, { before, after }]) => before !== after)));
    for (const { images } of listings) for (const { digest } of images) touched.add(digest);
    for (const digest of touched) this.#showImage(digest);
  }

  /**
   * Why nobody gets an image, or no device of a class: nobody stands for any release with it, be it one that was replaced
   * since and that a rollout goes on with, or back to. `byManifest`: a device reads one, and chooses among its images.
   */
  withheld(digest: string, classId?: string, byManifest = false): Refusal | undefined {
    const { catalogue } = this.#parts;
    const fitting = this.#fitting(digest, classId, byManifest);
    const standing = fitting.filter((listing) => catalogue.stands(listing));
    if (standing.some((listing) => !byManifest || this.#unserved(listing) === undefined)) return undefined;
    if (standing.length > 0) return this.#unserved(standing[0]!);
    if (fitting.length === 0 && this.#fitting(digest).length > 0)
      return { reason: "other-class", detail: `image ${digest.slice(0, 12)} is for another class than ${classId}` };
    return { reason: "release-withdrawn", detail: `image ${digest.slice(0, 12)} is on offer no longer` };
  }

  /** Whether whoever follows a manifest that is shown gets its images. */
  #leads(listing: Listing): boolean {
    return this.#parts.catalogue.stands(listing) && this.#unserved(listing) === undefined;
  }

  /** An alias may have another image by now. */
  #unserved({ release }: Listing): Refusal | undefined {
    return unservedBy(release, (path, digest) => this.#parts.catalogue.at(path)?.digest === digest);
  }

  /** Releases with an image that is here: all of them, or those by which devices of a class come to have it. */
  #fitting(digest: string, classId?: string, byManifest = false): readonly Listing[] {
    const { catalogue } = this.#parts;
    if (catalogue.image(digest) === undefined) return [];
    const having = catalogue.having(digest);
    if (classId === undefined) return having;
    return byManifest
      ? bringingTo(classId, digest, having)
      : having.filter((listing) => isFor(listing, digest, classId, false));
  }

  /**
   * Why an LwM2M client may not be given an image. It reads no manifest, so what a device would look at there is looked
   * at here: who stands for it, class and expiry. `byManifest`: it reads one.
   */
  refusalToGive(unixMs: number, endpoint: string, digest: string, byManifest: boolean): Refusal | undefined {
    const { catalogue, desk } = this.#parts;
    const device = desk.lifecycle.state.byEndpoint(endpoint);
    if (device?.state === "decommissioned")
      return { reason: "decommissioned", detail: `${endpoint} was decommissioned, and is given nothing` };
    if (!desk.mayHave("", endpoint, digest))
      return { reason: "quarantined", detail: `${endpoint} may have the current image or the recovery image only` };
    const classId = device?.classId;
    const withheld = this.withheld(digest, classId, byManifest);
    if (withheld !== undefined) return withheld;
    // What is on offer says it, or what was before.
    const standing = this.#fitting(digest, classId, byManifest).filter((one) =>
      byManifest ? this.#leads(one) : catalogue.stands(one),
    );
    const onOffer = catalogue.offering(digest);
    const offered = standing.filter((listing) => onOffer.includes(listing));
    const releases = offered.length > 0 ? offered : standing;
    return releases.some((one) => isValid(one, unixMs))
      ? undefined
      : { reason: "expired", detail: `image ${digest.slice(0, 12)} was to be used before now` };
  }

  #tellWithdrawn({ release: { key } }: Listing, { reason }: Refusal): void {
    const { log, metrics } = this.#parts;
    log.event("warn", "release-withdrawn", { key, reason });
    metrics.count("releases_withdrawn", reason);
  }
}

const etagOf = (crypto: Crypto, bytes: Uint8Array): Uint8Array => crypto.sha256(bytes).subarray(0, 8);

/** Those that are for others there only where nothing else is: what a device fetches by them is another image. */
function bringingTo(classId: string, digest: string, listings: readonly Listing[]): readonly Listing[] {
  const its = listings.filter((listing) => isFor(listing, digest, classId, false));
  return its.length > 0 ? its : listings.filter((listing) => isFor(listing, digest, classId, true));
}

/** Not those that are for one device of the class, unless all are. */
function forMost(classId: string, listings: readonly Listing[]): readonly Listing[] {
  const open = listings.filter(({ release }) => !release.deviceOf.has(classId));
  return open.length > 0 ? open : listings;
}

const isValid = ({ release: { useBefore } }: Listing, unixMs: number): boolean =>
  useBefore === undefined || unixMs / 1_000 < useBefore;

/** Whether devices of a class come to have an image by a release, or by its manifest whichever that chooses for them. */
const isFor = (listing: Listing, digest: string, classId: string, byManifest: boolean): boolean =>
  (byManifest ? listing.release.classes : classesOf(listing, digest)).includes(classId);

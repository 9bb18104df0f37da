import type { Router } from "../coap/router.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import type { Updates } from "../lwm2m/update/updates.ts";
import { fromHex } from "../util/bytes.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import { imagePath, manifestPaths, sectorTablePath, type Catalogue, type Listing } from "./catalogue.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import { manifestResource, type ServedImages } from "./resources.ts";

const STOPPING: ReadonlySet<string> = new Set([
  "key-revoked",
  "device-quarantined",
  "device-decommissioned",
] satisfies LifecycleEvent["kind"][]);

interface OfferParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly catalogue: Catalogue;
  readonly served: ServedImages;
  readonly router: Router;
  readonly desk: LifecycleDesk;
  readonly updates: () => Updates;
  /** Why nobody stands for a release any more. */
  readonly admitAgain: (nowUs: number, listing: Listing) => Refusal | undefined;
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
    for (const [digest, table] of listing.tables) this.#serveTable(digest, table);
    this.#withdrawRevoked(nowUs, listing);
  }

  /** Whoever knows what it is for fetches it before the image; who does not, does without. */
  #serveTable(digest: string, table: Uint8Array): void {
    const { crypto, router } = this.#parts;
    const etag = crypto.sha256(table).subarray(0, 8);
    const body = { bytes: table, etag, contentFormat: ContentFormat.OCTET_STREAM };
    router.add(sectorTablePath(fromHex(digest)!), { get: () => ({ code: Code.CONTENT, body }) });
  }

  serveImage(digest: string): void {
    const { catalogue, served } = this.#parts;
    const image = catalogue.image(digest);
    const bytes = fromHex(digest);
    if (image !== undefined && bytes !== undefined) served.serve(imagePath(bytes), image);
  }

  /** The lifecycle has changed: what was signed with a revoked key is offered no longer, and held devices get no more. */
  review(nowUs: number, kind: LifecycleEvent["kind"]): void {
    if (kind === "key-revoked")
      for (const listing of this.#parts.catalogue.listings()) this.#withdrawRevoked(nowUs, listing);
    if (STOPPING.has(kind)) this.sweep(nowUs);
  }

  /** Ends the updates of clients that may not have what they are being given. */
  sweep(nowUs: number): void {
    const { catalogue, desk, updates, log, metrics } = this.#parts;
    const isWithdrawn = (digest: string): boolean =>
      [...catalogue.withdrawn].some((key) => catalogue.get(key)?.images.some((image) => image.digest === digest)) &&
      !catalogue.isOffered(digest);
    const reasonOf = (endpoint: string, digest: string): string | undefined => {
      if (!desk.mayHave("", endpoint, digest)) return "held";
      return isWithdrawn(digest) ? "release-withdrawn" : undefined;
    };
    for (const { endpoint, components } of updates().all()) {
      const [reason] = components.flatMap(({ digest }) => reasonOf(endpoint, digest) ?? []);
      if (reason === undefined || !updates().cancel(nowUs, endpoint)) continue;
      log.event("warn", "update-stopped", { endpoint, reason });
      metrics.count("updates_stopped", reason);
    }
  }

  /** Manifest, images, their tables and the alias: what was believed by that key alone is no longer to be had. */
  #withdrawRevoked(nowUs: number, listing: Listing): void {
    const { release, images, alias } = listing;
    const { admitAgain, router, log, metrics, catalogue, served } = this.#parts;
    const refusal = admitAgain(nowUs, listing);
    if (refusal?.reason !== "key-revoked") return;
    catalogue.withdrawn.add(release.key);
    for (const path of manifestPaths(release)) router.remove(path);
    if (alias !== undefined) served.withdraw([alias]);
    for (const { digest } of images) {
      if (catalogue.isOffered(digest)) continue;
      served.withdraw(imagePath(fromHex(digest)!));
      router.remove(sectorTablePath(fromHex(digest)!));
    }
    log.event("warn", "release-withdrawn", { key: release.key, reason: refusal.reason });
    metrics.count("releases_withdrawn", refusal.reason);
  }
}

import type { Router } from "../coap/router.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Release } from "../suit/release.ts";
import { fromHex, toHex } from "../util/bytes.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import { imagePath, manifestPaths, sectorTablePath, type Catalogue, type Listing } from "./catalogue.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import { manifestResource, type ServedImages } from "./resources.ts";

interface OfferParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly catalogue: Catalogue;
  readonly served: ServedImages;
  readonly router: Router;
  readonly desk: LifecycleDesk;
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
    for (const path of manifestPaths(release))
      router.add(path, manifestResource(release.envelope, etag, path.join("/")));
    for (const [digest, table] of listing.tables) this.#serveTable(digest, table);
    this.#withdrawRevoked(nowUs, release);
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

  /** A key was revoked: what was signed with it is offered no longer. */
  review(nowUs: number): void {
    for (const { release } of this.#parts.catalogue.listings()) this.#withdrawRevoked(nowUs, release);
  }

  #withdrawRevoked(nowUs: number, release: Release): void {
    const { desk, router, log, metrics } = this.#parts;
    const refusal = desk.admit(nowUs, release.envelope, release.classIds.map(toHex), release.dialect);
    if (typeof refusal !== "object" || refusal.reason !== "key-revoked") return;
    for (const path of manifestPaths(release)) router.remove(path);
    log.event("warn", "release-withdrawn", { key: release.key, reason: refusal.reason });
    metrics.count("releases_withdrawn", refusal.reason);
  }
}

import type { ImageCache } from "../image/image-cache.ts";
import { isSameSource, type WantedImage } from "../image/image-fetch.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { StoreOp } from "../ports/store.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import type { Offers } from "./offers.ts";
import type { Publication, Publications, PublishOutcome, PublishRequest } from "./publications.ts";

interface PublishingParts {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly publications: Publications;
  readonly cache: ImageCache;
  readonly desk: LifecycleDesk;
  readonly offers: Offers;
}

/** The course of a publication: its images come, its record is written, and only then it is offered and the operator told. */
export class Publishing {
  readonly #parts: PublishingParts;
  readonly #outcomes: PublishOutcome[] = [];

  constructor(parts: PublishingParts) {
    this.#parts = parts;
  }

  /** Its outcome comes by `pollOutcome` under `operation`. */
  publish(nowUs: number, operation: number, request: PublishRequest): void {
    const { publications, cache, offers } = this.#parts;
    offers.makeRoom(nowUs);
    const opened = publications.open(nowUs, operation, request);
    if ("kind" in opened) return this.#tell(opened);
    for (const image of opened.listing.images) if (opened.missing.has(image.digest)) cache.ensure(nowUs, image);
    if (opened.missing.size === 0) this.#record(nowUs, opened);
    return undefined;
  }

  pollOutcome(): PublishOutcome | undefined {
    return this.#outcomes.shift();
  }

  /** An image that publications wait for is there, or cannot be had. */
  imageSettled(nowUs: number, digest: string, failure: (Refusal & { readonly image: WantedImage }) | undefined): void {
    const { publications, cache } = this.#parts;
    if (failure !== undefined) {
      for (const publication of publications.waitingFor(digest)) {
        const own = publication.listing.images.find((image) => image.digest === digest)!;
        if (isSameSource(own, failure.image)) this.#refuse(nowUs, publication, failure);
        else cache.ensure(nowUs, own);
      }
      return;
    }
    const { complete, wrong } = publications.imageCame(digest, cache.memory(digest));
    for (const publication of complete) this.#record(nowUs, publication);
    for (const [publication, refusal] of wrong) this.#refuse(nowUs, publication, refusal);
  }

  #record(nowUs: number, publication: Publication): void {
    const { publications, desk } = this.#parts;
    const { listing } = publication;
    publication.stage = "store";
    const { classes, sequenceNumber } = listing.release;
    const about = { sequenceNumber, digest: listing.digest };
    const plan = (): readonly StoreOp[] | Refusal =>
      publications.refusalOf(nowUs, listing) ?? publications.opsOf(listing);
    desk.recordRelease(nowUs, classes, about, plan, (result) => {
      if (result.ok) this.#offer(nowUs, publication);
      else this.#refuse(nowUs, publication, result);
    });
  }

  #offer(nowUs: number, publication: Publication): void {
    const { publications, offers, log } = this.#parts;
    const { operation, listing } = publication;
    publications.stored(publication);
    offers.offer(nowUs, listing);
    const { key, sequenceNumber, version } = listing.release;
    log.event("info", "release-published", { key, sequenceNumber, version, digest: listing.digest });
    this.#tell({ kind: "published", operation, listing });
  }

  #refuse(
    nowUs: number,
    publication: Publication,
    { reason, detail }: { readonly reason: string; readonly detail: string },
  ): void {
    const { publications } = this.#parts;
    publications.end(publication);
    publications.noteRefusal(nowUs, publication.listing.release, reason);
    this.#tell({ kind: "refused", operation: publication.operation, reason, detail });
  }

  #tell(outcome: PublishOutcome): void {
    const { log, metrics } = this.#parts;
    if (outcome.kind === "published") metrics.count("publish", "published");
    else {
      log.event("warn", "publish-refused", { reason: outcome.reason, detail: outcome.detail });
      metrics.count("publish_refused", outcome.reason);
    }
    this.#outcomes.push(outcome);
  }
}

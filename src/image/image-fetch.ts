import type { Command, CommandEvent } from "../ports/commands.ts";
import { RESUME_REFUSED } from "../ports/image-source.ts";
import type { Random } from "../ports/random.ts";
import { unitFloat } from "../util/random.ts";
import { IMAGE_LIMITS } from "./limits.ts";

/** An image that the gateway wants: its identity is its digest, the URI only says where to look. */
export interface WantedImage {
  /** SHA-256 in hex. */
  readonly digest: string;
  readonly size: number;
  readonly uri: string | undefined;
  /** Its bytes, where a manifest brings them along: it is fetched from nowhere, and in no file of its own. */
  readonly content?: Uint8Array | undefined;
}

/** Whether what is said of an image by one release holds for another's too. */
export const isSameSource = (one: WantedImage, other: WantedImage): boolean =>
  one.uri === other.uri && one.size === other.size;

export type FetchStep =
  | { readonly kind: "command"; readonly command: Command }
  | { readonly kind: "wait"; readonly untilUs: number; readonly reason: string; readonly detail: string }
  | { readonly kind: "fetched" }
  | { readonly kind: "failed"; readonly reason: string; readonly detail: string };

/**
 * One image's way in from upstream: fetch, on a break go on at the byte where it stopped with the
 * validator of before (RFC 9110 sections 13.1.5 and 14), give up after a bounded number of tries
 * that brought nothing new.
 */
export class ImageFetch {
  readonly image: WantedImage & { uri: string };
  readonly #random: Random;
  #received: number;
  /** The most that was ever there: only what goes beyond it is progress. */
  #furthest: number;
  #validator: string | undefined;
  #attempt = 0;
  #digestFailures = 0;

  constructor(
    image: WantedImage & { uri: string },
    random: Random,
    part: { bytes: number; validator: string | undefined },
  ) {
    this.image = image;
    this.#random = random;
    // Without a validator nothing says that what is there and what would come are of one version.
    this.#received = part.validator === undefined || part.bytes > image.size ? 0 : part.bytes;
    this.#furthest = this.#received;
    this.#validator = part.validator;
  }

  get received(): number {
    return this.#received;
  }

  get validator(): string | undefined {
    return this.#validator;
  }

  start(id: number): FetchStep {
    if (this.#received === this.image.size) return { kind: "fetched" };
    const { digest, uri, size } = this.image;
    const resume = { offset: this.#received, validator: this.#validator };
    return { kind: "command", command: { kind: "fetch", id, digest, uri, ...resume, maxBytes: size } };
  }

  /** What an event of the fetch calls for; undefined while it goes on. */
  handleEvent(nowUs: number, event: CommandEvent): FetchStep | undefined {
    if (event.kind === "started") {
      this.#received = event.offset;
      this.#validator = event.validator;
      return undefined;
    }
    if (event.kind === "progress") {
      this.#received += event.bytes;
      if (this.#received > this.#furthest) {
        this.#furthest = this.#received;
        this.#attempt = 0;
      }
      return undefined;
    }
    if (event.kind === "failed") {
      const { reason, detail, retryable } = event;
      if (reason === RESUME_REFUSED) this.#forget();
      return retryable ? this.#retry(nowUs, reason, detail) : { kind: "failed", reason, detail };
    }
    if (this.#received === this.image.size) return { kind: "fetched" };
    return this.#retry(nowUs, "short", `the source ended after ${this.#received} of ${this.image.size} bytes`);
  }

  /** The whole is there but is not what the digest names: begin again, not too often. */
  handleDigestMismatch(nowUs: number): FetchStep {
    this.#forget();
    if (++this.#digestFailures >= IMAGE_LIMITS.maxDigestFailures) {
      return {
        kind: "failed",
        reason: "digest-mismatch",
        detail: `${this.image.uri} does not have the digest that was signed`,
      };
    }
    return this.#retry(nowUs, "digest-mismatch", "");
  }

  /** What is there can't be gone on with: the next try begins at 0. */
  #forget(): void {
    this.#received = 0;
    this.#validator = undefined;
  }

  #retry(nowUs: number, reason: string, detail: string): FetchStep {
    if (++this.#attempt >= IMAGE_LIMITS.maxFetchAttempts) return { kind: "failed", reason, detail };
    const backoffUs = Math.min(IMAGE_LIMITS.fetchBackoffUs * 2 ** (this.#attempt - 1), IMAGE_LIMITS.maxFetchBackoffUs);
    const untilUs = nowUs + Math.round(backoffUs * (0.5 + unitFloat(this.#random)));
    return { kind: "wait", untilUs, reason, detail };
  }
}

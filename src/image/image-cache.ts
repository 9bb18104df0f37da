import { LRUCache } from "lru-cache";
import type { BlobInfo } from "../ports/blob-store.ts";
import type { Command, CommandEvent } from "../ports/commands.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Random } from "../ports/random.ts";
import { toHex } from "../util/bytes.ts";
import { earlier } from "../util/deadline.ts";
import { ImageFetch, type FetchStep, type WantedImage } from "./image-fetch.ts";
import type { CacheBudget } from "./limits.ts";

export type CacheEvent =
  | { readonly kind: "ready"; readonly digest: string }
  /** It could not be had as this one; who says that it is somewhere else may ask again. */
  | {
      readonly kind: "failed";
      readonly digest: string;
      readonly image: WantedImage;
      readonly reason: string;
      readonly detail: string;
    }
  /** The disk copy was given up to make room. */
  | { readonly kind: "evicted"; readonly digest: string }
  /** The fetch has a validator that a later resume needs. */
  | { readonly kind: "validator"; readonly digest: string; readonly validator: string | undefined };

/** An image on its way into memory: read from disk, or fetched, verified and committed. */
interface Job {
  readonly image: WantedImage;
  stage: "queued" | "reading" | "fetching" | "waiting" | "verifying" | "committing";
  fetch: ImageFetch | undefined;
  wakeUs: number | undefined;
  bytes: Uint8Array | undefined;
}

export interface CacheParts {
  readonly crypto: Crypto;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly budget: CacheBudget;
  /** What must stay on disk: current releases and images with an unfinished transfer. */
  readonly isPinned: (nowUs: number, digest: string) => boolean;
}

/** Where an image is, and how much of it has come where it is on its way. */
export interface ImageState {
  readonly state: "memory" | "disk" | "fetching" | "absent";
  readonly fetched?: number;
}

/**
 * Images by digest: a memory tier of verified bytes over the blobs on disk over upstream sources.
 * Nothing gets into memory, and so nothing is served, before the whole image has its digest; a
 * blob that lost it is removed and fetched again. One job per image, however many ask.
 */
export class ImageCache {
  readonly #parts: CacheParts;
  readonly #memory: LRUCache<string, Uint8Array>;
  /** What was asked for last, and so is the most recently used: the inner loop's short way. */
  #last: { digest: string; bytes: Uint8Array } | undefined;
  /** Blobs on disk by digest, least recently used first. */
  readonly #disk = new Map<string, number>();
  readonly #partial = new Map<string, number>();
  readonly #validators = new Map<string, string>();
  readonly #jobs = new Map<string, Job>();
  readonly #commands: Command[] = [];
  readonly #owners = new Map<number, string>();
  readonly #events: CacheEvent[] = [];
  readonly #newId: () => number;

  constructor(parts: CacheParts, recovered: readonly BlobInfo[], newId: () => number) {
    this.#parts = parts;
    this.#newId = newId;
    const sizeOf = (bytes: Uint8Array): number => Math.max(1, bytes.length);
    this.#memory = new LRUCache({
      maxSize: parts.budget.memoryBytes,
      sizeCalculation: sizeOf,
      dispose: () => (this.#last = undefined),
    });
    for (const blob of recovered) (blob.complete ? this.#disk : this.#partial).set(blob.digest, blob.bytes);
  }

  /** The verified bytes when they are in memory. */
  memory(digest: string): Uint8Array | undefined {
    if (this.#last?.digest === digest) return this.#last.bytes;
    const bytes = this.#memory.get(digest);
    if (bytes !== undefined) this.#last = { digest, bytes };
    return bytes;
  }

  state(digest: string): ImageState {
    const fetched = this.progress(digest);
    if (fetched !== undefined) return { state: "fetching", fetched };
    if (this.memory(digest) !== undefined) return { state: "memory" };
    return { state: this.onDisk(digest) ? "disk" : "absent" };
  }

  onDisk(digest: string): boolean {
    return this.#disk.has(digest);
  }

  get diskBytes(): number {
    let sum = 0;
    for (const bytes of this.#disk.values()) sum += bytes;
    return sum;
  }

  /** Bytes fetched so far of an image that is on its way. */
  progress(digest: string): number | undefined {
    return this.#jobs.get(digest)?.fetch?.received;
  }

  /** A validator that the store kept from before a restart. */
  recoverValidator(digest: string, validator: string): void {
    this.#validators.set(digest, validator);
  }

  /** Removes what a crash left behind: blobs that no record names, parts that cannot be resumed. */
  removeStrays(isKnown: (digest: string) => boolean): void {
    for (const digest of this.#partial.keys()) if (!this.#validators.has(digest)) this.#removePart(digest);
    for (const digest of this.#disk.keys()) {
      if (isKnown(digest)) continue;
      this.#disk.delete(digest);
      this.#removeBlob(digest);
    }
  }

  /** Sees to it that the image gets into memory; `ready` or `failed` follows. */
  ensure(nowUs: number, image: WantedImage): void {
    const { digest, size } = image;
    if (this.#jobs.has(digest)) return;
    const job: Job = { image, stage: "queued", fetch: undefined, wakeUs: undefined, bytes: undefined };
    this.#jobs.set(digest, job);
    const { maxImageBytes } = this.#parts.budget;
    const inMemory = this.#memory.get(digest);
    if (size > maxImageBytes) {
      this.#fail(nowUs, job, "image-too-large", `${size} bytes; at most ${maxImageBytes} are accepted`);
    } else if (inMemory !== undefined) this.#finish(nowUs, job, inMemory);
    else this.#startQueued(nowUs);
  }

  /** Begins what waits, as far as the images on their way into memory fit into its budget together. */
  #startQueued(nowUs: number): void {
    let underWay = 0;
    // A fetch holds no bytes, and must not keep what is on the disk waiting while its upstream hangs.
    for (const { stage, image } of this.#jobs.values()) {
      if (stage === "reading" || stage === "verifying" || stage === "committing") underWay += image.size;
    }
    for (const job of this.#jobs.values()) {
      if (job.stage !== "queued") continue;
      if (underWay > 0 && underWay + job.image.size > this.#parts.budget.memoryBytes) return;
      if (this.#disk.has(job.image.digest)) {
        underWay += job.image.size;
        this.#readBlob(job);
      } else this.#beginFetch(nowUs, job);
    }
  }

  handleEvent(nowUs: number, id: number, event: CommandEvent): void {
    const digest = this.#owners.get(id);
    if (event.kind === "done" || event.kind === "failed") this.#owners.delete(id);
    const job = digest === undefined ? undefined : this.#jobs.get(digest);
    if (job === undefined) return; // the end of a removal
    switch (job.stage) {
      case "reading":
        this.#onRead(nowUs, job, event);
        break;
      case "fetching":
        this.#onFetchEvent(nowUs, job, event);
        break;
      case "verifying":
        this.#onPartRead(nowUs, job, event);
        break;
      case "committing":
        this.#onCommitted(nowUs, job, event);
        break;
      case "queued":
      case "waiting":
        break;
    }
  }

  handleTimeout(nowUs: number): void {
    for (const job of this.#jobs.values()) {
      if (job.stage === "waiting" && job.wakeUs! <= nowUs) this.#startFetch(nowUs, job);
    }
  }

  pollCommand(): Command | undefined {
    return this.#commands.length === 0 ? undefined : this.#commands.shift();
  }

  pollEvent(): CacheEvent | undefined {
    return this.#events.length === 0 ? undefined : this.#events.shift();
  }

  pollTimeout(): number | undefined {
    if (this.#jobs.size === 0) return undefined;
    let next: number | undefined;
    for (const { wakeUs } of this.#jobs.values()) next = earlier(next, wakeUs);
    return next;
  }

  #readBlob(job: Job): void {
    job.stage = "reading";
    this.#send(job, (id) => ({ kind: "blob-read", id, digest: job.image.digest, part: false }));
  }

  #onRead(nowUs: number, job: Job, event: CommandEvent): void {
    const { digest } = job.image;
    if (event.kind === "done" && event.bytes !== undefined && this.#hasDigest(event.bytes, digest)) {
      this.#finish(nowUs, job, event.bytes);
      return;
    }
    const reason = event.kind === "failed" ? event.reason : "digest-mismatch";
    if (event.kind === "failed" && reason !== "not-found") {
      // The disk is in trouble, or there are too many files open: nothing says that the copy is bad.
      this.#fail(nowUs, job, reason, event.detail);
      return;
    }
    this.#parts.log.event("warn", "cache-file-corrupt", { digest, reason });
    this.#parts.metrics.count("cache_corrupt", reason);
    this.#disk.delete(digest);
    this.#removeBlob(digest);
    this.#beginFetch(nowUs, job);
  }

  #beginFetch(nowUs: number, job: Job): void {
    const { digest, size, uri } = job.image;
    if (uri === undefined) this.#fail(nowUs, job, "no-source", `nothing says where image ${digest} can be fetched`);
    else if (!this.#makeRoom(nowUs, size)) {
      this.#fail(nowUs, job, "cache-full", `no room for ${size} bytes: what is cached is in use`);
    } else {
      const part = { bytes: this.#partial.get(digest) ?? 0, validator: this.#validators.get(digest) };
      job.fetch = new ImageFetch({ digest, size, uri }, this.#parts.random, part);
      this.#startFetch(nowUs, job);
    }
  }

  #startFetch(nowUs: number, job: Job): void {
    job.stage = "fetching";
    job.wakeUs = undefined;
    this.#apply(nowUs, job, job.fetch!.start(this.#newId()));
  }

  #onFetchEvent(nowUs: number, job: Job, event: CommandEvent): void {
    const step = job.fetch!.handleEvent(nowUs, event);
    const { digest } = job.image;
    if (event.kind === "started") {
      const { validator } = event;
      if (validator === undefined) this.#validators.delete(digest);
      else this.#validators.set(digest, validator);
      this.#events.push({ kind: "validator", digest, validator });
    } else if (event.kind === "failed") {
      this.#parts.log.event("warn", "fetch-failed", { digest, reason: event.reason, detail: event.detail });
      this.#parts.metrics.count("fetch_failed", event.reason);
    }
    if (step !== undefined) this.#apply(nowUs, job, step);
  }

  #apply(nowUs: number, job: Job, step: FetchStep): void {
    const { digest } = job.image;
    this.#partial.set(digest, job.fetch!.received);
    if (step.kind === "command") {
      this.#owners.set(step.command.id, digest);
      this.#commands.push(step.command);
    } else if (step.kind === "wait") {
      job.stage = "waiting";
      job.wakeUs = step.untilUs;
      this.#parts.log.event("warn", "fetch-retried", { digest, reason: step.reason, detail: step.detail });
    } else if (step.kind === "fetched") {
      job.stage = "verifying";
      this.#send(job, (id) => ({ kind: "blob-read", id, digest, part: true }));
    } else {
      // What no later try can go on with would only take up room.
      if (["digest-mismatch", "disk-full", "larger-than-signed"].includes(step.reason)) this.#removePart(digest);
      this.#fail(nowUs, job, step.reason, step.detail);
    }
  }

  #removePart(digest: string): void {
    this.#partial.delete(digest);
    this.#validators.delete(digest);
    this.#commands.push({ kind: "blob-remove", id: this.#newId(), digest, part: true });
  }

  #removeBlob(digest: string): void {
    this.#commands.push({ kind: "blob-remove", id: this.#newId(), digest, part: false });
  }

  #onPartRead(nowUs: number, job: Job, event: CommandEvent): void {
    const { digest, size } = job.image;
    if (event.kind === "done" && event.bytes?.length === size && this.#hasDigest(event.bytes, digest)) {
      job.stage = "committing";
      job.bytes = event.bytes;
      this.#send(job, (id) => ({ kind: "blob-commit", id, digest }));
      return;
    }
    this.#parts.log.event("warn", "fetched-image-refused", { digest, reason: "digest-mismatch", uri: job.image.uri });
    this.#parts.metrics.count("fetch_failed", "digest-mismatch");
    this.#apply(nowUs, job, job.fetch!.handleDigestMismatch(nowUs));
  }

  #onCommitted(nowUs: number, job: Job, event: CommandEvent): void {
    if (event.kind === "failed") {
      this.#fail(nowUs, job, event.reason, event.detail);
      return;
    }
    const { digest } = job.image;
    this.#partial.delete(digest);
    this.#validators.delete(digest);
    this.#finish(nowUs, job, job.bytes!);
  }

  /** The bytes have the digest; whoever asked must also have named the right size. */
  #finish(nowUs: number, job: Job, bytes: Uint8Array): void {
    const { digest, size } = job.image;
    this.#memory.set(digest, bytes);
    this.#disk.delete(digest);
    this.#disk.set(digest, bytes.length); // used last
    if (bytes.length !== size) {
      this.#fail(nowUs, job, "size-mismatch", `the image has ${bytes.length} bytes, not ${size}`);
      return;
    }
    this.#end(nowUs, job);
  }

  #end(nowUs: number, { image: { digest } }: Job): void {
    this.#jobs.delete(digest);
    this.#events.push({ kind: "ready", digest });
    this.#startQueued(nowUs);
  }

  #fail(nowUs: number, job: Job, reason: string, detail: string): void {
    const { image } = job;
    const { digest } = image;
    this.#jobs.delete(digest);
    this.#parts.log.event("error", "image-unavailable", { digest, reason, detail });
    this.#parts.metrics.count("image_unavailable", reason);
    this.#events.push({ kind: "failed", digest, image, reason, detail });
    this.#startQueued(nowUs);
  }

  /** Evicts least recently used images that nobody needs until `bytes` more fit. */
  #makeRoom(nowUs: number, bytes: number): boolean {
    const { diskBytes } = this.#parts.budget;
    let used = this.diskBytes;
    for (const job of this.#jobs.values())
      if (job.fetch !== undefined && job.stage !== "reading") used += job.image.size;
    for (const [digest, size] of this.#partial) {
      if (this.#jobs.has(digest)) continue;
      if (used + size + bytes > diskBytes) this.#removePart(digest);
      else used += size;
    }
    const victims: string[] = [];
    for (const [digest, size] of this.#disk) {
      if (used + bytes <= diskBytes) break;
      if (this.#parts.isPinned(nowUs, digest) || this.#jobs.has(digest)) continue;
      victims.push(digest);
      used -= size;
    }
    if (used + bytes > diskBytes) return false;
    for (const digest of victims) {
      this.#disk.delete(digest);
      this.#memory.delete(digest);
      this.#removeBlob(digest);
      this.#events.push({ kind: "evicted", digest });
      this.#parts.log.event("info", "image-evicted", { digest });
    }
    return true;
  }

  #hasDigest(bytes: Uint8Array, digest: string): boolean {
    return toHex(this.#parts.crypto.sha256(bytes)) === digest;
  }

  #send(job: Job, make: (id: number) => Command): void {
    const id = this.#newId();
    this.#owners.set(id, job.image.digest);
    this.#commands.push(make(id));
  }
}

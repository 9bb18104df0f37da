import { blockSize, type Szx } from "../../src/coap/blockwise/block.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import type { BlockFetch, FetchEvent } from "../../src/transfer/block-fetch.ts";
import type { BlockSizeChoice } from "../../src/transfer/block-size.ts";
import type { SectorBuffer, SectorStep } from "./sector-buffer.ts";
import type { SlotWriter } from "./slot-writer.ts";
import type { Work } from "./work.ts";

export type DownloadEnd = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** What a download counts, over all of an agent's life. */
export interface DownloadCounts {
  /** Times that it went on behind block 0: after a reboot, or after the gateway was silent. */
  resumesAtNonZero: number;
  imageBytesReceived: number;
}

export interface ImageDownloadParts {
  readonly fetch: BlockFetch;
  readonly writer: SlotWriter;
  readonly work: Work;
  /** Chooses the size of each block. */
  readonly blockSizes: BlockSizeChoice | undefined;
  readonly counts: DownloadCounts;
  /** Judges sectors before they are written; absent where there is no table. */
  readonly sectors?: SectorBuffer | undefined;
  readonly sha256UsPerByte?: number | undefined;
  readonly onEnd: (nowUs: number, end: DownloadEnd) => void;
}

/** The same sector is asked for once more, then the gateway's word is no good. */
const MAX_WRONG_SECTORS = 1;

/** Fetches the blocks of an image that its slot's journal lacks, one after the other. */
export class ImageDownload {
  readonly #parts: ImageDownloadParts;
  #paused: boolean;
  #ended = false;
  /** Sectors that came wrong, one after the other: a gateway that keeps giving the same is given up. */
  #wrong = 0;
  sectorsRefused = 0;
  /** Nothing was asked for: the journal said that all was there. */
  wasComplete = true;

  constructor(parts: ImageDownloadParts) {
    this.#parts = parts;
    this.#paused = parts.writer.resumed;
  }

  get writer(): SlotWriter {
    return this.#parts.writer;
  }

  /** True while the gateway is silent: an exchange got no answer and nothing has come since. */
  get isPaused(): boolean {
    return this.#paused;
  }

  start(nowUs: number): void {
    const { work, writer } = this.#parts;
    work.after(nowUs, writer.setUpUs, (now) => this.#askNext(now));
  }

  handleEvent(nowUs: number, event: ClientEvent): void {
    if (this.#ended) return;
    const result = this.#parts.fetch.handleEvent(nowUs, event);
    if (result !== undefined) this.#onBlock(nowUs, result);
  }

  handleTimeout(nowUs: number): void {
    if (!this.#ended) this.#parts.fetch.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#ended ? undefined : this.#parts.fetch.pollTimeout();
  }

  #end(nowUs: number, end: DownloadEnd): void {
    this.#ended = true;
    this.#parts.onEnd(nowUs, end);
  }

  #askNext(nowUs: number): void {
    const { fetch } = this.#parts;
    const missing = this.#missing;
    if (missing === undefined) return this.#end(nowUs, { ok: true });
    this.wasComplete = false;
    this.#resize(missing);
    fetch.ask(nowUs, fetch.download.requestAt(missing));
  }

  /** Nothing came of a block: the next attempt is for a smaller one. */
  #askSmaller(): void {
    const { blockSizes, fetch } = this.#parts;
    const missing = this.#missing;
    if (blockSizes === undefined || missing === undefined) return;
    blockSizes.failed(fetch.download.szx);
    this.#resize(missing);
    fetch.replace(fetch.download.requestAt(missing));
  }

  /** The largest size up to the one that is chosen of which the offset is a multiple, and nothing behind it is stored. */
  #resize(offset: number): void {
    const { blockSizes, writer, fetch } = this.#parts;
    if (blockSizes === undefined) return;
    const { journal } = writer;
    const isFree = (szx: Szx): boolean => {
      const end = Math.min(offset + blockSize(szx), journal.size);
      for (let at = offset; at < end; at += journal.blockBytes)
        if (journal.isStored(Math.floor(at / journal.blockBytes))) return false;
      return true;
    };
    let { szx } = blockSizes;
    while (szx > 0 && (offset % blockSize(szx) !== 0 || !isFree(szx))) szx--;
    fetch.download.resize(szx);
  }

  #onBlock(nowUs: number, event: FetchEvent): void {
    if (event.kind === "paused") {
      this.#paused = true;
      if (event.reason === "timeout") this.#askSmaller();
      return;
    }
    if (event.kind !== "block")
      return this.#end(nowUs, { ok: false, reason: event.kind === "failed" ? event.reason : "image-changed" });
    const { blockSizes, writer, fetch, counts, work } = this.#parts;
    const { offset, bytes } = event;
    blockSizes?.delivered(fetch.download.szx, event.lost ?? 0);
    const { journal } = writer;
    if (this.#paused && offset > 0) counts.resumesAtNonZero++;
    this.#paused = false;
    counts.imageBytesReceived += bytes.length;
    if (offset + bytes.length > journal.size || event.last !== (offset + bytes.length === journal.size))
      return this.#end(nowUs, { ok: false, reason: "image-size-mismatch" });
    const { sectors } = this.#parts;
    if (sectors === undefined) work.after(nowUs, writer.store(offset, bytes), (now) => this.#askNext(now));
    else this.#judge(nowUs, sectors.add(offset, bytes));
  }

  get #missing(): number | undefined {
    const { sectors, writer } = this.#parts;
    return sectors === undefined ? writer.missing : sectors.missing;
  }

  /** A forged or corrupt block costs one sector, not the image. */
  #judge(nowUs: number, step: SectorStep): void {
    const { work, writer, sha256UsPerByte = 0 } = this.#parts;
    if (step.kind === "waiting") return this.#askNext(nowUs);
    work.compute(nowUs, step.hashed * sha256UsPerByte, (now) => {
      if (step.kind === "good") {
        this.#wrong = 0;
        return work.after(now, writer.store(step.offset, step.bytes), (then) => this.#askNext(then));
      }
      this.sectorsRefused++;
      if (++this.#wrong > MAX_WRONG_SECTORS) {
        if (step.resumed) writer.discard();
        return this.#end(now, { ok: false, reason: "sector-mismatch" });
      }
      return this.#askNext(now);
    });
  }
}

import { blockSize, type Szx } from "../../src/coap/blockwise/block.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import type { BlockFetch, FetchEvent } from "../../src/transfer/block-fetch.ts";
import type { BlockSizeChoice } from "../../src/transfer/block-size.ts";
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
  readonly onEnd: (nowUs: number, end: DownloadEnd) => void;
}

/** Fetches the blocks of an image that its slot's journal lacks, one after the other. */
export class ImageDownload {
  readonly #parts: ImageDownloadParts;
  #paused: boolean;
  #ended = false;

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
    const { writer, fetch } = this.#parts;
    const { missing } = writer;
    if (missing === undefined) return this.#end(nowUs, { ok: true });
    this.#resize(missing);
    fetch.ask(nowUs, fetch.download.requestAt(missing));
  }

  /** Nothing came of a block: the next attempt is for a smaller one. */
  #askSmaller(): void {
    const { blockSizes, writer, fetch } = this.#parts;
    const { missing } = writer;
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
    work.after(nowUs, writer.store(offset, bytes), (now) => this.#askNext(now));
  }
}

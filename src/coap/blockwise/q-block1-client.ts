import type { PeerAddress } from "../../ports/datagram.ts";
import type { Random } from "../../ports/random.ts";
import { randomBytes } from "../../util/random.ts";
import { encodeUint, uintOption, type CoapOption } from "../message.ts";
import { Code, ContentFormat, Option } from "../numbers.ts";
import type { TransmissionParameters } from "../parameters.ts";
import type { ClientEvent, Requester, ResponseContent } from "../request.ts";
import { blockOption, blockSize, encodeBlock, type Szx } from "./block.ts";
import { Q_UPLOAD, type QUploadState } from "../states.ts";
import { OpenRequests } from "./open-requests.ts";
import {
  decodeMissingBlocks,
  MAX_PAYLOADS,
  nonMaxRetransmit,
  nonReceiveTimeoutUs,
  nonTimeoutRandomUs,
  setEnd,
} from "./q-block.ts";

export type QUploadEvent =
  | { readonly kind: "done"; readonly response: ResponseContent }
  /** The server does not know Q-Block: Block1 is to be used (RFC 9177 section 4.1). */
  | { readonly kind: "unsupported" }
  | { readonly kind: "failed"; readonly reason: string };

export interface QUploadOptions {
  readonly endpoint: Requester;
  readonly peer: PeerAddress;
  readonly parameters: TransmissionParameters;
  readonly random: Random;
  readonly code: number;
  readonly options: readonly CoapOption[];
  readonly body: Uint8Array;
  readonly szx: Szx;
}

/** Long enough that two bodies have different ones (RFC 9177 section 4.3, RFC 9175 section 3.4). */
const REQUEST_TAG_BYTES = 8;

const MAX_TOKENS = 4 * MAX_PAYLOADS;

/**
 * Sends a body in sets of blocks that are not answered one by one (RFC 9177 section 4.3). The first
 * block is confirmable, to see whether the server knows how; all others are not (section 7).
 */
export class QBlock1Upload {
  readonly #options: QUploadOptions;
  readonly #count: number;
  readonly #pauseUs: number;
  readonly #requestTag: Uint8Array;
  readonly #requests: OpenRequests;
  #probe: number | undefined;
  #next = 0;
  #repeats = 0;
  /** What the last 4.08 named. */
  #missing = "";
  #dueUs: number | undefined;
  readonly #at: { state: QUploadState } = { state: Q_UPLOAD.initial };

  constructor(options: QUploadOptions) {
    this.#options = options;
    this.#requests = new OpenRequests(options, MAX_TOKENS);
    this.#count = Math.max(1, Math.ceil(options.body.length / blockSize(options.szx)));
    this.#pauseUs = nonTimeoutRandomUs(options.parameters, options.random);
    this.#requestTag = randomBytes(options.random, REQUEST_TAG_BYTES);
  }

  start(nowUs: number): boolean {
    this.#probe = this.#send(nowUs, 0, true);
    this.#next = 1;
    return this.#probe !== undefined;
  }

  pollTimeout(): number | undefined {
    return this.#dueUs;
  }

  handleTimeout(nowUs: number): QUploadEvent | undefined {
    if (this.#dueUs === undefined || nowUs < this.#dueUs) return undefined;
    if (!Q_UPLOAD.step(this.#at, "quiet")) this.#sendSet(nowUs);
    else if (++this.#repeats > nonMaxRetransmit(this.#options.parameters))
      return this.#finish(nowUs, { kind: "failed", reason: "timeout" });
    else {
      // All was sent and nothing came back: the last block again, which the server answers.
      this.#send(nowUs, this.#count - 1, false);
      this.#dueUs = nowUs + nonReceiveTimeoutUs(this.#options.parameters) * 2 ** this.#repeats;
    }
    return undefined;
  }

  handleEvent(nowUs: number, event: ClientEvent): QUploadEvent | undefined {
    if (this.#at.state === "over" || !this.#requests.has(event.request)) return undefined;
    if (event.kind === "acknowledged") {
      if (event.request === this.#probe && this.#at.state === "probing") this.#sendSet(nowUs);
      return undefined;
    }
    if (event.kind === "failed") {
      this.#requests.ended(event.request);
      if (event.request !== this.#probe) return undefined;
      const unsupported = event.reason === "reset";
      return this.#finish(nowUs, unsupported ? { kind: "unsupported" } : { kind: "failed", reason: event.reason });
    }
    return this.#handleResponse(nowUs, event.response);
  }

  cancel(nowUs: number): void {
    Q_UPLOAD.step(this.#at, "end");
    this.#dueUs = undefined;
    this.#requests.cancelAll(nowUs);
  }

  #handleResponse(nowUs: number, response: ResponseContent): QUploadEvent | undefined {
    if (response.code === Code.BAD_OPTION) return this.#finish(nowUs, { kind: "unsupported" });
    if (response.code === Code.CONTINUE) {
      this.#repeats = 0;
      // Only the word about what was sent last lets the next set go at once (section 7.2).
      const block = blockOption(response.options, Option.Q_BLOCK1);
      if (block?.num === this.#next - 1 && this.#next < this.#count) this.#sendSet(nowUs);
      return undefined;
    }
    const format = uintOption(response.options, Option.CONTENT_FORMAT);
    const names = response.code === Code.REQUEST_ENTITY_INCOMPLETE && format === ContentFormat.MISSING_BLOCKS;
    if (names && Q_UPLOAD.step(this.#at, "missing")) {
      // Section 7.2: no more of them at once than a set has.
      const named = decodeMissingBlocks(response.payload)?.filter((num) => num < this.#next) ?? [];
      const missing = named.slice(0, MAX_PAYLOADS);
      const isNews = missing.join() !== this.#missing;
      this.#missing = missing.join();
      this.#repeats = isNews ? 0 : this.#repeats + 1;
      if (this.#repeats > nonMaxRetransmit(this.#options.parameters))
        return this.#finish(nowUs, { kind: "failed", reason: "timeout" });
      for (const num of missing) this.#send(nowUs, num, false);
      this.#dueUs = nowUs + this.#pauseUs;
      return undefined;
    }
    return this.#finish(nowUs, { kind: "done", response });
  }

  #sendSet(nowUs: number): void {
    const end = Math.min(setEnd(this.#next), this.#count);
    while (this.#next < end) this.#send(nowUs, this.#next++, false);
    const more = this.#next < this.#count;
    Q_UPLOAD.step(this.#at, more ? "set" : "last set");
    this.#dueUs = nowUs + (more ? this.#pauseUs : nonReceiveTimeoutUs(this.#options.parameters) * 2);
  }

  #send(nowUs: number, num: number, confirmable: boolean): number | undefined {
    const { code, options, body, szx } = this.#options;
    const size = blockSize(szx);
    const payload = body.subarray(num * size, (num + 1) * size);
    const block = encodeBlock({ num, more: num < this.#count - 1, szx });
    const all = [
      ...options,
      { number: Option.Q_BLOCK1 as number, value: block },
      { number: Option.SIZE1, value: encodeUint(body.length) },
      { number: Option.REQUEST_TAG, value: this.#requestTag },
    ];
    return this.#requests.send(nowUs, { code, options: all, payload, confirmable });
  }

  #finish(nowUs: number, event: QUploadEvent): QUploadEvent {
    this.cancel(nowUs);
    return event;
  }
}

import type { PeerAddress } from "../../ports/datagram.ts";
import { bytesEqual } from "../../util/bytes.ts";
import { optionValue, uintOption, type CoapOption } from "../message.ts";
import { Code, codeClass, codeText, Option } from "../numbers.ts";
import type { TransmissionParameters } from "../parameters.ts";
import type { ClientEvent, Requester, ResponseContent } from "../request.ts";
import { blockOption, blockSize, encodeBlock, MAX_BLOCK_NUM, type Szx } from "./block.ts";
import { Q_DOWNLOAD, type QDownloadState } from "../states.ts";
import { OpenRequests } from "./open-requests.ts";
import { BlockMap, MAX_PAYLOADS, nonMaxRetransmit, nonReceiveTimeoutUs, setEnd } from "./q-block.ts";

export type QDownloadEvent =
  | { readonly kind: "block"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "done"; readonly size: number }
  /** The server does not know Q-Block: Block2 is to be used (RFC 9177 section 4.1). */
  | { readonly kind: "unsupported" }
  /** Another representation is there now: what was stored is worth nothing. */
  | { readonly kind: "changed" }
  | { readonly kind: "failed"; readonly reason: string };

export interface QDownloadOptions {
  readonly endpoint: Requester;
  readonly peer: PeerAddress;
  readonly parameters: TransmissionParameters;
  readonly uri: readonly CoapOption[];
  readonly szx: Szx;
  /** Representation of which `has` tells what is at hand. */
  readonly etag?: Uint8Array;
  /** Whether a block need not be fetched. */
  readonly has?: (num: number) => boolean;
}

const MAX_TOKENS = MAX_PAYLOADS;

/**
 * Fetches a body in sets of blocks that come without being asked for one by one (RFC 9177 section
 * 4.4). A first confirmable request shows whether the server knows how; from then on just the
 * blocks that the map lacks are asked for.
 */
export class QBlock2Download {
  readonly #options: QDownloadOptions;
  readonly #requests: OpenRequests;
  #etag: Uint8Array | undefined;
  #map: BlockMap | undefined;
  #size = 0;
  #repeats = 0;
  /** First block behind the set that is being received. */
  #end = MAX_PAYLOADS;
  /** Blocks below here were asked for again when a later set began. */
  #chased = 0;
  #dueUs: number | undefined;
  readonly #at: { state: QDownloadState } = { state: Q_DOWNLOAD.initial };

  constructor(options: QDownloadOptions) {
    this.#options = options;
    this.#requests = new OpenRequests(options, MAX_TOKENS);
    this.#etag = options.etag;
  }

  start(nowUs: number): boolean {
    let first = 0;
    while (this.#options.has?.(first) === true) first++;
    return this.#ask(nowUs, [{ num: first, more: false }], true);
  }

  pollTimeout(): number | undefined {
    return this.#dueUs;
  }

  /** Asks again for what did not come. */
  handleTimeout(nowUs: number): QDownloadEvent | undefined {
    if (this.#dueUs === undefined || nowUs < this.#dueUs) return undefined;
    const { parameters } = this.#options;
    Q_DOWNLOAD.step(this.#at, "quiet");
    if (++this.#repeats > nonMaxRetransmit(parameters))
      return this.#finish(nowUs, { kind: "failed", reason: "timeout" });
    this.#askForMissing(nowUs);
    this.#dueUs = nowUs + nonReceiveTimeoutUs(parameters) * 2 ** this.#repeats;
    return undefined;
  }

  /** Takes an event of the endpoint; none when it is another's. */
  handleEvent(nowUs: number, event: ClientEvent): QDownloadEvent[] {
    if (this.#at.state === "over" || !this.#requests.has(event.request) || event.kind === "acknowledged") return [];
    if (event.kind === "failed") {
      this.#requests.ended(event.request);
      if (this.#at.state === "receiving") return []; // a request of ours that was lost is asked again in time
      const unsupported = event.reason === "reset";
      return [this.#finish(nowUs, unsupported ? { kind: "unsupported" } : { kind: "failed", reason: event.reason })];
    }
    return this.#handleResponse(nowUs, event.response);
  }

  cancel(nowUs: number): void {
    Q_DOWNLOAD.step(this.#at, "end");
    this.#dueUs = undefined;
    this.#requests.cancelAll(nowUs);
  }

  #handleResponse(nowUs: number, response: ResponseContent): QDownloadEvent[] {
    if (response.code === Code.BAD_OPTION && this.#at.state === "probing")
      return [this.#finish(nowUs, { kind: "unsupported" })];
    if (codeClass(response.code) !== 2)
      return [this.#finish(nowUs, { kind: "failed", reason: codeText(response.code) })];
    const block = blockOption(response.options, Option.Q_BLOCK2);
    const size = uintOption(response.options, Option.SIZE2);
    const etag = optionValue(response.options, Option.ETAG);
    const { szx } = this.#options;
    // Without the option the body is whole, or comes by Block2: either way this is not the way to fetch it.
    if (block === undefined || block.szx !== szx)
      return this.#at.state === "probing" ? [this.#finish(nowUs, { kind: "unsupported" })] : [];
    if (size === undefined || etag === undefined) {
      // A server may know Q-Block and still give a single block without what belongs to a body (libcoap 4.3.5).
      if (this.#at.state === "probing" && this.#dueUs === undefined) this.#askForAll(nowUs);
      return [];
    }
    if (this.#etag !== undefined && !bytesEqual(etag, this.#etag)) return [this.#finish(nowUs, { kind: "changed" })];
    if (size > (MAX_BLOCK_NUM + 1) * blockSize(szx))
      return [this.#finish(nowUs, { kind: "failed", reason: "too-large" })];
    this.#etag = etag;
    if (Q_DOWNLOAD.step(this.#at, "first")) this.#map = this.#makeMap(size);
    else Q_DOWNLOAD.step(this.#at, "block");
    this.#dueUs ??= nowUs + nonReceiveTimeoutUs(this.#options.parameters); // whatever this one is worth
    if (block.num >= this.#map!.count) return []; // a body of whole blocks may end with an empty one, which is none of it
    const offset = block.num * blockSize(szx);
    if (response.payload.length !== Math.min(blockSize(szx), size - offset) || size !== this.#size) return [];
    if (!this.#map!.add(block.num)) return []; // section 4.4: a duplicate is ignored
    this.#repeats = 0;
    this.#dueUs = nowUs + nonReceiveTimeoutUs(this.#options.parameters);
    const out: QDownloadEvent[] = [{ kind: "block", offset, bytes: response.payload }];
    if (this.#map!.whole) out.push(this.#finish(nowUs, { kind: "done", size }));
    else this.#goOn(nowUs, block.num);
    return out;
  }

  #makeMap(size: number): BlockMap {
    this.#size = size;
    const map = new BlockMap(Math.max(1, Math.ceil(size / blockSize(this.#options.szx))));
    for (let num = 0; num < map.count; num++) if (this.#options.has?.(num) === true) map.add(num);
    this.#end = 0;
    return map;
  }

  /** The set is whole: on to the next one. A later set has begun: what is missing before it is asked for. */
  #goOn(nowUs: number, num: number): void {
    const map = this.#map!;
    if (map.missing(this.#end, 1).length === 0) this.#askForMissing(nowUs);
    else if (num >= this.#end && this.#chased < this.#end) {
      this.#chased = this.#end;
      this.#askForMissing(nowUs);
    }
  }

  #askForAll(nowUs: number): void {
    this.#ask(nowUs, [{ num: 0, more: true }], false);
    this.#dueUs = nowUs + nonReceiveTimeoutUs(this.#options.parameters);
  }

  #askForMissing(nowUs: number): void {
    const map = this.#map;
    if (map === undefined) {
      this.#askForAll(nowUs);
      return;
    }
    const first = map.missing(map.count, 1)[0]!;
    this.#end = Math.min(setEnd(first), map.count);
    const missing = map.missing(this.#end, MAX_PAYLOADS);
    // With M a block stands for the rest of its set; at the border of a set it is the word to go on
    // with all that follows (section 4.4).
    const rest = map.highest < first && (missing.length > 1 || first % MAX_PAYLOADS === 0);
    const blocks = rest ? [{ num: first, more: true }] : missing.map((num) => ({ num, more: false }));
    this.#ask(nowUs, blocks, false);
    this.#dueUs = nowUs + nonReceiveTimeoutUs(this.#options.parameters);
  }

  #ask(nowUs: number, blocks: readonly { num: number; more: boolean }[], confirmable: boolean): boolean {
    const { uri, szx } = this.#options;
    const options = [
      ...uri,
      ...blocks.map((block) => ({ number: Option.Q_BLOCK2 as number, value: encodeBlock({ ...block, szx }) })),
    ];
    return this.#requests.send(nowUs, { code: Code.GET, options, confirmable }) !== undefined;
  }

  #finish(nowUs: number, event: QDownloadEvent): QDownloadEvent {
    this.cancel(nowUs);
    return event;
  }
}

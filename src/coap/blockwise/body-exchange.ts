import type { PeerAddress } from "../../ports/datagram.ts";
import { concatBytes } from "../../util/bytes.ts";
import { optionValue, type CoapOption } from "../message.ts";
import { codeClass, Option } from "../numbers.ts";
import type { ClientEvent, Requester, OutgoingRequest, ResponseContent } from "../request.ts";
import { BlockUpload } from "./block1-client.ts";
import { BlockDownload } from "./block2-client.ts";
import type { Szx } from "./block.ts";

/** How an exchange of bodies ended; the response's payload is its whole body. */
export type BodyOutcome =
  | { readonly kind: "response"; readonly response: ResponseContent }
  | { readonly kind: "failed"; readonly reason: string };

export interface BodyExchangeOptions {
  readonly endpoint: Requester;
  readonly peer: PeerAddress;
  readonly code: number;
  readonly options: readonly CoapOption[];
  readonly body: Uint8Array;
  readonly szx: Szx;
  readonly requestTag?: Uint8Array;
  /** Largest response body that is taken. */
  readonly maxBodyBytes: number;
  readonly forwarded?: boolean;
  /** See OutgoingRequest. */
  readonly responseTimeoutUs?: number | undefined;
}

/**
 * One request with a body of any size and one response with a body of any size, over as many blocks
 * as both need (RFC 7959 section 3.3): first Block1 up to the last block, then Block2.
 */
export class BodyExchange {
  readonly #options: BodyExchangeOptions;
  readonly #upload: BlockUpload;
  readonly #pieces: Uint8Array[] = [];
  /** Max-Age of the block that came last: it holds for the whole (RFC 7959 section 2.10). */
  #maxAge: CoapOption | undefined;
  #download: BlockDownload | undefined;
  #first: ResponseContent | undefined;
  #received = 0;
  #request: number | undefined;

  constructor(options: BodyExchangeOptions) {
    this.#options = options;
    this.#upload = new BlockUpload(options);
  }

  /** False when the endpoint has no room for another request. */
  start(nowUs: number): boolean {
    return this.#send(nowUs, this.#upload.request());
  }

  /** The request whose event it waits for. */
  get request(): number | undefined {
    return this.#request;
  }

  cancel(nowUs: number): void {
    if (this.#request !== undefined) this.#options.endpoint.cancel(nowUs, this.#request);
  }

  /** Takes an event of the endpoint; undefined while there is more to do, or when it is another's event. */
  handleEvent(nowUs: number, event: ClientEvent): BodyOutcome | undefined {
    if (this.#request !== event.request) return undefined;
    if (event.kind === "failed") return { kind: "failed", reason: event.reason };
    if (event.kind !== "response") return undefined;
    this.#maxAge = event.response.options.find(({ number }) => number === Option.MAX_AGE);
    if (this.#download !== undefined) return this.#handleBlock(nowUs, this.#download.handleResponse(event.response));
    const step = this.#upload.handleResponse(event.response);
    if (step.kind === "next") {
      // The token stays: some servers know by it which blocks belong together.
      const request = { ...this.#upload.request(), token: event.response.token };
      return this.#send(nowUs, request) ? undefined : NO_ROOM;
    }
    if (step.kind === "failed" && codeClass(step.response.code) === 2) return { kind: "failed", reason: step.reason };
    // A refusal is a response like any other to whoever asked.
    if (step.kind === "failed" || optionValue(step.response.options, Option.BLOCK2) === undefined)
      return { kind: "response", response: step.response };
    this.#first = step.response;
    const { code, options, szx, requestTag } = this.#options;
    const uri = options.filter(({ number }) => number !== Option.BLOCK2);
    if (requestTag !== undefined) uri.push({ number: Option.REQUEST_TAG, value: requestTag });
    this.#download = new BlockDownload({ path: [], szx, code, extraOptions: uri });
    return this.#handleBlock(nowUs, this.#download.begin(step.response));
  }

  #handleBlock(nowUs: number, event: ReturnType<BlockDownload["handleResponse"]>): BodyOutcome | undefined {
    if (event.kind !== "block") return { kind: "failed", reason: event.kind === "failed" ? event.reason : event.kind };
    this.#pieces.push(event.bytes.slice());
    this.#received += event.bytes.length;
    if (this.#received > this.#options.maxBodyBytes) return { kind: "failed", reason: "body-too-large" };
    if (!event.last) return this.#send(nowUs, this.#download!.requestAt(this.#received)) ? undefined : NO_ROOM;
    const first = this.#first!;
    const options = first.options.filter(({ number }) => !OF_ONE_BLOCK.has(number));
    if (this.#maxAge !== undefined) options.push(this.#maxAge);
    return { kind: "response", response: { code: first.code, options, payload: concatBytes(...this.#pieces) } };
  }

  #send(nowUs: number, request: OutgoingRequest): boolean {
    const { endpoint, peer, forwarded = false, responseTimeoutUs } = this.#options;
    const patience = responseTimeoutUs === undefined ? {} : { responseTimeoutUs };
    this.#request = endpoint.request(nowUs, peer, { ...request, ...patience, forwarded });
    return this.#request !== undefined;
  }
}

const OF_ONE_BLOCK: ReadonlySet<number> = new Set([Option.BLOCK2, Option.SIZE2, Option.MAX_AGE]);
const NO_ROOM: BodyOutcome = { kind: "failed", reason: "too-many-requests" };

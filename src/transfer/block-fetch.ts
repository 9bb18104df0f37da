import type { BlockDownload } from "../coap/blockwise/block2-client.ts";
import type { CoapEndpoint } from "../coap/endpoint.ts";
import { uintOption } from "../coap/message.ts";
import { Code, Option } from "../coap/numbers.ts";
import type { ClientEvent, OutgoingRequest, ResponseContent } from "../coap/request.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { unitFloat } from "../util/random.ts";

export type FetchEvent =
  /** `lost`: attempts for this block that had no answer. */
  | {
      readonly kind: "block";
      readonly offset: number;
      readonly bytes: Uint8Array;
      readonly last: boolean;
      readonly lost?: number;
    }
  | { readonly kind: "changed" | "valid" }
  /** The peer did not answer; the same block is asked for again at `retryUs`. */
  | { readonly kind: "paused"; readonly reason: string; readonly retryUs: number }
  | { readonly kind: "failed"; readonly reason: string };

export interface RetryPolicy {
  /** First pause after an exchange that got no answer; it doubles up to `maxBackoffUs`. */
  readonly backoffUs: number;
  readonly maxBackoffUs: number;
  /** Exchanges without an answer, one after another, before the fetch fails. */
  readonly maxFailures: number;
}

/** Copies of a request that has had no answer: MAX_RETRANSMIT and the first one (RFC 7252 section 4.2). */
const COPIES = 5;
/** Changes of the representation that a fetch follows before it gives up. */
const MAX_RESTARTS = 4;

/**
 * One body from one peer, a block at a time: the receiver's half of a transfer. The caller asks for
 * an offset, stores what comes, and asks for the next; a lost gateway only costs a pause.
 */
export class BlockFetch {
  readonly #endpoint: CoapEndpoint;
  readonly #peer: PeerAddress;
  readonly #random: Random;
  readonly #policy: RetryPolicy;
  readonly download: BlockDownload;
  #current: { request: OutgoingRequest; id: number | undefined } | undefined;
  #failures = 0;
  #lost = 0;
  #restarts = 0;
  #retryUs: number | undefined;

  constructor(parts: {
    endpoint: CoapEndpoint;
    peer: PeerAddress;
    random: Random;
    policy: RetryPolicy;
    download: BlockDownload;
  }) {
    this.#endpoint = parts.endpoint;
    this.#peer = parts.peer;
    this.#random = parts.random;
    this.#policy = parts.policy;
    this.download = parts.download;
  }

  /** What was asked before and has no answer yet is given up: it would keep the peer's turn (NSTART). */
  ask(nowUs: number, request: OutgoingRequest): void {
    if (this.#current?.id !== undefined) this.#endpoint.cancel(nowUs, this.#current.id);
    this.#current = { request, id: undefined };
    this.#send(nowUs);
  }

  /** Has another request sent in place of the one that is paused. */
  replace(request: OutgoingRequest): void {
    if (this.#current !== undefined) this.#current.request = request;
  }

  /** Takes an event of the endpoint; undefined when it belongs to another request. */
  handleEvent(nowUs: number, event: ClientEvent): FetchEvent | undefined {
    if (this.#current?.id !== event.request) return undefined;
    if (event.kind === "failed") {
      this.#lost += COPIES;
      return this.#pause(nowUs, event.reason);
    }
    if (event.kind !== "response") return undefined;
    const { response } = event;
    // 5.03: the gateway has no room or no image yet, and says when to come back (RFC 7252 section 5.9.3.4).
    if (response.code >> 5 === 5) return this.#pause(nowUs, "server-error", maxAgeUs(response));
    const lost = this.#lost + (event.retransmissions ?? 0);
    this.#lost = 0;
    this.#failures = 0;
    this.#current = undefined;
    const result = this.download.handleResponse(response);
    // Two servers behind one address, or a hostile one: a receiver would begin again for ever.
    if (result.kind === "changed" && ++this.#restarts > MAX_RESTARTS)
      return { kind: "failed", reason: "keeps-changing" };
    return result.kind === "block" && lost > 0 ? Object.assign(result, { lost }) : result;
  }

  handleTimeout(nowUs: number): void {
    if (this.#retryUs !== undefined && this.#retryUs <= nowUs) this.#send(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#retryUs;
  }

  #send(nowUs: number): void {
    this.#retryUs = undefined;
    const id = this.#endpoint.request(nowUs, this.#peer, this.#current!.request);
    this.#current!.id = id;
    if (id === undefined) this.#retryUs = nowUs + this.#policy.backoffUs;
  }

  /** After `afterUs` where the server says when, else after a time that grows with each failure. */
  #pause(nowUs: number, reason: string, afterUs?: number): FetchEvent {
    this.#failures++;
    if (this.#failures >= this.#policy.maxFailures) {
      this.#current = undefined;
      return { kind: "failed", reason };
    }
    const backoffUs = Math.min(this.#policy.backoffUs * 2 ** (this.#failures - 1), this.#policy.maxBackoffUs);
    const spread = unitFloat(this.#random) / 2;
    // Those who were sent away together do not come back together.
    const waitUs = afterUs === undefined ? backoffUs * (0.5 + spread) : afterUs * (1 + spread);
    this.#retryUs = nowUs + Math.round(waitUs);
    return { kind: "paused", reason, retryUs: this.#retryUs };
  }
}

/** Whoever says that he is away for years may be back sooner. */
const MAX_WAIT_S = 3_600;

/** Max-Age of a 5.03; undefined where it says none. */
function maxAgeUs({ code, options }: ResponseContent): number | undefined {
  const seconds = code === Code.SERVICE_UNAVAILABLE ? uintOption(options, Option.MAX_AGE) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds, MAX_WAIT_S) * 1_000_000;
}

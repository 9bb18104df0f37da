import type { PeerAddress } from "../ports/datagram.ts";
import type { CoapOption } from "./message.ts";

/** A request as a handler sees it: options checked, path and query decoded. */
export interface IncomingRequest {
  readonly peer: PeerAddress;
  readonly confirmable: boolean;
  readonly method: number;
  readonly path: readonly string[];
  readonly query: readonly string[];
  readonly options: readonly CoapOption[];
  readonly payload: Uint8Array;
  readonly token: Uint8Array;
  /** The request came to a group: only a useful answer is sent, and not at once (RFC 7252 section 8.2). */
  readonly multicast: boolean;
  /** The address has shown that it is its own (RFC 9175 section 2.4); not known where there is no network. */
  readonly proven?: boolean;
  /** An Echo option showed that the request was made just now (RFC 9175 section 2.3). */
  readonly fresh: boolean;
  /** Names the exchange to `CoapEndpoint.respond` when the handler answers later. */
  readonly exchange: number;
}

/** A whole representation, to be sent in as many blocks as the client asks for. */
export interface Body {
  readonly bytes: Uint8Array;
  /** 1 to 8 bytes, the same for every block of one representation. */
  readonly etag: Uint8Array;
  /** Undefined where it is not known, or among the response's options. */
  readonly contentFormat: number | undefined;
  /** Called for each part of the body that was put on its way. */
  readonly sent?: (nowUs: number, offset: number, length: number) => void;
}

export interface CoapResponse {
  readonly code: number;
  readonly options?: readonly CoapOption[];
  readonly payload?: Uint8Array;
  /** In place of a payload: what the response is a block, or several, of. */
  readonly body?: Body;
  /** Names the resource to `notify`, when its clients may observe it (RFC 7641 section 4.1). */
  readonly observable?: string;
  /** The request is to come again with an Echo value, to show that it is fresh (RFC 9175 section 2.3). */
  readonly challenge?: boolean;
  /** The request with the body that came in blocks, where it is to be answered anew for an observer. */
  readonly whole?: IncomingRequest;
}

/** What a handler returns: the response, or the promise to call `respond` later. */
export type HandlerResult =
  | CoapResponse
  | "deferred"
  /** No response at all, as for a block of several that will be answered together. */
  | "silent";

/** A response to a request that was deferred, from a handler that keeps its own deadlines. */
export interface LaterResponse {
  readonly exchange: number;
  /** "silent" ends the exchange without a response. */
  readonly response: CoapResponse | "silent";
  /** More responses to the same request will follow; only after a NON. */
  readonly more?: boolean;
}

export interface RequestHandler {
  /** Critical options that it acts on besides Uri-*, Accept and Block2; Q-Block1 stands for Q-Block2 too. */
  readonly understood?: ReadonlySet<number>;
  handleRequest(nowUs: number, request: IncomingRequest): HandlerResult;
  /** Forgets what has waited too long; called when `pollTimeout` is due. */
  handleTimeout?(nowUs: number): void;
  pollTimeout?(): number | undefined;
  pollResponse?(): LaterResponse | undefined;
  /** What the client is told for good of a body that came by Q-Block1, at once or later (RFC 9177 section 4.3). */
  answered?(request: IncomingRequest, response: CoapResponse): void;
  /** The client rejected one of several responses to `request` by RST. */
  rejected?(request: IncomingRequest): void;
}

/** A request that this endpoint sends. */
export interface OutgoingRequest {
  readonly code: number;
  readonly options: readonly CoapOption[];
  readonly payload?: Uint8Array;
  /** In place of a fresh one: of the response before, where a peer knows by it what blocks belong together. */
  readonly token?: Uint8Array;
  /** CON unless false. */
  readonly confirmable?: boolean;
  /** How long to wait for the response once the request was acknowledged or sent as NON. */
  readonly responseTimeoutUs?: number;
  /** Stay informed of changes (RFC 7641 section 3); the Observe option is added. */
  readonly observe?: boolean;
  /** False: the observation is not renewed when its newest state is old (RFC 7641 section 3.3.1); something else keeps it. */
  readonly renew?: boolean;
  /** More than one response may come: from a group, or in blocks of Q-Block2. Only time or `cancel` ends it. */
  readonly many?: boolean;
  /** The address is a group's: whoever answers is asked (RFC 7252 section 8.1). A NON. */
  readonly toGroup?: boolean;
  /** Sent by a transfer that keeps the pace of RFC 9177 itself, in place of PROBING_RATE. */
  readonly paced?: boolean;
  /** Made for another: what its response asks of the client is not answered here (RFC 7252 section 5.7.1, RFC 9175 section 2.3). */
  readonly forwarded?: boolean;
}

export interface ResponseContent {
  readonly code: number;
  readonly options: readonly CoapOption[];
  readonly payload: Uint8Array;
}

export interface IncomingResponse extends ResponseContent {
  readonly from: PeerAddress;
  readonly token: Uint8Array;
}

export type RequestFailure = "timeout" | "reset" | "bad-option";

/** What became of a request of ours. */
export type ClientEvent =
  /** `retransmissions` of the request, where there were any: this may answer a copy of it. */
  | {
      readonly kind: "response";
      readonly request: number;
      readonly response: IncomingResponse;
      readonly retransmissions?: number;
    }
  /** Only of requests for which many responses may come: the peer has it, and does not refuse it at once. */
  | { readonly kind: "acknowledged"; readonly request: number }
  /** A newer state of what is observed; the observation goes on. */
  | { readonly kind: "notification"; readonly request: number; readonly response: IncomingResponse }
  | { readonly kind: "failed"; readonly request: number; readonly reason: RequestFailure };

/** What sends requests: an endpoint, or what stands before one. */
export interface Requester {
  request(nowUs: number, peer: PeerAddress, request: OutgoingRequest): number | undefined;
  cancel(nowUs: number, request: number): void;
}

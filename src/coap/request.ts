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
  /** Names the exchange to `CoapEndpoint.respond` when the handler answers later. */
  readonly exchange: number;
}

/** A whole representation, to be sent in as many blocks as the client asks for. */
export interface Body {
  readonly bytes: Uint8Array;
  /** 8 bytes, the same for every block of one representation. */
  readonly etag: Uint8Array;
  readonly contentFormat: number;
}

export interface CoapResponse {
  readonly code: number;
  readonly options?: readonly CoapOption[];
  readonly payload?: Uint8Array;
}

/** What a handler returns: the response, or the promise to call `respond` later. */
export type HandlerResult = CoapResponse | "deferred";

export interface RequestHandler {
  handleRequest(nowUs: number, request: IncomingRequest): HandlerResult;
}

/** A request that this endpoint sends. */
export interface OutgoingRequest {
  readonly code: number;
  readonly options: readonly CoapOption[];
  readonly payload?: Uint8Array;
  /** CON unless false. */
  readonly confirmable?: boolean;
  /** How long to wait for the response once the request was acknowledged or sent as NON. */
  readonly responseTimeoutUs?: number;
}

export interface IncomingResponse {
  readonly code: number;
  readonly options: readonly CoapOption[];
  readonly payload: Uint8Array;
}

export type RequestFailure = "timeout" | "reset" | "bad-option";

/** What became of a request of ours. */
export type ClientEvent =
  | { readonly kind: "response"; readonly request: number; readonly response: IncomingResponse }
  | { readonly kind: "failed"; readonly request: number; readonly reason: RequestFailure };

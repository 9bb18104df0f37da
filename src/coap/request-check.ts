import { utf8 } from "../util/bytes.ts";
import { optionValue, type CoapMessage, type CoapOption } from "./message.ts";
import { COAP_LIMITS } from "./limits.ts";
import { Code, MessageType, Option } from "./numbers.ts";
import { unforwardable, unrecognisedCritical, uriPath, uriQuery, withoutUnrecognised } from "./options.ts";
import type { CoapResponse, RequestHandler } from "./request.ts";

/** Critical options that the endpoint acts on itself; a handler may know more, others are answered 4.02. */
export const SERVER_OPTIONS: ReadonlySet<number> = new Set([
  Option.URI_HOST,
  Option.URI_PORT,
  Option.URI_PATH,
  Option.URI_QUERY,
  Option.ACCEPT,
  Option.BLOCK2,
  Option.Q_BLOCK2,
  Option.PROXY_URI,
  Option.PROXY_SCHEME,
]);

export interface CheckedRequest {
  readonly options: readonly CoapOption[];
  readonly path: readonly string[];
  readonly query: readonly string[];
  /** Proxy-Uri or Proxy-Scheme is there: the request is for a proxy. */
  readonly proxied: boolean;
}

export type RequestCheck =
  | CheckedRequest
  | { readonly refused: string; readonly response: CoapResponse }
  /** To be rejected by RST, or ignored (RFC 7252 section 5.4.1). */
  | { readonly refused: string; readonly response: undefined };

/** What must be refused before a handler sees it (RFC 7252 sections 5.4, 5.7.2 and 5.10.2). */
export function checkRequest(
  message: CoapMessage,
  handler: RequestHandler | undefined,
  proxy: RequestHandler | undefined,
): RequestCheck {
  const proxied = has(message, Option.PROXY_URI) || has(message, Option.PROXY_SCHEME);
  const acting = proxied && proxy !== undefined ? proxy : handler;
  const understood = (option: number): boolean =>
    SERVER_OPTIONS.has(option) || acting?.understood?.has(option) === true;
  const judge = proxied && proxy !== undefined ? unforwardable : unrecognisedCritical;
  const critical = judge(message.options, understood);
  if (critical !== undefined) {
    if (message.type === MessageType.NON) return { refused: "critical-option", response: undefined };
    return badOption("critical-option", `option ${critical} is not understood`);
  }
  if (proxied && proxy === undefined) return { refused: "proxying", response: { code: Code.PROXYING_NOT_SUPPORTED } };
  if (message.token.length > COAP_LIMITS.maxTokenBytes)
    return { refused: "token-too-long", response: { code: Code.BAD_REQUEST } };
  // RFC 9177 section 4.1: the two kinds of blocks do not mix in one message.
  const mixed =
    (has(message, Option.Q_BLOCK1) || has(message, Option.Q_BLOCK2)) &&
    (has(message, Option.BLOCK1) || has(message, Option.BLOCK2));
  if (mixed) return badOption("mixed-blocks", "Block and Q-Block options do not mix");
  const options = withoutUnrecognised(message.options);
  const path = uriPath(options);
  const query = uriQuery(options);
  if (path === undefined || query === undefined) return badOption("uri-not-utf8", "Uri-Path and Uri-Query are UTF-8");
  return { options, path, query, proxied };
}

function has(message: CoapMessage, optionNumber: number): boolean {
  return optionValue(message.options, optionNumber) !== undefined;
}

function badOption(refused: string, diagnostic: string): RequestCheck {
  return { refused, response: { code: Code.BAD_OPTION, payload: utf8(diagnostic) } };
}

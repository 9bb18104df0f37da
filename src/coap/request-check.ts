import { utf8 } from "../util/bytes.ts";
import { blockOption } from "./blockwise/block.ts";
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
  const judge = proxied && proxy !== undefined ? unforwardable : unrecognisedCritical;
  const critical = judge(message, (option) => understands(acting, option));
  if (critical !== undefined) {
    if (message.type === MessageType.NON) return { refused: "critical-option", response: undefined };
    return badOption("critical-option", `option ${critical} is not understood`);
  }
  if (proxied && proxy === undefined)
    return { refused: "proxying", response: { code: Code.PROXYING_NOT_SUPPORTED, payload: utf8("this is no proxy") } };
  if (message.token.length > COAP_LIMITS.maxTokenBytes)
    return badRequest("token-too-long", `tokens have at most ${COAP_LIMITS.maxTokenBytes} bytes`);
  // RFC 9177 section 4.1: the two kinds of blocks do not mix in one message.
  const mixed =
    (has(message, Option.Q_BLOCK1) || has(message, Option.Q_BLOCK2)) &&
    (has(message, Option.BLOCK1) || has(message, Option.BLOCK2));
  if (mixed) return badOption("mixed-blocks", "Block and Q-Block options do not mix");
  const reserved = BLOCK_OPTIONS.some((option) => blockOption(message.options, option)?.szx === 7);
  if (reserved) return badRequest("reserved-szx", "SZX 7 is reserved"); // RFC 7959 section 2.2
  const options = withoutUnrecognised(message);
  const path = uriPath(options);
  const query = uriQuery(options);
  if (path === undefined || query === undefined) return badOption("uri-not-utf8", "Uri-Path and Uri-Query are UTF-8");
  // Section 5.10.1: neither may be the value of a Uri-Path.
  if (path.some((segment) => segment === "." || segment === ".."))
    return badOption("uri-path-dots", "Uri-Path is not . or ..");
  return { options, path, query, proxied };
}

/** RFC 9177 section 4.1: whoever takes Q-Block1 takes Q-Block2, and nobody takes one of them alone. */
export function understands(acting: RequestHandler | undefined, option: number): boolean {
  if (SERVER_OPTIONS.has(option)) return true;
  return acting?.understood?.has(option === Option.Q_BLOCK2 ? Option.Q_BLOCK1 : option) === true;
}

const BLOCK_OPTIONS: readonly number[] = [Option.BLOCK1, Option.BLOCK2, Option.Q_BLOCK1, Option.Q_BLOCK2];

function has(message: CoapMessage, optionNumber: number): boolean {
  return optionValue(message.options, optionNumber) !== undefined;
}

function badOption(refused: string, diagnostic: string): RequestCheck {
  return { refused, response: { code: Code.BAD_OPTION, payload: utf8(diagnostic) } };
}

function badRequest(refused: string, diagnostic: string): RequestCheck {
  return { refused, response: { code: Code.BAD_REQUEST, payload: utf8(diagnostic) } };
}

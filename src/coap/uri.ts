import { fromUtf8, utf8 } from "../util/bytes.ts";
import { optionValue, optionValues, uintOption, type CoapOption } from "./message.ts";
import { Option } from "./numbers.ts";
import { textOptions } from "./options.ts";

/** The default ports of RFC 7252 sections 6.1 and 6.2, and those of HTTP for a proxy's origins. */
const DEFAULT_PORTS: Readonly<Record<string, number>> = { coap: 5683, coaps: 5684, http: 80, https: 443 };

/** A URI of which scheme, host and port are normalised, and path and query are taken apart. */
export interface CoapUri {
  readonly scheme: string;
  /** In lower case; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
  readonly path: readonly string[];
  readonly query: readonly string[];
}

const URI = /^([a-z][a-z0-9+.-]*):\/\/(\[[0-9a-f:.]+\]|[^/?#@:[\]]+)(?::(\d{0,5}))?(\/[^?#]*)?(?:\?([^#]*))?$/i;

/** Takes a URI apart (RFC 7252 section 6.4); undefined when it is none that a request can name. */
export function parseUri(text: string): CoapUri | undefined {
  const uri = readUri(text);
  return uri === "unsupported-scheme" ? undefined : uri;
}

function readUri(text: string): CoapUri | "unsupported-scheme" | undefined {
  const match = URI.exec(text);
  if (match === null) return undefined;
  const scheme = match[1]!.toLowerCase();
  if (DEFAULT_PORTS[scheme] === undefined) return "unsupported-scheme";
  const bracketed = match[2]!.startsWith("[");
  const host = bracketed ? match[2]!.slice(1, -1) : percentDecode(match[2]!);
  const port = match[3] === undefined || match[3] === "" ? DEFAULT_PORTS[scheme] : Number(match[3]);
  if (host === undefined || port === undefined || port > 65_535) return undefined;
  const literal = normalisedHost(host);
  if (literal === undefined) return undefined;
  // Step 8: a lone slash makes no Uri-Path option, a trailing one makes an empty one.
  const path = match[4] === undefined || match[4] === "/" ? [] : percentDecodeAll(match[4].slice(1).split("/"));
  const query = match[5] === undefined ? [] : percentDecodeAll(match[5].split("&"));
  if (path === undefined || query === undefined) return undefined;
  return { scheme, host: literal, port, path: withoutDots(path), query };
}

/** In lower case, an IPv6 address in its one canonical form (RFC 5952); undefined when it is no such address. */
function normalisedHost(host: string): string | undefined {
  if (!host.includes(":")) return host.toLowerCase();
  const text = `http://[${host}]`;
  return URL.canParse(text) ? new URL(text).hostname.slice(1, -1) : undefined;
}

/** Composes a URI (RFC 7252 section 6.5). */
export function formatUri({ scheme, host, port, path, query }: CoapUri): string {
  const authority = formatAuthority(scheme, host, port);
  const escapedPath = path.map((segment) => `/${escape(segment, SEGMENT)}`).join("");
  const escapedQuery = query.map((argument) => escape(argument, ARGUMENT)).join("&");
  return `${scheme}://${authority}${escapedPath === "" ? "/" : escapedPath}${query.length === 0 ? "" : `?${escapedQuery}`}`;
}

/** `scheme://host:port`, which names an origin; the port is left out where it is the default. */
export function originOf({ scheme, host, port }: Pick<CoapUri, "scheme" | "host" | "port">): string {
  return `${scheme}://${formatAuthority(scheme, host, port)}`;
}

/** Options of a request for `uri` on the endpoint that it names: path and query only. */
export function pathOptions(uri: Pick<CoapUri, "path" | "query">): CoapOption[] {
  return [...textOptions(Option.URI_PATH, uri.path), ...textOptions(Option.URI_QUERY, uri.query)];
}

/**
 * The URI that a request for a proxy means: Proxy-Uri, or Proxy-Scheme with the Uri-* options
 * (RFC 7252 section 5.10.2). Undefined when it is not valid, or when the host is not said.
 */
export function proxyTarget(options: readonly CoapOption[]): CoapUri | "unsupported-scheme" | undefined {
  const whole = optionValue(options, Option.PROXY_URI);
  if (whole !== undefined) {
    const text = fromUtf8(whole);
    return text === undefined ? undefined : readUri(text);
  }
  const scheme = textOption(options, Option.PROXY_SCHEME)?.toLowerCase();
  if (scheme !== undefined && DEFAULT_PORTS[scheme] === undefined) return "unsupported-scheme";
  const host = normalisedHost(textOption(options, Option.URI_HOST)?.replace(/^\[|\]$/g, "") ?? "");
  const port = uintOption(options, Option.URI_PORT) ?? DEFAULT_PORTS[scheme ?? ""];
  const path = optionValues(options, Option.URI_PATH).map(fromUtf8);
  const query = optionValues(options, Option.URI_QUERY).map(fromUtf8);
  if (scheme === undefined || host === undefined || host === "" || port === undefined) return undefined;
  if (!path.every((segment) => segment !== undefined) || !query.every((argument) => argument !== undefined))
    return undefined;
  return { scheme, host, port, path, query };
}

function textOption(options: readonly CoapOption[], optionNumber: number): string | undefined {
  const value = optionValue(options, optionNumber);
  return value === undefined ? undefined : fromUtf8(value);
}

function formatAuthority(scheme: string, host: string, port: number): string {
  const text = host.includes(":") ? `[${host}]` : escape(host, SEGMENT);
  return port === DEFAULT_PORTS[scheme] ? text : `${text}:${port}`;
}

/** RFC 3986 section 5.2.4, on segments. */
function withoutDots(path: readonly string[]): string[] {
  const out: string[] = [];
  for (const [i, segment] of path.entries()) {
    if (segment === "..") out.pop();
    else if (segment !== ".") out.push(segment);
    if (i === path.length - 1 && (segment === "." || segment === "..")) out.push("");
  }
  return out.length === 1 && out[0] === "" ? [] : out;
}

function percentDecodeAll(parts: readonly string[]): string[] | undefined {
  const out = parts.map(percentDecode);
  return out.every((part) => part !== undefined) ? out : undefined;
}

/** Undefined where an escape is malformed (RFC 3986 section 2.1). */
export function percentDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** What need not be escaped: unreserved, sub-delims, and `:` `@`; in an argument `/` and `?` too, but no `&`. */
const SEGMENT = /[^A-Za-z0-9\-._~!$&'()*+,;=:@]/gu;
const ARGUMENT = /[^A-Za-z0-9\-._~!$'()*+,;=:@/?]/gu;

function escape(text: string, forbidden: RegExp): string {
  return text.replace(forbidden, (character) =>
    [...utf8(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

import type { HttpRequest, HttpResponse } from "../../ports/http.ts";
import { utf8 } from "../../util/bytes.ts";
import { encodeUint, optionValue, uintOption, type CoapOption } from "../message.ts";
import { Code, Option } from "../numbers.ts";
import { textOptions } from "../options.ts";
import { originOf, parseUri } from "../uri.ts";
import type { IncomingRequest, ResponseContent } from "../request.ts";

const METHODS: Readonly<Record<number, string>> = {
  [Code.GET]: "GET",
  [Code.POST]: "POST",
  [Code.PUT]: "PUT",
  [Code.DELETE]: "DELETE",
  [Code.PATCH]: "PATCH",
};

/** Content-Formats of the registry that have a media type of their own (RFC 7252 section 12.3 and later). */
const MEDIA_TYPES: readonly (readonly [number, string])[] = [
  [0, "text/plain;charset=utf-8"],
  [40, "application/link-format"],
  [41, "application/xml"],
  [42, "application/octet-stream"],
  [47, "application/exi"],
  [50, "application/json"],
  [51, "application/json-patch+json"],
  [52, "application/merge-patch+json"],
  [60, "application/cbor"],
  [61, "application/cwt"],
  [62, "application/multipart-core"],
  [63, "application/cbor-seq"],
  [110, "application/senml+json"],
  [112, "application/senml+cbor"],
  [11_542, "application/vnd.oma.lwm2m+tlv"],
  [11_543, "application/vnd.oma.lwm2m+json"],
  [11_544, "application/vnd.oma.lwm2m+cbor"],
];

/** The HTTP request for a CoAP request; a CoAP code when there is none (RFC 7252 section 10.1). */
export function toHttpRequest(request: IncomingRequest, url: string): HttpRequest | number {
  const method = METHODS[request.method];
  if (method === undefined) return Code.NOT_IMPLEMENTED;
  const headers: Record<string, string> = {};
  const accept = uintOption(request.options, Option.ACCEPT);
  const format = uintOption(request.options, Option.CONTENT_FORMAT);
  if (accept !== undefined) {
    const type = mediaType(accept);
    if (type === undefined) return Code.NOT_ACCEPTABLE;
    headers["accept"] = type;
  }
  if (request.payload.length > 0) {
    const type = format === undefined ? "application/octet-stream" : mediaType(format);
    if (type === undefined) return Code.UNSUPPORTED_CONTENT_FORMAT;
    headers["content-type"] = type;
  }
  // A CoAP ETag is a digest of HTTP's: the condition cannot be passed on, and must not be dropped.
  if (optionValue(request.options, Option.IF_MATCH) !== undefined) return Code.NOT_IMPLEMENTED;
  if (optionValue(request.options, Option.IF_NONE_MATCH) !== undefined) headers["if-none-match"] = "*";
  return { method, url, headers, body: request.payload };
}

const STATUS: Readonly<Record<number, number>> = {
  201: Code.CREATED,
  304: Code.VALID,
  400: Code.BAD_REQUEST,
  401: Code.UNAUTHORIZED,
  403: Code.FORBIDDEN,
  404: Code.NOT_FOUND,
  405: Code.METHOD_NOT_ALLOWED,
  406: Code.NOT_ACCEPTABLE,
  409: Code.CONFLICT,
  410: Code.NOT_FOUND,
  412: Code.PRECONDITION_FAILED,
  413: Code.REQUEST_ENTITY_TOO_LARGE,
  415: Code.UNSUPPORTED_CONTENT_FORMAT,
  422: Code.UNPROCESSABLE_ENTITY,
  429: Code.TOO_MANY_REQUESTS,
  501: Code.NOT_IMPLEMENTED,
  502: Code.BAD_GATEWAY,
  503: Code.SERVICE_UNAVAILABLE,
  504: Code.GATEWAY_TIMEOUT,
};

/**
 * The CoAP response for an HTTP one: RFC 8075 section 7's table read from right to left. `etagOf`
 * shortens an HTTP entity tag, which may be longer than 8 bytes. `url`: what was asked for.
 */
export function fromHttpResponse(
  method: number,
  { status, headers, body }: HttpResponse,
  etagOf: (text: string) => Uint8Array,
  url?: string,
): ResponseContent {
  const code = toCode(method, status);
  const options: CoapOption[] = [];
  const etag = headers["etag"];
  const represents = code === Code.CONTENT || code === Code.VALID;
  if (etag !== undefined && represents) options.push({ number: Option.ETAG, value: etagOf(etag) });
  // Of what an action has led to nobody guesses the format (RFC 7252 section 5.5.1).
  const type = headers["content-type"];
  if (body.length > 0 && code >> 5 === 2 && (code === Code.CONTENT || type !== undefined)) {
    options.push({ number: Option.CONTENT_FORMAT, value: encodeUint(contentFormat(type)) });
  }
  if (code === Code.CREATED) options.push(...locationOptions(headers["location"], url));
  const maxAgeS = maxAge(headers);
  // What is not cached has no Max-Age (RFC 7252 section 5.9.1).
  if (maxAgeS !== undefined && (represents || code >> 5 !== 2))
    options.push({ number: Option.MAX_AGE, value: encodeUint(maxAgeS) });
  // What an error page says helps a person; on a constrained link its first line will do.
  if (code === Code.DELETED && status >= 400) return { code, options, payload: new Uint8Array(0) };
  const payload = code >> 5 === 2 ? body : utf8(`HTTP status ${status}`);
  return { code, options, payload };
}

/** Where a resource was made: on the origin that was asked, since a client sees no other (RFC 7252 section 5.10.7). */
function locationOptions(location: string | undefined, url: string | undefined): CoapOption[] {
  if (!location || url === undefined || !URL.canParse(location, url)) return [];
  const [base, made] = [parseUri(url), parseUri(new URL(location, url).href)];
  if (base === undefined || made === undefined || originOf(made) !== originOf(base)) return [];
  const options = [...textOptions(Option.LOCATION_PATH, made.path), ...textOptions(Option.LOCATION_QUERY, made.query)];
  return options.every(({ value }) => value.length <= 255) ? options : [];
}

function toCode(method: number, status: number): number {
  if (status >= 200 && status < 300 && status !== 201) {
    if (method === Code.GET) return Code.CONTENT;
    return method === Code.DELETE ? Code.DELETED : Code.CHANGED;
  }
  // RFC 7252 section 10.1.3: what is not there is as good as deleted.
  if (method === Code.DELETE && (status === 404 || status === 410)) return Code.DELETED;
  const known = STATUS[status];
  if (known !== undefined) return known;
  if (status >= 400 && status < 500) return Code.BAD_REQUEST;
  // A redirection leads to an origin that nobody allowed; 1xx and nonsense are a bad gateway too.
  return status >= 500 && status < 600 ? Code.INTERNAL_SERVER_ERROR : Code.BAD_GATEWAY;
}

function mediaType(format: number): string | undefined {
  return MEDIA_TYPES.find(([known]) => known === format)?.[1];
}

/** RFC 8075 section 6: what has no Content-Format is bytes. */
function contentFormat(type: string | undefined): number {
  const wanted = type?.toLowerCase().replaceAll(" ", "");
  const bare = wanted?.split(";")[0];
  const found = MEDIA_TYPES.find(([, known]) => known === wanted) ?? MEDIA_TYPES.find(([, known]) => known === bare);
  return found?.[0] ?? (bare === "text/plain" ? 0 : 42);
}

/** Cache-Control in seconds; undefined leaves CoAP's default. */
function maxAge(headers: HttpResponse["headers"]): number | undefined {
  const control = headers["cache-control"] ?? "";
  // What is for one user is not for a cache that several share (RFC 9111 section 5.2.2.7).
  if (/\b(?:no-store|no-cache|private)\b/i.test(control)) return 0;
  const seconds = /\bs-maxage=(\d{1,9})/i.exec(control)?.[1] ?? /\bmax-age=(\d{1,9})/i.exec(control)?.[1];
  if (seconds === undefined) return headers["expires"] === undefined ? undefined : untilExpiry(headers);
  const age = /^\d{1,9}$/.exec(headers["age"] ?? "")?.[0];
  return Math.max(0, Number(seconds) - Number(age ?? 0));
}

/** Expires less Date, both as the origin's clock has it (RFC 9111 section 5.3); a date that cannot be read has passed. */
function untilExpiry(headers: HttpResponse["headers"]): number {
  const [expires, date] = [httpDate(headers["expires"]), httpDate(headers["date"])];
  return expires === undefined || date === undefined ? 0 : Math.min(MAX_AGE_LIMIT, Math.max(0, expires - date));
}

/** What four bytes of Max-Age can say. */
const MAX_AGE_LIMIT = 0xffff_ffff;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const IMF_FIXDATE = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;

/** Seconds of an IMF-fixdate (RFC 9110 section 5.6.7) on a count of days that begins in year 0. */
function httpDate(text: string | undefined): number | undefined {
  const match = IMF_FIXDATE.exec(text ?? "");
  const month = MONTHS.indexOf(match?.[2] ?? "");
  if (match === null || month < 0) return undefined;
  const [day, year, hours, minutes, seconds] = [1, 3, 4, 5, 6].map((i) => Number(match[i])) as [
    number,
    number,
    number,
    number,
    number,
  ];
  // Years that begin in March have their leap day last.
  const [y, m] = month < 2 ? [year - 1, month + 10] : [year, month - 2];
  const days =
    365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + Math.floor((153 * m + 2) / 5) + day;
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
}

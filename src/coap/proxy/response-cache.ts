import { bytesEqual, fromUtf8, toHex } from "../../util/bytes.ts";
import { COAP_LIMITS } from "../limits.ts";
import { encodeUint, optionValue, optionValues } from "../message.ts";
import { Code, codeClass, isNoCacheKey, isSafe, Option } from "../numbers.ts";
import { maxAgeS } from "../options.ts";
import type { IncomingRequest, ResponseContent } from "../request.ts";
import { formatUri, parseUri } from "../uri.ts";

/** A stored response (RFC 7252 section 5.6). */
export interface CachedResponse {
  readonly response: ResponseContent;
  /** What it is charged with: key, options and payload. */
  readonly bytes: number;
  readonly freshUntilUs: number;
  readonly storedUs: number;
  /** Hop-Limit of the request that met 5.08, if it did (RFC 8768 section 3). */
  readonly hopLimit: number | undefined;
}

/** What a response answers. */
export interface CacheSubject {
  readonly key: string;
  readonly uri: string;
  readonly method: number;
  readonly hopLimit: number;
  /** `epoch` of the cache when the request was sent on. */
  readonly epoch: number;
}

/** Responses by cache key, those used longest ago make room. */
export class ResponseCache {
  readonly #maxBytes: number;
  readonly #entries = new Map<string, CachedResponse>();
  #bytes = 0;
  /** Counts the times that something was found to have changed. */
  epoch = 0;

  constructor(maxBytes: number = COAP_LIMITS.maxProxyCacheBytes) {
    this.#maxBytes = maxBytes;
  }

  get(key: string): CachedResponse | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keeps a response to a safe request; one to another makes what is kept of `uri` stale (section 5.9.1). */
  store(nowUs: number, { key, uri, method, hopLimit, epoch }: CacheSubject, response: ResponseContent): void {
    if (!isSafe(method)) {
      if (codeClass(response.code) !== 2) return;
      this.#invalidate(uri);
      // Section 5.9.1.1: what was created may have been asked for before, in vain.
      const created = locationOf(uri, response.options);
      if (created !== undefined) this.#invalidate(created);
      return;
    }
    // Asked for before something changed: nobody knows which state it shows.
    if (epoch !== this.epoch || !isCacheable(response)) return;
    this.#drop(key);
    const bytes = sizeOf(key, response);
    if (bytes > this.#maxBytes) return;
    this.#entries.set(key, {
      response,
      bytes,
      storedUs: nowUs,
      freshUntilUs: nowUs + maxAgeS(response.options) * 1_000_000,
      hopLimit: response.code === Code.HOP_LIMIT_REACHED ? hopLimit : undefined,
    });
    this.#bytes += bytes;
    while (this.#bytes > this.#maxBytes) this.#drop(this.#entries.keys().next().value!);
  }

  /** 2.03: the stored response is fresh again, with the new options (section 5.6.2). */
  refresh(nowUs: number, key: string, valid: ResponseContent): CachedResponse | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // It is of the state that was asked about, which need not be what is stored by now.
    const [said, stored] = [optionValue(valid.options, Option.ETAG), validatorOf(entry)];
    if (said !== undefined && stored !== undefined && !bytesEqual(said, stored)) return undefined;
    // Each option of the 2.03 stands in for the stored ones of its number.
    const replaced = new Set(valid.options.map(({ number }) => number));
    const kept = entry.response.options.filter(({ number }) => !replaced.has(number) && number !== Option.MAX_AGE);
    const response = { ...entry.response, options: [...kept, ...valid.options] };
    const renewed = { ...entry, response, storedUs: nowUs, freshUntilUs: nowUs + maxAgeS(valid.options) * 1_000_000 };
    this.#entries.set(key, renewed);
    return renewed;
  }

  #invalidate(uri: string): void {
    this.epoch++;
    for (const key of this.#entries.keys()) if (key.startsWith(`${uri} `)) this.#drop(key);
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
  }
}

/** Section 5.6: of successes, only what means the same to whoever asks later; a challenge is for one client. */
function isCacheable({ code, options }: ResponseContent): boolean {
  if (optionValue(options, Option.ECHO) !== undefined) return false;
  return codeClass(code) !== 2 || code === Code.CONTENT;
}

/** The response as it leaves the cache: with what is left of its Max-Age (section 5.10.5). */
export function aged({ response, storedUs, freshUntilUs }: CachedResponse, nowUs: number): ResponseContent {
  const leftS = Math.max(0, Math.floor((freshUntilUs - nowUs) / 1_000_000));
  if (nowUs === storedUs) return response;
  const options = response.options.filter(({ number }) => number !== Option.MAX_AGE);
  return { ...response, options: [...options, { number: Option.MAX_AGE, value: encodeUint(leftS) }] };
}

/**
 * What tells one response from another (section 5.6): URI, method, the options that are part of the
 * cache key, and for FETCH the payload (RFC 8132 section 2). Hop-Limit is compared apart.
 */
export function cacheKey(uri: string, request: IncomingRequest, digest: (bytes: Uint8Array) => Uint8Array): string {
  const parts = [uri, String(request.method)];
  for (const { number, value } of request.options) {
    if (!isNoCacheKey(number) && !isHopByHop(number)) parts.push(`${number}=${toHex(value)}`);
  }
  if (request.method === Code.FETCH) parts.push(toHex(digest(request.payload)));
  return parts.join(" ");
}

const HOP_BY_HOP: ReadonlySet<number> = new Set([
  Option.URI_HOST,
  Option.URI_PORT,
  Option.URI_PATH,
  Option.URI_QUERY,
  Option.PROXY_URI,
  Option.PROXY_SCHEME,
  Option.OBSERVE,
  Option.BLOCK1,
  Option.BLOCK2,
  Option.Q_BLOCK1,
  Option.Q_BLOCK2,
  Option.SIZE1,
  Option.SIZE2,
  Option.ECHO,
  Option.REQUEST_TAG,
  Option.NO_RESPONSE,
  Option.HOP_LIMIT,
  Option.ETAG,
]);

/** Options that concern one hop, or that the proxy makes anew for the next. */
export const isHopByHop = (optionNumber: number): boolean => HOP_BY_HOP.has(optionNumber);

/** The ETag of a stored response that can be asked about. */
export function validatorOf(entry: CachedResponse | undefined): Uint8Array | undefined {
  if (entry === undefined || entry.response.code !== Code.CONTENT) return undefined;
  return optionValue(entry.response.options, Option.ETAG);
}

function sizeOf(key: string, { options, payload }: ResponseContent): number {
  let size = 256 + 2 * key.length + payload.length;
  for (const { value } of options) size += 64 + value.length;
  return size;
}

/** The URI that Location-Path and Location-Query name, on the origin of `uri` (section 5.10.7). */
function locationOf(uri: string, options: ResponseContent["options"]): string | undefined {
  const base = parseUri(uri);
  const path = optionValues(options, Option.LOCATION_PATH).map(fromUtf8);
  const query = optionValues(options, Option.LOCATION_QUERY).map(fromUtf8);
  const texts = (values: (string | undefined)[]): string[] => values.filter((value) => value !== undefined);
  if (base === undefined || path.length === 0) return undefined;
  return formatUri({ ...base, path: texts(path), query: texts(query) });
}

import type { HttpRequest, HttpResponse } from "../../ports/http.ts";
import type { Metrics } from "../../ports/metrics.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import type { Random } from "../../ports/random.ts";
import { toHex, utf8 } from "../../util/bytes.ts";
import { randomBytes } from "../../util/random.ts";
import { asksLaterBlock, type Szx } from "../blockwise/block.ts";
import { BodyExchange, type BodyOutcome } from "../blockwise/body-exchange.ts";
import { BODY_OPTIONS, RequestBodies } from "../blockwise/request-bodies.ts";
import { COAP_LIMITS, hasRoom } from "../limits.ts";
import { encodeUint, optionValue, uintOption, type CoapOption } from "../message.ts";
import { Code, codeClass, isSafe, Option } from "../numbers.ts";
import { unrecognisedCritical } from "../options.ts";
import type { TransmissionParameters } from "../parameters.ts";
import { understands } from "../request-check.ts";
import type {
  ClientEvent,
  CoapResponse,
  HandlerResult,
  IncomingRequest,
  LaterResponse,
  RequestHandler,
  Requester,
  ResponseContent,
} from "../request.ts";
import { formatUri, originOf, pathOptions, proxyTarget, type CoapUri } from "../uri.ts";
import { fromHttpResponse, toHttpRequest } from "./http-mapping.ts";
import { aged, cacheKey, isHopByHop, ResponseCache, validatorOf, type CacheSubject } from "./response-cache.ts";

/** Where requests may be forwarded to; an origin of CoAP has the address that its name stood for. */
export interface ProxyOrigin {
  readonly origin: string;
  readonly address?: PeerAddress;
}

export interface ForwardProxyParts {
  readonly requester: Requester;
  readonly origins: readonly ProxyOrigin[];
  /** Authorities that are this endpoint itself, as `address:port` and `[address]:port`: answered by `local`. */
  readonly isSelf: (host: string, port: number) => boolean;
  readonly local: RequestHandler;
  readonly parameters: TransmissionParameters;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly digest: (bytes: Uint8Array) => Uint8Array;
  readonly preferredSzx: Szx;
  /** Names this proxy in the diagnostic payload of 5.08; without spaces (RFC 8768 section 4). */
  readonly name: string;
}

interface Client {
  readonly exchange: number;
  readonly address: string;
  readonly proven: boolean;
}

/** A request that waits for its origin, and all requests that wait for the same. */
interface Forwarded extends CacheSubject {
  readonly id: string;
  readonly origin: string;
  readonly clients: Client[];
  readonly exchange: BodyExchange | undefined;
}

const METHODS: ReadonlySet<number> = new Set([
  Code.GET,
  Code.POST,
  Code.PUT,
  Code.DELETE,
  Code.FETCH,
  Code.PATCH,
  Code.IPATCH,
]);

/** Initial Hop-Limit where a request has none (RFC 8768 section 3). */
const DEFAULT_HOP_LIMIT = 16;
/** Critical options that a request to HTTP says something by. */
const OVER_HTTP: ReadonlySet<number> = new Set([
  Option.IF_MATCH,
  Option.URI_HOST,
  Option.IF_NONE_MATCH,
  Option.URI_PORT,
  Option.URI_PATH,
  Option.URI_QUERY,
  Option.ACCEPT,
  Option.Q_BLOCK1,
  Option.BLOCK2,
  Option.BLOCK1,
  Option.Q_BLOCK2,
  Option.PROXY_URI,
  Option.PROXY_SCHEME,
]);
/** For how long a body of which blocks are being fetched is not fetched anew, however short its Max-Age is. */
const TRANSFER_US = 60_000_000;

/** Forward proxy by Proxy-Uri and Proxy-Scheme (RFC 7252 section 5.7.2), to CoAP and to HTTP. */
export class ForwardProxy implements RequestHandler {
  readonly understood: ReadonlySet<number> = BODY_OPTIONS;
  readonly #parts: ForwardProxyParts;
  readonly #bodies: RequestBodies;
  readonly #cache = new ResponseCache();
  readonly #origins: ReadonlyMap<string, ProxyOrigin>;
  readonly #forwarded = new Map<string, Forwarded>();
  readonly #overHttp = new Map<number, Forwarded>();
  readonly #http: { readonly id: number; readonly request: HttpRequest }[] = [];
  readonly #responses: LaterResponse[] = [];
  readonly #etags = new WeakMap<Uint8Array, Uint8Array>();
  #nextId = 1;

  constructor(parts: ForwardProxyParts) {
    this.#parts = parts;
    this.#bodies = new RequestBodies(parts.parameters);
    this.#origins = new Map(parts.origins.map((origin) => [origin.origin, origin]));
  }

  handleRequest(nowUs: number, request: IncomingRequest): HandlerResult {
    // RFC 7252 section 11.3: each proxy that hears the group would ask the origin.
    if (request.multicast) return "silent";
    // Section 5.8: nobody knows what such a method does, nor which options it has.
    if (!METHODS.has(request.method)) return this.#refuse(Code.METHOD_NOT_ALLOWED, "proxy-method");
    const target = proxyTarget(request.options);
    if (target === undefined) return this.#refuse(Code.BAD_REQUEST, "proxy-uri");
    if (target === "unsupported-scheme") return this.#refuse(Code.PROXYING_NOT_SUPPORTED, "proxy-scheme");
    if (target.scheme === "coap" && this.#parts.isSelf(target.host, target.port))
      return this.#serveLocally(nowUs, localRequest(request, target));
    const origin = this.#origins.get(originOf(target));
    if (origin === undefined) return this.#refuse(Code.PROXYING_NOT_SUPPORTED, "proxy-origin");
    const hopLimit = uintOption(request.options, Option.HOP_LIMIT) ?? DEFAULT_HOP_LIMIT + 1;
    if (hopLimit === 0) return this.#refuse(Code.BAD_REQUEST, "hop-limit-zero");
    if (hopLimit === 1) return this.#refuse(Code.HOP_LIMIT_REACHED, "hop-limit", utf8(this.#parts.name));
    const { preferredSzx } = this.#parts;
    const rules = { maxBodyBytes: COAP_LIMITS.maxProxiedBytes, streaming: false, preferredSzx };
    const step = this.#bodies.take(nowUs, request, rules);
    if (step.kind === "respond") return step.response;
    return step.kind === "whole"
      ? this.#serve(nowUs, step.request, target, origin, hopLimit)
      : { code: Code.BAD_REQUEST };
  }

  /** Takes an event of the endpoint; false when it is another's. */
  handleEvent(nowUs: number, event: ClientEvent): boolean {
    for (const forwarded of this.#forwarded.values()) {
      const outcome = forwarded.exchange?.handleEvent(nowUs, event);
      if (outcome !== undefined) {
        this.#onOutcome(nowUs, forwarded, outcome);
        return true;
      }
    }
    return false;
  }

  /** The next request for an HTTP origin; its answer goes to `handleHttp` under `id`. */
  pollHttp(): { readonly id: number; readonly request: HttpRequest } | undefined {
    return this.#http.shift();
  }

  handleHttp(nowUs: number, id: number, answer: HttpResponse | "timeout" | "failed"): void {
    const forwarded = this.#overHttp.get(id);
    if (forwarded === undefined) return;
    this.#overHttp.delete(id);
    if (typeof answer === "string") this.#finish(nowUs, forwarded, failure(answer));
    else {
      const etagOf = (text: string): Uint8Array => this.#parts.digest(utf8(text)).subarray(0, 8);
      this.#finish(nowUs, forwarded, fromHttpResponse(forwarded.method, answer, etagOf, forwarded.uri));
    }
  }

  handleTimeout(nowUs: number): void {
    this.#bodies.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#bodies.pollTimeout();
  }

  pollResponse(): LaterResponse | undefined {
    return this.#bodies.pollResponse() ?? this.#responses.shift();
  }

  answered(request: IncomingRequest, response: CoapResponse): void {
    this.#bodies.finish(request, response);
  }

  rejected(request: IncomingRequest): void {
    this.#bodies.drop(request);
  }

  #serve(
    nowUs: number,
    request: IncomingRequest,
    target: CoapUri,
    origin: ProxyOrigin,
    hopLimit: number,
  ): HandlerResult {
    const { metrics } = this.#parts;
    const uri = formatUri(target);
    const key = cacheKey(uri, request, this.#parts.digest);
    const cached = this.#cache.get(key);
    const inTransfer = asksLaterBlock(request.options);
    const fresh =
      cached !== undefined && (nowUs < cached.freshUntilUs || (inTransfer && nowUs - cached.storedUs < TRANSFER_US));
    if (fresh && (cached.hopLimit === undefined || hopLimit <= cached.hopLimit)) {
      metrics.count("proxy_cache", "hit");
      return this.#toResponse(aged(cached, nowUs));
    }
    metrics.count("proxy_cache", "miss");
    const echo = forwardedEcho(request);
    const joinKey = `${key} ${hopLimit} ${echo === undefined ? "" : toHex(echo)}`;
    const waiting = this.#forwarded.get(joinKey);
    // One request for all that wait for the same, unless it changes something.
    const client: Client = {
      exchange: request.exchange,
      address: request.peer.address,
      proven: request.proven !== false,
    };
    const joined = waiting !== undefined && isSafe(request.method) ? waiting : undefined;
    if (!this.#hasRoom(client, origin, joined)) return this.#refuse(Code.SERVICE_UNAVAILABLE, "proxy-full");
    if (joined !== undefined) {
      joined.clients.push(client);
      return "deferred";
    }
    const { epoch } = this.#cache;
    // Two that change something may be under way at once: each is known by a name of its own.
    const id = isSafe(request.method) ? joinKey : `${joinKey} ${this.#nextId++}`;
    const common = { id, key, uri, method: request.method, hopLimit, epoch, origin: origin.origin };
    const parts = { ...common, clients: [client] };
    if (target.scheme === "http" || target.scheme === "https") return this.#forwardHttp(request, parts);
    return this.#forwardCoap(nowUs, request, target, origin.address!, parts, validatorOf(cached));
  }

  /** Room for one more, and within the share of who asks: half is for addresses that are known to be their own. */
  #hasRoom({ address, proven }: Client, { origin }: ProxyOrigin, joined: Forwarded | undefined): boolean {
    const { maxProxied, maxProxiedPerOrigin, maxProxyJoined } = COAP_LIMITS;
    const isHis = (other: Client): boolean => other.address === address;
    if (joined !== undefined)
      return hasRoom(maxProxyJoined, joined.clients.length, joined.clients.filter(isHis).length);
    const all = [...this.#forwarded.values()];
    const ofOrigin = all.filter((other) => other.origin === origin);
    const has = (some: readonly Forwarded[]): number => some.filter(({ clients }) => clients.some(isHis)).length;
    const isFull = (max: number, some: readonly Forwarded[]): boolean =>
      !proven && some.filter(({ clients }) => !clients.some((client) => client.proven)).length >= max / 2;
    if (isFull(maxProxied, all) || isFull(maxProxiedPerOrigin, ofOrigin)) return false;
    return hasRoom(maxProxied, all.length, has(all)) && hasRoom(maxProxiedPerOrigin, ofOrigin.length, has(ofOrigin));
  }

  /** As if it had been asked without a proxy (RFC 7252 section 5.7.2), but what is observed is asked directly. */
  #serveLocally(nowUs: number, request: IncomingRequest): HandlerResult {
    const { local } = this.#parts;
    const carrier = { code: request.method, options: request.options };
    if (unrecognisedCritical(carrier, (option) => understands(local, option)) !== undefined)
      return this.#refuse(Code.BAD_OPTION, "critical-option");
    const result = local.handleRequest(nowUs, request);
    if (typeof result === "string") return result;
    const { observable: _unused, ...rest } = result;
    return rest;
  }

  #forwardCoap(
    nowUs: number,
    request: IncomingRequest,
    target: CoapUri,
    peer: PeerAddress,
    parts: Omit<Forwarded, "exchange">,
    etag: Uint8Array | undefined,
  ): HandlerResult {
    const options = forwardedOptions(request, target, peer, parts.hopLimit - 1);
    if (etag !== undefined) options.push({ number: Option.ETAG, value: etag });
    const exchange = new BodyExchange({
      endpoint: this.#parts.requester,
      peer,
      code: request.method,
      options,
      body: request.payload,
      szx: this.#parts.preferredSzx,
      // It would be part of the key of a cache behind this one (RFC 9175 section 3.4): only where it keeps two apart.
      ...((!isSafe(request.method) || request.payload.length > 0) && {
        requestTag: randomBytes(this.#parts.random, 4),
      }),
      maxBodyBytes: COAP_LIMITS.maxProxiedBytes,
      forwarded: true,
    });
    if (!exchange.start(nowUs)) return this.#refuse(Code.SERVICE_UNAVAILABLE, "proxy-full");
    this.#forwarded.set(parts.id, { ...parts, exchange });
    return "deferred";
  }

  #forwardHttp(request: IncomingRequest, parts: Omit<Forwarded, "exchange">): HandlerResult {
    // Nothing is sent on as an option there: what is critical has to be known here (section 5.4.1).
    const carrier = { code: request.method, options: request.options };
    if (unrecognisedCritical(carrier, (option) => OVER_HTTP.has(option)) !== undefined)
      return this.#refuse(Code.BAD_OPTION, "critical-option");
    const http = toHttpRequest(request, parts.uri);
    if (typeof http === "number") return { code: http };
    const id = this.#nextId++;
    const forwarded = { ...parts, exchange: undefined };
    this.#overHttp.set(id, forwarded);
    this.#forwarded.set(parts.id, forwarded);
    this.#http.push({ id, request: http });
    return "deferred";
  }

  #onOutcome(nowUs: number, forwarded: Forwarded, outcome: BodyOutcome): void {
    const response = outcome.kind === "failed" ? failure(outcome.reason) : outcome.response;
    this.#finish(nowUs, forwarded, response);
  }

  #finish(nowUs: number, forwarded: Forwarded, response: ResponseContent): void {
    this.#forwarded.delete(forwarded.id);
    let answer = response;
    if (response.code === Code.VALID) {
      const renewed = this.#cache.refresh(nowUs, forwarded.key, response);
      // The stored response went while its origin was asked: the client may ask again.
      answer = renewed?.response ?? failure("stored-response-gone");
    } else this.#cache.store(nowUs, forwarded, response);
    if (answer.code === Code.HOP_LIMIT_REACHED) answer = this.#named(answer);
    this.#parts.metrics.count("proxied", String(answer.code >> 5));
    const toClients = this.#toResponse(answer);
    for (const { exchange } of forwarded.clients) this.#responses.push({ exchange, response: toClients });
  }

  /** RFC 8768 section 4: each proxy on the way back puts its name in front. */
  #named(response: ResponseContent): ResponseContent {
    const before = new TextDecoder().decode(response.payload);
    const { name } = this.#parts;
    if (before.split(" ").includes(name)) return { ...response, code: Code.BAD_GATEWAY };
    return { ...response, payload: utf8(`${name} ${before}`.trim()) };
  }

  #toResponse({ code, options, payload }: ResponseContent): CoapResponse {
    // RFC 9175 section 2.3: an origin's challenge is the client's to answer.
    const own = options.filter(({ number }) => !isHopByHop(number) || number === Option.ECHO);
    const etag = optionValue(options, Option.ETAG);
    const small = payload.length <= 16 << this.#parts.preferredSzx;
    if (codeClass(code) !== 2 || payload.length === 0 || (small && (code !== Code.CONTENT || etag === undefined)))
      return { code, options: etag === undefined ? own : [...own, { number: Option.ETAG, value: etag }], payload };
    const contentFormat = uintOption(options, Option.CONTENT_FORMAT);
    const rest = own.filter(({ number }) => number !== Option.CONTENT_FORMAT);
    const body = { bytes: payload, etag: etag ?? this.#etagOf(payload), contentFormat };
    return { code, options: rest, body };
  }

  /** Where the origin gave none; a stored body is digested once, not for each block that is asked for. */
  #etagOf(payload: Uint8Array): Uint8Array {
    const known = this.#etags.get(payload);
    if (known !== undefined) return known;
    const etag = this.#parts.digest(payload).subarray(0, 8);
    this.#etags.set(payload, etag);
    return etag;
  }

  #refuse(code: number, reason: string, payload: Uint8Array = utf8(reason)): CoapResponse {
    this.#parts.metrics.count("coap_refused", reason);
    return { code, payload };
  }
}

/** What is sent on: the target's path, what an end-to-end option says, and one hop less. */
function forwardedOptions(
  request: IncomingRequest,
  target: CoapUri,
  peer: PeerAddress,
  hopLimit: number,
): CoapOption[] {
  const options = pathOptions(target);
  // Section 6.4 step 5: an address that the datagram goes to need not be said.
  if (target.host !== peer.address) options.push({ number: Option.URI_HOST, value: utf8(target.host) });
  options.push({ number: Option.HOP_LIMIT, value: encodeUint(hopLimit) });
  for (const option of request.options) if (!isHopByHop(option.number)) options.push(option);
  const echo = forwardedEcho(request);
  if (echo !== undefined) options.push({ number: Option.ECHO, value: echo });
  return options;
}

/** An Echo value that is not of this endpoint's own making goes on to the origin (RFC 9175 section 2.3). */
function forwardedEcho(request: IncomingRequest): Uint8Array | undefined {
  return request.fresh ? undefined : optionValue(request.options, Option.ECHO);
}

/** A request for this very endpoint by way of its proxy (RFC 7252 section 5.7.2). */
function localRequest(request: IncomingRequest, target: CoapUri): IncomingRequest {
  const rest = request.options.filter(({ number }) => !NAMES.has(number));
  return { ...request, path: target.path, query: target.query, options: [...pathOptions(target), ...rest] };
}

const NAMES: ReadonlySet<number> = new Set([
  Option.PROXY_URI,
  Option.PROXY_SCHEME,
  Option.URI_HOST,
  Option.URI_PORT,
  Option.URI_PATH,
  Option.URI_QUERY,
]);

/** Section 5.9.3: 5.04 when the origin did not answer in time, 5.02 when what came was of no use. */
function failure(reason: string): ResponseContent {
  const code = reason === "timeout" ? Code.GATEWAY_TIMEOUT : Code.BAD_GATEWAY;
  return { code, options: [{ number: Option.MAX_AGE, value: encodeUint(0) }], payload: utf8(reason) };
}

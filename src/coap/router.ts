import { encodeLinks, matchesQuery, type Link } from "../codec/link-format.ts";
import { utf8 } from "../util/bytes.ts";
import { tooLarge, type BodyPiece } from "./blockwise/body-assembly.ts";
import type { Szx } from "./blockwise/block.ts";
import { BODY_OPTIONS, RequestBodies } from "./blockwise/request-bodies.ts";
import { uintOption } from "./message.ts";
import { Code, ContentFormat, isSafe, Option } from "./numbers.ts";
import { DEFAULT_PARAMETERS, type TransmissionParameters } from "./parameters.ts";
import { preconditionsHold } from "./preconditions.ts";
import type { Body, CoapResponse, HandlerResult, IncomingRequest, LaterResponse, RequestHandler } from "./request.ts";

type Method = (nowUs: number, request: IncomingRequest) => HandlerResult;

/** A resource: a function for each method that it knows, and what its requests must fulfil. */
export interface ResourceHandler {
  /** Attributes shown in /.well-known/core; undefined hides the resource. */
  readonly attributes?: Link["attributes"];
  get?(nowUs: number, request: IncomingRequest): HandlerResult;
  post?(nowUs: number, request: IncomingRequest): HandlerResult;
  put?(nowUs: number, request: IncomingRequest): HandlerResult;
  delete?(nowUs: number, request: IncomingRequest): HandlerResult;
  fetch?(nowUs: number, request: IncomingRequest): HandlerResult;
  patch?(nowUs: number, request: IncomingRequest): HandlerResult;
  ipatch?(nowUs: number, request: IncomingRequest): HandlerResult;
  /** ETag of what is there now, for If-Match; undefined when nothing is, "unknown" when it has none. */
  currentEtag?(): Uint8Array | "unknown" | undefined;
  /** Content-Formats of request bodies; others are answered 4.15. */
  readonly acceptedFormats?: readonly number[];
  /** Largest request body, in one message or in blocks; one message when absent. */
  readonly maxBodyBytes?: number;
  /** Takes bodies of PUT and POST piece by piece as their blocks come, in place of the functions above. */
  receive?(nowUs: number, request: IncomingRequest, piece: BodyPiece): HandlerResult;
  /** Requests that change something must show by Echo that they are fresh (RFC 9175 section 2.3). */
  readonly needsFreshness?: boolean;
  /** Hears what is sent to a group too, which few resources need to (RFC 7252 section 11.3); all others stay silent. */
  readonly forGroups?: boolean;
}

const METHODS = {
  [Code.GET]: "get",
  [Code.POST]: "post",
  [Code.PUT]: "put",
  [Code.DELETE]: "delete",
  [Code.FETCH]: "fetch",
  [Code.PATCH]: "patch",
  [Code.IPATCH]: "ipatch",
} as const;

/** A body that comes in one message, where a resource names no bound. */
const ONE_MESSAGE_BYTES = 1_024;

/** Resources by path, and the list of them (RFC 7252 section 7.2, RFC 6690 section 4). */
export class Router implements RequestHandler {
  readonly understood: ReadonlySet<number> = BODY_OPTIONS;
  readonly #resources = new Map<string, ResourceHandler>();
  readonly #preferredSzx: Szx;
  readonly #digest: (bytes: Uint8Array) => Uint8Array;
  readonly #bodies: RequestBodies;
  /** The whole list, made once per change of the resources. */
  #listing: Body | undefined;

  /** `digest` makes the ETag of the resource list; SHA-256 in the gateway. */
  constructor(
    preferredSzx: Szx,
    digest: (bytes: Uint8Array) => Uint8Array,
    parameters: TransmissionParameters = DEFAULT_PARAMETERS,
  ) {
    this.#preferredSzx = preferredSzx;
    this.#digest = digest;
    this.#bodies = new RequestBodies(parameters);
  }

  add(path: readonly string[], resource: ResourceHandler): void {
    this.#resources.set(pathText(path), resource);
    this.#listing = undefined;
  }

  has(path: readonly string[]): boolean {
    return this.#resources.has(pathText(path));
  }

  remove(path: readonly string[]): void {
    this.#resources.delete(pathText(path));
    this.#listing = undefined;
  }

  handleRequest(nowUs: number, request: IncomingRequest): HandlerResult {
    const path = pathText(request.path);
    const resource = this.#resources.get(path);
    if (path === ".well-known/core") return request.method === Code.GET ? this.#list(request) : NOT_ALLOWED;
    if (resource === undefined) return { code: Code.NOT_FOUND };
    if (request.multicast && resource.forGroups !== true) return "silent";
    const refusal = refusalOf(resource, request);
    if (refusal !== undefined) return refusal;
    const streaming = takesPieces(resource, request.method);
    const maxBodyBytes = resource.maxBodyBytes ?? ONE_MESSAGE_BYTES;
    const step = this.#bodies.take(nowUs, request, { maxBodyBytes, streaming, preferredSzx: this.#preferredSzx });
    if (step.kind === "respond") return step.response;
    if (step.kind === "piece") return resource.receive!(nowUs, request, step.piece);
    const result = this.#call(nowUs, resource, step.request);
    if (typeof result !== "string" && result.challenge === true) this.#bodies.reopen(nowUs, step.request);
    // An observer's request is answered anew without its blocks coming again.
    if (step.request === request || typeof result === "string" || result.observable === undefined) return result;
    return { ...result, whole: withoutBlocks(step.request) };
  }

  handleTimeout(nowUs: number): void {
    this.#bodies.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#bodies.pollTimeout();
  }

  pollResponse(): LaterResponse | undefined {
    return this.#bodies.pollResponse();
  }

  answered(request: IncomingRequest, response: CoapResponse): void {
    this.#bodies.finish(request, response);
  }

  rejected(request: IncomingRequest): void {
    this.#bodies.drop(request);
  }

  #call(nowUs: number, resource: ResourceHandler, request: IncomingRequest): HandlerResult {
    if (takesPieces(resource, request.method)) {
      const piece = { offset: 0, bytes: request.payload, last: true, size: request.payload.length };
      return resource.receive!(nowUs, request, piece);
    }
    const name = METHODS[request.method as keyof typeof METHODS];
    return (resource[name] as Method).call(resource, nowUs, request);
  }

  /** RFC 6690 section 4.1: the query filters; to a group, an empty list is not worth an answer. */
  #list(request: IncomingRequest): HandlerResult {
    if (request.query.length === 0) return { code: Code.CONTENT, body: (this.#listing ??= this.#makeListing([])) };
    // Each filter is looked for anew in a long list: for whoever is where he says that he is.
    if (request.proven === false) return { code: Code.UNAUTHORIZED, challenge: true };
    const body = this.#makeListing(request.query);
    return body.bytes.length === 0 && request.multicast ? "silent" : { code: Code.CONTENT, body };
  }

  #makeListing(query: readonly string[]): Body {
    const links: Link[] = [];
    for (const [path, { attributes }] of this.#resources) {
      if (attributes === undefined) continue;
      const link = { target: `/${path}`, attributes };
      if (query.every((filter) => matchesQuery(link, filter))) links.push(link);
    }
    const bytes = utf8(encodeLinks(links));
    return { bytes, etag: this.#digest(bytes).subarray(0, 8), contentFormat: ContentFormat.LINK_FORMAT };
  }
}

function withoutBlocks(request: IncomingRequest): IncomingRequest {
  return { ...request, options: request.options.filter(({ number }) => !OF_BLOCKS.has(number)) };
}

const OF_BLOCKS: ReadonlySet<number> = new Set([Option.BLOCK1, Option.Q_BLOCK1, Option.SIZE1, Option.REQUEST_TAG]);

const NOT_ALLOWED: CoapResponse = { code: Code.METHOD_NOT_ALLOWED };

function takesPieces(resource: ResourceHandler, method: number): boolean {
  return resource.receive !== undefined && (method === Code.PUT || method === Code.POST);
}

/** What can be refused before the body is whole (RFC 7252 sections 5.8, 5.10.3, 5.10.8, RFC 8132). */
function refusalOf(resource: ResourceHandler, request: IncomingRequest): CoapResponse | undefined {
  const { options, method } = request;
  const name = METHODS[method as keyof typeof METHODS];
  if (name === undefined || (resource[name] === undefined && !takesPieces(resource, method))) return NOT_ALLOWED;
  if (resource.needsFreshness === true && !isSafe(method) && !request.fresh)
    return { code: Code.UNAUTHORIZED, challenge: true };
  if (!preconditionsHold(options, resource.currentEtag === undefined ? "unknown" : resource.currentEtag()))
    return { code: Code.PRECONDITION_FAILED };
  const format = uintOption(options, Option.CONTENT_FORMAT);
  // FETCH and PATCH mean nothing without the format of their body (RFC 8132 sections 2.2 and 3.1).
  const needsFormat = method === Code.FETCH || method === Code.PATCH || method === Code.IPATCH;
  const { acceptedFormats } = resource;
  if (format === undefined ? needsFormat : acceptedFormats !== undefined && !acceptedFormats.includes(format))
    return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
  if (request.payload.length > (resource.maxBodyBytes ?? ONE_MESSAGE_BYTES))
    return tooLarge(resource.maxBodyBytes ?? ONE_MESSAGE_BYTES).response;
  return undefined;
}

/** Segments are escaped, so that a slash inside one is not taken for a border. */
function pathText(path: readonly string[]): string {
  return path.map(encodeURIComponent).join("/");
}

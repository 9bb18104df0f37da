import { encodeLinks, type Link } from "../codec/link-format.ts";
import { utf8 } from "../util/bytes.ts";
import type { Szx } from "./blockwise/block.ts";
import { respondWithBody } from "./blockwise/block2-server.ts";
import { Code, ContentFormat } from "./numbers.ts";
import type { Body, HandlerResult, IncomingRequest, RequestHandler } from "./request.ts";

export interface ResourceHandler {
  /** Attributes shown in /.well-known/core; undefined hides the resource. */
  readonly attributes?: Link["attributes"];
  get(nowUs: number, request: IncomingRequest): HandlerResult;
}

/** Resources by path, and the list of them (RFC 7252 section 7.2, RFC 6690 section 4). */
export class Router implements RequestHandler {
  readonly #resources = new Map<string, ResourceHandler>();
  readonly #preferredSzx: Szx;
  readonly #digest: (bytes: Uint8Array) => Uint8Array;
  /** The list, made once per change of the resources. */
  #listing: Body | undefined;

  /** `digest` makes the ETag of the resource list; SHA-256 in the gateway. */
  constructor(preferredSzx: Szx, digest: (bytes: Uint8Array) => Uint8Array) {
    this.#preferredSzx = preferredSzx;
    this.#digest = digest;
  }

  add(path: readonly string[], resource: ResourceHandler): void {
    this.#resources.set(pathText(path), resource);
    this.#listing = undefined;
  }

  remove(path: readonly string[]): void {
    this.#resources.delete(pathText(path));
    this.#listing = undefined;
  }

  handleRequest(nowUs: number, request: IncomingRequest): HandlerResult {
    const path = pathText(request.path);
    const listed = path === ".well-known/core";
    const resource = this.#resources.get(path);
    if (!listed && resource === undefined) return { code: Code.NOT_FOUND };
    if (request.method !== Code.GET) return { code: Code.METHOD_NOT_ALLOWED };
    return resource?.get(nowUs, request) ?? this.#list(request);
  }

  #list(request: IncomingRequest): HandlerResult {
    this.#listing ??= this.#makeListing();
    return respondWithBody(request, this.#listing, this.#preferredSzx).response;
  }

  #makeListing(): Body {
    const links: Link[] = [];
    for (const [path, { attributes }] of this.#resources) {
      if (attributes !== undefined) links.push({ target: `/${path}`, attributes });
    }
    const bytes = utf8(encodeLinks(links));
    return { bytes, etag: this.#digest(bytes).subarray(0, 8), contentFormat: ContentFormat.LINK_FORMAT };
  }
}

/** Segments are escaped, so that a slash inside one is not taken for a border. */
function pathText(path: readonly string[]): string {
  return path.map(encodeURIComponent).join("/");
}

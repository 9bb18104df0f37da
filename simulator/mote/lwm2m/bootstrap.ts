import type { CoapEndpoint } from "../../../src/coap/endpoint.ts";
import { uintOption } from "../../../src/coap/message.ts";
import { Code, codeClass, Option } from "../../../src/coap/numbers.ts";
import { textOptions } from "../../../src/coap/options.ts";
import type { ClientEvent, CoapResponse, IncomingRequest } from "../../../src/coap/request.ts";
import { parseUri } from "../../../src/coap/uri.ts";
import { decodeContent, Format } from "../../../src/lwm2m/content.ts";
import { parsePath, pathText } from "../../../src/lwm2m/path.ts";
import type { ResourceValue } from "../../../src/lwm2m/values.ts";
import type { PeerAddress } from "../../../src/ports/datagram.ts";
import { peerKey } from "../../../src/util/peer.ts";

export interface Bootstrapped {
  readonly server: PeerAddress;
  readonly lifetimeS: number | undefined;
}

const RETRY_US = 10_000_000;

/** A client's side of the Bootstrap interface (LwM2M 1.1 Core, section 6.1): objects 0 and 1 are written to it before it registers. */
export class BootstrapClient {
  readonly #endpoint: CoapEndpoint;
  readonly #server: PeerAddress;
  readonly #endpointName: string;
  readonly #values = new Map<string, ResourceValue>();
  #request: number | undefined;
  #dueUs: number | undefined;
  #result: Bootstrapped | undefined;

  constructor(endpoint: CoapEndpoint, server: PeerAddress, endpointName: string) {
    this.#endpoint = endpoint;
    this.#server = server;
    this.#endpointName = endpointName;
  }

  /** Bootstrap-Request (section 6.1.7.1). */
  start(nowUs: number): void {
    this.#values.clear();
    const query = [`ep=${this.#endpointName}`, `pct=${Format.TLV}`];
    const options = [...textOptions(Option.URI_PATH, ["bs"]), ...textOptions(Option.URI_QUERY, query)];
    this.#request = this.#endpoint.request(nowUs, this.#server, { code: Code.POST, options });
    this.#dueUs = nowUs + RETRY_US * 6; // a server that begins and does not finish
  }

  /** Bootstrap-Write, -Delete and -Finish; undefined for anything else, or from anybody else. */
  handleRequest({ peer, method, path, options, payload }: IncomingRequest): CoapResponse | undefined {
    if (peerKey(peer) !== peerKey(this.#server)) return undefined;
    if (method === Code.POST && path.join("/") === "bs") return { code: this.#finish() };
    const target = parsePath(path.join("/"));
    if (target === undefined || (target[0] ?? 0) > 1) return undefined;
    if (method === Code.DELETE) {
      for (const key of this.#values.keys()) if (key.startsWith(pathText(target))) this.#values.delete(key);
      return { code: Code.DELETED };
    }
    if (method !== Code.PUT) return undefined;
    const format = uintOption(options, Option.CONTENT_FORMAT) ?? Format.TLV;
    for (const reading of decodeContent(format, payload, target))
      this.#values.set(pathText(reading.path), reading.value);
    return { code: Code.CHANGED };
  }

  handleEvent(nowUs: number, event: ClientEvent): void {
    if (event.request !== this.#request || event.kind === "acknowledged") return;
    this.#request = undefined;
    if (event.kind === "failed" || codeClass(event.response.code) !== 2) this.#dueUs = nowUs + RETRY_US;
  }

  handleTimeout(nowUs: number): void {
    if (this.#dueUs !== undefined && this.#dueUs <= nowUs && this.#result === undefined) this.start(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#result === undefined ? this.#dueUs : undefined;
  }

  /** Where it is to register, once the bootstrap server has said that it is done. */
  get result(): Bootstrapped | undefined {
    return this.#result;
  }

  /** Section 6.1.7.6: without a server to register with, what was written is not consistent. */
  #finish(): number {
    for (const [key, uri] of this.#values) {
      const instance = /^\/0\/(\d+)\/0$/.exec(key)?.[1];
      if (instance === undefined || typeof uri !== "string" || this.#values.get(`/0/${instance}/1`) === true) continue;
      const parsed = parseUri(uri);
      if (parsed?.scheme !== "coap") continue;
      const lifetime = [...this.#values].find(([name]) => /^\/1\/\d+\/1$/.test(name))?.[1];
      const server = { address: parsed.host.replace(/^\[|\]$/g, ""), port: parsed.port };
      this.#result = { server, lifetimeS: typeof lifetime === "number" ? lifetime : undefined };
      return Code.CHANGED;
    }
    return Code.NOT_ACCEPTABLE;
  }
}

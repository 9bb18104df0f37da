import type { CoapEndpoint } from "../coap/endpoint.ts";
import { COAP_LIMITS } from "../coap/limits.ts";
import { ForwardProxy, type ForwardProxyParts } from "../coap/proxy/forward-proxy.ts";
import type { ClientEvent, RequestHandler } from "../coap/request.ts";
import type { Command, CommandEvent } from "../ports/commands.ts";

/** What an operator says of the proxy. */
export type ProxySettings = Pick<ForwardProxyParts, "origins" | "isSelf" | "name">;

type OtherParts = Omit<ForwardProxyParts, keyof ProxySettings | "requester">;

/** The forward proxy inside the gateway: the endpoint's answers and the host's HTTP come to it here. */
export class Proxying {
  readonly #proxy: ForwardProxy;
  readonly #nextId: () => number;
  /** The proxy's number of an HTTP exchange by the command's. */
  readonly #http = new Map<number, number>();
  #endpoint: CoapEndpoint | undefined;

  constructor(settings: ProxySettings, parts: OtherParts, nextId: () => number) {
    this.#nextId = nextId;
    const requester: ForwardProxyParts["requester"] = {
      request: (nowUs, peer, request) => this.#endpoint?.request(nowUs, peer, request),
      cancel: (nowUs, request) => this.#endpoint?.cancel(nowUs, request),
    };
    this.#proxy = new ForwardProxy({ ...settings, ...parts, requester });
  }

  get handler(): RequestHandler {
    return this.#proxy;
  }

  /** The endpoint that the proxy's own requests go out by. */
  attach(endpoint: CoapEndpoint): void {
    this.#endpoint = endpoint;
  }

  /** Hands on what an origin answered; the responses to clients leave when the endpoint's handlers are drained. */
  handleClientEvent(nowUs: number, event: ClientEvent): void {
    this.#proxy.handleEvent(nowUs, event);
  }

  pollCommand(): Command | undefined {
    const next = this.#proxy.pollHttp();
    if (next === undefined) return undefined;
    const id = this.#nextId();
    this.#http.set(id, next.id);
    return { kind: "http", id, request: next.request, maxBytes: COAP_LIMITS.maxProxiedBytes };
  }

  /** True when the event belongs to an exchange of the proxy. */
  handleEvent(nowUs: number, id: number, event: CommandEvent): boolean {
    const exchange = this.#http.get(id);
    if (exchange === undefined) return false;
    this.#http.delete(id);
    if (event.kind === "http-response") this.#proxy.handleHttp(nowUs, exchange, event.response);
    else
      this.#proxy.handleHttp(
        nowUs,
        exchange,
        event.kind === "failed" && event.reason === "timeout" ? "timeout" : "failed",
      );
    return true;
  }
}

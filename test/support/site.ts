import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeUint, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { ForwardProxy } from "../../src/coap/proxy/forward-proxy.ts";
import { Router, type ResourceHandler } from "../../src/coap/router.ts";
import type { CoapResponse, IncomingRequest, IncomingResponse } from "../../src/coap/request.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { Counters } from "../../src/util/counters.ts";
import { peerKey } from "../../src/util/peer.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded } from "./coap-get.ts";
import { sha } from "./resources.ts";

const hostAt = (address: string): PeerAddress => ({ address, port: 5683 });
export const CLIENT: PeerAddress = hostAt("fd00::1");
export const PROXY: PeerAddress = hostAt("fd00::2");
const ORIGIN: PeerAddress = hostAt("fd00::3");
/** Options of a request to a proxy. */
export const uri = (text: string): CoapOption[] => textOptions(Option.PROXY_URI, [text]);
export const ORIGIN_URI = "coap://[fd00::3]";

const NOBODY: Record<string, PeerAddress> = { "coap://[fd00::9]": { address: "fd00::9", port: 5683 } };

/** Client, proxy and origin on one network without loss. */
export class Site {
  readonly client: CoapEndpoint = new CoapEndpoint({ random: new SeededRandom(1, "client") });
  readonly metrics: Counters = new Counters();
  readonly proxy: ForwardProxy;
  readonly gateway: CoapEndpoint;
  readonly origin: CoapEndpoint;
  readonly asked: IncomingRequest[] = [];
  readonly toClient: CoapMessage[] = [];
  nowUs = 0;
  answerWith: ((request: IncomingRequest) => CoapResponse) | undefined;
  response: CoapResponse = { code: Code.CONTENT, payload: Uint8Array.of(1) };

  constructor(
    origins: string[] = [ORIGIN_URI, "coap://origin.example", "http://files.example"],
    selfLoop = false,
    isTrusted?: () => boolean,
  ) {
    const local = new Router(6, sha);
    local.add(["own"], { get: () => ({ code: Code.CONTENT, payload: Uint8Array.of(7) }) });
    this.proxy = new ForwardProxy({
      requester: {
        request: (...args) => this.gateway.request(...args),
        cancel: (...args) => this.gateway.cancel(...args),
      },
      origins: origins.map((origin) => ({ origin, address: selfLoop ? PROXY : (NOBODY[origin] ?? ORIGIN) })),
      isSelf: (host, port) => !selfLoop && host === PROXY.address && port === PROXY.port,
      local,
      parameters: DEFAULT_PARAMETERS,
      random: new SeededRandom(1, "proxy"),
      metrics: this.metrics,
      digest: sha,
      preferredSzx: 6,
      name: "gw1",
    });
    this.gateway = new CoapEndpoint({
      random: new SeededRandom(1, "gateway"),
      handler: local,
      proxy: this.proxy,
      ...(isTrusted && { isTrusted }),
    });
    const answer = (_nowUs: number, request: IncomingRequest): CoapResponse => {
      this.asked.push(request);
      return this.answerWith?.(request) ?? this.response;
    };
    const resource: ResourceHandler = { get: answer, put: answer, post: answer, fetch: answer, maxBodyBytes: 100_000 };
    const router = new Router(6, sha);
    for (const path of ["a", "b"]) router.add([path], resource);
    this.origin = new CoapEndpoint({ random: new SeededRandom(1, "origin"), handler: router });
  }

  settle(): void {
    const ends: [CoapEndpoint, PeerAddress][] = [
      [this.client, CLIENT],
      [this.gateway, PROXY],
      [this.origin, ORIGIN],
    ];
    for (let moved = true; moved;) {
      moved = false;
      for (const [from, address] of ends) {
        for (let out = from.pollTransmit(); out !== undefined; out = from.pollTransmit()) {
          moved = true;
          if (peerKey(out.peer) === peerKey(CLIENT)) this.toClient.push(decoded(out.bytes.slice()));
          const to = ends.find(([, at]) => peerKey(at) === peerKey(out.peer))?.[0];
          to?.handleDatagram(this.nowUs, out.bytes.slice(), address);
        }
      }
      for (let event = this.gateway.pollEvent(); event !== undefined; event = this.gateway.pollEvent()) {
        moved = true;
        this.proxy.handleEvent(this.nowUs, event);
        this.gateway.handleTimeout(this.nowUs);
      }
    }
  }

  ask(options: CoapOption[], code: number = Code.GET, payload: Uint8Array = new Uint8Array(0)): IncomingResponse {
    this.client.request(this.nowUs, PROXY, { code, options, payload });
    return this.answer();
  }

  answer(): IncomingResponse {
    this.settle();
    const event = this.client.pollEvent();
    if (event?.kind !== "response") throw new Error(`no response but ${event?.kind}`);
    return event.response;
  }
}

export const age = (seconds: number): CoapOption => ({ number: Option.MAX_AGE, value: encodeUint(seconds) });

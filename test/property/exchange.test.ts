import { describe, expect, it } from "vitest";
import { BodyExchange, type BodyOutcome } from "../../src/coap/blockwise/body-exchange.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS, exchangeLifetimeUs } from "../../src/coap/parameters.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed, sha } from "../support/resources.ts";

const SECOND = 1_000_000;
/** What a link may do to one datagram: when its copies arrive. */
const FATES: readonly (readonly number[])[] = [[0], [], [0, 0], [3.7 * SECOND], [0, 5.1 * SECOND]];
/** So many datagrams meet a fate of their own; those behind them arrive. */
const DEPTH = 5;

/** A link with a fate for each datagram, in the order in which they are sent. */
class Link {
  readonly #flights: { atUs: number; bytes: Uint8Array; to: CoapEndpoint; from: PeerAddress }[] = [];
  readonly #fates: readonly number[];
  readonly client: CoapEndpoint;
  readonly server: CoapEndpoint;
  #sent = 0;
  nowUs = 0;

  constructor(client: CoapEndpoint, server: CoapEndpoint, fates: readonly number[]) {
    this.client = client;
    this.server = server;
    this.#fates = fates;
  }

  /** Runs until `untilUs`; `onEvent` gets the client's events. */
  run(untilUs: number, onEvent: (event: ReturnType<CoapEndpoint["pollEvent"]> & object) => void): void {
    for (;;) {
      this.#collect(this.client, this.server, CLIENT);
      this.#collect(this.server, this.client, SERVER);
      const event = this.client.pollEvent();
      if (event !== undefined) {
        onEvent(event);
        continue;
      }
      this.#flights.sort((a, b) => a.atUs - b.atUs);
      const arrival = this.#flights[0]?.atUs ?? Infinity;
      const timer = Math.min(this.client.pollTimeout() ?? Infinity, this.server.pollTimeout() ?? Infinity);
      if (Math.min(arrival, timer) > untilUs) return;
      this.nowUs = Math.max(this.nowUs, Math.min(arrival, timer));
      if (arrival <= timer) {
        const { to, bytes, from } = this.#flights.shift()!;
        to.handleDatagram(this.nowUs, bytes, from);
      } else {
        this.client.handleTimeout(this.nowUs);
        this.server.handleTimeout(this.nowUs);
      }
    }
  }

  #collect(source: CoapEndpoint, to: CoapEndpoint, from: PeerAddress): void {
    for (let out = source.pollTransmit(); out !== undefined; out = source.pollTransmit()) {
      const fate = FATES[this.#fates[this.#sent++] ?? 0]!;
      for (const delay of fate)
        this.#flights.push({ atUs: this.nowUs + 1_000 + delay, bytes: out.bytes.slice(), to, from });
    }
  }
}

function* patterns(): Generator<number[]> {
  for (let i = 0; i < FATES.length ** DEPTH; i++) {
    yield Array.from({ length: DEPTH }, (_, at) => Math.floor(i / FATES.length ** at) % FATES.length);
  }
}

describe(`every fate of the first ${DEPTH} datagrams: drops, duplicates, delays`, () => {
  it("a body up and a body down arrive whole, the handler runs once, or the failure is told", () => {
    const [up, down] = [pattern(150), pattern(140).toReversed()];
    let failures = 0;
    for (const fates of patterns()) {
      const bodies: Uint8Array[] = [];
      const body = { bytes: down, etag: sha(down).subarray(0, 8), contentFormat: 42 };
      const post = (_nowUs: number, { payload }: { payload: Uint8Array }) => {
        bodies.push(payload);
        return { code: Code.CHANGED, body };
      };
      const { client, server } = routed({ x: { post, maxBodyBytes: 1_000 } }, { server: { preferredSzx: 2 } });
      const link = new Link(client, server, fates);
      const common = { endpoint: client, peer: SERVER, code: Code.POST, options: textOptions(Option.URI_PATH, ["x"]) };
      const exchange = new BodyExchange({
        ...common,
        body: up,
        szx: 2,
        requestTag: Uint8Array.of(1),
        maxBodyBytes: 1_000,
      });
      const outcomes: BodyOutcome[] = [];
      exchange.start(0);
      link.run(1_000 * SECOND, (event) => {
        const outcome = exchange.handleEvent(link.nowUs, event);
        if (outcome !== undefined) outcomes.push(outcome);
      });
      expect(outcomes).toHaveLength(1);
      const [outcome] = outcomes;
      if (outcome!.kind === "failed") failures++;
      else {
        expect(outcome!.response).toMatchObject({ code: Code.CHANGED, payload: down });
        expect(bodies).toEqual([up]);
      }
      // Nothing is left once EXCHANGE_LIFETIME has passed.
      link.run(link.nowUs + 2 * exchangeLifetimeUs(DEFAULT_PARAMETERS), () => {});
      expect(server.stats.openExchanges + client.stats.requests).toBe(0);
      expect(server.pollTimeout()).toBeUndefined();
      expect(client.pollTimeout()).toBeUndefined();
    }
    expect(failures).toBe(1); // when a request and its four repetitions are all lost
  }, 60_000);
});

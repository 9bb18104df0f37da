import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";

export const CLIENT: PeerAddress = { address: "fd00::1", port: 40_000 };
export const SERVER: PeerAddress = { address: "fd00::2", port: 5683 };

export interface Flight {
  readonly from: "client" | "server";
  readonly bytes: Uint8Array;
  readonly atUs: number;
}

/** Two endpoints joined by a link; time jumps to the next deadline. */
export class Pair {
  readonly client: CoapEndpoint;
  readonly server: CoapEndpoint;
  /** Copies of a datagram that arrive: none loses it, two duplicate it. */
  copies: (flight: Flight) => number = () => 1;
  readonly log: Flight[] = [];
  nowUs = 0;

  constructor(client: CoapEndpoint, server: CoapEndpoint) {
    this.client = client;
    this.server = server;
  }

  /** Moves everything that is on its way, then whatever that causes, for a bounded number of steps. */
  settle(): void {
    for (let step = 0; step < 1_000; step++) {
      const moved = this.#move("client") || this.#move("server");
      if (!moved) return;
    }
    throw new Error("the pair does not come to rest");
  }

  /** Runs until neither end has a deadline before `untilUs`, or until the client has an event. */
  run(untilUs: number): ClientEvent | undefined {
    for (let step = 0; step < 100_000; step++) {
      this.settle();
      const event = this.client.pollEvent();
      if (event !== undefined) return event;
      const next = Math.min(this.client.pollTimeout() ?? Infinity, this.server.pollTimeout() ?? Infinity);
      if (next > untilUs) {
        this.nowUs = untilUs;
        return undefined;
      }
      this.nowUs = Math.max(this.nowUs, next);
      this.client.handleTimeout(this.nowUs);
      this.server.handleTimeout(this.nowUs);
    }
    throw new Error("the pair never ends");
  }

  /** Runs to `untilUs` whatever events come. */
  rest(untilUs: number): void {
    while (this.run(untilUs) !== undefined);
  }

  /** As `run`, with a driver that has deadlines of its own, until it gives a result. */
  drive<T>(
    untilUs: number,
    driver: {
      handleEvent(nowUs: number, event: ClientEvent): T | undefined;
      handleTimeout?(nowUs: number): T | undefined;
      pollTimeout?(): number | undefined;
    },
  ): T | undefined {
    for (let step = 0; step < 1_000_000; step++) {
      const next = Math.min(
        driver.pollTimeout?.() ?? Infinity,
        this.client.pollTimeout() ?? Infinity,
        this.server.pollTimeout() ?? Infinity,
      );
      const event = this.run(Math.min(next, this.nowUs));
      if (event !== undefined) {
        const result = driver.handleEvent(this.nowUs, event);
        if (result !== undefined) return result;
        continue;
      }
      if (next > untilUs) return undefined;
      this.nowUs = Math.max(this.nowUs, next);
      const result = driver.handleTimeout?.(this.nowUs);
      if (result !== undefined) return result;
      this.client.handleTimeout(this.nowUs);
      this.server.handleTimeout(this.nowUs);
    }
    throw new Error("the driver never ends");
  }

  #move(from: "client" | "server"): boolean {
    const [source, target] = from === "client" ? [this.client, this.server] : [this.server, this.client];
    const datagrams: Uint8Array[] = [];
    for (let out = source.pollTransmit(); out !== undefined; out = source.pollTransmit())
      datagrams.push(out.bytes.slice());
    for (const bytes of datagrams) {
      const flight = { from, bytes, atUs: this.nowUs };
      this.log.push(flight);
      const address = from === "client" ? CLIENT : SERVER;
      for (let i = this.copies(flight); i > 0; i--) target.handleDatagram(this.nowUs, bytes, address);
    }
    return datagrams.length > 0;
  }
}

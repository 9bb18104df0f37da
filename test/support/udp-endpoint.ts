import { systemClock } from "../../src/adapters/system.ts";
import { UdpSocket } from "../../src/adapters/udp-socket.ts";
import { CoapEndpoint, type EndpointOptions } from "../../src/coap/endpoint.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import { RunLoop } from "../../src/host/run-loop.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";

type Driver = {
  handleEvent?(nowUs: number, event: ClientEvent): void;
  handleTimeout?(nowUs: number): void;
  pollTimeout?(): number | undefined;
};

/** One endpoint on a real socket of the loopback, driven as the gateway is. */
export class UdpEndpoint {
  readonly endpoint: CoapEndpoint;
  readonly #socket: UdpSocket;
  readonly #loop: RunLoop;
  #timer: NodeJS.Timeout | undefined;
  #driverTimer: NodeJS.Timeout | undefined;
  driver: Driver = {};

  private constructor(endpoint: CoapEndpoint, socket: UdpSocket, loop: RunLoop) {
    this.endpoint = endpoint;
    this.#socket = socket;
    this.#loop = loop;
  }

  static async start(options: Partial<EndpointOptions> = {}, seed: string = String(process.pid)): Promise<UdpEndpoint> {
    const endpoint = new CoapEndpoint({ random: new SeededRandom(1, seed), ...options });
    let self: UdpEndpoint | undefined;
    const socket = await UdpSocket.bind({ host: "127.0.0.1", port: 0 }, (bytes, peer) =>
      // The socket's buffers are its own only for the call.
      loop.datagram(new Uint8Array(bytes), { address: peer.address, port: peer.port }),
    );
    const loop = new RunLoop(endpoint, {
      clock: systemClock,
      send: (transmit) => socket.send(transmit),
      setTimer: (atUs) => self?.setTimer(atUs),
      onSettled: () => self?.drain(),
    });
    self = new UdpEndpoint(endpoint, socket, loop);
    return self;
  }

  get port(): number {
    return this.#socket.port;
  }

  call(action: (nowUs: number) => void): void {
    this.#loop.call(action);
  }

  setTimer(atUs: number | undefined): void {
    clearTimeout(this.#timer);
    if (atUs !== undefined) this.#timer = setTimeout(() => this.#loop.wake(), delayMs(atUs));
  }

  drain(): void {
    const events: ClientEvent[] = [];
    for (let event = this.endpoint.pollEvent(); event !== undefined; event = this.endpoint.pollEvent())
      events.push(event);
    for (const event of events) this.call((nowUs) => this.driver.handleEvent?.(nowUs, event));
    clearTimeout(this.#driverTimer);
    const atUs = this.driver.pollTimeout?.();
    if (atUs !== undefined)
      this.#driverTimer = setTimeout(() => this.call((nowUs) => this.driver.handleTimeout?.(nowUs)), delayMs(atUs));
  }

  /** Makes `driver` the one that gets events until it calls back. */
  async run<T>(start: (nowUs: number, done: (result: T) => void) => Driver): Promise<T> {
    return await new Promise((resolve) => {
      this.call((nowUs) => (this.driver = start(nowUs, resolve)));
    });
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    clearTimeout(this.#driverTimer);
    await this.#socket.close();
  }
}

const delayMs = (atUs: number): number => Math.max(0, Math.ceil((atUs - systemClock.nowUs()) / 1_000));

import { systemClock, timerMs } from "../adapters/system.ts";
import { UdpSocket } from "../adapters/udp-socket.ts";
import { RunLoop, type Core } from "../host/run-loop.ts";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";

/** What stands between a core and its socket, such as a bad link. */
export interface Link {
  outgoing(transmit: Transmit, send: (transmit: Transmit) => void): void;
  incoming(bytes: Uint8Array, peer: PeerAddress, deliver: (bytes: Uint8Array, peer: PeerAddress) => void): void;
}

const DIRECT: Link = {
  outgoing: (transmit, send) => send(transmit),
  incoming: (bytes, peer, deliver) => deliver(bytes, peer),
};

/** A core on a UDP socket of its own. */
export class UdpClient {
  readonly loop: RunLoop;
  readonly #socket: UdpSocket;
  #timer: NodeJS.Timeout | undefined;

  private constructor(core: Core, socket: UdpSocket, link: Link, onSettled: () => void) {
    this.#socket = socket;
    this.loop = new RunLoop(core, {
      clock: systemClock,
      send: (transmit) => link.outgoing(transmit, (out) => socket.send(out)),
      setTimer: (atUs) => this.#setTimer(atUs),
      onSettled,
    });
  }

  static async open(core: Core, host: string, onSettled: () => void, link: Link = DIRECT): Promise<UdpClient> {
    let client: UdpClient | undefined;
    const deliver = (bytes: Uint8Array, peer: PeerAddress): void => client?.loop.datagram(bytes, peer);
    const socket = await UdpSocket.bind({ host, port: 0 }, (bytes, peer) => link.incoming(bytes, peer, deliver));
    client = new UdpClient(core, socket, link, onSettled);
    return client;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#socket.close();
  }

  #setTimer(atUs: number | undefined): void {
    clearTimeout(this.#timer);
    if (atUs === undefined) return;
    this.#timer = setTimeout(() => this.loop.wake(), timerMs(atUs, systemClock.nowUs()));
  }
}

import type { Core } from "../../src/host/run-loop.ts";
import type { PeerAddress, Transmit } from "../../src/ports/datagram.ts";

/** A node's end whose datagrams come from outside, and go there: what it says and hears is somebody else's. */
export class RelayCore implements Core {
  readonly #out: Transmit[] = [];
  readonly #receive: (bytes: Uint8Array, peer: PeerAddress, nowUs: number) => void;

  constructor(receive: (bytes: Uint8Array, peer: PeerAddress, nowUs: number) => void) {
    this.#receive = receive;
  }

  send(bytes: Uint8Array, peer: PeerAddress): void {
    this.#out.push({ bytes, peer });
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    this.#receive(bytes, peer, nowUs);
  }

  handleTimeout(): void {}

  pollTransmit(): Transmit | undefined {
    return this.#out.shift();
  }

  pollTimeout(): undefined {
    return undefined;
  }
}

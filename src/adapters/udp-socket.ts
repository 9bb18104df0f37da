import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";

/** Receive buffer: 1,000 motes that ask at once must not overflow it (each small datagram counts ~768 B). */
const RECEIVE_BUFFER_BYTES = 4_194_304;
const SLOTS = 4_096;
const SLOT_BYTES = 1_500;

/** One UDP socket, IPv4 or IPv6, that sends from reused buffers. */
export class UdpSocket {
  readonly #socket: Socket;
  readonly #free: Buffer[] = [];
  #slots = 0;
  /** Datagrams that were not sent because all buffers were on their way. */
  dropped = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async bind(
    at: { host: string; port: number },
    onDatagram: (bytes: Uint8Array, peer: PeerAddress) => void,
  ): Promise<UdpSocket> {
    const family = at.host.includes(":") ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? "udp6" : "udp4",
      ipv6Only: family === 6,
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      // Peers are addresses already: the resolver would cost a tick per datagram.
      lookup: (address, _options, callback) => callback(null, address, family),
    });
    socket.on("message", (bytes: Buffer, peer: RemoteInfo) => onDatagram(bytes, peer));
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port: at.port, address: at.host }, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    // An unreachable peer is its own retransmission's business; the socket goes on.
    socket.on("error", () => {});
    return new UdpSocket(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  send({ bytes, peer }: Transmit): void {
    const slot = this.#free.pop() ?? this.#newSlot(bytes.length);
    if (slot === undefined || slot.length < bytes.length) {
      this.dropped++;
      if (slot !== undefined) this.#free.push(slot);
      return;
    }
    slot.set(bytes);
    this.#socket.send(slot, 0, bytes.length, peer.port, peer.address, () => this.#free.push(slot));
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => void this.#socket.close(() => resolve()));
  }

  #newSlot(size: number): Buffer | undefined {
    if (this.#slots === SLOTS || size > SLOT_BYTES) return undefined;
    this.#slots++;
    return Buffer.allocUnsafeSlow(SLOT_BYTES);
  }
}

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";

/** Receive buffer: 1,000 motes that ask at once must not overflow it (each small datagram counts ~768 B). */
const RECEIVE_BUFFER_BYTES = 4_194_304;
/** Send buffers, used in turn; a power of two. */
const SLOTS = 4_096;
const SLOT_BYTES = 1_500;
/** How often it is checked that the buffer whose turn it is has been sent. */
const CHECK_EVERY = 64;

/** A multicast address, and the interface on which it is heard: an IPv4 address, or `::%name`. */
export interface MulticastGroup {
  readonly address: string;
  readonly on: string | undefined;
}

interface Slot {
  readonly buffer: Buffer;
  /** The part of `buffer` that was sent last: most datagrams are as long as the one before. */
  view: Buffer;
}

/** One UDP socket, IPv4 or IPv6, that sends from reused buffers. */
export class UdpSocket {
  readonly #socket: Socket;
  readonly #slots: Slot[] = [];
  #next = 0;
  #stuck = false;
  #closed = false;
  /** Datagrams that could not be sent: too long, all buffers on their way, or an address that the system refuses. */
  dropped = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  static async bind(
    at: { host: string; port: number; group?: MulticastGroup },
    onDatagram: (bytes: Uint8Array, peer: PeerAddress) => void,
  ): Promise<UdpSocket> {
    const family = at.host.includes(":") ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? "udp6" : "udp4",
      ipv6Only: family === 6,
      reuseAddr: at.group !== undefined,
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      // Peers are addresses already: the resolver would cost a tick per datagram.
      lookup: (address, _options, callback) => callback(null, address, family),
    });
    socket.on("message", (bytes: Buffer, peer: RemoteInfo) => {
      // Port 0 means that no reply is wanted (RFC 768), and none could be sent.
      if (peer.port !== 0) onDatagram(bytes, peer);
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port: at.port, address: at.host }, () => {
        socket.off("error", reject);
        try {
          if (at.group !== undefined) join(socket, at.group);
          resolve();
        } catch (error) {
          socket.close();
          reject(error);
        }
      });
    });
    // An unreachable peer is its own retransmission's business; the socket goes on.
    socket.on("error", () => {});
    return new UdpSocket(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /**
   * Sends a copy of the bytes. Datagrams leave in order, so a buffer is free again once fewer than
   * SLOTS are on their way; a callback per datagram would say the same at a fifth of the speed.
   */
  send({ bytes, peer }: Transmit): void {
    if (this.#closed) {
      this.dropped++;
      return;
    }
    if (this.#next % CHECK_EVERY === 0 || this.#stuck) {
      const onTheirWay = this.#socket.getSendQueueCount();
      this.#stuck = onTheirWay >= SLOTS - 2 * CHECK_EVERY;
      // Mostly the kernel takes a datagram at once: then the same few buffers stay in the processor's cache.
      if (onTheirWay === 0) this.#next = 0;
    }
    if (this.#stuck || bytes.length > SLOT_BYTES) {
      this.dropped++;
      return;
    }
    const slot = (this.#slots[this.#next] ??= newSlot());
    this.#next = (this.#next + 1) % SLOTS;
    slot.buffer.set(bytes);
    if (slot.view.length !== bytes.length) slot.view = slot.buffer.subarray(0, bytes.length);
    try {
      this.#socket.send(slot.view, peer.port, peer.address);
    } catch {
      this.dropped++; // what a peer claims as its address must not stop the others
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await new Promise<void>((resolve) => void this.#socket.close(() => resolve()));
  }
}

function newSlot(): Slot {
  const buffer = Buffer.allocUnsafeSlow(SLOT_BYTES);
  return { buffer, view: buffer };
}

function join(socket: Socket, { address, on }: MulticastGroup): void {
  if (on === undefined) socket.addMembership(address);
  else socket.addMembership(address, on);
}

import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";

/** Receive buffer: 1,000 motes that ask at once must not overflow it (each small datagram counts ~768 B). */
const RECEIVE_BUFFER_BYTES = 4_194_304;
/** Send buffers, used in turn. */
const SLOTS = 4_096;
const SLOT_BYTES = 1_500;

/** A multicast address, and the interface on which it is heard: an IPv4 address, or `::%name`. */
export interface MulticastGroup {
  readonly address: string;
  readonly on: string | undefined;
}

type OnDatagram = (bytes: Uint8Array, peer: PeerAddress) => void;

interface Slot {
  readonly buffer: Buffer;
  /** The part of `buffer` that was sent last: most datagrams are as long as the one before. */
  view: Buffer;
}

/**
 * One UDP socket, IPv4 or IPv6, that sends from reused buffers. What one turn of the event loop brings (at most 32
 * datagrams: libuv reads no more at a time) is received first, then handled, then answered: each of the three finds its
 * code and data in the processor's cache, which one datagram after the other would have driven out.
 */
export class UdpSocket {
  readonly #socket: Socket;
  readonly #onDatagram: OnDatagram;
  readonly #slots: Slot[] = [];
  readonly #received: { readonly bytes: Buffer; readonly peer: RemoteInfo }[] = [];
  #handling = false;
  /** What waits in slots until all that was received has been handled. */
  readonly #held: { readonly view: Buffer; readonly peer: PeerAddress }[] = [];
  #next = 0;
  /** Datagrams that the kernel had not taken yet when some were last sent. */
  #onTheirWay = 0;
  #closed = false;
  /** Datagrams that could not be sent: too long, all buffers on their way, or an address that the system refuses. */
  dropped = 0;

  private constructor(socket: Socket, onDatagram: OnDatagram) {
    this.#socket = socket;
    this.#onDatagram = onDatagram;
    socket.on("message", (bytes: Buffer, peer: RemoteInfo) => {
      // Port 0 means that no reply is wanted (RFC 768), and none could be sent.
      if (peer.port !== 0 && this.#received.push({ bytes, peer }) === 1) setImmediate(this.#handleAll);
    });
  }

  static async bind(
    at: { host: string; port: number; group?: MulticastGroup },
    onDatagram: OnDatagram,
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
    const udp = new UdpSocket(socket, onDatagram);
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind({ port: at.port, address: at.host }, () => {
        socket.off("error", reject);
        try {
          if (at.group !== undefined) join(socket, at.group);
          resolve();
        } catch (error) {
          void udp.close();
          reject(error);
        }
      });
    });
    // An unreachable peer is its own retransmission's business; the socket goes on.
    socket.on("error", () => {});
    return udp;
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
    if (this.#onTheirWay + this.#held.length >= SLOTS) this.#onTheirWay = this.#socket.getSendQueueCount();
    if (this.#onTheirWay + this.#held.length >= SLOTS || bytes.length > SLOT_BYTES) {
      this.dropped++;
      return;
    }
    const slot = (this.#slots[this.#next] ??= newSlot());
    this.#next = (this.#next + 1) % SLOTS;
    slot.buffer.set(bytes);
    if (slot.view.length !== bytes.length) slot.view = slot.buffer.subarray(0, bytes.length);
    this.#held.push({ view: slot.view, peer });
    if (!this.#handling) this.#sendHeld();
  }

  readonly #handleAll = (): void => {
    const all = this.#received;
    this.#handling = true;
    let handled = 0;
    try {
      while (handled < all.length) {
        const { bytes, peer } = all[handled++]!;
        this.#onDatagram(bytes, peer);
      }
    } finally {
      this.#handling = false;
      this.#sendHeld();
      all.splice(0, handled);
      // Behind an exception the others still get their turn.
      if (all.length > 0) setImmediate(this.#handleAll);
    }
  };

  #sendHeld(): void {
    if (this.#closed) return;
    for (const { view, peer } of this.#held) {
      try {
        this.#socket.send(view, peer.port, peer.address);
      } catch {
        this.dropped++; // what a peer claims as its address must not stop the others
      }
    }
    this.#held.length = 0;
    this.#onTheirWay = this.#socket.getSendQueueCount();
    // Mostly the kernel takes all at once: then the same few buffers stay in the processor's cache.
    if (this.#onTheirWay === 0) this.#next = 0;
  }

  async close(): Promise<void> {
    this.#sendHeld();
    this.#closed = true;
    this.#received.length = 0;
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

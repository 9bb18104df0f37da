import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";
import { systemClock } from "./system.ts";

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

/** `atUs`: by the system's clock, looked at once for all that came in one turn. */
type OnDatagram = (bytes: Uint8Array, peer: PeerAddress, atUs: number) => void;

interface Slot {
  readonly buffer: Buffer;
  /** The part of `buffer` that was sent last: most datagrams are as long as the one before. */
  view: Buffer;
  peer: PeerAddress;
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
  /** What was received and not handled yet, from `#first` on, and from whom. */
  readonly #received: (Buffer | undefined)[] = [];
  readonly #from: (RemoteInfo | undefined)[] = [];
  #first = 0;
  #last = 0;
  #handling = false;
  #next = 0;
  /** How many before `#next` wait until all that was received has been handled. */
  #held = 0;
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
      if (peer.port === 0) return;
      if (this.#last === 0) setImmediate(this.#handleAll);
      this.#received[this.#last] = bytes;
      this.#from[this.#last++] = peer;
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
    if (this.#onTheirWay + this.#held >= SLOTS) this.#onTheirWay = this.#socket.getSendQueueCount();
    if (this.#onTheirWay + this.#held >= SLOTS || bytes.length > SLOT_BYTES) {
      this.dropped++;
      return;
    }
    const slot = (this.#slots[this.#next] ??= newSlot(peer));
    this.#next = (this.#next + 1) % SLOTS;
    slot.buffer.set(bytes);
    if (slot.view.length !== bytes.length) slot.view = slot.buffer.subarray(0, bytes.length);
    slot.peer = peer;
    this.#held++;
    if (!this.#handling) this.#sendHeld();
  }

  readonly #handleAll = (): void => {
    const atUs = systemClock.nowUs();
    this.#handling = true;
    try {
      while (this.#first < this.#last) {
        const bytes = this.#received[this.#first]!;
        const peer = this.#from[this.#first]!;
        this.#received[this.#first] = this.#from[this.#first++] = undefined;
        this.#onDatagram(bytes, peer, atUs);
      }
    } finally {
      this.#handling = false;
      this.#sendHeld();
      // Behind an exception the others still get their turn.
      if (this.#first < this.#last) setImmediate(this.#handleAll);
      else this.#first = this.#last = 0;
    }
  };

  #sendHeld(): void {
    if (this.#closed) return;
    for (; this.#held > 0; this.#held--) {
      const { view, peer } = this.#slots[(this.#next - this.#held + SLOTS) % SLOTS]!;
      try {
        this.#socket.send(view, peer.port, peer.address);
      } catch {
        this.dropped++; // what a peer claims as its address must not stop the others
      }
    }
    this.#onTheirWay = this.#socket.getSendQueueCount();
    // Mostly the kernel takes all at once: then the same few buffers stay in the processor's cache.
    if (this.#onTheirWay === 0) this.#next = 0;
  }

  async close(): Promise<void> {
    this.#sendHeld();
    this.#closed = true;
    this.#first = this.#last = 0;
    await new Promise<void>((resolve) => void this.#socket.close(() => resolve()));
  }
}

function newSlot(peer: PeerAddress): Slot {
  const buffer = Buffer.allocUnsafeSlow(SLOT_BYTES);
  return { buffer, view: buffer, peer };
}

function join(socket: Socket, { address, on }: MulticastGroup): void {
  if (on === undefined) socket.addMembership(address);
  else socket.addMembership(address, on);
}

import type { PeerAddress, Transmit } from "../ports/datagram.ts";
import { COAP_LIMITS } from "./limits.ts";

interface Slot {
  peer: PeerAddress;
  scratch: Uint8Array;
  /** The part of `scratch` that was sent last: most datagrams are as long as the one before. */
  view: Uint8Array;
  bytes: Uint8Array;
}

const EMPTY = new Uint8Array(0);
const NOBODY: PeerAddress = { address: "", port: 0 };

/**
 * Datagrams for the host, in order. Slots and their buffers are reused once the host has drained
 * the queue, so that serving a block allocates next to nothing.
 */
export class TransmitQueue {
  readonly #slots: Slot[] = [];
  #head = 0;
  #tail = 0;
  /** Datagrams that found the queue full. */
  dropped = 0;

  /** A buffer of at least `size` bytes to write a datagram for `peer` into, then `commit`. */
  reserve(peer: PeerAddress, size: number): Uint8Array | undefined {
    const slot = this.#next(peer);
    if (slot === undefined) return undefined;
    if (slot.scratch.length < size) {
      slot.scratch = new Uint8Array(Math.max(size, 1280));
      slot.view = EMPTY;
    }
    return slot.scratch;
  }

  /** Queues the first `length` bytes of the buffer that `reserve` gave last. */
  commit(length: number): void {
    const slot = this.#slots[this.#tail]!;
    if (slot.view.length !== length) slot.view = slot.scratch.subarray(0, length);
    slot.bytes = slot.view;
    this.#tail++;
  }

  /** Queues `bytes`, which the caller will not change. */
  push(peer: PeerAddress, bytes: Uint8Array): void {
    const slot = this.#next(peer);
    if (slot === undefined) return;
    slot.bytes = bytes;
    this.#tail++;
  }

  poll(): Transmit | undefined {
    if (this.#head < this.#tail) return this.#slots[this.#head++]!;
    this.#head = 0;
    this.#tail = 0;
    return undefined;
  }

  #next(peer: PeerAddress): Slot | undefined {
    if (this.#tail === COAP_LIMITS.maxTransmits) {
      this.dropped++;
      return undefined;
    }
    let slot = this.#slots[this.#tail];
    if (slot === undefined) {
      slot = { peer: NOBODY, scratch: EMPTY, view: EMPTY, bytes: EMPTY };
      this.#slots.push(slot);
    }
    slot.peer = peer;
    return slot;
  }
}

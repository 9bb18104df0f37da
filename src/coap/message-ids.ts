import type { Random } from "../ports/random.ts";
import { COAP_LIMITS } from "./limits.ts";

/**
 * Message IDs per peer, counting up from a random start (RFC 7252 section 4.4). The peer heard of
 * longest ago is forgotten when the table is full.
 */
export class MessageIds {
  readonly #random: Random;
  readonly #next = new Map<string, number>();

  constructor(random: Random) {
    this.#random = random;
  }

  take(peer: string): number {
    const id = this.#next.get(peer) ?? this.#random.uint32() & 0xffff;
    this.#next.delete(peer);
    this.#next.set(peer, (id + 1) & 0xffff);
    if (this.#next.size > COAP_LIMITS.maxPeers) this.#next.delete(this.#next.keys().next().value!);
    return id;
  }
}

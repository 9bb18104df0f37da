import type { Random } from "../ports/random.ts";
import { keepRecent } from "../util/recent.ts";
import { COAP_LIMITS } from "./limits.ts";

/** IDs whose time of use is noted together: a sixteenth of all. */
const CHUNK = 4_096;

interface Counter {
  next: number;
  /** When the last ID of each chunk was used. */
  readonly usedUs: (number | undefined)[];
}

/**
 * Message IDs per peer, counting up from a random start (RFC 7252 section 4.4). The peer heard of
 * longest ago is forgotten when the table is full.
 */
export class MessageIds {
  readonly #random: Random;
  readonly #lifetimeUs: number;
  readonly #counters = new Map<string, Counter>();

  /** `lifetimeUs`: an ID is not used again for a request within it (EXCHANGE_LIFETIME). */
  constructor(random: Random, lifetimeUs: number) {
    this.#random = random;
    this.#lifetimeUs = lifetimeUs;
  }

  /** An ID for a request; undefined while all have been used within EXCHANGE_LIFETIME. */
  take(nowUs: number, peer: string): number | undefined {
    const counter = this.#counter(peer);
    const chunk = Math.floor(counter.next / CHUNK);
    // At the start of a chunk its IDs come up for the second time.
    if (counter.next % CHUNK === 0) {
      const usedUs = counter.usedUs[chunk];
      if (usedUs !== undefined && nowUs - usedUs < this.#lifetimeUs) return undefined;
    }
    counter.usedUs[chunk] = nowUs;
    return advance(counter);
  }

  /**
   * An ID for a response, always: for a peer that asks so fast that IDs come round, a response
   * taken for a duplicate is as good as one that was not sent.
   */
  next(peer: string): number {
    return advance(this.#counter(peer));
  }

  #counter(peer: string): Counter {
    const counter = this.#counters.get(peer) ?? { next: this.#random.uint32() & 0xffff, usedUs: [] };
    keepRecent(this.#counters, peer, counter, COAP_LIMITS.maxPeers);
    return counter;
  }
}

function advance(counter: Counter): number {
  const id = counter.next;
  counter.next = (id + 1) & 0xffff;
  return id;
}

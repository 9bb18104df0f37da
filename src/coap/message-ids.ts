import type { Random } from "../ports/random.ts";
import { keepRecent } from "../util/recent.ts";
import { COAP_LIMITS } from "./limits.ts";

/** IDs whose time of use is noted together: a sixteenth of all. */
const CHUNK = 4_096;
/** Requests to groups have the last chunk to themselves: no member has such an ID in use (section 8.1). */
const GROUP_START = 0x1_0000 - CHUNK;

/** The peer that stands for all groups. */
export const GROUP = "*";

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

  /** `lifetimeUs`: an ID is not used again for a peer within it (EXCHANGE_LIFETIME). */
  constructor(random: Random, lifetimeUs: number) {
    this.#random = random;
    this.#lifetimeUs = lifetimeUs;
  }

  /** An ID for a message; undefined while all have been used within EXCHANGE_LIFETIME. */
  take(nowUs: number, peer: string): number | undefined {
    const [first, count] = peer === GROUP ? [GROUP_START, CHUNK] : [0, GROUP_START];
    const counter = this.#counters.get(peer) ?? { next: first + (this.#random.uint32() % count), usedUs: [] };
    keepRecent(this.#counters, peer, counter, COAP_LIMITS.maxPeers);
    const id = counter.next;
    const chunk = Math.floor(id / CHUNK);
    // At the start of a chunk its IDs come up for the second time.
    const usedUs = id % CHUNK === 0 ? counter.usedUs[chunk] : undefined;
    if (usedUs !== undefined && nowUs - usedUs < this.#lifetimeUs) return undefined;
    counter.usedUs[chunk] = nowUs;
    counter.next = id + 1 < first + count ? id + 1 : first;
    return id;
  }
}

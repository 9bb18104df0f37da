import type { Random } from "../ports/random.ts";
import { unitFloat } from "../util/random.ts";
import { Tally } from "../util/tally.ts";
import { COAP_LIMITS, hasRoom } from "./limits.ts";
import type { CoapTimers } from "./reliability.ts";

/** DEFAULT_LEISURE (RFC 7252 section 8.2): over how long the answers of a group are spread. */
export const LEISURE_US = 5_000_000;

/** Answers to what was sent to a group, each at a random moment, so that a whole group does not answer at once. */
export class Leisure {
  readonly #timers: CoapTimers;
  readonly #random: Random;
  readonly #ofAddress = new Tally();
  #count = 0;

  constructor(timers: CoapTimers, random: Random) {
    this.#timers = timers;
    this.#random = random;
  }

  /** Calls `answer` when its moment has come; false when too many wait. */
  wait(nowUs: number, address: string, answer: (nowUs: number) => void): boolean {
    if (!hasRoom(COAP_LIMITS.maxLeisurely, this.#count, this.#ofAddress.of(address))) return false;
    this.#count++;
    this.#ofAddress.add(address, 1);
    this.#timers.schedule(nowUs + Math.floor(unitFloat(this.#random) * LEISURE_US), (now) => {
      this.#count--;
      this.#ofAddress.add(address, -1);
      answer(now);
    });
    return true;
  }
}

/** How many transfers may share a channel, and how that is found out. */
export interface AdmissionPolicy {
  /** At first. */
  readonly start: number;
  readonly most: number;
  /** One that has not asked for so long has left its place. */
  readonly idleUs: number;
}

export const DEFAULT_ADMISSION: AdmissionPolicy = { start: 3, most: 32, idleUs: 20_000_000 };

/** Blocks after which what was seen of the channel is acted upon, for each transfer under way. */
const ROUND_BLOCKS = 16;
/** Less than this share of the rate before is a fall. */
const FALL = 0.95;
const STEP = 1.4;
/** What a transfer is taken to last before one has ended. */
const FIRST_TRANSFER_S = 20;
const LEAST_WAIT_S = 3;
const LONGEST_WAIT_S = 120;
/** Devices that wait; more are told the same, and not counted. */
const MAX_WAITING = 4_096;

interface Place {
  readonly sinceUs: number;
  lastUs: number;
}

/**
 * Who may transfer now, where all share one channel: those that have begun go on, and a few at a time, since many at
 * once lose each other's frames and finish later than one after the other. How many is found by climbing: more as
 * long as all together get on faster for it, fewer once they do not. What a bad link loses says nothing of room.
 */
export class Admission {
  readonly #policy: AdmissionPolicy;
  /** By device, the one longest silent first. */
  readonly #places = new Map<string, Place>();
  readonly #waiting = new Set<string>();
  #limit: number;
  #blocks = 0;
  #fresh = 0;
  #sinceUs: number | undefined;
  #rate = 0;
  #up = true;
  #transferS = FIRST_TRANSFER_S;
  refused = 0;

  constructor(policy: AdmissionPolicy = DEFAULT_ADMISSION) {
    this.#policy = policy;
    this.#limit = policy.start;
  }

  /** Transfers that may be under way at once, now. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  get active(): number {
    return this.#places.size;
  }

  /** Whether a device may have a block now; it has a place then. */
  admits(nowUs: number, device: string): boolean {
    if (this.#places.has(device)) return true;
    for (const [other, { lastUs }] of this.#places) {
      if (nowUs - lastUs < this.#policy.idleUs) break;
      this.#places.delete(other);
    }
    if (this.#places.size >= this.limit) return false;
    this.#waiting.delete(device);
    this.#places.set(device, { sinceUs: nowUs, lastUs: nowUs });
    return true;
  }

  /** For one that was not admitted: seconds after which it may ask again (Max-Age of a 5.03, RFC 7252 section 5.9.3.4). */
  waitS(device: string): number {
    this.refused++;
    if (this.#waiting.size < MAX_WAITING) this.#waiting.add(device);
    const rounds = this.#waiting.size / this.limit / 6;
    return Math.round(Math.min(LONGEST_WAIT_S, Math.max(LEAST_WAIT_S, rounds * this.#transferS)));
  }

  /** A block was served to a device; `repeated`: it had been before. `finished`: that was all of it. */
  served(nowUs: number, device: string, repeated: boolean, finished: boolean): void {
    const place = this.#places.get(device);
    if (place === undefined) return;
    place.lastUs = nowUs;
    this.#places.delete(device);
    if (finished) this.#transferS += ((nowUs - place.sinceUs) / 1e6 - this.#transferS) / 4;
    else this.#places.set(device, place);
    // Where fewer are to be at it, those that are first come to their end.
    if (this.#places.size > this.limit) {
      this.#blocks = this.#fresh = 0;
      this.#sinceUs = undefined;
      return;
    }
    this.#sinceUs ??= nowUs;
    this.#blocks++;
    if (!repeated) this.#fresh++;
    if (this.#blocks >= ROUND_BLOCKS * (this.limit + 1)) this.#adjust(nowUs);
  }

  #adjust(nowUs: number): void {
    const rate = this.#fresh / Math.max(1, nowUs - this.#sinceUs!);
    if (rate < this.#rate * FALL) this.#up = !this.#up;
    // Room that nobody has asked for is no proof of room.
    const asked = this.#places.size >= this.limit - 1;
    if (!this.#up) this.#limit = Math.max(1, this.#limit / STEP);
    else if (asked) this.#limit = Math.min(this.#policy.most, this.#limit * STEP);
    if (this.#limit === 1) this.#up = true;
    this.#rate = rate;
    this.#blocks = this.#fresh = 0;
    this.#sinceUs = nowUs;
  }
}

import type { Registration } from "./registration.ts";

/** MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2): how long a client in Queue Mode hears after its last message. */
const AWAKE_US = 93_000_000;
/** A learnt window is tried a little further each time: it was learnt from losses, and may have been too short. */
const SLACK = 1.1;
/** One message that was lost is no sign of a shorter one. */
const LEAST_WINDOW_US = 4_000_000;
/** The share of a new interval between two wakes in the mean. */
const INTERVAL_WEIGHT = 0.25;

/**
 * When a client can be reached (LwM2M 1.1 Core, section 6.5): always, or in Queue Mode for a while
 * after its last message. How long that is, is configured, or learnt from requests that it did not
 * answer any more; how often it wakes is learnt too.
 */
export class Wakefulness {
  readonly #configuredUs: number | undefined;
  #heardUs: number | undefined;
  #wokeUs: number | undefined;
  /** From its waking on; undefined while nothing speaks against the standard's time. */
  #windowUs: number | undefined;
  #intervalUs: number | undefined;
  #asleep = true;

  constructor(configuredUs: number | undefined) {
    this.#configuredUs = configuredUs;
  }

  /** When a message of it came last, by which it need not have meant to say that it is there. */
  get heardUs(): number | undefined {
    return this.#heardUs;
  }

  /** Microseconds between two wakes: learnt, or what its lifetime has it keep. */
  intervalUs({ lifetimeS, queueMode }: Registration, awakeIntervalUs: number): number {
    if (!queueMode) return awakeIntervalUs;
    return this.#intervalUs ?? Math.max(lifetimeS, 60) * 1_000_000;
  }

  /** A message of its own: it hears. `wakes`: one by which it says that it has woken up. */
  heard(nowUs: number, wakes: boolean): void {
    if (wakes && (this.#asleep || nowUs >= this.#endUs())) this.#woke(nowUs);
    this.#asleep = false;
    this.#wokeUs ??= nowUs;
    this.#heardUs = nowUs;
    const span = nowUs - this.#wokeUs;
    if (this.#windowUs !== undefined && span > this.#windowUs) this.#windowUs = span;
  }

  /** It did not answer: it has gone to sleep since it was heard last. */
  silent(): void {
    if (!this.#asleep && this.#wokeUs !== undefined && this.#heardUs !== undefined) {
      const span = this.#heardUs - this.#wokeUs;
      if (this.#configuredUs === undefined && (this.#windowUs === undefined || span < this.#windowUs))
        this.#windowUs = Math.max(span, LEAST_WINDOW_US);
    }
    this.#asleep = true;
  }

  isAwake(nowUs: number, { queueMode }: Registration): boolean {
    return !queueMode || (!this.#asleep && nowUs < this.#endUs());
  }

  /** When nothing may be sent any more, unless it is heard of before; undefined where it never sleeps, or does. */
  sleepsUs({ queueMode }: Registration): number | undefined {
    return queueMode && !this.#asleep ? this.#endUs() : undefined;
  }

  #woke(nowUs: number): void {
    const before = this.#wokeUs;
    this.#wokeUs = nowUs;
    // One that was only thought to sleep has not woken.
    if (before === undefined || nowUs - before < LEAST_WINDOW_US) return;
    const interval = nowUs - before;
    this.#intervalUs ??= interval;
    this.#intervalUs += Math.round(INTERVAL_WEIGHT * (interval - this.#intervalUs));
  }

  #endUs(): number {
    if (this.#heardUs === undefined) return 0;
    const afterLast = this.#heardUs + (this.#configuredUs ?? AWAKE_US);
    return this.#windowUs === undefined
      ? afterLast
      : Math.min(afterLast, this.#wokeUs! + Math.round(this.#windowUs * SLACK));
  }
}

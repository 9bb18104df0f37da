/** When neighbours look at the channel, as Contiki's phase.c learns it: by when they acknowledged last. */
export class PhaseLock {
  readonly #intervalUs: number;
  readonly #known = new Map<number, { atUs: number; misses: number; firstMissUs: number }>();

  constructor(intervalUs: number) {
    this.#intervalUs = intervalUs;
  }

  /** From `fromUs` on, when it looks next, and there are `leadUs` before that. Undefined for whom it does not know. */
  nextUs(neighbour: number, fromUs: number, leadUs: number): number | undefined {
    const known = this.#known.get(neighbour);
    if (known === undefined) return undefined;
    const interval = this.#intervalUs;
    const waitUs = (((known.atUs - fromUs) % interval) + interval) % interval;
    return fromUs + (waitUs < leadUs ? waitUs + interval : waitUs);
  }

  /** It acknowledged the copy that began then. */
  heard(neighbour: number, atUs: number): void {
    this.#known.set(neighbour, { atUs, misses: 0, firstMissUs: 0 });
  }

  /** It did not answer. It may look at another time by now: after some misses it is unknown again. */
  missed(neighbour: number, nowUs: number): void {
    const known = this.#known.get(neighbour);
    if (known === undefined) return;
    if (known.misses++ === 0) known.firstMissUs = nowUs;
    if (known.misses >= MAX_MISSES || nowUs - known.firstMissUs > MAX_MISSES_US) this.#known.delete(neighbour);
  }
}

/** MAX_NOACKS and MAX_NOACKS_TIME of phase.c. */
const MAX_MISSES = 16;
const MAX_MISSES_US = 30_000_000;

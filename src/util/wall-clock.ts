/** Milliseconds since 1970, by a clock that only goes on and by what the wall's clock said last. */
export class WallClock {
  #startUs: number;
  #startMs: number;

  constructor(nowUs: number, unixMs: number) {
    this.#startUs = nowUs;
    this.#startMs = unixMs;
  }

  readonly unixMs = (nowUs: number): number => this.#startMs + (nowUs - this.#startUs) / 1_000;

  /** The wall's clock was set: by somebody, or by NTP on a machine that starts without one. */
  set(nowUs: number, unixMs: number): void {
    this.#startUs = nowUs;
    this.#startMs = unixMs;
  }
}

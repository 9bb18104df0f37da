/** What keeps a mote busy: its CPU, or its flash. One thing at a time; the next is told when that is over. */
export class Work {
  readonly #onCpu: (us: number) => void;
  #busy: { readonly untilUs: number; readonly next: (nowUs: number) => void } | undefined;

  /** Told how long the CPU works; the mote does nothing else meanwhile. */
  constructor(onCpu: (us: number) => void) {
    this.#onCpu = onCpu;
  }

  get isUnderWay(): boolean {
    return this.#busy !== undefined;
  }

  compute(nowUs: number, us: number, next: (nowUs: number) => void): void {
    this.#onCpu(Math.round(us));
    this.after(nowUs, us, next);
  }

  after(nowUs: number, us: number, next: (nowUs: number) => void): void {
    if (us === 0) next(nowUs);
    else this.#busy = { untilUs: nowUs + Math.round(us), next };
  }

  handleTimeout(nowUs: number): void {
    const busy = this.#busy;
    if (busy === undefined || busy.untilUs > nowUs) return;
    this.#busy = undefined;
    busy.next(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#busy?.untilUs;
  }
}

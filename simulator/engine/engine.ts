import { TimerQueue, type Timer } from "../../src/util/timer-queue.ts";
import { TraceHash } from "./trace-hash.ts";

/** The virtual clock and what is to happen when. Equal times run in the order in which they were scheduled. */
export class Engine {
  readonly #queue = new TimerQueue<() => void>();
  readonly trace: TraceHash = new TraceHash();
  #nowUs = 0;
  events = 0;

  nowUs(): number {
    return this.#nowUs;
  }

  at(atUs: number, action: () => void): Timer {
    return this.#queue.schedule(Math.max(atUs, this.#nowUs), action);
  }

  after(us: number, action: () => void): Timer {
    return this.at(this.#nowUs + us, action);
  }

  /** Runs until `done` says so, nothing is left, or `untilUs` has come. */
  run(untilUs: number, done: () => boolean): void {
    while (!done()) {
      const next = this.#queue.nextUs();
      if (next === undefined || next > untilUs) {
        if (Number.isFinite(untilUs)) this.#nowUs = untilUs;
        return;
      }
      this.#nowUs = next;
      this.events++;
      this.#queue.popDue(next)!();
    }
  }
}

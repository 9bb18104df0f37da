import type { Lifecycle } from "../lifecycle/lifecycle.ts";

/** A class whose support ends soon, or has ended. */
export type SupportWarning = ReturnType<Lifecycle["warnings"]>[number];

const HOUR_US = 3_600_000_000;

/** Tells of a class whose support ends soon, and when it has ended: once each, and again behind a restart. */
export class SupportWatch {
  readonly #lifecycle: Lifecycle;
  readonly #unixMs: (nowUs: number) => number;
  readonly #tell: (warning: SupportWarning) => void;
  readonly #told = new Map<string, string>();
  #dueUs: number | undefined;

  constructor(lifecycle: Lifecycle, unixMs: (nowUs: number) => number, tell: (warning: SupportWarning) => void) {
    this.#lifecycle = lifecycle;
    this.#unixMs = unixMs;
    this.#tell = tell;
  }

  /** Something was decided for a class's support, or time has passed: the clock may have been set, so it looks once an hour. */
  look(nowUs: number): void {
    const isWatched = [...this.#lifecycle.state.classes.values()].some(({ support }) => support !== undefined);
    this.#dueUs = isWatched ? nowUs + HOUR_US : undefined;
    if (!isWatched) return;
    for (const warning of this.#lifecycle.warnings(this.#unixMs(nowUs))) {
      const { classId, state, endsMs } = warning;
      const what = `${state} ${endsMs}`;
      if (this.#told.get(classId) === what) continue;
      this.#told.set(classId, what);
      this.#tell(warning);
    }
  }

  pollTimeout(): number | undefined {
    return this.#dueUs;
  }

  handleTimeout(nowUs: number): void {
    if (this.#dueUs !== undefined && this.#dueUs <= nowUs) this.look(nowUs);
  }
}

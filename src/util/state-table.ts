/** What leads from one state to another: nothing that is not in the table does. */
export interface Transition<S extends string, E extends string> {
  readonly from: S;
  readonly on: E;
  readonly to: S;
  /** The section that says so, and what is done. */
  readonly why: string;
}

/** A state machine as its table; `next` is asked by the code, the rest is for docs/state-machines. */
export class StateTable<S extends string, E extends string> {
  readonly title: string;
  readonly initial: S;
  readonly rows: readonly Transition<S, E>[];
  readonly #next = new Map<S, Map<E, S>>();

  /** Throws a RangeError for two rows with the same state and event, and for a state that nothing leads to. */
  constructor(title: string, initial: S, rows: readonly (readonly [from: S, on: E, to: S, why: string])[]) {
    this.title = title;
    this.initial = initial;
    this.rows = rows.map(([from, on, to, why]) => ({ from, on, to, why }));
    const reached = new Set<S>([initial, ...this.rows.map(({ to }) => to)]);
    for (const { from, on, to } of this.rows) {
      if (!reached.has(from)) throw new RangeError(`${title}: nothing leads to ${from}`);
      const known = this.#next.get(from) ?? new Map<E, S>();
      if (known.has(on)) throw new RangeError(`${title}: ${from} has two ways out on ${on}`);
      this.#next.set(from, known.set(on, to));
    }
  }

  /** Where `event` leads to; undefined when it means nothing in this state. */
  next(state: S, event: E): S | undefined {
    return this.#next.get(state)?.get(event);
  }

  /** Takes what holds a state along; false when `event` means nothing in it. */
  step(holder: { state: S }, event: E): boolean {
    const to = this.next(holder.state, event);
    if (to === undefined) return false;
    holder.state = to;
    return true;
  }
}

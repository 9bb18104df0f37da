import type { Metrics } from "../ports/metrics.ts";

/** Counters in memory, by name and label. */
export class Counters implements Metrics {
  readonly #counts = new Map<string, number>();

  count(name: string, label?: string, by = 1): void {
    const key = label === undefined ? name : `${name}.${label}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by);
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

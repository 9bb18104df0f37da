/** Half-open ranges of integers, disjoint, ascending, at most `maxIntervals` of them. */
export class IntervalSet {
  readonly #maxIntervals: number;
  /** start, end, start, end, … */
  #bounds: number[] = [];
  #covered = 0;

  constructor(maxIntervals: number, bounds: readonly number[] = []) {
    this.#maxIntervals = maxIntervals;
    for (let i = 0; i + 1 < bounds.length; i += 2) this.add(bounds[i]!, bounds[i + 1]!);
  }

  /** How many integers are covered. */
  get covered(): number {
    return this.#covered;
  }

  get bounds(): readonly number[] {
    return this.#bounds;
  }

  has(start: number, end: number): boolean {
    const i = this.#firstEndingAtOrAfter(start);
    const bounds = this.#bounds;
    return i < bounds.length && bounds[i]! <= start && end <= bounds[i + 1]!;
  }

  /** The first integer at or after `from` that is not covered. */
  firstGap(from: number): number {
    const i = this.#firstEndingAtOrAfter(from);
    const bounds = this.#bounds;
    return i < bounds.length && bounds[i]! <= from ? Math.max(from, bounds[i + 1]!) : from;
  }

  /**
   * Covers [start, end). When that would make more intervals than allowed, the shortest is given up:
   * the set then says less than the truth, never more.
   */
  add(start: number, end: number): void {
    if (end <= start) return;
    const bounds = this.#bounds;
    const last = bounds.length - 1;
    if (last > 0 && bounds[last] === start) {
      // The common case: the block behind the one before.
      bounds[last] = end;
      this.#covered += end - start;
      return;
    }
    const from = this.#firstEndingAtOrAfter(start);
    let to = from;
    let [newStart, newEnd] = [start, end];
    while (to < bounds.length && bounds[to]! <= end) {
      newStart = Math.min(newStart, bounds[to]!);
      newEnd = Math.max(newEnd, bounds[to + 1]!);
      this.#covered -= bounds[to + 1]! - bounds[to]!;
      to += 2;
    }
    bounds.splice(from, to - from, newStart, newEnd);
    this.#covered += newEnd - newStart;
    if (bounds.length > this.#maxIntervals * 2) this.#dropShortest();
  }

  /** Index of the first interval whose end is at or after `position`. */
  #firstEndingAtOrAfter(position: number): number {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (bounds[middle * 2 + 1]! < position) low = middle + 1;
      else high = middle;
    }
    return low * 2;
  }

  #dropShortest(): void {
    const bounds = this.#bounds;
    let shortest = 0;
    for (let i = 2; i < bounds.length; i += 2) {
      if (bounds[i + 1]! - bounds[i]! < bounds[shortest + 1]! - bounds[shortest]!) shortest = i;
    }
    this.#covered -= bounds[shortest + 1]! - bounds[shortest]!;
    bounds.splice(shortest, 2);
  }
}

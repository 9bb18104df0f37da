import TinyQueue from "tinyqueue";

interface Entry<T> {
  atUs: number;
  sequence: number;
  item: T | undefined;
}

/** A handle to one scheduled item; cancelling it twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Items ordered by (time, insertion). Cancelled entries stay in the heap until they surface or
 * until they outnumber the live ones, when the heap is rebuilt: memory stays in proportion to
 * what is scheduled.
 */
export class TimerQueue<T> {
  #heap = new TinyQueue<Entry<T>>([], byTimeThenSequence);
  #sequence = 0;
  #live = 0;

  get size(): number {
    return this.#live;
  }

  schedule(atUs: number, item: T): Timer {
    const entry: Entry<T> = { atUs, sequence: this.#sequence++, item };
    this.#heap.push(entry);
    this.#live++;
    return {
      cancel: (): void => {
        if (entry.item === undefined) return;
        entry.item = undefined;
        this.#live--;
        if (this.#heap.length > 64 && this.#heap.length > this.#live * 2) this.#compact();
      },
    };
  }

  /** Time of the earliest live item. */
  nextUs(): number | undefined {
    if (this.#live === 0) return undefined;
    for (;;) {
      const top = this.#heap.peek();
      if (top === undefined) return undefined;
      if (top.item !== undefined) return top.atUs;
      this.#heap.pop();
    }
  }

  /** Takes the earliest item that is due at `nowUs`. */
  popDue(nowUs: number): T | undefined {
    const next = this.nextUs();
    if (next === undefined || next > nowUs) return undefined;
    const entry = this.#heap.pop()!;
    const { item } = entry;
    entry.item = undefined;
    this.#live--;
    return item;
  }

  #compact(): void {
    const live = this.#heap.data.filter((entry) => entry.item !== undefined);
    this.#heap = new TinyQueue(live, byTimeThenSequence);
  }
}

/** Calls whatever is due, what that makes due included. */
export function runDue(timers: TimerQueue<(nowUs: number) => void>, nowUs: number): void {
  for (let due = timers.popDue(nowUs); due !== undefined; due = timers.popDue(nowUs)) due(nowUs);
}

function byTimeThenSequence(a: Entry<unknown>, b: Entry<unknown>): number {
  return a.atUs - b.atUs || a.sequence - b.sequence;
}

import { longestMatch, suffixArray } from "./suffix-array.ts";

/** One step through an old and a new image: so many bytes that are alike, then so many that are not there. */
export interface DiffStep {
  /** Where the part that is alike is in the old image. */
  readonly oldOffset: number;
  /** Bytes of it; what differs between them is small, mostly an address. */
  readonly alike: number;
  /** Bytes behind it that only the new image has. */
  readonly extra: number;
}

/** A match has to be that much better than going on with the one before, so that few are worth a step. */
const BETTER_BY = 8;
/** One that is as long and no better is gone through at once: to look at each of its bytes again would take for ever. */
const LONG = 64;

/**
 * The steps that lead from one image to another, by the matching of Colin Percival's "Naive differences of executable
 * code" (2003): exact matches are extended both ways as long as at least half of the bytes agree, since code that moved
 * differs from what it was only in its addresses.
 */
export function diff(old: Uint8Array, wanted: Uint8Array): DiffStep[] {
  return new Differ(old, wanted).steps();
}

interface Place {
  readonly newOffset: number;
  readonly oldOffset: number;
}

class Differ {
  readonly #old: Uint8Array;
  readonly #new: Uint8Array;
  readonly #order: Int32Array;

  constructor(old: Uint8Array, wanted: Uint8Array) {
    this.#old = old;
    this.#new = wanted;
    this.#order = suffixArray(old);
  }

  steps(): DiffStep[] {
    const steps: DiffStep[] = [];
    let last: Place = { newOffset: 0, oldOffset: 0 };
    let at = 0;
    while (last.newOffset < this.#new.length) {
      const match = this.#nextMatch(at, last);
      const forward = this.#forward(last, match.newOffset);
      const backward = match.length === 0 ? 0 : this.#backward(last, match);
      const overlap = Math.max(0, last.newOffset + forward - (match.newOffset - backward));
      const kept = this.#split(last, forward, match, backward, overlap);
      const alike = forward - overlap + kept;
      const start = match.newOffset - (backward - kept);
      steps.push({ oldOffset: last.oldOffset, alike, extra: start - last.newOffset - alike });
      last = { newOffset: start, oldOffset: match.oldOffset - (backward - kept) };
      at = match.newOffset + match.length;
      if (match.length === 0) break;
    }
    return steps.filter(({ alike, extra }) => alike + extra > 0);
  }

  /** The next match behind `at` that is better than to go on as before; at the end one of no bytes. */
  #nextMatch(at: number, last: Place): Place & { readonly length: number } {
    const [old, wanted] = [this.#old, this.#new];
    const shift = last.oldOffset - last.newOffset;
    const agrees = (i: number): number => (old[i + shift] === wanted[i] ? 1 : 0);
    let [score, scored] = [0, at];
    for (let scan = at; scan < wanted.length; scan++) {
      const { offset, length } = longestMatch(old, this.#order, wanted, scan);
      for (; scored < scan + length; scored++) score += agrees(scored);
      if (length > 0 && (length >= LONG ? length <= score + BETTER_BY : length === score)) {
        // The one before says as much, or nearly: it goes on.
        scan += length - 1;
        scored = scan + 1;
        score = 0;
        continue;
      }
      if (length > score + BETTER_BY) return { newOffset: scan, oldOffset: offset, length };
      if (scored > scan) score -= agrees(scan);
      else scored = scan + 1;
    }
    return { newOffset: wanted.length, oldOffset: 0, length: 0 };
  }

  /** How far the part behind `from` is worth its bytes, up to `end`. */
  #forward({ newOffset, oldOffset }: Place, end: number): number {
    const most = Math.min(end - newOffset, this.#old.length - oldOffset);
    return this.#extent(most, (i) => this.#old[oldOffset + i] === this.#new[newOffset + i]);
  }

  /** The same of the part before a match. */
  #backward(last: Place, { newOffset, oldOffset }: Place): number {
    const most = Math.min(newOffset - last.newOffset, oldOffset);
    return this.#extent(most, (i) => this.#old[oldOffset - 1 - i] === this.#new[newOffset - 1 - i]);
  }

  /** The length at which most bytes more agree than do not. */
  #extent(most: number, agrees: (i: number) => boolean): number {
    let [sum, best, length] = [0, 0, 0];
    for (let i = 0; i < most; i++) {
      sum += agrees(i) ? 1 : -1;
      if (sum > best) [best, length] = [sum, i + 1];
    }
    return length;
  }

  /** How many bytes of what both parts reach belong to the first. */
  #split(last: Place, forward: number, match: Place, backward: number, overlap: number): number {
    let [sum, best, kept] = [0, 0, 0];
    for (let i = 0; i < overlap; i++) {
      const first = forward - overlap + i;
      if (this.#new[last.newOffset + first] === this.#old[last.oldOffset + first]) sum++;
      if (this.#new[match.newOffset - backward + i] === this.#old[match.oldOffset - backward + i]) sum--;
      if (sum > best) [best, kept] = [sum, i + 1];
    }
    return kept;
  }
}

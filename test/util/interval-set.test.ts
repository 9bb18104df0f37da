import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IntervalSet } from "../../src/util/interval-set.ts";

const range = fc
  .tuple(fc.nat(200), fc.integer({ min: 1, max: 30 }))
  .map(([start, length]) => [start, start + length] as const);

describe("IntervalSet", () => {
  it("covers what a plain set of integers covers", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 40 }), (ranges) => {
        const set = new IntervalSet(1_000);
        const model = new Set<number>();
        for (const [start, end] of ranges) {
          const known = Array.from({ length: end - start }, (_, i) => start + i).every((i) => model.has(i));
          expect(set.has(start, end)).toBe(known);
          set.add(start, end);
          for (let i = start; i < end; i++) model.add(i);
          expect(set.covered).toBe(model.size);
        }
        for (let from = 0; from < 240; from++) {
          let gap = from;
          while (model.has(gap)) gap++;
          expect(set.firstGap(from)).toBe(gap);
        }
        expect(new IntervalSet(1_000, set.bounds).bounds).toEqual(set.bounds);
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  it("never claims more than the truth when its bound is hit", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 60 }), (ranges) => {
        const set = new IntervalSet(3);
        const model = new Set<number>();
        for (const [start, end] of ranges) {
          set.add(start, end);
          for (let i = start; i < end; i++) model.add(i);
          expect(set.bounds.length).toBeLessThanOrEqual(6);
        }
        for (let i = 0; i < 240; i++) if (set.has(i, i + 1)) expect(model.has(i)).toBe(true);
      }),
      { numRuns: 500, seed: 2 },
    );
  });
});

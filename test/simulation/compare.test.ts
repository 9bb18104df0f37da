import { describe, expect, it } from "vitest";
import { compare, otherwise, type Summary } from "../../simulator/report/summary.ts";

const exactly = (mean: number): object => ({ mean, ci95: 0 });

/** A summary with one case for each of these swept values, in which the energy says which it is. */
const summary = (cases: readonly Record<string, number>[], firstMj: number): Summary =>
  ({
    scenario: "s",
    profile: "p",
    cases: cases.map((swept, i) => ({
      swept,
      imageBytes: 1,
      energyMj: exactly(firstMj + i),
      completionP50S: exactly(1),
      airBytes: exactly(1),
    })),
  }) as unknown as Summary;

const paired = (here: readonly Record<string, number>[], there: readonly Record<string, number>[]): unknown[] =>
  compare(summary(here, 1), summary(there, 101))
    .filter(({ what }) => what === "energyMj")
    .map((one) => [one.label, one.here.mean, one.there.mean]);

describe("two simulations are compared case by case", () => {
  it("by their swept values, in whatever order they come", () => {
    expect(paired([{ per: 0 }, { per: 0.2 }], [{ per: 0.2 }, { per: 0 }])).toEqual([
      ["per=0", 1, 102],
      ["per=0.2", 2, 101],
    ]);
  });

  it("never with a case of another value, which is named instead", () => {
    expect(paired([{ per: 0 }, { per: 0.4 }], [{ per: 0 }, { per: 0.2 }])).toEqual([["per=0", 1, 101]]);
    expect(otherwise(summary([{ per: 0 }, { per: 0.4 }], 1), summary([{ per: 0 }, { per: 0.2 }], 1))).toEqual([
      "cases: per=0; per=0.4 here, per=0; per=0.2 there",
      "per=0.4 is not there, and not compared",
    ]);
  });

  it("with the only one that may be meant where other keys are swept, and says which", () => {
    expect(paired([{ block: 64 }, { block: 256 }], [{}])).toEqual([
      ["block=64 beside -", 1, 101],
      ["block=256 beside -", 2, 101],
    ]);
    expect(paired([{}], [{ per: 0 }, { per: 0.2 }])).toEqual([]);
    expect(
      paired(
        [{ per: 0.2 }],
        [
          { per: 0, block: 64 },
          { per: 0.2, block: 64 },
        ],
      ),
    ).toEqual([["per=0.2 beside per=0.2 block=64", 1, 102]]);
  });
});

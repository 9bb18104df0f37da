import { expect, it } from "vitest";
import { errorOf, isCovered, judgePredictions, rowOf } from "../support/prediction-judge.ts";

// Half of the twenty fleets in each of two files, so that two cores share them.
it("predictions beside outcomes of fleets 1 to 10: within 15 %, and in the interval 90 times of 100", () => {
  const judged = judgePredictions(Array.from({ length: 10 }, (_, i) => 1 + i));
  const rows = judged.map(rowOf).join("\n");
  expect(new Set(judged.map(({ end }) => end))).toEqual(new Set(["finished"]));
  expect(judged.filter((one) => errorOf(one) > 0.15).map(rowOf), rows).toEqual([]);
  expect(judged.filter(isCovered).length / judged.length, rows).toBeGreaterThanOrEqual(0.9);
});

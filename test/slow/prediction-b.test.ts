import { it } from "vitest";
import { expectGoodPredictions } from "../support/prediction-judge.ts";

// Half of the twenty fleets in each of two files, so that two cores share them.
it("predictions beside outcomes: fleets 11 to 20", () => expectGoodPredictions(11, 10));

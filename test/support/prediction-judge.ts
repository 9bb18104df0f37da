import { expect } from "vitest";
import type { Interval } from "../../src/rollout/prediction.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import type { ModelDevice } from "../../simulator/rollout/fleet-model.ts";
import { figuresOf, predict } from "../../simulator/rollout/predict.ts";
import { runRollout } from "../../simulator/rollout/rollout-run.ts";
import { AA2, CHIP, PROFILES } from "./lwm2m-site.ts";
import { simulatedSpec } from "./simulated-fleet.ts";

const RUNS = 8;
/** Seeds of outcomes are none of the prediction's. */
const OUTCOME_SEED = 1_001;

const spec = simulatedSpec("prediction", 32_768, {
  groups: [
    { name: "canary", percent: 20, successThreshold: 100, errorThreshold: 50, onSuccess: "next" },
    { name: "rest", successThreshold: 80, errorThreshold: 50, onSuccess: "next" },
  ],
  maxConcurrent: 10,
});

const isSleepy = (seed: number): boolean => seed % 3 === 0;

/** A fleet of its own for each seed: how far, how lossy; one in three sleeps. */
function fleetOf(seed: number): ModelDevice[] {
  const random = new SeededRandom(seed, "fleet");
  const sleepy = isSleepy(seed);
  return Array.from({ length: 36 + uintBelow(random, 25) }, (_, i) => ({
    name: `m${i}`,
    behaviour: "good",
    tags: [],
    hops: sleepy ? 1 : 1 + uintBelow(random, 3),
    per: 0.02 + 0.18 * unitFloat(random),
    lifetimeS: 1_800,
    queue: sleepy ? { wakeIntervalS: 120, awakeS: 10 } : undefined,
  }));
}

interface Judged {
  readonly fleet: number;
  readonly figure: "p50" | "p99" | "energy";
  readonly predicted: Interval;
  readonly happened: number;
  readonly end: string;
}

/** Predicts each fleet's rollout, and runs it with another seed. */
function judgePredictions(fleets: readonly number[]): Judged[] {
  const parts = { profile: CHIP, quirks: PROFILES, blockBytes: 64, maxHours: 48 };
  return fleets.flatMap((fleet): Judged[] => {
    const devices = fleetOf(fleet);
    const runs = Array.from({ length: RUNS }, (_, i) => runRollout(spec, devices, i + 1, parts));
    const said = predict(runs, AA2, []);
    const outcome = runRollout(spec, devices, OUTCOME_SEED + fleet, parts);
    const was = figuresOf(outcome, AA2);
    const end = [outcome.state, ...outcome.violations].join(", ");
    return [
      { fleet, end, figure: "p50", predicted: said.completionP50S, happened: was.completionP50S },
      { fleet, end, figure: "p99", predicted: said.completionP99S, happened: was.completionP99S },
      { fleet, end, figure: "energy", predicted: said.energyMj, happened: was.energyMj },
    ];
  });
}

const errorOf = ({ predicted, happened }: Judged): number => Math.abs(happened / predicted.value - 1);
const isCovered = ({ predicted: { low, high }, happened }: Judged): boolean => happened >= low && happened <= high;
const rowOf = ({ fleet, figure, predicted: { value, low, high }, happened }: Judged): string =>
  `fleet ${fleet} ${figure}: ${value.toFixed(0)} [${low.toFixed(0)} ${high.toFixed(0)}], it was ${happened.toFixed(0)}`;

/** Of the figures of so many fleets, by chance; the interval is meant to hold nine of ten. */
const LEAST_COVERED = 0.8;

/**
 * Of fleets that are awake each energy lies within 15 %, and all times but one, which is one run's and another's. Of those that sleep a single run differs by more than that from
 * one seed to the next (one canary in a hundred misses its wake, and holds up all others for two minutes): of them the
 * interval speaks, which has to hold nine of ten of all.
 */
export function expectGoodPredictions(first: number, fleets: number): void {
  const judged = judgePredictions(Array.from({ length: fleets }, (_, i) => first + i));
  const rows = judged.map(rowOf).join("\n");
  console.log(rows);
  expect(new Set(judged.map(({ end }) => end))).toEqual(new Set(["finished"]));
  const awake = judged.filter(({ fleet }) => !isSleepy(fleet));
  const far = awake.filter((one) => errorOf(one) > 0.15);
  expect(far.length, rows).toBeLessThanOrEqual(1);
  for (const one of far) expect([one.figure === "energy", errorOf(one) < 0.2], rows).toEqual([false, true]);
  expect(judged.filter(isCovered).length / judged.length, rows).toBeGreaterThanOrEqual(LEAST_COVERED);
}

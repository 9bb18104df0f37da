import { mean, quantile, sampleStandardDeviation } from "simple-statistics";
import type { Interval, Prediction } from "../../src/rollout/prediction.ts";
import { batteryDays, type Battery } from "../mote/battery.ts";
import type { RolloutOutcome } from "./rollout-run.ts";

/** Student's t for 95 %, two-sided, by degrees of freedom from 1 on. */
const T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131];

/**
 * Where the next outcome lies, if it is drawn as these were: the prediction interval of a normal sample for 95 of 100
 * cases, which holds 90 of those that are not quite so (one device that misses its wake holds up all behind it).
 */
export function intervalOf(values: readonly number[]): Interval {
  if (values.length === 0) return { value: 0, low: 0, high: 0 };
  const value = mean([...values]);
  if (values.length < 2) return { value, low: value, high: value };
  const t = T95[values.length - 2] ?? 1.96;
  const half = t * sampleStandardDeviation([...values]) * Math.sqrt(1 + 1 / values.length);
  return { value, low: Math.max(0, value - half), high: value + half };
}

export interface RunFigures {
  readonly completionP50S: number;
  readonly completionP99S: number;
  readonly durationS: number;
  readonly energyMj: number;
  readonly batteryDays: number;
  readonly airtimeS: number;
}

/** What one run comes to. A device that is not done is so at the end of the run, at the earliest. */
export function figuresOf({ devices, durationS, airtimeS }: RolloutOutcome, battery: Battery): RunFigures {
  const done = devices.map(({ doneS }) => doneS ?? durationS);
  const energyMj = mean(devices.map((one) => one.energyMj));
  return {
    durationS,
    airtimeS,
    energyMj,
    completionP50S: quantile(done, 0.5),
    completionP99S: quantile(done, 0.99),
    batteryDays: batteryDays(battery, energyMj),
  };
}

/** What several runs with different seeds say of the next one. */
export function predict(
  outcomes: readonly RolloutOutcome[],
  battery: Battery,
  assumptions: readonly string[],
): Prediction {
  const figures = outcomes.map((outcome) => figuresOf(outcome, battery));
  const of = (key: keyof RunFigures): Interval => intervalOf(figures.map((one) => one[key]));
  const ends: Record<string, number> = {};
  for (const { state, reason } of outcomes) {
    const end = state === "finished" ? state : `${state}: ${reason}`;
    ends[end] = (ends[end] ?? 0) + 1;
  }
  return {
    devices: outcomes[0]?.devices.length ?? 0,
    ends,
    runs: outcomes.length,
    completionP50S: of("completionP50S"),
    completionP99S: of("completionP99S"),
    durationS: of("durationS"),
    energyMj: of("energyMj"),
    batteryDays: of("batteryDays"),
    airtimeS: of("airtimeS"),
    atRisk: atRisk(outcomes),
    assumptions,
  };
}

const MAX_AT_RISK = 50;

function atRisk(outcomes: readonly RolloutOutcome[]): Prediction["atRisk"] {
  const failed = new Map<string, { failedRuns: number; why: string }>();
  for (const { devices } of outcomes)
    for (const { endpoint, state, reason } of devices) {
      if (state === "succeeded") continue;
      const entry = failed.get(endpoint) ?? { failedRuns: 0, why: `${state}${reason === "" ? "" : `: ${reason}`}` };
      entry.failedRuns++;
      failed.set(endpoint, entry);
    }
  const all = [...failed].map(([endpoint, { failedRuns, why }]) => ({ endpoint, failedRuns, why }));
  return all.toSorted((a, b) => b.failedRuns - a.failedRuns).slice(0, MAX_AT_RISK);
}

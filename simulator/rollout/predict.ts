import { mean, quantile, sampleStandardDeviation } from "simple-statistics";
import type { Interval, Prediction } from "../../src/rollout/prediction.ts";
import { batteryDays, type Battery } from "../mote/battery.ts";
import type { RolloutOutcome } from "./rollout-run.ts";

/** Student's t for 90 %, two-sided, by degrees of freedom from 1 on. */
const T90 = [6.314, 2.92, 2.353, 2.132, 2.015, 1.943, 1.895, 1.86, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753];

/** Where the next outcome lies in 90 of 100 cases, if it is drawn as these were (prediction interval of a normal sample). */
export function intervalOf(values: readonly number[]): Interval {
  if (values.length === 0) return { value: 0, low: 0, high: 0 };
  const value = mean([...values]);
  if (values.length < 2) return { value, low: value, high: value };
  const t = T90[values.length - 2] ?? 1.645;
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

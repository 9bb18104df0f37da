import type { RolloutView } from "../http/rollouts.ts";
import type { Prediction } from "../rollout/prediction.ts";
import type { Decision, Member } from "../rollout/record.ts";

const interval = ({ value, low, high }: Prediction["durationS"], unit: string): string =>
  `${round(value)} ${unit} (90 of 100 between ${round(low)} and ${round(high)})`;
const round = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

export function printPrediction(prediction: Prediction): void {
  const { devices, runs, ends, completionP50S, completionP99S, durationS, energyMj, batteryDays, airtimeS } =
    prediction;
  console.log(
    `${devices} devices, simulated ${runs} times: ${Object.entries(ends)
      .map(([end, n]) => `${n} × ${end}`)
      .join(", ")}`,
  );
  console.log(`  half of them done   ${interval(completionP50S, "s")}`);
  console.log(`  99 of 100 done      ${interval(completionP99S, "s")}`);
  console.log(`  the rollout takes   ${interval(durationS, "s")}`);
  console.log(`  energy of a device  ${interval(energyMj, "mJ")}`);
  console.log(`  of its battery      ${interval(batteryDays, "days")}`);
  console.log(`  of the channel      ${interval(airtimeS, "s")}`);
  for (const { endpoint, failedRuns, why } of prediction.atRisk)
    console.log(`  at risk             ${endpoint}: ${why} in ${failedRuns} of ${runs} runs`);
  for (const text of prediction.assumptions) console.log(`  assumed             ${text}`);
}

/** What became of a rollout, in seconds from its start in which it was not paused. */
export interface Happened {
  readonly durationS: number;
  readonly pausedS: number;
  /** Until half, and 99 of 100, of those that succeeded were done; undefined where none was. */
  readonly completionP50S: number | undefined;
  readonly completionP99S: number | undefined;
}

/** What ends a pause; its end is one too, where it was retried. */
const GOES_ON: ReadonlySet<string> = new Set(["resumed", "retried", "stopping", "cancelled", "finished"]);
const PAUSES: ReadonlySet<string> = new Set([
  "finished",
  "stopped",
  "paused",
  "error-threshold",
  "success-threshold-missed",
  "group-empty",
  "group-done",
]);

/** A pause is time in which somebody thinks, which nobody has simulated. */
export function happened(
  { startedAt, endedAt }: Pick<RolloutView, "startedAt" | "endedAt">,
  decisions: readonly Pick<Decision, "what" | "atMs">[],
  members: readonly Pick<Member, "state" | "endedMs">[],
): Happened | undefined {
  if (startedAt === null || endedAt === null) return undefined;
  const [startMs, endMs] = [Date.parse(startedAt), Date.parse(endedAt)];
  const pauses: [number, number][] = [];
  let sinceMs: number | undefined;
  for (const { what, atMs } of decisions) {
    if (GOES_ON.has(what) && sinceMs !== undefined) {
      pauses.push([sinceMs, atMs]);
      sinceMs = undefined;
    }
    if (PAUSES.has(what)) sinceMs ??= atMs;
  }
  const pausedMs = (untilMs: number): number =>
    pauses.reduce((sum, [from, to]) => sum + Math.max(0, Math.min(to, untilMs) - from), 0);
  const ranS = (atMs: number): number => (atMs - startMs - pausedMs(atMs)) / 1_000;
  const done = members.flatMap(({ state, endedMs }) =>
    state === "succeeded" && endedMs !== undefined ? [endedMs] : [],
  );
  const ordered = done.map(ranS).toSorted((a, b) => a - b);
  const at = (share: number): number | undefined => ordered[Math.ceil(share * ordered.length) - 1];
  return {
    durationS: ranS(endMs),
    pausedS: pausedMs(endMs) / 1_000,
    completionP50S: at(0.5),
    completionP99S: at(0.99),
  };
}

/** What was said before, beside what happened. */
export function printComparison(prediction: Prediction, outcome: Happened | undefined): void {
  const figures = [
    ["half of them done", prediction.completionP50S, outcome?.completionP50S],
    ["99 of 100 done", prediction.completionP99S, outcome?.completionP99S],
    ["the rollout takes", prediction.durationS, outcome?.durationS],
  ] as const;
  console.log("predicted, and what happened:");
  for (const [name, predicted, value] of figures) {
    const isInside = value !== undefined && value >= predicted.low && value <= predicted.high;
    const came = value === undefined ? "" : `; it was ${round(value)} s, ${isInside ? "within" : "outside"}`;
    console.log(`  ${name.padEnd(18)} ${interval(predicted, "s")}${came}`);
  }
  console.log(`  energy of a device ${interval(prediction.energyMj, "mJ")}; no device measures it`);
  const pausedS = outcome?.pausedS ?? 0;
  if (pausedS > 0) console.log(`  besides, it was paused for ${round(pausedS)} s, which counts for none of these`);
}

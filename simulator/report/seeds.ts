import { mean, sampleStandardDeviation } from "simple-statistics";
import type { CaseReport } from "./case-report.ts";
import type { ScenarioReport } from "./scenario-report.ts";

/** A mean over seeds and the half width of its 95 % confidence interval (Student's t). */
export interface Estimate {
  readonly mean: number;
  readonly ci95: number;
}

export interface CaseEstimate extends Pick<
  CaseReport,
  "swept" | "transport" | "link" | "imageBytes" | "blockBytes" | "limitPerByteUj"
> {
  readonly updated: number;
  readonly motes: number;
  readonly energyMj: Estimate;
  readonly energyPerByteUj: Estimate;
  readonly energyOverLimit: Estimate;
  readonly completionP50S: Estimate;
  readonly completionP99S: Estimate;
  readonly airBytes: Estimate;
  readonly batteryDays: Estimate;
}

/** What several runs that differ by their seed say together. */
export function estimate(reports: readonly ScenarioReport[]): CaseEstimate[] {
  return reports[0]!.cases.map(({ swept, transport, link, imageBytes, blockBytes, limitPerByteUj }, i) => {
    const runs = reports.map(({ cases }) => cases[i]!);
    const of = (value: (run: CaseReport) => number): Estimate => estimateOf(runs.map(value));
    return {
      swept,
      transport,
      link,
      imageBytes,
      blockBytes,
      limitPerByteUj,
      updated: runs.reduce((sum, { updated }) => sum + updated, 0),
      motes: runs.reduce((sum, { motes }) => sum + motes, 0),
      energyMj: of((run) => run.energyMj.total),
      energyPerByteUj: of((run) => run.energyPerByteUj),
      energyOverLimit: of((run) => run.energyOverLimit),
      completionP50S: of((run) => run.completionS.p50),
      completionP99S: of((run) => run.completionS.p99),
      airBytes: of((run) => run.air.bytes),
      batteryDays: of((run) => run.batteryDays.p50),
    };
  });
}

export function estimateOf(values: readonly number[]): Estimate {
  const n = values.length;
  if (n < 2) return { mean: mean([...values]), ci95: Number.NaN };
  return { mean: mean([...values]), ci95: (t975(n - 1) * sampleStandardDeviation([...values])) / Math.sqrt(n) };
}

/** The 97.5 % quantile of Student's t for `df` degrees of freedom: Cornish-Fisher from the normal one, good to 0.3 % from 3 on. */
function t975(df: number): number {
  if (df === 1) return 12.706;
  if (df === 2) return 4.303;
  const z = 1.959964;
  const [z3, z5, z7] = [z ** 3, z ** 5, z ** 7];
  return (
    z +
    (z3 + z) / (4 * df) +
    (5 * z5 + 16 * z3 + 3 * z) / (96 * df ** 2) +
    (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * df ** 3)
  );
}

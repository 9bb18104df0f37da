import type { CaseReport, SleepersReport } from "../../../simulator/report/case-report.ts";
import type { ScenarioReport } from "../../../simulator/report/scenario-report.ts";
import type { CaseEstimate, Estimate } from "../../../simulator/report/seeds.ts";
import { labelOf, type Comparison } from "../../../simulator/report/summary.ts";
import { formatTable } from "../table.ts";

/** One seed: what each case cost, and what the gateway found out of its clients. */
export function printRun(report: ScenarioReport): void {
  console.log(`${report.scenario}, seed ${report.seed}, ${report.profile}, trace ${report.traceHash}\n`);
  const header = ["p50 s", "max s", "B/s", "mJ", "uJ/B", "x limit", "battery d", "frames", "refetched", "resumes"];
  console.log(formatTable(["case", "updated", ...header], report.cases.map(row)));
  for (const run of report.cases)
    if (run.transport === "lwm2m" || run.updated < run.motes) printOutcomes(run, report.cases.length > 1);
  for (const run of report.cases) if (run.sleepers !== undefined) printSleepers(run, run.sleepers);
  printNotes(report);
  const [seconds, frames] = [Math.round(report.simSecondsPerWallSecond), Math.round(report.framesPerWallSecond)];
  console.log(`${seconds} simulated seconds, and ${frames} frames, for each second of this machine.`);
}

export function printEstimates(report: ScenarioReport, seeds: number, cases: readonly CaseEstimate[]): void {
  console.log(
    `${report.scenario}, ${seeds} seeds from ${report.seed} on, ${report.profile}; means with 95 % confidence intervals\n`,
  );
  const rows = cases.map((run) => [
    caseName(run),
    `${run.updated}/${run.motes}`,
    plusMinus(run.completionP50S, 2),
    plusMinus(run.energyMj, 1),
    plusMinus(run.energyPerByteUj, 3),
    run.limitPerByteUj.toFixed(3),
    plusMinus(run.energyOverLimit, 3),
    plusMinus(run.batteryDays, 3),
  ]);
  const header = ["case", "updated", "p50 s", "mJ", "uJ/B", "limit", "x limit", "battery d"];
  console.log(formatTable(header, rows));
  printNotes(report);
}

export function printComparison(comparisons: readonly Comparison[]): void {
  const rows = comparisons.map(({ label, what, here, there, ratio, significant }) => [
    label === "" ? "-" : label,
    what,
    plusMinus(here, 2),
    plusMinus(there, 2),
    ratio.toFixed(3),
    significant ? "yes" : "no",
  ]);
  console.log(`\n${formatTable(["case", "figure", "here", "there", "ratio", "differs"], rows)}`);
  console.log("differs: the 95 % confidence interval of the difference leaves out zero.");
}

/** What became of each mote; of LwM2M clients, what the gateway found out. */
function printOutcomes(run: CaseReport, isOneOfSeveral: boolean): void {
  const rows = Object.entries(run.outcomes).toSorted(([, a], [, b]) => b - a);
  console.log(`\n${isOneOfSeveral ? `${caseName(run)}\n` : ""}${formatTable(["outcome", "motes"], rows)}`);
}

function printSleepers(run: CaseReport, { motes, energyMj, overLimit }: SleepersReport): void {
  const cost = `${energyMj.toFixed(0)} mJ on top of sleep, ${overLimit.toFixed(2)} times the limit for pollers`;
  console.log(`\n${caseName(run)}: the update cost each of ${motes} sleepers ${cost}.`);
}

function printNotes({ unverifiedConstants }: ScenarioReport): void {
  console.log(
    "\nlimit: one hop, full frames, free feedback, receive energy only, in uJ/B (blockferry limit shows the formula).",
  );
  if (unverifiedConstants.length > 0)
    console.log(`unverified constants in this profile: ${unverifiedConstants.join(", ")}.`);
}

function caseName(run: CaseReport | CaseEstimate): string {
  const label = labelOf(run.swept);
  return label === "" ? run.transport : label;
}

const plusMinus = ({ mean, ci95 }: Estimate, digits: number): string =>
  Number.isNaN(ci95) ? mean.toFixed(digits) : `${mean.toFixed(digits)} ± ${ci95.toFixed(digits)}`;

function row(run: CaseReport): (string | number)[] {
  const { completionS, energyMj, energyPerByteUj, energyOverLimit, batteryDays, air } = run;
  const ofUpdated = (text: string): string => (run.updated === 0 ? "-" : text);
  return [
    caseName(run),
    `${run.updated}/${run.motes}`,
    ofUpdated(completionS.p50.toFixed(2)),
    ofUpdated(completionS.max.toFixed(2)),
    ofUpdated(String(Math.round(run.goodputBytesPerS))),
    energyMj.total.toFixed(1),
    ofUpdated(energyPerByteUj.toFixed(3)),
    ofUpdated(energyOverLimit.toFixed(3)),
    batteryDays.p50.toFixed(3),
    Math.round(air.frames),
    run.refetchedBlocks,
    run.resumes,
  ];
}

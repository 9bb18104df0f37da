import type { Command } from "commander";
import type { ChipProfile } from "../../../simulator/mote/profile.ts";
import { runScenario, type CaseReport, type ScenarioReport } from "../../../simulator/report/run.ts";
import { estimate, type CaseEstimate, type Estimate } from "../../../simulator/report/seeds.ts";
import type { Scenario } from "../../../simulator/scenarios/scenario.ts";
import { ExitCode, UserError, usageError } from "../errors.ts";
import { Progress } from "../progress.ts";
import { readQuirks } from "../lwm2m-policy.ts";
import { readProfile, readScenario } from "../scenario-files.ts";
import { formatTable } from "../table.ts";

interface SimulateOptions {
  seed: string;
  seeds?: string;
  profile?: string;
  json?: boolean;
}

const MAX_SEEDS = 1_000;

export function addSimulate(program: Command): void {
  program
    .command("simulate <scenario>")
    .description("run the gateway's own code against simulated motes in virtual time, and say what the update costs")
    .option("--seed <number>", "of all random streams; equal seeds give equal runs", "1")
    .option("--seeds <number>", "run that many seeds from --seed on; means with their 95 % confidence intervals")
    .option("--profile <name>", "chip profile instead of the scenario's (simulator/profiles)")
    .option("--json", "print one JSON object on the last line")
    .addHelpText(
      "after",
      `
The energy is set beside the physical limit (see \`blockferry limit\`). The trace hash names the
course of the run: two runs of one seed have the same.

Example:
  blockferry simulate simulator/scenarios/s1-desk.yaml --seed 1
  blockferry simulate simulator/scenarios/s1-desk.yaml --seeds 20`,
    )
    .action((file: string, options: SimulateOptions) => simulate(file, options));
}

function simulate(file: string, options: SimulateOptions): void {
  const [first, count] = [Number(options.seed), Number(options.seeds ?? 1)];
  if (!Number.isSafeInteger(first)) throw usageError("bad-seed", "--seed is a whole number");
  if (!Number.isInteger(count) || count < 1 || count > MAX_SEEDS)
    throw usageError("bad-seeds", `--seeds is 1 to ${MAX_SEEDS}`);
  const scenario = readScenario(file);
  const profile = readProfile(options.profile ?? scenario.profile);
  const reports = runSeeds(scenario, profile, first, count, options.json !== true);
  if (options.seeds === undefined) {
    if (options.json === true) console.log(JSON.stringify(reports[0]));
    else printRun(reports[0]!);
  } else {
    const cases = estimate(reports);
    const seeds = { first, count };
    const { name } = scenario;
    if (options.json === true) console.log(JSON.stringify({ scenario: name, seeds, profile: profile.name, cases }));
    else printEstimates(reports[0]!, count, cases);
  }
  failOnViolations(file, reports);
}

function runSeeds(
  scenario: Scenario,
  profile: ChipProfile,
  first: number,
  count: number,
  show: boolean,
): ScenarioReport[] {
  const progress = new Progress(show);
  const quirks = readQuirks(undefined);
  let done = 0;
  const reports = Array.from({ length: count }, (_, i) =>
    runScenario(
      scenario,
      profile,
      first + i,
      () => performance.now(),
      (_case, perSeed) => {
        if (done === 0) progress.start(scenario.name, perSeed * count, "cases");
        progress.update(++done);
      },
      quirks,
    ),
  );
  progress.stop();
  return reports;
}

function failOnViolations(file: string, reports: readonly ScenarioReport[]): void {
  for (const { seed, cases } of reports) {
    const violations = cases.flatMap((run) => run.violations);
    if (violations.length === 0) continue;
    const repeat = `Repeat with: blockferry simulate ${file} --seed ${seed}`;
    throw new UserError(ExitCode.FAILED, "checks-failed", `seed ${seed}: ${violations.join("; ")}\n${repeat}`);
  }
}

function printRun(report: ScenarioReport): void {
  console.log(`${report.scenario}, seed ${report.seed}, ${report.profile}, trace ${report.traceHash}\n`);
  const header = ["updated", "p50 s", "max s", "B/s", "mJ", "uJ/B", "limit", "x limit", "refetched", "resumes"];
  console.log(formatTable([...CASE_HEADER, ...header], report.cases.map(row)));
  for (const { transport, outcomes } of report.cases) if (transport === "lwm2m") printOutcomes(outcomes);
  printNotes(report);
  const [seconds, frames] = [Math.round(report.simSecondsPerWallSecond), Math.round(report.framesPerWallSecond)];
  console.log(`${seconds} simulated seconds and ${frames} frames per second of this machine.`);
}

/** What the gateway found out of each client. */
function printOutcomes(outcomes: Readonly<Record<string, number>>): void {
  const rows = Object.entries(outcomes).toSorted(([, a], [, b]) => b - a);
  console.log(`\n${formatTable(["outcome", "motes"], rows)}`);
}

function printEstimates(report: ScenarioReport, count: number, cases: readonly CaseEstimate[]): void {
  console.log(
    `${report.scenario}, ${count} seeds from ${report.seed} on, ${report.profile}; means with 95 % confidence intervals\n`,
  );
  const rows = cases.map((run) => [
    ...caseCells(run),
    plusMinus(run.completionP50S, 2),
    plusMinus(run.energyMj, 1),
    plusMinus(run.energyPerByteUj, 3),
    run.limitPerByteUj.toFixed(3),
    plusMinus(run.energyOverLimit, 3),
  ]);
  console.log(formatTable([...CASE_HEADER, "updated", "p50 s", "mJ", "uJ/B", "limit", "x limit"], rows));
  printNotes(report);
}

function printNotes({ unverifiedConstants }: ScenarioReport): void {
  console.log(
    "\nlimit: one hop, full frames, free feedback, receive energy only, in uJ/B (blockferry limit shows the formula).",
  );
  if (unverifiedConstants.length > 0)
    console.log(`unverified constants in this profile: ${unverifiedConstants.join(", ")}.`);
}

const CASE_HEADER = ["transport", "link", "image B", "block B"];

function caseCells(run: CaseReport | CaseEstimate): (string | number)[] {
  const link = run.link.model === "iid" ? `p=${run.link.per}` : "bursts";
  const block = run.transport === "coap" ? run.blockBytes : "-";
  return [run.transport, link, run.imageBytes, block, `${run.updated}/${run.motes}`];
}

const plusMinus = ({ mean, ci95 }: Estimate, digits: number): string =>
  Number.isNaN(ci95) ? mean.toFixed(digits) : `${mean.toFixed(digits)} ± ${ci95.toFixed(digits)}`;

function row(run: CaseReport): (string | number)[] {
  const { completionS, energyMj, energyPerByteUj, limitPerByteUj, energyOverLimit } = run;
  const figures = [completionS.p50.toFixed(2), completionS.max.toFixed(2), Math.round(run.goodputBytesPerS)];
  const energy = [
    energyMj.total.toFixed(1),
    energyPerByteUj.toFixed(3),
    limitPerByteUj.toFixed(3),
    energyOverLimit.toFixed(3),
  ];
  return [...caseCells(run), ...figures, ...energy, run.refetchedBlocks, run.resumes];
}

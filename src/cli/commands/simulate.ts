import type { Command } from "commander";
import { runScenario, type CaseReport, type ScenarioReport } from "../../../simulator/report/run.ts";
import { ExitCode, UserError, usageError } from "../errors.ts";
import { Progress } from "../progress.ts";
import { readProfile, readScenario } from "../scenario-files.ts";
import { formatTable } from "../table.ts";

export function addSimulate(program: Command): void {
  program
    .command("simulate <scenario>")
    .description("run the gateway's own code against simulated motes in virtual time, and say what the update costs")
    .option("--seed <number>", "of all random streams; equal seeds give equal runs", "1")
    .option("--profile <name>", "chip profile instead of the scenario's (simulator/profiles)")
    .option("--json", "print one JSON object on the last line")
    .addHelpText(
      "after",
      `
The energy is set beside the physical limit (see \`blockferry limit\`). The trace hash names the
course of the run: two runs of one seed have the same.

Example:
  blockferry simulate simulator/scenarios/s1-desk.yaml --seed 1`,
    )
    .action((file: string, options: { seed: string; profile?: string; json?: boolean }) => {
      const seed = Number(options.seed);
      if (!Number.isSafeInteger(seed)) throw usageError("bad-seed", "--seed is a whole number");
      const scenario = readScenario(file);
      const profile = readProfile(options.profile ?? scenario.profile);
      const progress = new Progress(options.json !== true);
      progress.start(scenario.name, scenario.transport.length * scenario.imageBytes.length, "cases");
      const report = runScenario(
        scenario,
        profile,
        seed,
        () => performance.now(),
        (done) => progress.update(done),
      );
      progress.stop();
      if (options.json === true) console.log(JSON.stringify(report));
      else print(report);
      const violations = report.cases.flatMap((run) => run.violations);
      if (violations.length > 0) {
        throw new UserError(
          ExitCode.FAILED,
          "checks-failed",
          `seed ${seed}: ${violations.join("; ")}\nRepeat with: blockferry simulate ${file} --seed ${seed}`,
        );
      }
    });
}

function print(report: ScenarioReport): void {
  console.log(`${report.scenario}, seed ${report.seed}, ${report.profile}, trace ${report.traceHash}\n`);
  const header = [
    "transport",
    "link",
    "image B",
    "block B",
    "updated",
    "p50 s",
    "max s",
    "B/s",
    "mJ",
    "uJ/B",
    "limit",
    "x limit",
    "refetched",
    "resumes",
  ];
  console.log(formatTable(header, report.cases.map(row)));
  console.log(
    "\nlimit: one hop, full frames, free feedback, receive energy only, in uJ/B (blockferry limit shows the formula).",
  );
  if (report.unverifiedConstants.length > 0) {
    console.log(`unverified constants in this profile: ${report.unverifiedConstants.join(", ")}.`);
  }
  console.log(
    `${Math.round(report.simSecondsPerWallSecond)} simulated seconds and ${Math.round(report.framesPerWallSecond)} frames per second of this machine.`,
  );
}

function row(run: CaseReport): (string | number)[] {
  const link = run.link.model === "iid" ? `p=${run.link.per}` : "bursts";
  return [
    run.transport,
    link,
    run.imageBytes,
    run.transport === "coap" ? run.blockBytes : "-",
    `${run.updated}/${run.motes}`,
    run.completionS.p50.toFixed(2),
    run.completionS.max.toFixed(2),
    Math.round(run.goodputBytesPerS),
    run.energyMj.total.toFixed(1),
    run.energyPerByteUj.toFixed(3),
    run.limitPerByteUj.toFixed(3),
    run.energyOverLimit.toFixed(3),
    run.refetchedBlocks,
    run.resumes,
  ];
}

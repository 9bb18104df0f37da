import { availableParallelism } from "node:os";
import { InvalidArgumentError, type Command } from "commander";
import { summarise, type ScenarioReport } from "../../../simulator/report/scenario-report.ts";
import { unverifiedModels } from "../../../simulator/report/unverified.ts";
import { compare, otherwise, summaryOf } from "../../../simulator/report/summary.ts";
import { parsePeer } from "../../util/peer.ts";
import { ExitCode, UserError, usageError } from "../errors.ts";
import { readQuirks } from "../lwm2m-policy.ts";
import { Progress } from "../progress.ts";
import { LiveMesh } from "../simulation/live.ts";
import { collect, loadSimulation, type Simulation } from "../simulation/load.ts";
import { checkOutputs, readSummary, writeOutputs, writePcap } from "../simulation/outputs.ts";
import { runJobs, type Results } from "../simulation/pool.ts";
import { printComparison, printEstimates, printRun } from "../simulation/print.ts";

interface SimulateOptions {
  seed: string;
  seeds?: string;
  jobs: number;
  set: string[];
  profile?: string;
  out?: string;
  pcap?: string | true;
  compare?: string;
  live?: boolean;
  port: string;
  gateway: string;
  seconds?: string;
  json?: boolean;
}

const MAX_SEEDS = 1_000;
const MAX_JOBS = 64;

export function addSimulate(program: Command): void {
  program
    .command("simulate <scenario>")
    .description("run the gateway's own code against simulated motes in virtual time, and say what the update costs")
    .option("--seed <number>", "of all random streams, or a range such as 1..20; equal seeds give equal runs", "1")
    .option("--seeds <number>", "run that many seeds from --seed on; means with their 95 % confidence intervals")
    .option("--jobs <number>", "threads; the results do not depend on them", wholeNumber("jobs", MAX_JOBS), 1)
    .option("--set <key=value>", "change a key of the scenario; a list is swept; may be repeated", collect, [])
    .option("--profile <name>", "chip profile instead of the scenario's (simulator/profiles)")
    .option("--out <folder>", "write summary.json, nodes.csv and report.html there")
    .option("--pcap [file]", "write the first case of the first seed as a capture (802.15.4 with FCS)")
    .option("--compare <file>", "set the results beside an earlier summary.json")
    .option("--live", "carry real datagrams over the first case's mesh, in real time: see below")
    .option("--port <number>", "with --live: UDP port of mote 1 on 127.0.0.1; the others' follow", "25000")
    .option("--gateway <address>", "with --live: where what reaches the border router goes", "127.0.0.1:5683")
    .option("--seconds <number>", "with --live: stop after so long; else with SIGINT")
    .option("--json", "print one JSON object on the last line")
    .addHelpText("after", HELP)
    .action((file: string, options: SimulateOptions) => simulate(file, options));
}

const HELP = `
A scenario is a YAML file, or the name of one that comes with blockferry: s1-desk, s2-room, s3-line-8,
s4-grid-100, s5-iotlab-50, s6-thread-home, s7-meter-500, s8-bad-day, lwm2m-sleepy, restart.
With --live any client that sends its datagrams to 127.0.0.1:25000 is mote 1 of the mesh, 25001 mote 2, and so on;
the gateway sees each of them at a port of its own.
Any key can be a list, and is then swept. Ctrl-C ends a run of several seeds with those that are finished. The energy is set beside the physical limit (see \`blockferry
limit\`). The trace hash names the course of the run: two runs of one seed have the same.

Example:
  blockferry simulate s1-desk --seed 1
  blockferry simulate s4-grid-100 --live --gateway 127.0.0.1:5683 &
  blockferry mote --server coap://127.0.0.1:25042 --endpoint mote-43
  blockferry simulate s3-line-8 --seed 1..20 --jobs ${availableParallelism()} --out out
  blockferry simulate s1-desk --set link.per=[0,0.2] --set blockBytes=[64,256] --compare out/summary.json`;

async function simulate(file: string, options: SimulateOptions): Promise<void> {
  const asked = seedsOf(options);
  const simulation = loadSimulation(file, options);
  if (options.live === true) return runLive(simulation, asked[0]!, options);
  const earlier = options.compare === undefined ? undefined : readSummary(options.compare);
  const quirks = readQuirks(undefined);
  const capture = options.pcap === true ? `${simulation.scenario.name}.pcap` : options.pcap;
  checkOutputs(options.out, capture);
  const progress = new Progress(options.json !== true);
  const { seeds, results } = await runJobs(simulation, quirks, asked, options.jobs, progress);
  if (seeds.length === 0) throw new UserError(ExitCode.FAILED, "interrupted", "stopped before a seed was finished");
  const reports = reportsOf(simulation, seeds, results);
  const summary = summaryOf(simulation.scenario.description, reports);
  const comparisons = earlier === undefined ? undefined : compare(summary, earlier);
  for (const text of earlier === undefined ? [] : otherwise(summary, earlier))
    console.error(`note: these simulations differ in more than what is compared: ${text}`);
  if (options.out !== undefined) writeOutputs(options.out, summary, results, comparisons);
  if (capture !== undefined) writePcap(capture, simulation, quirks, seeds[0]!);
  const wrong = violationsOf(file, reports) ?? stoppedEarly(asked, seeds);
  if (options.json === true) {
    const { scenario, profile, cases } = summary;
    const range = { first: seeds[0], count: seeds.length };
    const stopped = seeds.length < asked.length ? { interrupted: { asked: asked.length, finished: seeds } } : {};
    const whole = asked.length === 1 ? reports[0]! : { scenario, seeds: range, ...stopped, profile, cases };
    const result = comparisons === undefined ? whole : { ...whole, comparisons };
    if (wrong !== undefined) throw new UserError(ExitCode.FAILED, ...wrong, result);
    console.log(JSON.stringify(result));
    return;
  }
  if (seeds.length === 1) printRun(reports[0]!);
  else printEstimates(reports[0]!, seeds.length, summary.cases);
  if (comparisons !== undefined) printComparison(comparisons);
  if (options.out !== undefined) console.log(`\nsummary.json, nodes.csv and report.html are in ${options.out}`);
  if (wrong !== undefined) throw new UserError(ExitCode.FAILED, ...wrong);
}

async function runLive(simulation: Simulation, seed: number, options: SimulateOptions): Promise<void> {
  const gateway = parsePeer(options.gateway);
  if (gateway === undefined)
    throw usageError("bad-gateway", `--gateway ${options.gateway}: write 127.0.0.1:5683 or [::1]:5683`);
  const [firstPort, seconds] = [
    Number(options.port),
    options.seconds === undefined ? undefined : Number(options.seconds),
  ];
  if (!Number.isInteger(firstPort) || firstPort < 1 || firstPort > 65_000)
    throw usageError("bad-port", "--port is 1 to 65000");
  if (seconds !== undefined && !(seconds > 0)) throw usageError("bad-seconds", "--seconds is more than 0");
  const mesh = new LiveMesh(simulation, { firstPort, gateway, seed, seconds });
  await mesh.open();
  const last = firstPort + mesh.motes - 1;
  console.error(
    `${mesh.motes} motes at 127.0.0.1:${firstPort} to ${last}, gateway ${options.gateway}; stop with Ctrl-C`,
  );
  await new Promise<void>((resolve) => {
    process.once("SIGINT", resolve).once("SIGTERM", resolve);
    if (seconds !== undefined) setTimeout(resolve, seconds * 1_000);
  });
  const summary = mesh.close();
  if (options.json === true) return console.log(JSON.stringify(summary));
  const { up, down, delivered, frames, lost, collisions } = summary;
  console.log(
    `${summary.seconds.toFixed(1)} s: ${up} datagrams up and ${down} down, ${delivered} delivered; ` +
      `${frames} frames, ${lost} lost to the link, ${collisions} to collisions`,
  );
}

function seedsOf({ seed, seeds }: SimulateOptions): number[] {
  const range = /^(\d+)\.\.(\d+)$/.exec(seed);
  const first = Number(range?.[1] ?? seed);
  const count = range === null ? Number(seeds ?? 1) : Number(range[2]) - first + 1;
  if (!Number.isSafeInteger(first) || seed.trim() === "")
    throw usageError("bad-seed", "--seed is a whole number, or a range such as 1..20");
  if (range !== null && seeds !== undefined)
    throw usageError("bad-seeds", "give a range in --seed or --seeds, not both");
  if (!Number.isInteger(count) || count < 1 || count > MAX_SEEDS)
    throw usageError("bad-seeds", `1 to ${MAX_SEEDS} seeds, from the lower to the higher`);
  return Array.from({ length: count }, (_, i) => first + i);
}

function reportsOf(
  { scenario, profiles, batteries }: Simulation,
  seeds: readonly number[],
  results: Results["results"],
): ScenarioReport[] {
  return results.map((cases, i) => {
    const reports = cases.map(({ report }) => report);
    const models = unverifiedModels(scenario.cases.map(({ run }) => run));
    return summarise(scenario.name, seeds[i]!, Object.values(profiles), Object.values(batteries), reports, models);
  });
}

type Wrong = [reason: string, message: string];

/** What is wrong with the runs, if anything is. */
function violationsOf(file: string, reports: readonly ScenarioReport[]): Wrong | undefined {
  const all = reports.flatMap((report) => report.cases);
  const bare = all.find(({ updated }) => updated === 0);
  if (bare !== undefined && all.every(({ updated }) => updated === 0)) {
    const outcomes = Object.entries(bare.outcomes).map(([outcome, count]) => `${count} ${outcome}`);
    return ["nothing-updated", `no mote was updated: ${outcomes.join(", ")}`];
  }
  for (const { seed, cases } of reports) {
    const violations = [...new Set(cases.flatMap((run) => run.violations))];
    if (violations.length === 0) continue;
    const repeat = `Repeat with: blockferry simulate ${file} --seed ${seed}`;
    return ["checks-failed", `seed ${seed}: ${violations.join("; ")}\n${repeat}`];
  }
  return undefined;
}

function stoppedEarly(asked: readonly number[], seeds: readonly number[]): Wrong | undefined {
  if (seeds.length === asked.length) return undefined;
  return ["interrupted", `stopped: the figures are of ${seeds.length} of ${asked.length} seeds (${seeds.join(", ")})`];
}

function wholeNumber(name: string, max: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (!Number.isInteger(number) || number < 1 || number > max)
      throw new InvalidArgumentError(`--${name} is a whole number from 1 to ${max}`);
    return number;
  };
}

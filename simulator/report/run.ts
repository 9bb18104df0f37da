import { mean, quantile } from "simple-statistics";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { ENERGY_STATES, EnergyLedger, type EnergyState } from "../mote/energy.ts";
import { unverifiedFields, type ChipProfile } from "../mote/profile.ts";
import { Medium } from "../radio/medium.ts";
import { expand, type Case, type Scenario } from "../scenarios/scenario.ts";
import { linksOf } from "../world/air.ts";
import { Cell, type SimMote } from "../world/cell.ts";
import { Lwm2mCell, type SimClient } from "../world/lwm2m-cell.ts";
import { IdealArq } from "../world/ideal-arq.ts";
import { meanPer, oneHopLimit } from "./limit.ts";

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What one case of a scenario cost. Energies are means over its motes. */
export interface CaseReport {
  readonly transport: Case["transport"];
  readonly link: Case["link"];
  readonly imageBytes: number;
  readonly blockBytes: number;
  readonly traceHash: string;
  readonly motes: number;
  readonly updated: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly energyMj: Readonly<Record<EnergyState | "total", number>>;
  readonly energyPerByteUj: number;
  readonly limitPerByteUj: number;
  /** How many times the physical limit the update costs. */
  readonly energyOverLimit: number;
  readonly timePerByteUs: number;
  readonly limitTimePerByteUs: number;
  readonly completionS: Percentiles;
  readonly goodputBytesPerS: number;
  /** Image bytes that motes took in, over image size: 1 is no duplicate. */
  readonly imageBytesRatio: number;
  readonly refetchedBlocks: number;
  readonly resumes: number;
  readonly retransmissions: { readonly mac: number; readonly coap: number };
  readonly air: { readonly frames: number; readonly bytes: number; readonly lost: number; readonly collisions: number };
  readonly simSeconds: number;
  /** Checks that failed; empty in a sound run. */
  readonly violations: readonly string[];
}

export interface ScenarioReport {
  readonly scenario: string;
  readonly seed: number;
  readonly profile: string;
  readonly unverifiedConstants: readonly string[];
  readonly traceHash: string;
  readonly motes: number;
  readonly updated: number;
  readonly energyPerByteUj: number;
  readonly limitPerByteUj: number;
  readonly energyOverLimit: number;
  readonly completionS: Percentiles;
  readonly simSecondsPerWallSecond: number;
  readonly framesPerWallSecond: number;
  readonly cases: readonly CaseReport[];
}

/** Runs every case of a scenario with one seed. `wallMs` reads a real clock, for the speed figures only. */
export function runScenario(
  scenario: Scenario,
  profile: ChipProfile,
  seed: number,
  wallMs: () => number,
  onCase: (done: number, total: number) => void = () => {},
  quirks: readonly Quirks[] = [],
): ScenarioReport {
  const cases = expand(scenario);
  const reports: CaseReport[] = [];
  // Bare frames would flatter the speed of the real protocol: its cases are timed apart.
  const wallSeconds = { coap: 1e-6, lwm2m: 1e-6, "ideal-arq": 1e-6 };
  for (const run of cases) {
    const startMs = wallMs();
    reports.push(runCase(run, profile, seed, quirks));
    wallSeconds[run.transport] += (wallMs() - startMs) / 1_000;
    onCase(reports.length, cases.length);
  }
  const transport = reports.find((report) => report.transport !== "ideal-arq")?.transport ?? "ideal-arq";
  return summarise(scenario, profile, seed, reports, { transport, wallSeconds: wallSeconds[transport] });
}

export function runCase(run: Case, profile: ChipProfile, seed: number, quirks: readonly Quirks[] = []): CaseReport {
  if (run.transport === "ideal-arq") return runIdeal(run, profile, seed);
  return runCell(
    run,
    profile,
    run.transport === "coap" ? new Cell(run, profile, seed) : new Lwm2mCell(run, profile, seed, quirks),
  );
}

function runCell(run: Case, profile: ChipProfile, cell: Cell | Lwm2mCell): CaseReport {
  cell.runAll();
  const {
    motes,
    air: { engine, medium },
  } = cell;
  const sum = (value: (sim: SimMote | SimClient) => number): number => {
    let total = 0;
    for (const sim of motes) total += value(sim);
    return total;
  };
  const durations = motes.map(({ startedUs, finishedUs }) => ((finishedUs ?? engine.nowUs()) - startedUs) / 1e6);
  const outcomes: Record<string, number> = {};
  for (const { outcome } of motes) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  return {
    ...base(
      run,
      profile,
      motes.map(({ ledger }) => ledger),
    ),
    traceHash: engine.trace.digest(),
    updated: motes.filter(({ outcome }) => outcome.startsWith("updated")).length,
    outcomes,
    timePerByteUs: (mean(durations) * 1e6) / run.imageBytes,
    completionS: percentiles(durations),
    goodputBytesPerS: run.imageBytes / mean(durations),
    imageBytesRatio: sum(({ mote }) => mote.imageBytesReceived) / (run.imageBytes * motes.length),
    refetchedBlocks: sum(({ mote }) => mote.refetch.violations),
    resumes: sum(({ mote }) => mote.resumesAtNonZero),
    retransmissions: { mac: sum(({ node }) => node.mac.counters.retries), coap: sum(({ mote }) => mote.retransmitted) },
    air: { ...air(medium), collisions: medium.counters.collisions },
    simSeconds: engine.nowUs() / 1e6,
    violations: check(cell),
  };
}

/** What must hold in every run. */
function check(cell: Cell | Lwm2mCell): string[] {
  const violations = cell.check();
  for (const { id, mote, ledger } of cell.motes) {
    if (mote.refetch.violations > 0)
      violations.push(`mote ${id} fetched ${mote.refetch.violations} stored blocks again`);
    const radioUs = (["sleep", "listen", "rx", "tx"] as const).reduce((total, state) => total + ledger.us(state), 0);
    if (radioUs !== cell.air.engine.nowUs())
      violations.push(`mote ${id}: radio states make ${radioUs} us of ${cell.air.engine.nowUs()}`);
  }
  return violations;
}

/**
 * Ideal ARQ is repeated until this much was received: some 100,000 frames, whose mean is within
 * 0.2 % (one standard deviation) of the truth even where every third is lost.
 */
const IDEAL_BYTES = 12_000_000;

function runIdeal(run: Case, profile: ChipProfile, seed: number): CaseReport {
  const engine = new Engine();
  const medium = new Medium(engine, linksOf(run.link, new SeededRandom(seed, `${run.name}/${run.imageBytes}`)));
  const ledger = new EnergyLedger(profile, "listen", 0);
  const repeats = Math.ceil(IDEAL_BYTES / run.imageBytes);
  const receiver = new IdealArq(1, engine, medium, ledger, run.imageBytes, repeats);
  receiver.sendNext(0);
  engine.run(Infinity, () => receiver.finishedUs !== undefined);
  const seconds = receiver.finishedUs! / 1e6 / repeats;
  return {
    ...base(run, profile, [ledger], repeats),
    motes: 1,
    traceHash: engine.trace.digest(),
    updated: 1,
    outcomes: { received: 1 },
    timePerByteUs: (seconds * 1e6) / run.imageBytes,
    completionS: percentiles([seconds]),
    goodputBytesPerS: run.imageBytes / seconds,
    imageBytesRatio: 1,
    refetchedBlocks: 0,
    resumes: 0,
    retransmissions: { mac: medium.counters.lost, coap: 0 },
    air: { ...air(medium), collisions: 0 },
    simSeconds: seconds * repeats,
    violations: [],
  };
}

function base(
  run: Case,
  profile: ChipProfile,
  ledgers: readonly EnergyLedger[],
  repeats = 1,
): Pick<
  CaseReport,
  | "transport"
  | "link"
  | "imageBytes"
  | "blockBytes"
  | "motes"
  | "energyMj"
  | "energyPerByteUj"
  | "limitPerByteUj"
  | "energyOverLimit"
  | "limitTimePerByteUs"
> {
  const { transport, link, imageBytes, blockBytes } = run;
  const limit = oneHopLimit(profile, meanPer(link), imageBytes);
  const meanMj = (uj: (ledger: EnergyLedger) => number): number => mean(ledgers.map(uj)) / 1_000 / repeats;
  const energyMj = { total: meanMj((ledger) => ledger.totalUj()) } as Record<EnergyState | "total", number>;
  for (const state of ENERGY_STATES) energyMj[state] = meanMj((ledger) => ledger.uj(state));
  const energyPerByteUj = (energyMj.total * 1_000) / imageBytes;
  return {
    transport,
    link,
    imageBytes,
    blockBytes,
    motes: run.motes,
    energyMj,
    energyPerByteUj,
    limitPerByteUj: limit.energyUjPerByte,
    energyOverLimit: energyPerByteUj / limit.energyUjPerByte,
    limitTimePerByteUs: limit.timeUsPerByte,
  };
}

function air({ counters }: Medium): { frames: number; bytes: number; lost: number } {
  return { frames: counters.frames + counters.acks, bytes: counters.bytes, lost: counters.lost };
}

function percentiles(values: readonly number[]): Percentiles {
  return { p50: quantile([...values], 0.5), p99: quantile([...values], 0.99), max: Math.max(...values) };
}

/** The whole scenario in one line; energies weigh each case by its bytes, and ideal ARQ is left out where CoAP ran too. */
function summarise(
  scenario: Scenario,
  profile: ChipProfile,
  seed: number,
  cases: readonly CaseReport[],
  shown: { transport: Case["transport"]; wallSeconds: number },
): ScenarioReport {
  const real = cases.filter(({ transport }) => transport === shown.transport);
  const sum = (of: readonly CaseReport[], value: (report: CaseReport) => number): number =>
    of.reduce((total, report) => total + value(report), 0);
  const bytes = sum(real, (report) => report.imageBytes * report.motes);
  const perByte = (value: (report: CaseReport) => number): number =>
    sum(real, (report) => value(report) * report.imageBytes * report.motes) / bytes;
  const energyPerByteUj = perByte((report) => report.energyPerByteUj);
  const limitPerByteUj = perByte((report) => report.limitPerByteUj);
  return {
    scenario: scenario.name,
    seed,
    profile: profile.name,
    unverifiedConstants: unverifiedFields(profile),
    traceHash: cases.map(({ traceHash }) => traceHash).reduce(combine),
    motes: sum(real, ({ motes }) => motes),
    updated: sum(real, ({ updated }) => updated),
    energyPerByteUj,
    limitPerByteUj,
    energyOverLimit: energyPerByteUj / limitPerByteUj,
    completionS: {
      p50: quantile(
        real.map(({ completionS }) => completionS.p50),
        0.5,
      ),
      p99: Math.max(...real.map(({ completionS }) => completionS.p99)),
      max: Math.max(...real.map(({ completionS }) => completionS.max)),
    },
    simSecondsPerWallSecond: sum(real, ({ simSeconds }) => simSeconds) / shown.wallSeconds,
    framesPerWallSecond: sum(real, (report) => report.air.frames) / shown.wallSeconds,
    cases,
  };
}

/** Folds a further hash into one of 16 hex digits. */
function combine(a: string, b: string): string {
  const lane = (at: number): string => {
    const mixed = Math.imul(
      Number.parseInt(a.slice(at, at + 8), 16) ^ Number.parseInt(b.slice(at, at + 8), 16),
      0x01000193,
    );
    return ((mixed + at + 1) >>> 0).toString(16).padStart(8, "0");
  };
  return lane(0) + lane(8);
}

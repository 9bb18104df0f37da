import { mean, quantile } from "simple-statistics";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import { checkDatagrams, checkEnergy, checkRefetches } from "../checkers/end-checks.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { batteryDays, brownOut, type Battery } from "../mote/battery.ts";
import { ENERGY_STATES, EnergyLedger, type EnergyState } from "../mote/energy.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { Medium } from "../radio/medium.ts";
import { REFERENCE_AIR_BYTES } from "../radio/phy.ts";
import { newBytesOf, type Case } from "../scenarios/case.ts";
import type { SweptCase } from "../scenarios/scenario.ts";
import type { RunOptions } from "../world/air.ts";
import { Cell, type SimMote } from "../world/cell.ts";
import { IdealArq } from "../world/ideal-arq.ts";
import { NOT_STARTED } from "../world/fleet.ts";
import { Lwm2mCell, type SimClient } from "../world/lwm2m-cell.ts";
import type { Mesh } from "../world/mesh.ts";
import { buildTopology } from "../world/topology.ts";
import type { CaseMap, CaseReport, CaseResult, MoteReport, Percentiles } from "./case-report.ts";
import { boundsOf, oneHopLimit, type NetworkFacts } from "./limit.ts";
import { sleepersOf } from "./sleepers.ts";
import { ramError } from "./ram.ts";

/** What a case is run with. */
export interface CaseParts extends RunOptions {
  readonly profile: ChipProfile;
  readonly battery: Battery;
  readonly quirks: readonly Quirks[];
  /** Reads a real clock, for the speed figures only. */
  readonly wallMs: () => number;
  readonly onProgress?: ((finished: number, nowUs: number) => void) | undefined;
}

/** Runs one case of a scenario with one seed. */
export function runCase({ run, swept }: SweptCase, seed: number, parts: CaseParts): CaseResult {
  if (run.transport === "ideal-arq") return runIdeal(run, swept, seed, parts);
  const startMs = parts.wallMs();
  const { profile, quirks } = parts;
  const cell =
    run.transport === "coap" ? new Cell(run, profile, seed, parts) : new Lwm2mCell(run, profile, seed, parts, quirks);
  cell.runAll(parts.onProgress);
  return reportOf(cell, swept, parts, (parts.wallMs() - startMs) / 1_000);
}

function reportOf(
  cell: Cell | Lwm2mCell,
  swept: CaseReport["swept"],
  parts: CaseParts,
  wallSeconds: number,
): CaseResult {
  const { air, mesh } = cell;
  const { run, engine, medium } = air;
  const motes = cell.motes.map((sim) => moteReport(sim, mesh, parts));
  const isUpdated = ({ outcome }: MoteReport): boolean => outcome.startsWith("updated");
  const began = orAll(motes, ({ outcome }) => outcome !== "unreachable" && outcome !== NOT_STARTED);
  // What an update takes is said by those that got it; what it costs, by all that tried.
  const durations = orAll(began, isUpdated).map(({ startedS, finishedS }) =>
    Math.max(0, (finishedS ?? engine.nowUs() / 1e6) - startedS),
  );
  const updated = motes.filter(isUpdated).length;
  const energies = began.map(({ energyMj }) => energyMj.total);
  const sum = (value: (mote: MoteReport) => number): number => motes.reduce((total, mote) => total + value(mote), 0);
  const outcomes: Record<string, number> = {};
  for (const { outcome } of motes) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  const facts = factsOf(mesh, air.topology.roots, run.only);
  const bounds = boundsOf(run, parts.profile, facts);
  const report: CaseReport = {
    ...costs(run, parts.profile, began, facts),
    swept,
    profile: parts.profile.name,
    traceHash: engine.trace.digest(),
    motes: motes.length,
    updated,
    outcomes,
    timePerByteUs: (mean(durations) * 1e6) / newBytesOf(run),
    completionS: percentiles(durations),
    energyMjOfMotes: percentiles(energies),
    hotSpot: Math.max(...energies) / quantile(energies, 0.5),
    goodputBytesPerS: updated === 0 ? 0 : newBytesOf(run) / mean(durations),
    imageBytesRatio: sum(({ imageBytesReceived }) => imageBytesReceived) / (cell.gateway.fetched.length * motes.length),
    refetchedBlocks: sum(({ refetchedBlocks }) => refetchedBlocks),
    resumes: sum(({ resumes }) => resumes),
    retransmissions: {
      mac: sum(({ retransmissions }) => retransmissions.mac),
      coap: sum(({ retransmissions }) => retransmissions.coap),
    },
    air: { ...airOf(medium, engine), byLayer: { ...air.layers.bytes } },
    batteryDays: percentiles(began.map(({ batteryDays: days }) => days)),
    bounds,
    sleepers: sleepersOf(run, motes, (id) => mesh.isRouter(id), bounds),
    simSeconds: engine.nowUs() / 1e6,
    wallSeconds,
    violations: [...staticErrors(run, parts), ...cell.check(), ...motesCheck(cell, parts.profile)],
  };
  return { report, motes, map: mapOf(mesh, air.topology.positions, air.topology.roots, medium) };
}

/** Those of which something holds, or all where it holds of none. */
function orAll<T>(all: readonly T[], holds: (one: T) => boolean): readonly T[] {
  const some = all.filter(holds);
  return some.length > 0 ? some : all;
}

function moteReport(sim: SimMote | SimClient, mesh: Mesh, { battery }: CaseParts): MoteReport {
  const { id, mote, node, ledger, outcome, startedUs, finishedUs } = sim;
  const energyMj = energyOf(ledger);
  const onUs = ledger.us("listen") + ledger.us("rx") + ledger.us("tx");
  return {
    id,
    hops: mesh.depth[id]!,
    parent: mesh.parents[id]!,
    outcome,
    why: "failure" in mote ? mote.failure : undefined,
    startedS: startedUs / 1e6,
    finishedS: finishedUs === undefined ? undefined : finishedUs / 1e6,
    energyMj,
    dutyCycle: onUs / Math.max(1, onUs + ledger.us("sleep")),
    imageBytesReceived: mote.imageBytesReceived,
    retransmissions: { mac: node.mac.counters.retries, coap: mote.retransmitted },
    resumes: mote.resumesAtNonZero,
    refetchedBlocks: mote.refetch.violations,
    boots: mote.boots,
    arrivalS: sim.log.arrivalS,
    bootS: sim.log.bootS,
    flash: { maxWear: mote.flash.maxWear, faults: mote.flash.faults },
    forwarded: node.counters.forwarded,
    airtimeS: ledger.us("tx") / 1e6,
    batteryDays: batteryDays(battery, energyMj.total),
  };
}

function energyOf(ledger: EnergyLedger): Record<EnergyState | "total", number> {
  const energyMj = { total: ledger.totalUj() / 1_000 } as Record<EnergyState | "total", number>;
  for (const state of ENERGY_STATES) energyMj[state] = ledger.uj(state) / 1_000;
  return energyMj;
}

/** What is wrong with a scenario before anything runs. */
function staticErrors(run: Case, { profile, battery }: CaseParts): string[] {
  return [ramError(run, profile), brownOut(battery, profile)].filter((error) => error !== undefined);
}

/** What must hold in every run. */
function motesCheck({ motes, air, mesh }: Cell | Lwm2mCell, profile: ChipProfile): string[] {
  const nowUs = air.engine.nowUs();
  // Whoever updated has hashed the image, and verified a signature.
  const leastUs = air.run.imageBytes * profile.sha256UsPerByte.value + profile.verifySignatureUs.value;
  return [
    ...motes.flatMap(({ id, mote, ledger, outcome }) => {
      const leastCpuUs = outcome.startsWith("updated") ? Math.floor(leastUs) - 2 : 0;
      return [
        ...checkRefetches(id, mote.refetch.violations),
        ...checkEnergy(id, ledger, nowUs, { flashUs: mote.flash.busyUs, leastCpuUs }),
      ];
    }),
    ...mesh.nodes.flatMap(({ id, counters }) => checkDatagrams(id, counters.corrupt)),
  ];
}

/**
 * Ideal ARQ is repeated until this much was received: some 100,000 frames, whose mean is within
 * 0.2 % (one standard deviation) of the truth even where every third is lost.
 */
const IDEAL_BYTES = 12_000_000;

function runIdeal(run: Case, swept: CaseReport["swept"], seed: number, parts: CaseParts): CaseResult {
  const { profile, files, battery, wallMs } = parts;
  const startMs = wallMs();
  const engine = new Engine();
  const random = new SeededRandom(seed, `${run.streams ?? run.name}/${run.imageBytes}`);
  const { channel, positions } = buildTopology({ ...run, motes: 1 }, random, files);
  const medium = new Medium(engine, channel, run.receiver);
  const ledger = new EnergyLedger(profile, "listen", 0);
  const bytes = newBytesOf(run);
  const repeats = Math.ceil(IDEAL_BYTES / bytes);
  const receiver = new IdealArq(1, engine, medium, ledger, bytes, repeats);
  receiver.sendNext(0);
  engine.run(Infinity, () => receiver.finishedUs !== undefined);
  const seconds = receiver.finishedUs! / 1e6 / repeats;
  const all = energyOf(ledger);
  const energyMj = Object.fromEntries(Object.entries(all).map(([state, mj]) => [state, mj / repeats]));
  const energy = energyMj as Record<EnergyState | "total", number>;
  const per = 1 - channel.deliveryRatio(0, 1, REFERENCE_AIR_BYTES);
  const facts = { hops: [1], meanPer: per, maxDegree: 1 };
  const air = airOf(medium, engine);
  const layers = { mac: medium.counters.bytes / repeats, security: 0, sixlowpan: 0, routing: 0, coap: 0 };
  const report: CaseReport = {
    ...costs(run, profile, [{ energyMj: energy }], facts),
    swept,
    profile: profile.name,
    motes: 1,
    traceHash: engine.trace.digest(),
    updated: 1,
    outcomes: { received: 1 },
    timePerByteUs: (seconds * 1e6) / bytes,
    completionS: percentiles([seconds]),
    energyMjOfMotes: percentiles([energy.total]),
    hotSpot: 1,
    goodputBytesPerS: bytes / seconds,
    imageBytesRatio: 1,
    refetchedBlocks: 0,
    resumes: 0,
    retransmissions: { mac: medium.counters.lost / repeats, coap: 0 },
    air: {
      ...air,
      frames: air.frames / repeats,
      bytes: air.bytes / repeats,
      lost: air.lost / repeats,
      byLayer: layers,
    },
    batteryDays: percentiles([batteryDays(battery, energy.total)]),
    bounds: boundsOf({ ...run, motes: 1 }, profile, facts),
    simSeconds: seconds * repeats,
    wallSeconds: (wallMs() - startMs) / 1_000,
    violations: [],
  };
  return { report, motes: [], map: { positions, roots: [0], parents: [-1, 0], airtimeS: [0, 0] } };
}

/** What the energies of a case's motes are, beside the one-hop limit. */
function costs(
  run: Case,
  profile: ChipProfile,
  motes: readonly { readonly energyMj: Readonly<Record<EnergyState | "total", number>> }[],
  { meanPer }: NetworkFacts,
): Pick<
  CaseReport,
  | ("transport" | "link" | "imageBytes" | "newBytes" | "blockBytes" | "energyMj" | "energyPerByteUj")
  | ("limitPerByteUj" | "energyOverLimit" | "limitTimePerByteUs")
> {
  const { transport, link, imageBytes, blockBytes } = run;
  const newBytes = newBytesOf(run);
  const limit = oneHopLimit(profile, meanPer, newBytes);
  const energyMj = { total: 0 } as Record<EnergyState | "total", number>;
  for (const state of [...ENERGY_STATES, "total"] as const)
    energyMj[state] = mean(motes.map((mote) => mote.energyMj[state]));
  const energyPerByteUj = (energyMj.total * 1_000) / newBytes;
  return {
    transport,
    link,
    imageBytes,
    newBytes,
    blockBytes,
    energyMj,
    energyPerByteUj,
    limitPerByteUj: limit.energyUjPerByte,
    energyOverLimit: energyPerByteUj / limit.energyUjPerByte,
    limitTimePerByteUs: limit.timeUsPerByte,
  };
}

/** What the closed forms have to know of a mesh. */
export function factsOf(mesh: Mesh, roots: readonly number[], only: number | undefined): NetworkFacts {
  const { parents, depth } = mesh;
  const pers: number[] = [];
  const hops: number[] = [];
  for (let id = 0; id < parents.length; id++) {
    if (roots.includes(id) || depth[id]! < 1) continue;
    if ((only ?? id) === id) hops.push(depth[id]!);
    pers.push(1 - mesh.channel.deliveryRatio(parents[id]!, id, REFERENCE_AIR_BYTES));
  }
  const degrees = Array.from(parents, (_, id) => mesh.channel.neighbours(id).length);
  return { hops, meanPer: pers.length === 0 ? 0 : Math.min(0.99, mean(pers)), maxDegree: Math.max(1, ...degrees) };
}

function airOf({ counters }: Medium, engine: Engine): Omit<CaseReport["air"], "byLayer"> {
  const { frames, acks, bytes, lost, collisions, missed, airtimeUs } = counters;
  const utilisation = airtimeUs / Math.max(1, engine.nowUs());
  return { frames: frames + acks, bytes, lost, collisions, missed, utilisation };
}

function mapOf(mesh: Mesh, positions: CaseMap["positions"], roots: readonly number[], medium: Medium): CaseMap {
  return { positions, roots, parents: [...mesh.parents], airtimeS: medium.sentUs.map((us) => us / 1e6) };
}

function percentiles(values: readonly number[]): Percentiles {
  return { p50: quantile([...values], 0.5), p99: quantile([...values], 0.99), max: Math.max(...values) };
}

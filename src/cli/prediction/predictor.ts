import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { modelOf } from "../../../simulator/rollout/fleet-model.ts";
import { predict } from "../../../simulator/rollout/predict.ts";
import type { RolloutOutcome } from "../../../simulator/rollout/rollout-run.ts";
import type { Gateway } from "../../gateway/gateway.ts";
import type { Prediction, Predictor, SimulatorRun } from "../../http/prediction.ts";
import { targetsOf } from "../../rollout/group-plan.ts";
import { ROLLOUT_LIMITS } from "../../rollout/limits.ts";
import type { RolloutRecord } from "../../rollout/record.ts";
import type { RolloutSpec } from "../../rollout/spec.ts";
import { readQuirks } from "../lwm2m-policy.ts";
import { readBattery, readProfile } from "../simulation/load.ts";
import { onThreads } from "../simulation/threads.ts";
import type { PredictionWork } from "./worker.ts";

/** Runs of one prediction, with seeds 1 to this. */
const RUNS = 8;
const MAX_HOURS = 24 * 14;
const PROFILE = "nrf52840";
const BATTERY = "aa2";
const MAX_WAITING = 4;
/** Plans that are kept. */
const MAX_KEPT = 100;
/** Devices of one prediction: more would take longer than anybody waits. */
export const MAX_PREDICTED = 1_000;

/** Predicts rollouts over the fleet of this gateway, and keeps what it said in the state folder. */
export function simulatedPredictor(gateway: Gateway, state: string, blockBytes: number): Predictor {
  const folder = join(state, "predictions");
  const kept = new LRUCache<string, SimulatorRun>({ max: MAX_KEPT });
  // A list of rollouts asks for each of them: what a spec is called, and that nobody has planned it, is found out once.
  const names = new WeakMap<RolloutSpec, string>();
  const unplanned = new LRUCache<string, true>({ max: ROLLOUT_LIMITS.maxRollouts });
  const nameOf = (spec: RolloutSpec): string => {
    const name = names.get(spec) ?? createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 32);
    names.set(spec, name);
    return name;
  };
  let queue: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return {
    plan: async (spec) => {
      if (waiting >= MAX_WAITING) return "busy";
      waiting++;
      // One after the other: a border router has other things to do as well.
      const mine = queue.then(async () => predictOne(gateway, spec, blockBytes)).finally(() => waiting--);
      queue = mine.catch(() => {});
      const prediction = await mine;
      const run = { id: nameOf(spec), name: spec.name, atMs: Date.now(), prediction };
      kept.set(run.id, run);
      unplanned.delete(run.id);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, `${run.id}.json`), JSON.stringify(run));
      forgetOldest(folder);
      return prediction;
    },
    of: ({ spec }: RolloutRecord) => {
      const name = nameOf(spec);
      if (unplanned.has(name)) return undefined;
      const known = kept.get(name) ?? readKept(join(folder, `${name}.json`));
      if (known === undefined) unplanned.set(name, true);
      else kept.set(name, known);
      return known?.prediction;
    },
    runs: () => namesIn(folder).flatMap((name) => readKept(join(folder, name)) ?? []),
  };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".json"));
  } catch {
    return []; // nobody has asked yet
  }
}

/** The disk of a border router is small: the plans of long ago go. */
function forgetOldest(folder: string): void {
  const byAge = namesIn(folder)
    .map((name) => ({ path: join(folder, name), atMs: statSync(join(folder, name)).mtimeMs }))
    .toSorted((a, b) => b.atMs - a.atMs);
  for (const { path } of byAge.slice(MAX_KEPT)) rmSync(path, { force: true });
}

function readKept(file: string): SimulatorRun | undefined {
  try {
    const run = JSON.parse(readFileSync(file, "utf8")) as SimulatorRun;
    return typeof run.id === "string" && Number.isFinite(run.atMs) ? run : undefined;
  } catch {
    return undefined;
  }
}

async function predictOne(gateway: Gateway, spec: RolloutSpec, blockBytes: number): Promise<Prediction> {
  const targets = targetsOf(spec, gateway.fleet.devices(), Date.now());
  const { devices, assumptions } = modelOf(targets.slice(0, MAX_PREDICTED));
  const more = targets.length - devices.length;
  const told = [
    ...assumptions,
    `chip ${PROFILE}, battery ${BATTERY}`,
    ...(more > 0 ? [`${more} devices more than ${MAX_PREDICTED} are left out: the rollout will take longer`] : []),
  ];
  if (devices.length === 0) return predict([], readBattery(BATTERY), ["no device matches"]);
  const profile = readProfile(PROFILE);
  const parts = { profile, blockBytes, quirks: readQuirks(undefined), maxHours: MAX_HOURS };
  const outcomes = await runAll({ spec, devices, parts });
  return predict(outcomes, readBattery(BATTERY), told);
}

async function runAll(work: PredictionWork): Promise<RolloutOutcome[]> {
  const seeds = Array.from({ length: RUNS }, (_, i) => i + 1);
  const worker = { url: new URL("./worker.js", import.meta.url), data: work };
  // One core stays for the gateway, where there is more than one.
  const threads = Math.max(1, Math.min(4, availableParallelism() - 1));
  return onThreads(worker, seeds, threads);
}

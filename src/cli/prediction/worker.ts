import { parentPort, workerData } from "node:worker_threads";
import { runRollout } from "../../../simulator/rollout/rollout-run.ts";
import type { FleetCellParts, ModelDevice } from "../../../simulator/rollout/fleet-model.ts";
import type { RolloutSpec } from "../../rollout/spec.ts";

/** What a worker thread runs, with one seed after the other. */
export interface PredictionWork {
  readonly spec: RolloutSpec;
  readonly devices: readonly ModelDevice[];
  readonly parts: FleetCellParts;
}

// A worker thread of `rollout plan`: answers each seed with what became of that run.
const { spec, devices, parts } = workerData as PredictionWork;
parentPort!.on("message", (seed: number) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread's port, not a window
  parentPort!.postMessage(runRollout(spec, devices, seed, parts));
});

import { parentPort, workerData } from "node:worker_threads";
import type { Quirks } from "../../lwm2m/quirks.ts";
import { runJob, type Job } from "./job.ts";
import type { Simulation } from "./load.ts";

// A worker thread of `simulate --jobs`: takes one job after another, and answers each with its result.
const { simulation, quirks } = workerData as { simulation: Simulation; quirks: readonly Quirks[] };
parentPort!.on("message", (job: Job) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread's port, not a window
  parentPort!.postMessage(runJob(simulation, quirks, job));
});

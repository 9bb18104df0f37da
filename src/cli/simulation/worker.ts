import { parentPort, workerData } from "node:worker_threads";
import type { Quirks } from "../../lwm2m/quirks.ts";
import { runJob, type Job } from "./job.ts";
import type { Simulation } from "./load.ts";
import type { Told } from "./threads.ts";

// A worker thread of `simulate`: takes one job after another, says how far it is, and answers each with its result.
const { simulation, quirks } = workerData as { simulation: Simulation; quirks: readonly Quirks[] };
const say = (message: unknown): void =>
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread's port, not a window
  parentPort!.postMessage(message);

parentPort!.on("message", (job: Job) => {
  let told = 0;
  const onProgress = (finished: number): void => {
    if (finished !== told) say({ progress: (told = finished) } satisfies Told);
  };
  say(runJob(simulation, quirks, job, { onProgress }));
});

import type { CaseResult } from "../../../simulator/report/case-report.ts";
import type { Quirks } from "../../lwm2m/quirks.ts";
import type { Progress } from "../progress.ts";
import { runJob, type Job } from "./job.ts";
import type { Simulation } from "./load.ts";
import { onThreads } from "./threads.ts";

/** Results by seed, then by case. */
export type Results = readonly (readonly CaseResult[])[];

/** Runs every case with every seed, on `threads` threads; the results do not depend on how many there are. */
export async function runJobs(
  simulation: Simulation,
  quirks: readonly Quirks[],
  seeds: readonly number[],
  threads: number,
  progress: Progress,
): Promise<Results> {
  const { cases, name } = simulation.scenario;
  const jobs = seeds.flatMap((seed) => cases.map((_, index): Job => ({ index, seed })));
  const motes = cases.reduce((sum, { run }) => sum + run.motes, 0);
  progress.start(name, motes * seeds.length, "motes");
  const results: CaseResult[] = [];
  const finish = (i: number, result: CaseResult): void => {
    results[i] = result;
    progress.update(results.reduce((sum, one) => sum + (one?.report.motes ?? 0), 0));
  };
  if (threads === 1 || jobs.length === 1) {
    let before = 0;
    for (const [i, job] of jobs.entries()) {
      finish(i, runJob(simulation, quirks, job, { onProgress: (finished) => progress.update(before + finished) }));
      before += cases[job.index]!.run.motes;
    }
  } else {
    const worker = { url: new URL("./worker.js", import.meta.url), data: { simulation, quirks } };
    await onThreads(worker, jobs, threads, finish);
  }
  progress.stop();
  return seeds.map((_, i) => results.slice(i * cases.length, (i + 1) * cases.length));
}

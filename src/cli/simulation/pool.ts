import type { CaseResult } from "../../../simulator/report/case-report.ts";
import type { Quirks } from "../../lwm2m/quirks.ts";
import type { Progress } from "../progress.ts";
import { runJob, type Job } from "./job.ts";
import type { Simulation } from "./load.ts";
import { onThreads } from "./threads.ts";

/** Results by seed, then by case; of the seeds that were run to their end, the first ones of those asked for or others. */
export interface Results {
  readonly seeds: readonly number[];
  readonly results: readonly (readonly CaseResult[])[];
}

/**
 * Runs every case with every seed, on `threads` threads; the results do not depend on how many there are. With the first
 * Ctrl-C what is finished is what there is.
 */
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
  const done: number[] = [];
  const onProgress = (i: number, finished: number): void => {
    done[i] = finished;
    progress.update(done.reduce((sum, one) => sum + (one ?? 0), 0));
  };
  const finish = (i: number, { report }: CaseResult): void => onProgress(i, report.motes);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  const run = async (): Promise<CaseResult[]> => {
    if (jobs.length === 1)
      return [runJob(simulation, quirks, jobs[0]!, { onProgress: (finished) => onProgress(0, finished) })];
    process.once("SIGINT", onSignal);
    const worker = { url: new URL("./worker.js", import.meta.url), data: { simulation, quirks } };
    return onThreads(worker, jobs, threads, { finish, onProgress, signal: stop.signal });
  };
  const results = await run().finally(() => {
    process.off("SIGINT", onSignal);
    progress.stop();
  });
  const bySeed = seeds.map((seed, i) => ({
    seed,
    cases: cases.flatMap((_case, j) => results[i * cases.length + j] ?? []),
  }));
  const whole = bySeed.filter((one) => one.cases.length === cases.length);
  return { seeds: whole.map(({ seed }) => seed), results: whole.map((one) => one.cases) };
}

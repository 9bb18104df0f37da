import { Worker } from "node:worker_threads";

/** Runs jobs on so many worker threads, each of which answers one job after the other; `finish` is told of each result as it comes. */
export async function onThreads<Result>(
  worker: { readonly url: URL; readonly data: unknown },
  jobs: readonly unknown[],
  threads: number,
  finish: (i: number, result: Result) => void = () => {},
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = new Worker(worker.url, { workerData: worker.data });
      let current = -1;
      const give = (): void => {
        current = next++;
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
        if (current < jobs.length) thread.postMessage(jobs[current]);
        else void thread.terminate().then(() => resolve());
      };
      thread.on("message", (result: Result) => {
        results[current] = result;
        finish(current, result);
        give();
      });
      thread.on("error", reject);
      give();
    });
  await Promise.all(Array.from({ length: Math.min(threads, jobs.length) }, one));
  return results;
}

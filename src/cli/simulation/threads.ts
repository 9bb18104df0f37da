import { Worker } from "node:worker_threads";

/** How far a job is: what a worker may say before its result. */
export interface Told {
  readonly progress: number;
}

const isTold = (message: unknown): message is Told =>
  typeof message === "object" && message !== null && "progress" in message;

export interface ThreadHooks<Result> {
  readonly finish?: (i: number, result: Result) => void;
  readonly onProgress?: (i: number, progress: number) => void;
  /** Ends all threads; the results that are there by then are what there is. */
  readonly signal?: AbortSignal;
}

/** Runs jobs on so many worker threads, each of which answers one job after the other; hooks are told of results as they come. */
export async function onThreads<Result>(
  worker: { readonly url: URL; readonly data: unknown },
  jobs: readonly unknown[],
  threads: number,
  { finish = () => {}, onProgress = () => {}, signal }: ThreadHooks<Result> = {},
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  /** Of one that fails, the others are ended too. */
  const failed = new AbortController();
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const thread = new Worker(worker.url, { workerData: worker.data });
      let current = -1;
      let isEnding = false;
      const end = (): void => {
        isEnding = true;
        void thread.terminate().then(() => resolve());
      };
      const fail = (error: Error): void => {
        reject(error);
        failed.abort();
      };
      const give = (): void => {
        current = next++;
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
        if (current < jobs.length && signal?.aborted !== true) thread.postMessage(jobs[current]);
        else end();
      };
      thread.on("message", (message: Result | Told) => {
        if (isTold(message)) return onProgress(current, message.progress);
        results[current] = message;
        finish(current, message);
        give();
      });
      thread.on("error", fail);
      thread.on("exit", (code) => {
        if (!isEnding) fail(new Error(`a worker thread ended by itself, with ${code}`));
      });
      for (const stop of [signal, failed.signal]) stop?.addEventListener("abort", end, { once: true });
      give();
    });
  await Promise.all(Array.from({ length: Math.min(threads, jobs.length) }, one));
  return results;
}

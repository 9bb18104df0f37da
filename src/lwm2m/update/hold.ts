import type { UpdateJob } from "./job.ts";
import type { UpdateContext } from "./ports.ts";

/** Everything is downloaded, and waits for a word. */
export function isHeld({ policy, state, component, components }: UpdateJob): boolean {
  return policy.hold === true && state === "downloaded" && component + 1 >= components.length;
}

/** Told in its window only: one that sleeps now would hear of it behind its end. */
export function mayApply({ job, ports }: Pick<UpdateContext, "job" | "ports">, nowUs: number): boolean {
  return !isHeld(job) || (ports.unixMs(nowUs) < (job.releasedUntilMs ?? 0) && ports.isAwake(nowUs));
}

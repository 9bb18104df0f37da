import type { Case } from "../scenarios/case.ts";

/** Figures of the models in use, besides those of chip and battery, whose source nobody of us has read. */
export function unverifiedModels(runs: readonly Case[]): string[] {
  const names = new Set<string>();
  for (const { mac, link } of runs) {
    if (link.model === "path-loss") names.add("receiver noise and sensitivity").add("capture ratio");
    if (link.model === "gilbert-elliott" || (link.model === "path-loss" && link.bursts !== undefined))
      names.add("burst parameters (a modelling choice)");
    if (mac.kind === "sleepy") names.add("how long a parent holds a frame, and a child waits for one");
    if (mac.kind === "csl") names.add("CSL window");
    if (mac.kind === "lpl") names.add("LPL check and strobe gap");
    if (mac.kind === "tsch") names.add("TSCH timeslot template");
  }
  return [...names];
}

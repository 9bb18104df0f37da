import type { CaseResult } from "../../../simulator/report/case-report.ts";
import { runCase } from "../../../simulator/report/run.ts";
import type { Frame } from "../../../simulator/radio/frame.ts";
import type { Quirks } from "../../../src/lwm2m/quirks.ts";
import { orBadScenario, type Simulation } from "./load.ts";

/** One case with one seed. */
export interface Job {
  readonly index: number;
  readonly seed: number;
}

export function runJob(
  { scenario, profiles, batteries, files }: Simulation,
  quirks: readonly Quirks[],
  { index, seed }: Job,
  hooks: {
    readonly onFrame?: ((nowUs: number, frame: Frame) => void) | undefined;
    readonly onProgress?: ((finished: number) => void) | undefined;
  } = {},
): CaseResult {
  const swept = scenario.cases[index]!;
  const { profile, battery } = swept.run;
  const parts = { profile: profiles[profile]!, battery: batteries[battery]!, files, quirks };
  return orBadScenario(scenario.name, () =>
    runCase(swept, seed, { ...parts, ...hooks, wallMs: () => performance.now() }),
  );
}

import type { CaseResult } from "../../../simulator/report/case-report.ts";
import { runCase } from "../../../simulator/report/run.ts";
import type { Frame } from "../../../simulator/radio/frame.ts";
import type { Quirks } from "../../../src/lwm2m/quirks.ts";
import { usageError } from "../errors.ts";
import type { Simulation } from "./load.ts";

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
  try {
    return runCase(swept, seed, { ...parts, ...hooks, wallMs: () => performance.now() });
  } catch (error) {
    // What a scenario asks for and a model cannot give: a disc without distances, a trace with too few nodes.
    if (error instanceof RangeError) throw usageError("bad-scenario", `${scenario.name}: ${error.message}`);
    throw error;
  }
}

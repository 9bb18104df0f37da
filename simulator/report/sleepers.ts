import { mean } from "simple-statistics";
import type { Case } from "../scenarios/case.ts";
import type { MoteReport, SleepersReport } from "./case-report.ts";
import type { Bounds } from "./limit.ts";

/** Undefined where no mote polls. */
export function sleepersOf(
  run: Case,
  motes: readonly MoteReport[],
  isRouter: (id: number) => boolean,
  { bounds }: Bounds,
): SleepersReport | undefined {
  const limitMj = bounds.find(({ name }) => name.startsWith("sleepy"))?.energyMj;
  const sleepers = motes.filter(({ id }) => run.mac.kind === "sleepy" && !isRouter(id));
  if (limitMj === undefined || sleepers.length === 0) return undefined;
  const energyMj = mean(sleepers.map((mote) => mote.energyMj.total - mote.energyMj.sleep));
  return { motes: sleepers.length, energyMj, overLimit: energyMj / limitMj };
}

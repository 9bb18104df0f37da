import type { Prediction } from "../rollout/prediction.ts";
import type { RolloutRecord } from "../rollout/record.ts";
import type { RolloutSpec } from "../rollout/spec.ts";

export type { Prediction } from "../rollout/prediction.ts";

/** A plan that was asked for, and what came of it. */
export interface SimulatorRun {
  readonly id: string;
  /** Of the rollout. */
  readonly name: string;
  readonly atMs: number;
  readonly prediction: Prediction;
}

/** Runs rollouts in the simulator, and keeps what it said. */
export interface Predictor {
  /** `busy`: as many as may wait already. */
  plan(spec: RolloutSpec): Promise<Prediction | "busy">;
  /** What was said of a rollout when it began. */
  of(record: RolloutRecord): Prediction | undefined;
  /** Those that are kept, in no order. */
  runs(): readonly SimulatorRun[];
}

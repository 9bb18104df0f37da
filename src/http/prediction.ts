import type { Prediction } from "../rollout/prediction.ts";
import type { RolloutRecord } from "../rollout/record.ts";
import type { RolloutSpec } from "../rollout/spec.ts";

export type { Prediction } from "../rollout/prediction.ts";

/** Runs rollouts in the simulator, and keeps what it said. */
export interface Predictor {
  /** `busy`: as many as may wait already. */
  plan(spec: RolloutSpec): Promise<Prediction | "busy">;
  /** What was said of a rollout when it began. */
  of(record: RolloutRecord): Prediction | undefined;
}

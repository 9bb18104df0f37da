import type { Order, Verdict } from "./fleet.ts";
import type { RolloutCommand, RolloutRefusal } from "./operator.ts";
import type { Decision, Member, RolloutRecord } from "./record.ts";
import type { Rollout } from "./rollout.ts";
import type { Step } from "./step.ts";

export type RolloutResult =
  | { readonly ok: true; readonly record: RolloutRecord }
  | ({ readonly ok: false } & RolloutRefusal);
export type Tell = (result: RolloutResult) => void;

/** What a rollout is told. */
export type Input =
  | { readonly kind: "verdict"; readonly verdict: Verdict }
  | { readonly kind: "busy"; readonly endpoint: string; readonly why: string }
  | { readonly kind: "reconcile" }
  | {
      readonly kind: "command";
      readonly command: RolloutCommand;
      readonly by: string;
      readonly why: string;
      /** The revision that the operator has seen; undefined for whatever it is. */
      readonly revision: number | undefined;
      readonly tell: Tell;
    };

/** A rollout, and the one write of it that is under way. */
export interface Lane {
  readonly rollout: Rollout;
  readonly decisions: Decision[];
  inputs: Input[];
  writing: { readonly write: number; readonly step: Step; readonly inputs: readonly Input[] } | undefined;
  /** It is being deleted: who is to be told. */
  removing: Tell[] | undefined;
  /** Something has changed that it may care for. */
  stirred: boolean;
  /** After a write that failed. */
  notBeforeUs: number;
  /** When it is to be looked at again. */
  dueMs: number | undefined;
}

export const newLane = (rollout: Rollout): Lane => ({
  rollout,
  decisions: [],
  inputs: [],
  writing: undefined,
  removing: undefined,
  stirred: true,
  notBeforeUs: 0,
  dueMs: undefined,
});

/** What the gateway is asked to do with a device. */
export function orderOf(rollout: Rollout, member: Member): Order {
  const { components, policy, barrier, window } = rollout.record.spec;
  const { endpoint } = member;
  // What is held must not be given up for its age by the update itself: the rollout's deadline is for that.
  const hold = barrier || window !== undefined;
  return { endpoint, components, origin: rollout.originOf(member), policy: { ...policy, hold, deadlineS: undefined } };
}

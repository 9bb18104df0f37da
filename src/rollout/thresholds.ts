import type { Members } from "./members.ts";
import type { GroupRecord } from "./record.ts";
import type { RolloutSpec } from "./spec.ts";

/** Why a group has failed, in one word and in full; undefined while it has not. */
export function groupError(
  { groups }: RolloutSpec,
  { tolerated, passed }: GroupRecord,
  members: Members,
  index: number,
): readonly [reason: string, detail: string] | undefined {
  const { name, errorThreshold, successThreshold } = groups[index]!;
  const total = members.total(index);
  const { failed, succeeded } = members.counts(index);
  // The error threshold is what may fail: more than that, as hawkBit has it.
  if (failed > Math.max(tolerated, Math.floor((errorThreshold / 100) * total)))
    return ["error-threshold", `${failed} of ${total} devices of ${name} have failed; ${errorThreshold} % may`];
  if (members.isGroupOver(index) && !passed && succeeded < (successThreshold / 100) * total)
    return [
      "success-threshold-missed",
      `${succeeded} of ${total} devices of ${name} have succeeded, and none is left; ${successThreshold} % were to`,
    ];
  return undefined;
}

/** Whether enough of a group's devices have succeeded; with a barrier, have what they need. */
export function groupPassed(spec: RolloutSpec, members: Members, index: number, barrierFell: boolean): boolean {
  const { succeeded, downloaded } = members.counts(index);
  const good = spec.barrier && !barrierFell ? succeeded + downloaded : succeeded;
  return good >= (spec.groups[index]!.successThreshold / 100) * members.total(index);
}

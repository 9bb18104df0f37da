import type { Members } from "./members.ts";
import type { RolloutRecord } from "./record.ts";

/** So many percent of so many devices, in hundredths of one; without the dust of binary fractions. */
export const hundredths = (percent: number, devices: number): number => Number((percent * devices).toFixed(6));

/** Whether devices wait with what they have downloaded until all have it. */
export const awaitsBarrier = ({ spec, barrierFellMs }: Pick<RolloutRecord, "spec" | "barrierFellMs">): boolean =>
  spec.barrier && barrierFellMs === undefined;

/** Nobody is left in a group who is still to get as far as the barrier, or to the end where there is none. */
export function isComplete(record: RolloutRecord, members: Members, index: number): boolean {
  const { pending, commanded } = members.counts(index);
  return awaitsBarrier(record) ? pending + commanded === 0 : members.isGroupOver(index);
}

/** Whether enough of a group's devices have succeeded; before a barrier, have what they need. */
export function groupPassed(record: RolloutRecord, members: Members, index: number): boolean {
  const { successThreshold } = record.spec.groups[index]!;
  return good(record, members, index) * 100 >= hundredths(successThreshold, members.total(index));
}

/** Why a group has failed, in one word and in full; undefined while it has not. */
export function groupError(
  record: RolloutRecord,
  members: Members,
  index: number,
): readonly [reason: string, detail: string] | undefined {
  const { name, errorThreshold, successThreshold } = record.spec.groups[index]!;
  const { tolerated, passed } = record.groups[index]!;
  const total = members.total(index);
  const { failed } = members.counts(index);
  // The error threshold is what may fail: more than that, as hawkBit has it.
  if (failed > tolerated && failed * 100 > hundredths(errorThreshold, total))
    return ["error-threshold", `${failed} of ${total} devices of ${name} have failed; ${errorThreshold} % may`];
  if (passed || !isComplete(record, members, index)) return undefined;
  if (total === 0 && record.groups.some((_, i) => i > index && members.total(i) > 0))
    return [
      "group-empty",
      `${name} has no device that was to be updated: it shows nothing of those that come after it`,
    ];
  if (groupPassed(record, members, index)) return undefined;
  const done = awaitsBarrier(record) ? "have everything" : "have succeeded";
  const text = `${good(record, members, index)} of ${total} devices of ${name} ${done}, and none is left`;
  return ["success-threshold-missed", `${text}; ${successThreshold} % were to`];
}

/** How a rollout has ended whose devices all have a verdict, in one word and in full. */
export function outcomeOf(record: RolloutRecord, members: Members): readonly [reason: string, detail: string] {
  const ends = ["succeeded", "failed", "skipped", "cancelled"] as const;
  const text = ends.map((state) => `${members.count(state)} ${state}`).join(", ");
  for (const i of record.groups.keys()) {
    const error = groupError(record, members, i);
    if (error !== undefined) return [error[0], `${text}: ${error[1]}`];
  }
  if (members.size === 0) return ["no-device-matched", "no device was in a group"];
  if (members.count("skipped") === members.size) return ["none-to-update", `${text}: each device says why`];
  return ["finished", text];
}

function good(record: RolloutRecord, members: Members, index: number): number {
  const { succeeded, downloaded } = members.counts(index);
  return awaitsBarrier(record) ? succeeded + downloaded : succeeded;
}

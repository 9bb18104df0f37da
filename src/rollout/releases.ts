import type { Fleet } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import type { GroupRecord } from "./record.ts";
import type { RolloutHolder, Step } from "./step.ts";
import { awaitsBarrier } from "./thresholds.ts";
import type { WindowClock } from "./windows.ts";

/** Until the deadline of the device, which the rollout watches. */
const NO_END_MS = 8.64e15;
const RETRY_MS = ROLLOUT_LIMITS.retryUs / 1_000;

/**
 * Lets devices apply what they have: all together once the barrier has fallen, and while the window is open. A pause
 * takes that back of whom has not begun. What a device was told is asked of its update, and not remembered here.
 */
export class Releases {
  readonly #holder: RolloutHolder;
  readonly #window: WindowClock | undefined;
  /** Devices of which it is not known that they were told what holds now. */
  /** Groups that have to wait, as they were last. */
  #waiting = "";
  readonly #untold: Set<string>;
  #untilMs = 0;
  /** After a word that could not be written. */
  #retryMs = 0;

  constructor(holder: RolloutHolder, window: WindowClock | undefined) {
    this.#holder = holder;
    this.#window = window;
    this.#untold = new Set(holder.members.downloaded());
  }

  dueMs(nowMs: number): number | undefined {
    return this.#untold.size > 0 && this.#retryMs > nowMs ? this.#retryMs : undefined;
  }

  /** A device has come to wait. */
  held(endpoint: string): void {
    this.#untold.add(endpoint);
  }

  /** What it was told could not be written. */
  notTold(nowMs: number, endpoint: string): void {
    this.#untold.add(endpoint);
    this.#retryMs = nowMs + RETRY_MS;
  }

  settle(step: Step, fleet: Fleet, originOf: (member: { attempt: number }) => string): void {
    const { members } = this.#holder;
    const openMs = this.#until(step);
    // Behind a retry a group may have to wait for one before it.
    const { groups } = this.#holder.record;
    const waiting = groups.map(({ state }) => (state === "scheduled" ? "w" : "-")).join("");
    if (openMs !== this.#untilMs || waiting !== this.#waiting)
      for (const endpoint of members.downloaded()) this.#untold.add(endpoint);
    this.#untilMs = openMs;
    this.#waiting = waiting;
    if (step.nowMs < this.#retryMs && this.#retryMs - step.nowMs <= RETRY_MS) return;
    for (const endpoint of this.#untold) {
      const member = members.get(endpoint);
      const verdict = fleet.verdict(endpoint);
      const isHeld = member?.state === "downloaded" && verdict?.state === "held";
      const untilMs = member === undefined || waiting[member.group] === "w" ? 0 : openMs;
      if (!isHeld || verdict.origin !== originOf(member)) this.#untold.delete(endpoint);
      else if (isTold(untilMs, verdict.releasedUntilMs, step.nowMs)) this.#untold.delete(endpoint);
      else {
        step.effects.push({ kind: "release", endpoint, untilMs });
        // Its deadline runs while it may.
        const releasedMs = untilMs > 0 ? (member.releasedMs ?? step.nowMs) : undefined;
        if (releasedMs !== member.releasedMs) step.put({ ...member, releasedMs });
      }
    }
  }

  /** Until when devices may apply; 0: not now. */
  #until(step: Step): number {
    const { record, members } = this.#holder;
    if (record.state !== "running") return 0;
    if (awaitsBarrier(record)) {
      const waiting = members.count("downloaded");
      if (waiting === 0 || members.count("pending") + members.count("commanded") > 0) return 0;
      this.#fall(step, waiting);
    }
    const window = this.#window?.at(step.nowMs);
    if (window === undefined) return NO_END_MS;
    return window.open ? (window.changesMs ?? NO_END_MS) : 0;
  }

  /** From now on a group passes by those that have succeeded. */
  #fall(step: Step, waiting: number): void {
    const { groups } = this.#holder.record;
    // One whose devices have all ended has been judged by that.
    const isJudged = ({ accepted, state, passed }: GroupRecord): boolean =>
      accepted === true || (state === "finished" && passed);
    step.change({
      barrierFellMs: step.nowMs,
      groups: groups.map((group) => Object.assign({}, group, { passed: isJudged(group) })),
    });
    step.decide("rollout", "barrier-fell", `${waiting} devices have everything; none is left`);
  }
}

const isTold = (untilMs: number, toldMs = 0, nowMs = 0): boolean =>
  untilMs === 0 ? toldMs <= nowMs : toldMs === untilMs;

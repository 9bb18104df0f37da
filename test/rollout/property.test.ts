import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import type { GroupSpec } from "../../src/rollout/spec.ts";
import { SPEC_DEFAULTS } from "../../src/rollout/spec.ts";
import { hasEnded } from "../../src/rollout/record.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import { RolloutModel } from "../support/rollout-model.ts";
import { effort } from "../support/effort.ts";

const component = { object: [5, 0], digest: "00", size: 1_000, version: "2" };
const share = fc.constantFrom(0, 0.1, 0.3, 0.9);
const group = fc.record({
  name: fc.constant("g"),
  percent: fc.integer({ min: 1, max: 100 }),
  successThreshold: fc.integer({ min: 0, max: 100 }),
  errorThreshold: fc.integer({ min: 0, max: 100 }),
  onSuccess: fc.constantFrom("next", "pause"),
});
const plan = fc.record({
  seed: fc.integer({ min: 1, max: 1e9 }),
  devices: fc.integer({ min: 0, max: 40 }),
  failing: share,
  silent: fc.constantFrom(0, 0.1),
  crash: fc.constantFrom(0, 0.05, 0.3),
  torn: fc.constantFrom(0, 0.05, 0.3),
  barrier: fc.boolean(),
});

/** Looks at what is true on the disk, where no step is half done. */
function check(model: RolloutModel, groups: readonly GroupSpec[], maxConcurrent: number, tolerant: boolean): void {
  for (const [key, times] of model.started) expect(times, key).toBeLessThanOrEqual(1);
  for (const { members } of model.rollouts.all())
    for (const [i, { errorThreshold }] of groups.entries()) {
      const { commanded, failed } = members.counts(i);
      expect(commanded).toBeLessThanOrEqual(maxConcurrent);
      const mayFail = Math.floor((errorThreshold / 100) * members.total(i));
      // More failures than may be: nobody was commanded since, so what has failed were at it together.
      if (!tolerant) expect(failed).toBeLessThanOrEqual(mayFail + maxConcurrent);
    }
}

/** Whoever applies what he held does so behind the barrier, and not while an operator or a threshold has it stand still. */
function checkReleases({ applied }: RolloutModel, isCalm: boolean): void {
  for (const { endpoint, state, fell } of applied) {
    expect(fell, `${endpoint} before the barrier fell`).toBe(true);
    if (isCalm) expect(state, endpoint).toBe("running");
  }
}

/** What the rollout says of a device in the end is so, and nobody is left behind with half an update. */
function checkEnd(model: RolloutModel): void {
  for (const rollout of model.rollouts.all())
    for (const member of rollout.members.all()) {
      const verdict = model.verdict(member.endpoint);
      if (verdict?.origin !== rollout.originOf(member)) continue;
      const text = `${member.endpoint} is ${member.state}, its update ${verdict.state}`;
      if (member.state === "cancelled") expect(verdict.state, text).toBe("cancelled");
      // One that did not come back from its restart can be failed, but not called back.
      if (verdict.state !== "applying") expect(model.isBusy(member.endpoint), text).toBe(false);
    }
}

describe("any rollout, whatever devices, disks, processes and operators do", () => {
  const commands: readonly RolloutCommand[] = ["pause", "resume", "stop", "cancel", "retry", "start"];

  it.each([
    ["without operators", 0, effort(25, 120)],
    ["with operators", 8, effort(50, 200)],
  ])("keeps its thresholds, commands once per attempt, and ends: %s", (_name, maxLength, numRuns) => {
    const operator = fc.array(fc.constantFrom(...commands), { minLength: maxLength / 8, maxLength });
    fc.assert(
      fc.property(
        plan,
        operator,
        fc.array(group, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 10 }),
        (p, given, gs, max) => {
          const model = new RolloutModel(p);
          const groups: GroupSpec[] = [
            ...gs,
            { name: "rest", successThreshold: 50, errorThreshold: 50, onSuccess: "next" },
          ];
          const spec = { ...SPEC_DEFAULTS, name: "p", components: [component], policy: DEFAULT_POLICY, groups };
          const id = model.create({ ...spec, maxConcurrent: max, deadlineS: 3_600, barrier: p.barrier });
          const state = (): string => model.rollouts.get(id)?.record.state ?? "gone";
          for (let i = 0; state() !== "running" && i < 100; i++) model.command(id, "start");
          const isOver = (): boolean => hasEnded({ state: state() as "finished" });
          let resumed = given.length > 0; // then failures were accepted
          for (let i = 0; i < 3_000 && !isOver(); i++) {
            model.step(id, i < 300 ? given : []);
            check(model, groups, max, resumed || p.barrier);
            // A rollout that has paused waits for its operator.
            if (i % 20 !== 0 || state() !== "paused" || (given.length === 0 && i <= 400)) continue;
            resumed = true;
            model.command(id, "resume");
          }
          expect(isOver(), `${state()} after a long time`).toBe(true);
          for (let i = 0; i < 5; i++) model.step(id, []); // verdicts that are on their way
          model.settleDown();
          checkReleases(model, p.torn === 0 && p.crash === 0);
          checkEnd(model);
        },
      ),
      { numRuns, seed: 11 },
    );
  });

  it("a rollout that is told to be so is so behind a crash", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), (seed) => {
        const model = new RolloutModel({ seed, devices: 10, failing: 0, silent: 1, crash: 0, torn: 0.4 });
        const groups = [{ name: "all", successThreshold: 100, errorThreshold: 100, onSuccess: "next" as const }];
        const spec = { ...SPEC_DEFAULTS, name: "p", components: [component], policy: DEFAULT_POLICY, groups };
        const id = model.create(spec);
        for (let i = 0; i < 100 && model.command(id, "start")?.ok !== true; i++);
        model.crash();
        expect(model.rollouts.get(id)!.record.state).toBe("running");
        const paused = model.command(id, "pause");
        model.crash();
        if (paused?.ok === true) expect(model.rollouts.get(id)!.record.state).toBe("paused");
      }),
      { numRuns: 200, seed: 3 },
    );
  });
});

import { describe, expect, it } from "vitest";
import type { Behaviour } from "../../simulator/mote/lwm2m/behaviour.ts";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { SPEC_DEFAULTS, type RolloutSpec } from "../../src/rollout/spec.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import type { Rollout } from "../../src/rollout/rollout.ts";
import type { RolloutResult } from "../../src/rollout/rollouts.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

const canary = { name: "canary", percent: 20, successThreshold: 100, errorThreshold: 0, onSuccess: "next" } as const;
const rest = { name: "rest", successThreshold: 100, errorThreshold: 50, onSuccess: "next" } as const;

class RolloutSite extends Lwm2mSite {
  spec(change: Partial<RolloutSpec> = {}): RolloutSpec {
    const policy = { ...DEFAULT_POLICY, graceS: 60 };
    const fixed = { ...SPEC_DEFAULTS, name: "two", components: [this.target], policy, groups: [canary, rest] };
    return { ...fixed, deadlineS: 7_200, ...change };
  }

  create(change: Partial<RolloutSpec> = {}, by = "ann"): RolloutResult {
    let result: RolloutResult | undefined;
    const { bench } = this;
    bench.loop.call((nowUs) =>
      bench.gateway.fleet.rollouts.create(nowUs, this.spec(change), by, (told) => (result = told)),
    );
    bench.run(1);
    return result!;
  }

  command(id: string, command: RolloutCommand, by = "ann", why = ""): RolloutResult {
    let result: RolloutResult | undefined;
    const { bench } = this;
    bench.loop.call((nowUs) =>
      bench.gateway.fleet.rollouts.command(
        nowUs,
        id,
        { command, by, why, revision: undefined },
        (told) => (result = told),
      ),
    );
    bench.run(1);
    return result!;
  }

  start(change: Partial<RolloutSpec> = {}): string {
    const created = this.create(change);
    if (!created.ok) throw new Error(created.detail);
    const { id } = created.record;
    expect(this.command(id, "start")).toMatchObject({ ok: true });
    return id;
  }

  rollout(id: string): Rollout {
    return this.bench.gateway.fleet.rollouts.get(id)!;
  }

  until(id: string, states: readonly string[], seconds = 20_000): string {
    const { engine } = this.bench;
    engine.run(engine.nowUs() + seconds * 1e6, () => states.includes(this.rollout(id).record.state));
    this.bench.run(1); // what was decided gets to the disk
    return this.rollout(id).record.state;
  }

  states(id: string): Record<string, number> {
    const out: Record<string, number> = {};
    for (const { state } of this.rollout(id).members.all()) out[state] = (out[state] ?? 0) + 1;
    return out;
  }

  decisions(id: string): string[] {
    return this.bench.gateway.fleet.rollouts.decisions(id).map(({ what }) => what);
  }
}

function siteOf(count: number, behaviour: (i: number) => Partial<Behaviour> = () => ({})): RolloutSite {
  const site = new RolloutSite();
  for (let i = 0; i < count; i++) site.addMote(`m${i}`, behaviour(i));
  site.bench.run(30);
  return site;
}

describe("a rollout", () => {
  it("updates its canary, then the rest, and says what it decided", () => {
    const site = siteOf(10);
    const id = site.start();
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.states(id)).toEqual({ succeeded: 10 });
    expect(site.decisions(id)).toEqual([
      "created",
      "ready",
      "started",
      "devices-grouped",
      "group-started",
      "group-passed",
      "group-started",
      "group-passed",
      "finished",
    ]);
    for (let i = 0; i < 10; i++) expect(site.mote(`m${i}`).runs(site.image)).toBe(true);
  });

  it("pauses by itself when the canary fails, and touches nobody else", () => {
    const site = siteOf(10, () => ({ bootsOld: true }));
    const id = site.start();
    expect(site.until(id, ["paused"])).toBe("paused");
    expect(site.rollout(id).record.reason).toBe("error-threshold");
    site.bench.run(10_000);
    expect(site.states(id)).toMatchObject({ pending: 8 });
    const touched = Array.from({ length: 10 }, (_, i) => site.mote(`m${i}`).boots).filter((boots) => boots > 1);
    expect(touched.length).toBeLessThanOrEqual(2);
  });
});

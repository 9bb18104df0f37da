import { expect } from "vitest";
import type { Behaviour } from "../../simulator/mote/lwm2m/behaviour.ts";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import type { Rollout } from "../../src/rollout/rollout.ts";
import type { RolloutResult } from "../../src/rollout/rollouts.ts";
import { SPEC_DEFAULTS, type GroupSpec, type RolloutSpec } from "../../src/rollout/spec.ts";
import type { DeskResult } from "../../src/gateway/audit-writer.ts";
import type { DeviceClass } from "../../src/lifecycle/classes.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import { toHex } from "../../src/util/bytes.ts";
import { vendorId } from "./gateway.ts";
import { Lwm2mSite } from "./lwm2m-site.ts";

export const canary: GroupSpec = {
  name: "canary",
  percent: 20,
  successThreshold: 100,
  errorThreshold: 0,
  onSuccess: "next",
};
export const rest: GroupSpec = { name: "rest", successThreshold: 100, errorThreshold: 50, onSuccess: "next" };

/** Motes whose gateway runs rollouts. */
export class RolloutSite extends Lwm2mSite {
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

  /** Has the lifecycle changed. */
  submit(event: LifecycleEvent, seconds = 1): DeskResult {
    let result: DeskResult | undefined;
    const { bench } = this;
    bench.loop.call((nowUs) => bench.gateway.desk.submit(nowUs, "operator", event, (told) => (result = told)));
    bench.run(seconds);
    return result!;
  }

  define(id: string, authorities: DeviceClass["authorities"]): DeskResult {
    const hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 };
    const fixed = { name: "c", vendorId: toHex(vendorId), hardware, escrow: [], operators: [], epoch: 0 };
    return this.submit({ kind: "class-defined", definition: { id, authorities, ...fixed } });
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

export function siteOf(count: number, behaviour: (i: number) => Partial<Behaviour> = () => ({})): RolloutSite {
  const site = new RolloutSite();
  for (let i = 0; i < count; i++) site.addMote(`m${i}`, behaviour(i));
  site.bench.run(30);
  return site;
}

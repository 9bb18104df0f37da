import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { silentLog } from "../../src/ports/log.ts";
import { noMetrics } from "../../src/ports/metrics.ts";
import type { StoreOp } from "../../src/ports/store.ts";
import type { Fleet, FleetDevice, GiveRefusal, Order, Verdict } from "../../src/rollout/fleet.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import type { Rollout } from "../../src/rollout/rollout.ts";
import { Rollouts, type RolloutResult } from "../../src/rollout/rollouts.ts";
import { SPEC_DEFAULTS, type GroupSpec, type RolloutSpec } from "../../src/rollout/spec.ts";

const component = { object: [5, 0], digest: "00", size: 1_000, version: "2" };

/** One group that takes whatever comes. */
export const lenient: GroupSpec = { name: "all", successThreshold: 0, errorThreshold: 100, onSuccess: "next" };
export const strict: GroupSpec = { ...lenient, successThreshold: 100, errorThreshold: 50 };

const UNDER_WAY: ReadonlySet<Verdict["state"]> = new Set(["under-way", "held", "applying"]);

/** Rollouts over devices d0, d1, … that do what the test says, in time that goes by timers alone. */
export class ScriptedFleet implements Fleet {
  nowUs = 1_000_000;
  rollouts!: Rollouts;
  readonly disk: Map<string, Uint8Array> = new Map();
  readonly jobs: Map<string, Verdict> = new Map();
  readonly names: string[];
  /** What devices may not be given what is rolled out, and why. */
  readonly refusals: Map<string, GiveRefusal> = new Map();
  /** What the rollouts asked of the gateway: `start d0 rollout/r0/1`, `cancel d0`, `release d0 7200000`. */
  asked: string[] = [];
  /** Times that a timer went off. */
  wakes = 0;
  /** Whether a write fails. */
  fails: (ops: readonly StoreOp[]) => boolean = () => false;
  /** What the gateway makes of a cancel: nothing, for one that dies at once. */
  cancels = true;
  /** By how much the wall's clock was set. */
  setMs = 0;
  /** Of each device. */
  known: (endpoint: string) => Partial<FleetDevice> = () => ({});
  readonly #maxConcurrent: number;
  /** Told of each device that is asked how its battery is. */
  onRefresh: (endpoint: string) => void = () => {};
  #writes: { readonly id: number; readonly ops: readonly StoreOp[] }[] = [];
  #nextWrite = 1;
  #nextId = 0;

  constructor(devices: number, maxConcurrent = 100_000) {
    this.names = Array.from({ length: devices }, (_, i) => `d${i}`);
    this.#maxConcurrent = maxConcurrent;
    this.restart();
  }

  /** The gateway dies, with what it has not written, and starts again. */
  restart(): void {
    this.#writes = [];
    this.asked = [];
    this.rollouts = new Rollouts({
      fleet: this,
      store: (ops) => {
        this.#writes.push({ id: this.#nextWrite, ops });
        return this.#nextWrite++;
      },
      unixMs: (nowUs) => nowUs / 1_000 + this.setMs,
      log: silentLog,
      metrics: noMetrics,
      newId: () => `r${this.#nextId++}`,
      order: (_rollout, endpoint) => endpoint.slice(1).padStart(6, "0"),
      maxConcurrent: this.#maxConcurrent,
    });
    for (const [key, value] of this.disk) this.rollouts.recover(key, value);
    this.rollouts.begin(this.nowUs);
    this.write();
  }

  /** Has the disk do what it was asked for, and what comes of that. */
  write(most = 1_000): void {
    for (let i = 0; this.#writes.length > 0 && i < most; i++) {
      const { id, ops } = this.#writes.shift()!;
      const done = !this.fails(ops);
      for (const op of done ? ops : [])
        if (op.kind === "put") this.disk.set(op.key, op.value);
        else this.disk.delete(op.key);
      this.rollouts.stored(this.nowUs, id, done, "the disk does not take it");
    }
  }

  /** Time goes by, in which nothing happens but timers. */
  run(seconds: number): void {
    const endUs = this.nowUs + seconds * 1e6;
    for (let i = 0; i < 100_000; i++) {
      const dueUs = this.rollouts.pollTimeout();
      if (dueUs === undefined || dueUs > endUs) break;
      this.nowUs = Math.max(this.nowUs, dueUs);
      this.wakes++;
      this.rollouts.handleTimeout(this.nowUs);
      this.write();
    }
    this.nowUs = Math.max(this.nowUs, endUs);
  }

  create(change: Partial<RolloutSpec> = {}, id?: string): RolloutResult | undefined {
    let result: RolloutResult | undefined;
    const fixed = { ...SPEC_DEFAULTS, name: "p", components: [component], policy: DEFAULT_POLICY, groups: [lenient] };
    const spec = { ...fixed, maxConcurrent: 100_000, deadlineS: 3_600, ...change };
    this.rollouts.create(this.nowUs, spec, "ann", (told) => (result = told), id);
    this.write();
    return result;
  }

  command(id: string, command: RolloutCommand, by = "ann"): RolloutResult | undefined {
    let result: RolloutResult | undefined;
    const asked = { command, by, why: "", revision: undefined };
    this.rollouts.command(this.nowUs, id, asked, (told) => (result = told));
    this.write();
    return result;
  }

  /** Creates a rollout and starts it. */
  begin(change: Partial<RolloutSpec> = {}): string {
    const created = this.create(change);
    if (created?.ok !== true) throw new Error(created?.detail ?? "not told");
    this.command(created.record.id, "start");
    return created.record.id;
  }

  rollout(id: string): Rollout {
    return this.rollouts.get(id)!;
  }

  states(id: string): Record<string, number> {
    const out: Record<string, number> = {};
    for (const { state } of this.rollout(id).members.all()) out[state] = (out[state] ?? 0) + 1;
    return out;
  }

  why(id: string): string {
    const { state, reason } = this.rollout(id).record;
    return `${state}: ${reason}`;
  }

  /** Updates of these devices come to this. */
  become(state: Verdict["state"], ...endpoints: readonly string[]): void {
    for (const endpoint of endpoints) {
      const verdict = { ...this.jobs.get(endpoint)!, state, reason: state };
      this.jobs.set(endpoint, verdict);
      this.rollouts.takeVerdict(verdict);
    }
    this.rollouts.settle(this.nowUs);
    this.write();
  }

  *devices(): Iterable<FleetDevice> {
    for (const endpoint of this.names) yield this.device(endpoint);
  }

  device(endpoint: string): FleetDevice {
    return { endpoint, tags: [], gateway: "g", registered: true, battery: null, ...this.known(endpoint) };
  }

  refusalToGive(_unixMs: number, endpoint: string): GiveRefusal | undefined {
    return this.refusals.get(endpoint);
  }

  start(_nowUs: number, { endpoint, origin }: Order): string | undefined {
    if (this.isBusy(endpoint)) return "busy";
    this.asked.push(`start ${endpoint} ${origin}`);
    this.jobs.set(endpoint, { endpoint, origin, state: "under-way", startedMs: this.nowUs / 1_000 });
    return undefined;
  }

  cancel(_nowUs: number, endpoint: string): void {
    this.asked.push(`cancel ${endpoint}`);
    const job = this.jobs.get(endpoint);
    if (!this.cancels || (job?.state !== "under-way" && job?.state !== "held")) return;
    const verdict = { ...job, state: "cancelled", reason: "cancelled" } as const;
    this.jobs.set(endpoint, verdict);
    this.rollouts.takeVerdict(verdict);
  }

  release(_nowUs: number, endpoint: string, untilMs: number): void {
    this.asked.push(`release ${endpoint} ${untilMs}`);
    const job = this.jobs.get(endpoint);
    if (job?.state === "held") this.jobs.set(endpoint, { ...job, releasedUntilMs: untilMs });
  }

  verdict(endpoint: string): Verdict | undefined {
    return this.jobs.get(endpoint);
  }

  isBusy(endpoint: string): boolean {
    return UNDER_WAY.has(this.jobs.get(endpoint)?.state ?? "succeeded");
  }

  refresh(_nowUs: number, endpoint: string): void {
    this.asked.push(`refresh ${endpoint}`);
    this.onRefresh(endpoint);
  }

  /** A device may apply what it has, by the last word that it was given. */
  mayApply(endpoint: string): boolean {
    const job = this.jobs.get(endpoint);
    return job?.state === "held" && (job.releasedUntilMs ?? 0) > this.nowUs / 1_000;
  }

  countOf(what: string): number {
    return this.asked.filter((one) => one.startsWith(what)).length;
  }
}

/** A fleet whose devices have all downloaded what a barrier keeps them from applying. */
export function downloaded(
  devices: number,
  change: object = {},
): { readonly fleet: ScriptedFleet; readonly id: string } {
  const fleet = new ScriptedFleet(devices);
  const id = fleet.begin({ barrier: true, groups: [strict], ...change });
  fleet.become("held", ...fleet.names);
  return { fleet, id };
}

import type { StoreOp } from "../../src/ports/store.ts";
import { silentLog } from "../../src/ports/log.ts";
import { noMetrics } from "../../src/ports/metrics.ts";
import type { Fleet, FleetDevice, Order, Verdict } from "../../src/rollout/fleet.ts";
import { Rollouts, type RolloutResult } from "../../src/rollout/rollouts.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import type { RolloutSpec } from "../../src/rollout/spec.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";

interface ModelJob {
  verdict: Verdict;
  endsMs: number;
  end: "succeeded" | "failed" | "never";
}

/** What a run is made of; all of it drawn from the seed. */
export interface ModelPlan {
  readonly seed: number;
  readonly devices: number;
  /** Share of the devices whose update fails, and of those that are never heard of again. */
  readonly failing: number;
  readonly silent: number;
  /** In each step: that the process dies, that a write fails. */
  readonly crash: number;
  readonly torn: number;
}

/** Rollouts over a fleet that does whatever it likes, on a disk that fails, in a process that dies. */
export class RolloutModel implements Fleet {
  nowUs = 1_000_000;
  rollouts!: Rollouts;
  readonly disk: Map<string, Uint8Array> = new Map();
  readonly jobs: Map<string, ModelJob> = new Map();
  /** How often each command was given. */
  readonly started: Map<string, number> = new Map();
  readonly released: string[] = [];
  crashes = 0;
  /** What operators were told that it is so. */
  readonly acknowledged: { id: string; command: string }[] = [];
  readonly #plan: ModelPlan;
  readonly #random: SeededRandom;
  #writes: { id: number; ops: readonly StoreOp[] }[] = [];
  #nextWrite = 1;
  #boots = 0;

  constructor(plan: ModelPlan) {
    this.#plan = plan;
    this.#random = new SeededRandom(plan.seed, "rollout-model");
    this.#boot();
  }

  get nowMs(): number {
    return this.nowUs / 1_000;
  }

  #boot(): void {
    this.#writes = [];
    this.#boots++;
    const boot = this.#boots;
    let ids = 0;
    this.rollouts = new Rollouts({
      fleet: this,
      store: (ops) => {
        const id = this.#nextWrite++;
        this.#writes.push({ id, ops });
        return id;
      },
      unixMs: (nowUs) => nowUs / 1_000,
      log: silentLog,
      metrics: noMetrics,
      newId: () => `r${boot}x${ids++}`,
      order: (rollout, endpoint) => String(new SeededRandom(1, rollout + endpoint).uint32()),
      maxConcurrent: 1_000,
    });
    for (const [key, value] of this.disk) this.rollouts.recover(key, value);
    this.rollouts.begin(this.nowUs);
  }

  /** The process dies: writes that are under way are done or not. */
  crash(): void {
    this.crashes++;
    for (const { ops } of this.#writes) if (unitFloat(this.#random) < 0.5) this.#write(ops);
    // A job that was started in this instant may not have got to the disk.
    for (const [endpoint, { verdict }] of this.jobs)
      if (verdict.startedMs === this.nowMs && unitFloat(this.#random) < 0.5) {
        this.jobs.delete(endpoint);
        this.started.set(verdict.origin + endpoint, 0); // nobody has heard of it
      }
    this.#boot();
  }

  #write(ops: readonly StoreOp[]): void {
    for (const op of ops)
      if (op.kind === "put") this.disk.set(op.key, op.value);
      else this.disk.delete(op.key);
  }

  create(spec: RolloutSpec): string {
    let id = "";
    for (let i = 0; i < 50; i++) {
      if (id !== "") break;
      this.rollouts.create(this.nowUs, spec, "ann", (told) => (id = told.ok ? told.record.id : ""));
      this.#finishWrites(0);
    }
    return id;
  }

  command(id: string, command: RolloutCommand, by = "ann"): RolloutResult | undefined {
    let result: RolloutResult | undefined;
    this.rollouts.command(this.nowUs, id, { command, by, why: "", revision: undefined }, (told) => {
      result = told;
      if (told.ok) this.acknowledged.push({ id, command });
    });
    this.#finishWrites(this.#plan.torn);
    return result;
  }

  #finishWrites(torn: number): void {
    for (let i = 0; this.#writes.length > 0 && i < 100; i++) {
      const { id, ops } = this.#writes.shift()!;
      const done = unitFloat(this.#random) >= torn;
      if (done) this.#write(ops);
      this.rollouts.stored(this.nowUs, id, done, "the disk does not take it");
    }
  }

  /** One thing happens, and time goes on; `commands` are given now and then. */
  step(id: string, commands: readonly RolloutCommand[]): void {
    const { crash, torn } = this.#plan;
    this.nowUs += 1 + uintBelow(this.#random, 30_000_000);
    if (unitFloat(this.#random) < crash) this.crash();
    for (const job of this.jobs.values()) this.#age(job);
    const dueUs = this.rollouts.pollTimeout();
    if (dueUs !== undefined && dueUs <= this.nowUs) this.rollouts.handleTimeout(this.nowUs);
    this.rollouts.settle(this.nowUs);
    if (unitFloat(this.#random) < crash) this.crash();
    this.#finishWrites(torn);
    const command = commands[uintBelow(this.#random, commands.length * 10)];
    if (command !== undefined) this.command(id, command);
  }

  #age(job: ModelJob): void {
    const { verdict, endsMs, end } = job;
    if (end === "never" || this.nowMs < endsMs || verdict.state !== "under-way") return;
    job.verdict = { ...verdict, state: end, reason: end };
    this.rollouts.takeVerdict(job.verdict);
  }

  *devices(): Iterable<FleetDevice> {
    for (let i = 0; i < this.#plan.devices; i++) yield this.device(`d${i}`);
  }

  device(endpoint: string): FleetDevice {
    return { endpoint, tags: [], gateway: "g", registered: true, battery: null };
  }

  start(_nowUs: number, { endpoint, origin }: Order): string | undefined {
    if (this.isBusy(endpoint)) return "busy";
    const key = origin + endpoint;
    this.started.set(key, (this.started.get(key) ?? 0) + 1);
    const { failing, silent } = this.#plan;
    const draw = unitFloat(this.#random);
    const end = draw < failing ? "failed" : draw < failing + silent ? "never" : "succeeded";
    const verdict: Verdict = { endpoint, origin, state: "under-way", startedMs: this.nowMs };
    this.jobs.set(endpoint, { verdict, endsMs: this.nowMs + uintBelow(this.#random, 600_000), end });
    return undefined;
  }

  cancel(_nowUs: number, endpoint: string): void {
    const job = this.jobs.get(endpoint);
    if (job?.verdict.state !== "under-way") return;
    job.verdict = { ...job.verdict, state: "cancelled" };
    this.rollouts.takeVerdict(job.verdict);
  }

  release(_nowUs: number, endpoint: string): void {
    this.released.push(endpoint);
  }

  verdict(endpoint: string): Verdict | undefined {
    return this.jobs.get(endpoint)?.verdict;
  }

  isBusy(endpoint: string): boolean {
    return this.jobs.get(endpoint)?.verdict.state === "under-way";
  }

  refresh(): void {}
}

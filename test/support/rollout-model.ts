import type { StoreOp } from "../../src/ports/store.ts";
import { silentLog } from "../../src/ports/log.ts";
import { noMetrics } from "../../src/ports/metrics.ts";
import type { Fleet, FleetDevice, Order, Verdict } from "../../src/rollout/fleet.ts";
import { Rollouts, type RolloutResult } from "../../src/rollout/rollouts.ts";
import { decodeRollout, rolloutKey } from "../../src/rollout/record.ts";
import type { RolloutState } from "../../src/rollout/states.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import type { RolloutSpec } from "../../src/rollout/spec.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";

interface ModelJob {
  verdict: Verdict;
  /** As it was before what happened to it in this instant, which may not get to the disk. */
  before: Verdict;
  changedUs: number;
  readonly hold: boolean;
  readonly downloadedMs: number;
  readonly endsMs: number;
  readonly end: "succeeded" | "failed" | "never";
}

const UNDER_WAY: ReadonlySet<Verdict["state"]> = new Set(["under-way", "held", "applying"]);

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
  /** Devices that have begun to apply what they held, and what the disk said of their rollout then. */
  readonly applied: { readonly endpoint: string; readonly state: RolloutState; readonly fell: boolean }[] = [];
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
    // What became of a job in this instant may not have got to the disk.
    for (const [endpoint, job] of this.jobs) {
      if (job.changedUs !== this.nowUs || unitFloat(this.#random) < 0.5) continue;
      if (job.verdict.startedMs !== this.nowMs) job.verdict = job.before;
      else {
        this.jobs.delete(endpoint);
        this.started.set(job.verdict.origin + endpoint, 0); // nobody has heard of it
      }
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

  /** A last restart, and writes that succeed. */
  settleDown(): void {
    this.nowUs++;
    this.crash();
    this.#finishWrites(0);
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
    const command = commands[uintBelow(this.#random, commands.length * 30)];
    if (command !== undefined) this.command(id, command);
  }

  /** At most one thing happens to a job in one instant. */
  #age(job: ModelJob): void {
    const { verdict, downloadedMs, endsMs, end, hold } = job;
    const { nowMs } = this;
    if (hold && verdict.state === "under-way" && nowMs >= downloadedMs) this.#become(job, "held");
    else if (verdict.state === "held" && (verdict.releasedUntilMs ?? 0) > nowMs) {
      this.#become(job, "applying");
      const record = decodeRollout(this.disk.get(rolloutKey(verdict.origin.split("/")[1]!))!)!;
      const { state, barrierFellMs } = record;
      this.applied.push({ endpoint: verdict.endpoint, state, fell: barrierFellMs !== undefined });
    } else if (verdict.state === (hold ? "applying" : "under-way") && nowMs >= endsMs && end !== "never")
      this.#become(job, end);
  }

  #become(job: ModelJob, state: Verdict["state"]): void {
    job.before = job.verdict;
    job.changedUs = this.nowUs;
    job.verdict = { ...job.verdict, state, reason: state };
    if (state !== "applying") this.rollouts.takeVerdict(job.verdict);
  }

  *devices(): Iterable<FleetDevice> {
    for (let i = 0; i < this.#plan.devices; i++) yield this.device(`d${i}`);
  }

  device(endpoint: string): FleetDevice {
    return { endpoint, tags: [], gateway: "g", registered: true, battery: null };
  }

  refusalToGive(): undefined {}

  start(_nowUs: number, { endpoint, origin, policy }: Order): string | undefined {
    if (this.isBusy(endpoint)) return "busy";
    const key = origin + endpoint;
    this.started.set(key, (this.started.get(key) ?? 0) + 1);
    const { failing, silent } = this.#plan;
    const draw = unitFloat(this.#random);
    const end = draw < failing ? "failed" : draw < failing + silent ? "never" : "succeeded";
    const verdict: Verdict = { endpoint, origin, state: "under-way", startedMs: this.nowMs };
    const downloadedMs = this.nowMs + uintBelow(this.#random, 600_000);
    const endsMs = downloadedMs + uintBelow(this.#random, 60_000);
    const hold = policy.hold === true;
    this.jobs.set(endpoint, {
      verdict,
      before: verdict,
      changedUs: this.nowUs,
      hold,
      downloadedMs: hold && end === "never" && draw > 0.95 ? Number.POSITIVE_INFINITY : downloadedMs,
      endsMs,
      end,
    });
    return undefined;
  }

  cancel(_nowUs: number, endpoint: string): void {
    const job = this.jobs.get(endpoint);
    if (job?.verdict.state === "under-way" || job?.verdict.state === "held") this.#become(job, "cancelled");
  }

  release(_nowUs: number, endpoint: string, untilMs: number): void {
    const job = this.jobs.get(endpoint);
    if (job?.verdict.state !== "held") return;
    if (unitFloat(this.#random) < this.#plan.torn) return this.rollouts.notReleased(this.nowUs, endpoint);
    job.before = job.verdict;
    job.changedUs = this.nowUs;
    job.verdict = { ...job.verdict, releasedUntilMs: untilMs };
    return undefined;
  }

  verdict(endpoint: string): Verdict | undefined {
    return this.jobs.get(endpoint)?.verdict;
  }

  isBusy(endpoint: string): boolean {
    return UNDER_WAY.has(this.jobs.get(endpoint)?.verdict.state ?? "succeeded");
  }

  refresh(): void {}
}

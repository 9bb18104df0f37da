import { Code, codeText } from "../coap/numbers.ts";
import type { OperationOutcome } from "../lwm2m/device-queue.ts";
import { samePaths, type Path } from "../lwm2m/path.ts";
import type { Reading } from "../lwm2m/reading.ts";
import { hasEnded, type Method, type UpdateJob } from "../lwm2m/update/job.ts";
import { isHeld } from "../lwm2m/update/hold.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { Seen } from "../lifecycle/census.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import type { Offers } from "./offers.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Random } from "../ports/random.ts";
import type { Durability, StoreOp } from "../ports/store.ts";
import type { Fleet, FleetDevice, Order, Verdict } from "../rollout/fleet.ts";
import { Rollouts } from "../rollout/rollouts.ts";
import { toHex, utf8 } from "../util/bytes.ts";
import { earlier } from "../util/deadline.ts";
import { isoTime } from "../util/iso-time.ts";
import { randomId } from "../util/random.ts";
import type { Devices } from "./devices.ts";
import { DeviceView } from "./device-view.ts";
import { BATTERY_PATH, Inventory, INVENTORY_PREFIX, type InventoryEntry, type OperatorFacts } from "./inventory.ts";
import { SupportWatch, type SupportWarning } from "./support-watch.ts";

export interface FleetDeskParts {
  readonly crypto: Crypto;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly name: string;
  readonly maxConcurrent: number;
  readonly devices: () => Devices;
  readonly desk: LifecycleDesk;
  readonly refusalToGive: Offers["refusalToGive"];
  readonly unixMs: (nowUs: number) => number;
  readonly store: (ops: readonly StoreOp[], durability: Durability) => number;
}

/** Something that happened. */
export interface FleetNews {
  readonly kind: string;
  readonly data: Readonly<Record<string, string | number | undefined>>;
}

interface Describing {
  readonly endpoint: string;
  /** What it is called; and what goes for it if this cannot be written. */
  readonly revision: number;
  before: InventoryEntry;
  readonly tell: (done: boolean) => void;
}

const MAX_NEWS = 5_000;
const ID_DIGITS = 8;
const NOT_FOUND = codeText(Code.NOT_FOUND);
const APPLYING: ReadonlySet<string> = new Set(["applying", "deferred", "verifying", "soaking"]);

/** The devices of a gateway as rollouts see them, and the rollouts. */
export class FleetDesk implements Fleet {
  readonly #parts: FleetDeskParts;
  readonly inventory: Inventory;
  readonly rollouts: Rollouts;
  /** Devices that were asked for their battery, and have not answered yet. */
  readonly #asked = new Map<number, string>();
  readonly #asking = new Set<string>();
  #sorted: readonly string[] | undefined;
  #sortedAt = 0;
  readonly #news: FleetNews[] = [];
  /** Descriptions that are not on the disk yet, the oldest first. */
  readonly #describing = new Map<number, Describing>();
  readonly #forgetting = new Map<number, (done: boolean) => void>();
  readonly #support: SupportWatch;

  constructor(parts: FleetDeskParts) {
    this.#parts = parts;
    this.#support = new SupportWatch(parts.desk.lifecycle, parts.unixMs, (warning) => this.#tellSupport(warning));
    this.inventory = new Inventory(parts.store);
    const { crypto, log, metrics, unixMs, maxConcurrent, random } = parts;
    this.rollouts = new Rollouts({
      fleet: this,
      log,
      metrics,
      unixMs,
      maxConcurrent,
      store: (ops) => parts.store(ops, "durable"),
      newId: () => randomId(random, ID_DIGITS),
      order: (rollout, endpoint) => toHex(crypto.sha256(utf8(`${rollout}/${endpoint}`)).subarray(0, 8)),
    });
  }

  recover(key: string, record: Uint8Array): boolean | undefined {
    return key.startsWith(INVENTORY_PREFIX) ? this.inventory.recover(key, record) : this.rollouts.recover(key, record);
  }

  *devices(): Iterable<FleetDevice> {
    for (const endpoint of this.sortedNames()) yield this.#view(endpoint);
  }

  /** Each device that is known, registered or not; sorted when one has come or gone, not each time. */
  sortedNames(): readonly string[] {
    const { changes } = this.inventory;
    if (this.#sorted === undefined || this.#sortedAt !== changes) {
      const registered = Array.from(this.#parts.devices().all(), ({ registration }) => registration.endpoint);
      this.#sorted = [...new Set([...registered, ...this.inventory.endpoints()])].toSorted();
      this.#sortedAt = changes;
    }
    return this.#sorted;
  }

  device(endpoint: string): FleetDevice | undefined {
    const isKnown = this.#parts.devices().get(endpoint) !== undefined || this.inventory.has(endpoint);
    return isKnown ? this.#view(endpoint) : undefined;
  }

  #view(endpoint: string): FleetDevice {
    return new DeviceView(endpoint, this.inventory.get(endpoint), this.#parts);
  }

  start(nowUs: number, { endpoint, origin, components, policy }: Order): string | undefined {
    const { devices } = this.#parts;
    const refusal = this.refusalOf(nowUs, { endpoint, components, policy });
    if (refusal !== undefined) return refusal.detail;
    const told = (done: boolean): void => {
      if (!done) this.rollouts.refused(nowUs, origin, endpoint, "its update could not be written");
    };
    const job = devices().updates.start(nowUs, endpoint, components, policy, told, origin);
    return typeof job === "string" ? job : undefined;
  }

  /** Why a client may not have what an update gives it. */
  refusalOf(
    nowUs: number,
    { endpoint, components, policy }: Pick<UpdateJob, "endpoint" | "components" | "policy">,
  ): Refusal | undefined {
    return this.refusalToGive(this.#parts.unixMs(nowUs), endpoint, components, policy.methods);
  }

  refusalToGive(
    unixMs: number,
    endpoint: string,
    components: readonly { readonly digest: string }[],
    methods: readonly Method[],
  ): Refusal | undefined {
    const byManifest = methods.every((method) => method === "trigger");
    for (const { digest } of components) {
      const refusal = this.#parts.refusalToGive(unixMs, endpoint, digest, byManifest);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Ends the updates of clients, or of one, that may not have what they are being given: it is judged as at their start. */
  stopUnfit(nowUs: number, only?: string): void {
    const { updates } = this.#parts.devices();
    for (const job of only === undefined ? updates.all() : [updates.get(only)]) {
      if (job === undefined || hasEnded(job)) continue;
      const { endpoint } = job;
      const refusal = this.refusalOf(nowUs, job);
      if (refusal !== undefined && updates.cancel(nowUs, endpoint, undefined, refusal)) this.#tellStopped(job, refusal);
    }
  }

  /** Why an update, which asks before it goes on, is to end: that is told. */
  stopping(nowUs: number, job: UpdateJob): Refusal | undefined {
    const refusal = this.refusalOf(nowUs, job);
    if (refusal !== undefined) this.#tellStopped(job, refusal);
    return refusal;
  }

  #tellStopped({ endpoint }: UpdateJob, { reason }: Refusal): void {
    const { log, metrics } = this.#parts;
    log.event("warn", "update-stopped", { endpoint, reason });
    metrics.count("updates_stopped", reason);
  }

  cancel(nowUs: number, endpoint: string): void {
    this.#parts.devices().updates.cancel(nowUs, endpoint);
  }

  release(nowUs: number, endpoint: string, untilMs: number): void {
    const told = (done: boolean): void => {
      if (!done) this.rollouts.notReleased(nowUs, endpoint);
    };
    this.#parts.devices().updates.release(endpoint, untilMs, told);
  }

  isBusy(endpoint: string): boolean {
    const job = this.#parts.devices().updates.get(endpoint);
    return job !== undefined && !hasEnded(job);
  }

  verdict(endpoint: string): Verdict | undefined {
    const job = this.#parts.devices().updates.get(endpoint);
    return job && verdictOf(job);
  }

  refresh(nowUs: number, endpoint: string): void {
    this.ask(nowUs, endpoint, BATTERY_PATH);
  }

  /** Reads something of a device, which is learnt from the answer; false when it is asked already, or not registered. */
  ask(nowUs: number, endpoint: string, path: Path): boolean {
    if (this.#asking.has(endpoint)) return false;
    const id = this.#parts.devices().submit(nowUs, endpoint, { kind: "read", path }, { owner: "fleet" });
    if (id === undefined) return false;
    this.#asking.add(endpoint);
    this.#asked.set(id, endpoint);
    return true;
  }

  /** What a device answered to what this desk has asked. */
  handleOutcome(nowUs: number, { id, result, operation }: OperationOutcome): void {
    const endpoint = this.#asked.get(id);
    if (endpoint === undefined) return;
    this.#asked.delete(id);
    this.#asking.delete(endpoint);
    const nowMs = this.#parts.unixMs(nowUs);
    // Another refusal says nothing of batteries.
    if (result.kind === "refused" && result.code === NOT_FOUND && samePaths([operation.path], [BATTERY_PATH]))
      this.inventory.hasNoBattery(nowMs, endpoint);
    this.rollouts.looked(endpoint);
  }

  heard(nowUs: number, endpoint: string): void {
    this.stopUnfit(nowUs, endpoint);
    this.inventory.heard(this.#parts.unixMs(nowUs), endpoint);
  }

  learn(nowUs: number, endpoint: string, readings: readonly Reading[]): void {
    const { desk, unixMs } = this.#parts;
    this.inventory.learn(unixMs(nowUs), endpoint, readings);
    desk.heard(nowUs, endpoint, this.inventory.get(endpoint).version);
  }

  /** An update has ended, or waits for its release. */
  updateChanged(job: UpdateJob): void {
    if (job.versionAfter !== undefined) this.inventory.runs(job.endpoint, job.versionAfter);
    if (job.origin !== undefined) this.rollouts.takeVerdict(verdictOf(job));
    const { endpoint, id, state, reason, detail, origin, versionBefore, versionAfter } = job;
    if (hasEnded(job))
      this.#tell("update", { endpoint, id, state, reason, detail, origin, versionBefore, versionAfter });
  }

  /** A client has registered, or is gone. */
  registered(endpoint: string, kind: string): void {
    this.#sorted = undefined;
    this.#tell("device", { endpoint, state: kind });
  }

  #tellSupport({ classId, name, state, endsMs }: SupportWarning): void {
    const ends = isoTime(endsMs / 1_000);
    this.#parts.log.event("warn", "support-ends", { reason: state, class: classId, name, ends });
    this.#tell("support", { class: classId, name, state, ends });
  }

  #tell(kind: string, data: FleetNews["data"]): void {
    this.#news.push({ kind, data });
    if (this.#news.length > MAX_NEWS) this.#news.shift();
  }

  begin(nowUs: number): void {
    this.rollouts.begin(nowUs);
    this.#support.look(nowUs);
  }

  /** Something of the lifecycle is on the disk. */
  lifecycleChanged(nowUs: number, { kind }: LifecycleEvent): void {
    if (kind === "support-set" || kind === "class-defined") this.#support.look(nowUs);
  }

  pollTimeout(): number | undefined {
    return earlier(this.rollouts.pollTimeout(), this.#support.pollTimeout());
  }

  handleTimeout(nowUs: number): void {
    this.rollouts.handleTimeout(nowUs);
    this.#support.handleTimeout(nowUs);
  }

  /** What happened, for whoever listens. */
  pollNews(): FleetNews | undefined {
    const news = this.rollouts.pollNews();
    if (news === undefined) return this.#news.shift();
    const { rollout, name, decision } = news;
    return { kind: "rollout", data: { rollout, name, ...decision } };
  }

  /** Clients that no factory has told of, for the census: without their names. */
  *strangers(): Iterable<Seen> {
    const { state } = this.#parts.desk.lifecycle;
    for (const endpoint of this.sortedNames()) {
      if (state.byEndpoint(endpoint) !== undefined) continue;
      const { class: classId = "unknown", version, lastSeenMs = 0 } = this.inventory.get(endpoint);
      yield { classId, version, lastSeenMs };
    }
  }

  /** What an operator says of a device; `tell` once it is on the disk. */
  describe(endpoint: string, facts: OperatorFacts, tell: (done: boolean) => void): void {
    const before = this.inventory.get(endpoint);
    const revision = before.revision + 1;
    this.#describing.set(this.inventory.describe(endpoint, facts), { endpoint, revision, before, tell });
  }

  /** Forgets a device that is not registered; false for one that is, or is not known. `tell` once that is on the disk. */
  forget(endpoint: string, tell: (done: boolean) => void): boolean {
    if (this.#parts.devices().get(endpoint) !== undefined || !this.inventory.has(endpoint)) return false;
    const entry = this.inventory.get(endpoint);
    this.#forgetting.set(this.inventory.forget(endpoint), (done) => {
      if (!done) this.inventory.keep(endpoint, entry);
      tell(done);
    });
    return true;
  }

  stored(nowUs: number, write: number, done: boolean, detail: string): boolean {
    const forgotten = this.#forgetting.get(write);
    if (forgotten !== undefined) {
      this.#forgetting.delete(write);
      forgotten(done);
      return true;
    }
    const described = this.#describing.get(write);
    if (described === undefined) return this.rollouts.stored(nowUs, write, done, detail);
    this.#describing.delete(write);
    if (!done) this.#notDescribed(described);
    described.tell(done);
    return true;
  }

  /** It never was: what was said later stands, and would go back to what was before this. */
  #notDescribed({ endpoint, revision, before }: Describing): void {
    const isLast = this.inventory.get(endpoint).revision === revision;
    if (isLast) return this.inventory.restore(endpoint, before);
    for (const later of this.#describing.values())
      if (later.endpoint === endpoint && later.before.revision === revision) later.before = before;
    return undefined;
  }

  needs(digest: string): boolean {
    return this.rollouts.needs(digest);
  }
}

function verdictOf(job: UpdateJob): Verdict {
  const { endpoint, origin = "operator", startedMs, reason, detail, state, releasedUntilMs } = job;
  const fixed = { endpoint, origin, startedMs, reason, detail, releasedUntilMs };
  if (state === "succeeded" || state === "failed" || state === "cancelled") return { ...fixed, state };
  if (isHeld(job)) return { ...fixed, state: "held" };
  return { ...fixed, state: APPLYING.has(state) ? "applying" : "under-way" };
}

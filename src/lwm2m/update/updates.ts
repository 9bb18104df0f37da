import type { Metrics } from "../../ports/metrics.ts";
import type { Random } from "../../ports/random.ts";
import type { StoreOp } from "../../ports/store.ts";
import { randomId } from "../../util/random.ts";
import type { Timer, TimerQueue } from "../../util/timer-queue.ts";
import type { DeviceQueues, OperationOutcome } from "../device-queue.ts";
import { chooseQuirks, STANDARD, type Quirks } from "../quirks.ts";
import type { Reading } from "../reading.ts";
import type { Registration } from "../registration.ts";
import type { RegistryEvent } from "../registry.ts";
import type { Timelines } from "../timeline.ts";
import {
  decodeJob,
  encodeJob,
  hasEnded,
  jobKey,
  newJob,
  type Component,
  type UpdateJob,
  type UpdatePolicy,
} from "./job.ts";
import type { Stored, UpdatePorts, Why } from "./ports.ts";
import { UpdateRun } from "./run.ts";

/** Updates that are kept, ended ones included: one for each client. */
const MAX_JOBS = 20_000;
const ID_DIGITS = 7;
const CANCELLED = { reason: "cancelled", detail: "cancelled by the operator" };

/** The packages that clients are to have; made of images that the gateway serves. */
export interface Packages {
  /** Serves the image at a path of its own, and tells of each block; what it was served as before ends. */
  serve(id: string, component: number, digest: string, onServed: Served): void;
  withdraw(id: string, components: number): void;
  image(nowUs: number, digest: string): Uint8Array | "loading" | "unknown";
  /** Why a client may not have what an update gives it, by now. */
  refusal(nowUs: number, job: UpdateJob): Why | undefined;
  uri(registration: Registration, id: string, component: number): string | undefined;
  manifestUri(registration: Registration, digest: string): string | undefined;
  progress(endpoint: string, digest: string): { readonly covered: number; readonly firstMissing: number };
  restart(endpoint: string, digest: string): void;
  /** True when these bytes had been there before. */
  record(
    nowUs: number,
    endpoint: string,
    digest: string,
    bytes: { readonly offset: number; readonly length: number; readonly acknowledged: boolean },
  ): boolean;
  /** Whatever image is served to this address, besides: for clients that were told where to look. */
  watch(
    address: string,
    onServed: ((nowUs: number, digest: string, offset: number, length: number) => void) | undefined,
  ): void;
}

type Served = (nowUs: number, offset: number, length: number) => void;

export interface UpdatesParts {
  readonly queues: DeviceQueues;
  readonly registration: (endpoint: string) => Registration | undefined;
  readonly packages: Packages;
  readonly timelines: Timelines;
  readonly profiles: readonly Quirks[];
  readonly timers: TimerQueue<(nowUs: number) => void>;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly unixMs: (nowUs: number) => number;
  /** Has records written durably; `stored` is told what became of it. */
  readonly store: (ops: readonly StoreOp[]) => number;
}

interface Entry {
  readonly run: UpdateRun;
  timer: Timer | undefined;
  /** When `timer` goes off. */
  timerUs: number | undefined;
  /** It is on the disk: nothing is done for one that may turn out never to have been. */
  begun: boolean;
  /** Its end has been told. */
  closed: boolean;
  /** That it waits for its release has been told. */
  held: boolean;
}

export type StartRefusal = "update-under-way" | "too-many-updates";

/** The updates of all clients: one under way for each, and how the last one went. */
export class Updates {
  readonly #parts: UpdatesParts;
  readonly #entries = new Map<string, Entry>();
  readonly #writes = new Map<number, Stored | undefined>();
  readonly #ended: UpdateJob[] = [];
  readonly #held: UpdateJob[] = [];

  constructor(parts: UpdatesParts) {
    this.#parts = parts;
  }

  /** Begins an update; `then` is told whether it got to the disk. */
  start(
    nowUs: number,
    endpoint: string,
    components: readonly Component[],
    policy: UpdatePolicy,
    then: (done: boolean) => void,
    origin?: string,
  ): UpdateJob | StartRefusal {
    const before = this.#entries.get(endpoint);
    if (before !== undefined && !hasEnded(before.run.job)) return "update-under-way";
    if (before === undefined && this.#entries.size >= MAX_JOBS && !this.#forgetOne()) return "too-many-updates";
    const job = newJob(
      randomId(this.#parts.random, ID_DIGITS),
      endpoint,
      components,
      policy,
      this.#parts.unixMs(nowUs),
      origin,
    );
    const what = components
      .map(({ version, size, digest }) => `${version}, ${size} bytes, ${digest.slice(0, 12)}`)
      .join("; ");
    this.#parts.timelines.note(nowUs, endpoint, "update", what);
    this.#parts.metrics.count("lwm2m_updates", "started");
    const entry = this.#enter(nowUs, job);
    this.#write(job, (now, done) => {
      entry.begun = done;
      if (!done) this.#drop(entry);
      else if (!hasEnded(job)) entry.run.start(now);
      then(done);
      this.#after(entry);
    });
    return job;
  }

  /** Cancels what is under way; false when there is nothing, or it is too late. `then` is told once it is on the disk. */
  cancel(nowUs: number, endpoint: string, then: (done: boolean) => void = () => {}, why: Why = CANCELLED): boolean {
    const entry = this.#entries.get(endpoint);
    if (entry === undefined || hasEnded(entry.run.job)) return false;
    const done = entry.run.cancel(nowUs, why, (_now, written) => then(written));
    this.#after(entry);
    return done;
  }

  /** What is held may be applied, until so many milliseconds since 1970; false where nothing is held. `then`: it is on the disk. */
  release(endpoint: string, untilMs: number, then: (done: boolean) => void = () => {}): boolean {
    const entry = this.#entries.get(endpoint);
    if (entry === undefined || !entry.run.isHeld) return false;
    const before = entry.run.job.releasedUntilMs;
    entry.run.job.releasedUntilMs = untilMs;
    this.#write(entry.run.job, (now, done) => {
      if (done) this.#on(endpoint, (run) => run.advance(now));
      else if (!hasEnded(entry.run.job)) entry.run.job.releasedUntilMs = before;
      then(done);
    });
    return true;
  }

  /** The version that a client runs, as far as its last update showed. */
  runs(endpoint: string): string | undefined {
    const job = this.get(endpoint);
    return job?.state === "succeeded" ? job.components[0]?.version : undefined;
  }

  get(endpoint: string): UpdateJob | undefined {
    return this.#entries.get(endpoint)?.run.job;
  }

  *all(): Iterable<UpdateJob> {
    for (const { run } of this.#entries.values()) yield run.job;
  }

  /** Bytes of the component at hand that have got there. */
  bytesOf({ endpoint, components, component }: UpdateJob): number {
    return this.#parts.packages.progress(endpoint, components[component]!.digest).covered;
  }

  /** The profile that was chosen for a client. */
  quirksOf(endpoint: string): Quirks | undefined {
    return this.#entries.get(endpoint)?.run.quirks;
  }

  /** Whether an image is still to get somewhere. */
  needs(digest: string): boolean {
    for (const { run } of this.#entries.values())
      if (!hasEnded(run.job) && run.job.components.some((component) => component.digest === digest)) return true;
    return false;
  }

  /** Takes a record back after a restart; `begin` goes on with it. */
  recover(nowUs: number, record: Uint8Array): boolean {
    const job = decodeJob(record);
    if (job === undefined || this.#entries.size >= MAX_JOBS) return false;
    this.#enter(nowUs, job);
    return true;
  }

  /** Goes on with what was under way before a restart. */
  begin(nowUs: number): void {
    for (const entry of this.#entries.values()) {
      entry.begun = true;
      if (hasEnded(entry.run.job)) continue;
      entry.run.start(nowUs);
      this.#after(entry);
    }
  }

  handleOutcome(nowUs: number, { endpoint, id, result }: OperationOutcome): void {
    this.#on(endpoint, (run) => run.handleOutcome(nowUs, id, result));
  }

  /** It is about to be asked again, and what it was asked before has no meaning any more. */
  restarted(nowUs: number, endpoint: string): void {
    this.#on(endpoint, (run) => run.restarted(nowUs));
  }

  handleRegistration(nowUs: number, { kind, registration: { endpoint } }: RegistryEvent): void {
    if (kind === "registered") this.#on(endpoint, (run) => run.registered(nowUs));
    else if (kind === "updated") this.#on(endpoint, (run) => run.heard(nowUs));
  }

  handleReport(nowUs: number, endpoint: string, readings: readonly Reading[]): void {
    this.#on(endpoint, (run) => run.handleReport(nowUs, readings));
  }

  imageSettled(nowUs: number, digest: string, ready: boolean): void {
    for (const { run } of this.#entries.values())
      if (run.job.components.some((component) => component.digest === digest))
        this.#on(run.job.endpoint, (one) => one.imageSettled(nowUs, ready));
  }

  /** What became of a write; false when it is none of these. */
  stored(nowUs: number, write: number, done: boolean): boolean {
    if (!this.#writes.has(write)) return false;
    const then = this.#writes.get(write);
    this.#writes.delete(write);
    then?.(nowUs, done);
    return true;
  }

  /** Updates that have ended since. */
  pollEnded(): UpdateJob | undefined {
    return this.#ended.shift();
  }

  /** Updates that have come to wait for their release. */
  pollHeld(): UpdateJob | undefined {
    return this.#held.shift();
  }

  #on(endpoint: string, action: (run: UpdateRun) => void): void {
    const entry = this.#entries.get(endpoint);
    if (entry === undefined || !entry.begun || hasEnded(entry.run.job)) return;
    action(entry.run);
    this.#after(entry);
  }

  #enter(nowUs: number, job: UpdateJob): Entry {
    const entry: Entry = {
      run: new UpdateRun(nowUs, job, this.#portsFor(job)),
      timer: undefined,
      timerUs: undefined,
      begun: false,
      closed: hasEnded(job),
      held: false,
    };
    this.#entries.get(job.endpoint)?.timer?.cancel();
    this.#entries.set(job.endpoint, entry);
    if (hasEnded(job)) return entry;
    for (const [i, { digest }] of job.components.entries())
      this.#parts.packages.serve(job.id, i, digest, (now, offset, length) => this.#served(now, job, i, offset, length));
    return entry;
  }

  /** After each call into a run: its timer, and what its end calls for. */
  #after(entry: Entry): void {
    const { job } = entry.run;
    const dueUs = hasEnded(job) ? undefined : entry.run.dueUs;
    if (dueUs !== entry.timerUs) this.#setTimer(entry, dueUs);
    if (entry.run.isHeld !== entry.held) {
      entry.held = entry.run.isHeld;
      if (entry.held) this.#held.push(job);
    }
    if (hasEnded(job) && !entry.closed) {
      entry.closed = true;
      this.#parts.packages.withdraw(job.id, job.components.length);
      this.#parts.metrics.count("lwm2m_updates", job.state);
      this.#unwatch(job);
      this.#ended.push(job);
      if (this.#ended.length > MAX_JOBS) this.#ended.shift();
    }
  }

  #setTimer(entry: Entry, dueUs: number | undefined): void {
    entry.timer?.cancel();
    entry.timerUs = dueUs;
    const { endpoint } = entry.run.job;
    entry.timer =
      dueUs === undefined
        ? undefined
        : this.#parts.timers.schedule(dueUs, (nowUs) => {
            entry.timerUs = undefined;
            this.#on(endpoint, (run) => run.handleTimeout(nowUs));
          });
  }

  #record(nowUs: number, job: UpdateJob, by: "pull" | "push", digest: string, offset: number, length: number): boolean {
    const { packages, timelines, queues } = this.#parts;
    const repeat = packages.record(nowUs, job.endpoint, digest, { offset, length, acknowledged: by === "push" });
    timelines.block(nowUs, job.endpoint, by, { offset, length, repeat });
    if (by === "pull") queues.heard(nowUs, job.endpoint);
    return repeat;
  }

  #watch(job: UpdateJob): void {
    const address = this.#parts.registration(job.endpoint)?.peer.address;
    if (address === undefined) return;
    this.#parts.packages.watch(address, (now, digest, offset, length) => {
      if (digest === job.components[job.component]!.digest) this.#served(now, job, job.component, offset, length);
    });
  }

  #unwatch(job: UpdateJob): void {
    const address = this.#parts.registration(job.endpoint)?.peer.address;
    if (address !== undefined) this.#parts.packages.watch(address, undefined);
  }

  /** Bytes of a component were served to its client. */
  #served(nowUs: number, job: UpdateJob, component: number, offset: number, length: number): void {
    if (hasEnded(job)) return;
    const again = this.#record(nowUs, job, "pull", job.components[component]!.digest, offset, length);
    if (job.component === component) this.#on(job.endpoint, (run) => run.served(nowUs, offset, again));
  }

  /** The one that ended longest ago makes room; false when all are under way. */
  #forgetOne(): boolean {
    for (const entry of this.#entries.values()) {
      if (!hasEnded(entry.run.job)) continue;
      this.#drop(entry);
      this.#parts.store([{ kind: "delete", key: jobKey(entry.run.job.endpoint) }]);
      return true;
    }
    return false;
  }

  #drop(entry: Entry): void {
    const { job } = entry.run;
    entry.closed = true;
    entry.timer?.cancel();
    this.#parts.packages.withdraw(job.id, job.components.length);
    if (this.#entries.get(job.endpoint) === entry) this.#entries.delete(job.endpoint);
  }

  #write(job: UpdateJob, then?: Stored): void {
    const write = this.#parts.store([{ kind: "put", key: jobKey(job.endpoint), value: encodeJob(job) }]);
    this.#writes.set(write, then);
  }

  #portsFor(job: UpdateJob): UpdatePorts {
    const { endpoint } = job;
    const { queues, packages, timelines, profiles, unixMs, registration } = this.#parts;
    return {
      registration: () => registration(endpoint),
      submit: (nowUs, operation, priority) =>
        queues.submit(nowUs, endpoint, operation, { owner: "update", ...(priority === undefined ? {} : { priority }) }),
      withdraw: (nowUs, operation) => void queues.withdraw(nowUs, endpoint, operation),
      image: (nowUs, digest) => packages.image(nowUs, digest),
      refusal: (nowUs) => packages.refusal(nowUs, job),
      packageUri: () => {
        const known = registration(endpoint);
        return known && packages.uri(known, job.id, job.component);
      },
      manifestUri: (digest) => {
        const known = registration(endpoint);
        return known && packages.manifestUri(known, digest);
      },
      progress: (digest) => packages.progress(endpoint, digest),
      restart: (digest) => packages.restart(endpoint, digest),
      record: (nowUs, digest, offset, length) => void this.#record(nowUs, job, "push", digest, offset, length),
      isAwake: (nowUs) => queues.isAwake(nowUs, endpoint),
      intervalUs: (activeUs) => {
        const known = registration(endpoint);
        return (known && queues.wakefulness(endpoint)?.intervalUs(known, activeUs)) ?? activeUs;
      },
      quirks: (evidence) => chooseQuirks(profiles, evidence),
      quirksNamed: (name) => profiles.find((one) => one.name === name) ?? STANDARD,
      unixMs,
      note: (nowUs, event, text) => timelines.note(nowUs, endpoint, event, text),
      watch: () => this.#watch(job),
      changed: (then) => this.#write(job, then),
    };
  }
}

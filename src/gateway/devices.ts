import type { CoapEndpoint } from "../coap/endpoint.ts";
import type { Router } from "../coap/router.ts";
import { uintOption } from "../coap/message.ts";
import { Code, Option } from "../coap/numbers.ts";
import type { ClientEvent, HandlerResult, IncomingRequest } from "../coap/request.ts";
import { decodeContent, Format } from "../lwm2m/content.ts";
import { ADVANCED_FIRMWARE_OBJECT, FIRMWARE_OBJECT } from "../lwm2m/firmware.ts";
import { DeviceQueues, type OperationOutcome, type SubmitOptions } from "../lwm2m/device-queue.ts";
import { Observing } from "../lwm2m/observing.ts";
import type { Operation } from "../lwm2m/operation.ts";
import { outcomeText, type OperationResult } from "../lwm2m/operation-result.ts";
import { pathText } from "../lwm2m/path.ts";
import { Probes } from "../lwm2m/probe.ts";
import type { Quirks } from "../lwm2m/quirks.ts";
import type { Reading } from "../lwm2m/reading.ts";
import type { Registration } from "../lwm2m/registration.ts";
import { Registry, REGISTRATION_PREFIX, type RegistryEvent, type RegistryParts } from "../lwm2m/registry.ts";
import { Timelines, TIMELINE_PREFIX } from "../lwm2m/timeline.ts";
import { UPDATE_PREFIX, type UpdateJob } from "../lwm2m/update/job.ts";
import { Updates, type Packages } from "../lwm2m/update/updates.ts";
import { ContentError, toText } from "../lwm2m/values.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Log } from "../ports/log.ts";
import type { Durability, StoreOp } from "../ports/store.ts";
import { utf8 } from "../util/bytes.ts";
import { earlier } from "../util/deadline.ts";
import { peerKey } from "../util/peer.ts";
import { runDue, TimerQueue } from "../util/timer-queue.ts";
import { Operations, OPERATION_PREFIX } from "./operations.ts";

/** What a client told of itself. */
export interface Report {
  readonly endpoint: string;
  readonly by: "notify" | "send";
  readonly readings: readonly Reading[];
}

/** Largest Send that is taken. */
const MAX_SEND_BYTES = 65_536;
/** Reports that wait for whoever reads them. */
const MAX_REPORTS = 1_024;
const SEND_FORMATS: ReadonlySet<number> = new Set([Format.SENML_JSON, Format.SENML_CBOR, Format.LWM2M_CBOR]);

export interface DevicesParts extends Omit<RegistryParts, "respond" | "store"> {
  readonly log: Log;
  readonly endpoint: CoapEndpoint;
  readonly packages: Packages;
  readonly profiles: readonly Quirks[];
  readonly unixMs: (nowUs: number) => number;
  /** Told when a client registers, and when it says that it is still there. */
  readonly heard?: ((nowUs: number, endpoint: string) => void) | undefined;
  /** Told what clients say of themselves, however it was asked. */
  readonly learn?: ((nowUs: number, endpoint: string, readings: readonly Reading[]) => void) | undefined;
  /** Told of the answer to what the owner `fleet` has asked. */
  readonly answered?: ((nowUs: number, outcome: OperationOutcome) => void) | undefined;
  /** Told when clients register, deregister or expire. */
  readonly registered?: ((endpoint: string, kind: string) => void) | undefined;
  /** Told of updates that have ended, or wait for their release. */
  readonly updateChanged?: ((job: UpdateJob) => void) | undefined;
  /** How long a client in Queue Mode hears after its last message, where that is configured. */
  readonly awakeUs: (endpoint: string) => number | undefined;
  readonly store: (ops: readonly StoreOp[], durability: Durability) => number;
}

/** The LwM2M clients of a gateway: who is registered, what is asked of each, and what it is to run. */
export class Devices {
  readonly #parts: DevicesParts;
  readonly #registry: Registry;
  readonly #queues: DeviceQueues;
  readonly #observing: Observing;
  readonly timelines: Timelines;
  readonly updates: Updates;
  readonly operations: Operations;
  readonly probes: Probes;
  readonly #timers = new TimerQueue<(nowUs: number) => void>();
  readonly #reports: Report[] = [];
  readonly #outcomes: OperationOutcome[] = [];
  /** Reports that came by Send, and are acted on behind the response. */
  readonly #sends: Report[] = [];

  constructor(parts: DevicesParts, router: Router) {
    this.#parts = parts;
    const { endpoint, random, metrics, packages, profiles, unixMs, awakeUs } = parts;
    const timers = this.#timers;
    const store = (ops: readonly StoreOp[]): number => parts.store(ops, "durable");
    this.#registry = new Registry(
      {
        random,
        metrics,
        store,
        respond: endpoint.respond.bind(endpoint),
        answeredUs: (name) => this.#queues.wakefulness(name)?.heardUs,
      },
      router,
    );
    this.#observing = new Observing(endpoint);
    const onOnce = (operation: number): void => this.operations.begun(operation);
    const queues = new DeviceQueues({ requester: endpoint, observing: this.#observing, timers, awakeUs, onOnce });
    this.#queues = queues;
    this.timelines = new Timelines(unixMs);
    const registration = (name: string): Registration | undefined => this.#registry.get(name);
    const shared = { queues, timers, unixMs, store, registration, profiles, metrics, packages };
    this.updates = new Updates({ ...shared, timelines: this.timelines, random: random.fork("update") });
    this.operations = new Operations({ queues, store, unixMs, timelines: this.timelines });
    this.probes = new Probes({ queues, registration, profiles });
    router.add(["dp"], { post: (_nowUs, request) => this.#takeSend(request), maxBodyBytes: MAX_SEND_BYTES });
  }

  /** Takes a record of the store back; undefined when it is of another kind, false when it is damaged. */
  recover(key: string, record: Uint8Array, nowUs: number): boolean | undefined {
    if (key.startsWith(TIMELINE_PREFIX)) return this.timelines.recover(key, record);
    if (key.startsWith(UPDATE_PREFIX)) return this.updates.recover(nowUs, record);
    if (key.startsWith(OPERATION_PREFIX)) return this.operations.recover(record);
    if (!key.startsWith(REGISTRATION_PREFIX)) return undefined;
    const registration = this.#registry.recover(nowUs, record);
    if (registration !== undefined) this.#queues.recover(registration);
    return registration !== undefined;
  }

  /** Goes on with what was under way, once everything has been taken back. */
  begin(nowUs: number): void {
    this.operations.begin(nowUs);
    this.updates.begin(nowUs);
  }

  all(): Iterable<{ readonly registration: Registration; readonly seenUs: number }> {
    return this.#registry.all();
  }

  get(endpoint: string): Registration | undefined {
    return this.#registry.get(endpoint);
  }

  /** Who registered from this address. */
  at(peer: PeerAddress): string | undefined {
    return this.#registry.at(peer);
  }

  /** See `DeviceQueues.submit`. */
  submit(nowUs: number, endpoint: string, operation: Operation, options?: SubmitOptions): number | undefined {
    return this.#queues.submit(nowUs, endpoint, operation, options);
  }

  withdraw(nowUs: number, endpoint: string, operation: number): boolean {
    return this.#queues.withdraw(nowUs, endpoint, operation);
  }

  waiting(endpoint: string): ReturnType<DeviceQueues["waiting"]> {
    return this.#queues.waiting(endpoint);
  }

  /** Seconds between two wakes of a client in Queue Mode. */
  intervalS(registration: Registration): number | undefined {
    const wakefulness = this.#queues.wakefulness(registration.endpoint);
    return wakefulness && wakefulness.intervalUs(registration, 0) / 1_000_000;
  }

  isAwake(nowUs: number, endpoint: string): boolean {
    return this.#queues.isAwake(nowUs, endpoint);
  }

  handleEvent(nowUs: number, event: ClientEvent): boolean {
    const endpoint = this.#observing.handleEvent(event);
    const asked = this.#queues.handleEvent(nowUs, event);
    if (endpoint !== undefined) {
      if (event.kind !== "failed" && !asked) this.#queues.heard(nowUs, endpoint);
      this.#takeObserved(nowUs);
    }
    return asked || endpoint !== undefined;
  }

  /** A message of ours was sent once more. */
  handleRetransmission(nowUs: number, peer: PeerAddress): void {
    const endpoint = this.#registry.at(peer);
    if (endpoint !== undefined) this.timelines.retransmitted(nowUs, endpoint);
  }

  /** What clients have told of themselves, by Notify or by Send. */
  pollReport(): Report | undefined {
    return this.#reports.shift();
  }

  stored(nowUs: number, write: number, done: boolean): boolean {
    return (
      this.#registry.stored(nowUs, write, done) ||
      this.updates.stored(nowUs, write, done) ||
      this.operations.stored(nowUs, write, done)
    );
  }

  handleTimeout(nowUs: number): void {
    this.#registry.handleTimeout(nowUs);
    runDue(this.#timers, nowUs);
    const flushUs = this.timelines.pollTimeout();
    if (flushUs !== undefined && flushUs <= nowUs) this.flush();
  }

  /** Writes what the timelines have not written yet. */
  flush(): void {
    const ops = this.timelines.takeWrites();
    if (ops.length > 0) this.#parts.store(ops, "lazy");
  }

  pollTimeout(): number | undefined {
    const next = earlier(this.#timers.nextUs(), this.timelines.pollTimeout());
    return earlier(this.#registry.pollTimeout(), next);
  }

  /** The outcomes of operators' operations. */
  pollOutcome(): OperationOutcome | undefined {
    return this.#outcomes.shift();
  }

  /** Acts on what the registry and the queues have seen, until nothing is left. */
  settle(nowUs: number): void {
    for (const report of this.#sends.splice(0)) {
      this.#report(nowUs, report);
      this.#queues.heard(nowUs, report.endpoint); // what waits for it goes out behind the response
    }
    for (let event = this.#registry.pollEvent(); event !== undefined; event = this.#registry.pollEvent()) {
      this.#note(nowUs, event);
      // A client that registers anew knows nothing of what it was asked before.
      if (event.kind !== "updated") this.#observing.forget(nowUs, event.registration.endpoint);
      this.#takeObserved(nowUs);
      if (event.kind === "registered") this.updates.restarted(nowUs, event.registration.endpoint);
      this.#queues.handleRegistration(nowUs, event);
      if (event.kind === "registered") this.operations.registered(nowUs, event.registration.endpoint);
      this.updates.handleRegistration(nowUs, event);
    }
    for (let outcome = this.#queues.pollOutcome(); outcome !== undefined; outcome = this.#queues.pollOutcome())
      this.#conclude(nowUs, outcome);
    for (let job = this.updates.pollHeld(); job !== undefined; job = this.updates.pollHeld())
      this.#parts.updateChanged?.(job);
    for (let job = this.updates.pollEnded(); job !== undefined; job = this.updates.pollEnded()) {
      this.#parts.updateChanged?.(job);
      const { endpoint, state, reason, detail } = job;
      const level = state === "failed" ? "warn" : "info";
      this.#parts.log.event(level, `update-${state}`, { endpoint, reason: reason ?? "", detail: detail ?? "" });
    }
  }

  #conclude(nowUs: number, outcome: OperationOutcome): void {
    const { endpoint, operation, result, owner } = outcome;
    if (result.kind === "done" && result.readings !== undefined) this.#parts.learn?.(nowUs, endpoint, result.readings);
    if (owner === "fleet") return this.#parts.answered?.(nowUs, outcome);
    if (owner === "update") return this.updates.handleOutcome(nowUs, outcome);
    if (owner === "probe") return this.probes.handleOutcome(nowUs, outcome);
    this.operations.ended(outcome);
    this.timelines.note(nowUs, endpoint, operation.kind, `${pathText(operation.path)}: ${resultText(result)}`);
    this.#outcomes.push(outcome);
  }

  #takeObserved(nowUs: number): void {
    for (let event = this.#observing.pollEvent(); event !== undefined; event = this.#observing.pollEvent()) {
      const { endpoint, paths } = event;
      if (event.kind === "notified") this.#report(nowUs, { endpoint, by: "notify", readings: event.readings });
      else if (event.kind === "changed")
        for (const path of paths) this.#queues.submit(nowUs, endpoint, { kind: "read", path });
      else this.#parts.metrics.count("lwm2m_observations_ended", event.reason);
    }
  }

  /** Send (LwM2M 1.1 Core, section 6.4.8): a client is known by the address that it registered from. */
  #takeSend(request: IncomingRequest): HandlerResult {
    const endpoint = this.#registry.at(request.peer);
    if (endpoint === undefined) return { code: Code.NOT_FOUND };
    const format = uintOption(request.options, Option.CONTENT_FORMAT);
    if (format === undefined || !SEND_FORMATS.has(format)) return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    try {
      this.#sends.push({ endpoint, by: "send", readings: decodeContent(format, request.payload, []) });
    } catch (error) {
      if (!(error instanceof ContentError)) throw error;
      return { code: Code.BAD_REQUEST, payload: utf8(error.message) };
    }
    return { code: Code.CHANGED };
  }

  #report(nowUs: number, report: Report): void {
    const { endpoint, readings, by } = report;
    this.#parts.metrics.count("lwm2m_reports", by);
    this.#parts.learn?.(nowUs, endpoint, readings);
    // What an update observes is told by the update.
    const others = readings.filter(({ path }) => path[0] !== FIRMWARE_OBJECT && path[0] !== ADVANCED_FIRMWARE_OBJECT);
    if (others.length > 0) this.timelines.note(nowUs, endpoint, by, shownReadings(others));
    this.#reports.push(report);
    if (this.#reports.length > MAX_REPORTS) this.#reports.shift();
    this.updates.handleReport(nowUs, endpoint, readings);
  }

  #note(nowUs: number, { kind, registration }: RegistryEvent): void {
    const { endpoint, peer, version, lifetimeS, queueMode } = registration;
    this.#parts.metrics.count("lwm2m_registrations", kind);
    if (kind === "registered" || kind === "updated") this.#parts.heard?.(nowUs, endpoint);
    if (kind === "updated") return; // each lifetime has some
    this.#parts.registered?.(endpoint, kind);
    const fields = { endpoint, peer: peerKey(peer), version, lifetimeS, queueMode };
    this.#parts.log.event(kind === "expired" ? "warn" : "info", `lwm2m-${kind}`, fields);
    const text = `${peerKey(peer)}, LwM2M ${version}, lifetime ${lifetimeS} s${queueMode ? ", Queue Mode" : ""}`;
    this.timelines.note(nowUs, endpoint, kind, text);
  }
}

function resultText(result: OperationResult): string {
  if (result.kind !== "done") return outcomeText(result);
  const values = (result.readings ?? []).slice(0, 4).map(readingText);
  return [result.code, ...values].join(" ");
}

const readingText = ({ path, value }: Reading): string => `${pathText(path)}=${toText(value)}`;

/** Readings that fit a line of a timeline. */
const MAX_SHOWN = 6;

function shownReadings(readings: readonly Reading[]): string {
  const shown = readings.slice(0, MAX_SHOWN).map(readingText);
  return [...shown, ...(readings.length > MAX_SHOWN ? [`and ${readings.length - MAX_SHOWN} more`] : [])].join(" ");
}

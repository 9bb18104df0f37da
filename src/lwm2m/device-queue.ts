import type { ClientEvent, Requester } from "../coap/request.ts";
import type { Timer, TimerQueue } from "../util/timer-queue.ts";
import { STRUCTURED } from "./content.ts";
import { ObserveRun } from "./observe-run.ts";
import type { Observing } from "./observing.ts";
import { RunningOperation, type Operation, type Run } from "./operation.ts";
import type { OperationResult } from "./operation-result.ts";
import { pathText } from "./path.ts";
import { INTERRUPTED, PushRun } from "./push-run.ts";
import type { Registration } from "./registration.ts";
import type { RegistryEvent } from "./registry.ts";
import { Wakefulness } from "./wakefulness.ts";

/** Operations that wait for one client. */
const MAX_WAITING = 64;

/** Who asked: an operator, or a part of the gateway by its name. */
export type Owner = "operator" | "update" | "probe" | "fleet";

export interface SubmitOptions {
  readonly owner?: Owner;
  /** Lower goes first; 5 where none is given, 7 for the blocks of a package. */
  readonly priority?: number;
  /** Given up when it has not begun by then. */
  readonly deadlineUs?: number;
  /** A number of the caller's own; a fresh one when absent. */
  readonly id?: number;
}

export interface OperationOutcome {
  readonly id: number;
  readonly owner: Owner;
  readonly endpoint: string;
  readonly operation: Operation;
  readonly result: OperationResult;
}

interface Asker {
  readonly id: number;
  readonly owner: Owner;
  readonly deadline: Timer | undefined;
  /** It has waited too long; what is under way is not broken off for that. */
  late: boolean;
}

interface Waiting {
  /** All who asked for the same. */
  readonly askers: Asker[];
  /** Wakes of the client at which it did not answer this. */
  attempts: number;
  readonly operation: Operation;
  priority: number;
}

interface Device {
  registration: Registration;
  /** False once its registration has expired: what waits for it goes on waiting. */
  registered: boolean;
  readonly wakefulness: Wakefulness;
  readonly waiting: Waiting[];
  running: (Waiting & { readonly run: Run }) | undefined;
  /** When what runs is given up, since the client is asleep by then. */
  cut: Timer | undefined;
  /** The format that it took last. */
  format: number | undefined;
}

export interface DeviceQueuesParts {
  readonly requester: Requester;
  readonly observing: Observing;
  readonly timers: TimerQueue<(nowUs: number) => void>;
  /** How long a client in Queue Mode is known to hear after its last message; undefined where it is to be learnt. */
  readonly awakeUs: (endpoint: string) => number | undefined;
  /** Told before what must not be done twice is sent. */
  readonly onOnce: (operation: number) => void;
}

/**
 * Operations on clients, one at a time for each (LwM2M 1.1 Core, section 6.5): to one in Queue Mode
 * nothing is sent once it may be asleep, and what waits goes out when it is heard of again.
 */
export class DeviceQueues {
  readonly #parts: DeviceQueuesParts;
  readonly #devices = new Map<string, Device>();
  readonly #byRequest = new Map<number, Device>();
  readonly #outcomes: OperationOutcome[] = [];
  #nextId = 1;

  constructor(parts: DeviceQueuesParts) {
    this.#parts = parts;
  }

  /** A number that no operation has had. */
  newId(): number {
    return this.#nextId++;
  }

  /** Numbers up to this one have been given before a restart. */
  skipIds(id: number): void {
    this.#nextId = Math.max(this.#nextId, id + 1);
  }

  /** The number under which the outcome comes; undefined when no such client is registered, or too much waits for it. */
  submit(nowUs: number, endpoint: string, operation: Operation, options: SubmitOptions = {}): number | undefined {
    const device = this.#devices.get(endpoint);
    if (device?.registered !== true || askersOf(device) >= MAX_WAITING) return undefined;
    const { owner = "operator", priority = 5, deadlineUs, id = this.newId() } = options;
    const deadline =
      deadlineUs === undefined
        ? undefined
        : this.#parts.timers.schedule(deadlineUs, () => this.#giveUp(device, id, "deadline"));
    const asker = { id, owner, deadline, late: false };
    const same = device.waiting.find((one) => isSameQuestion(one.operation, operation));
    if (same === undefined) {
      this.#supersede(device, operation);
      insert(device.waiting, { askers: [asker], operation, priority, attempts: 0 });
    } else {
      same.askers.push(asker);
      same.priority = Math.min(same.priority, priority);
      device.waiting.splice(device.waiting.indexOf(same), 1);
      insert(device.waiting, same);
    }
    this.#next(nowUs, device);
    return id;
  }

  /** Takes back an operation, or gives up on one that is under way; false when there is none. */
  withdraw(nowUs: number, endpoint: string, id: number): boolean {
    const device = this.#devices.get(endpoint);
    if (device === undefined) return false;
    const { running } = device;
    if (running === undefined || !running.askers.every((asker) => asker.id === id))
      return this.#giveUp(device, id, "cancelled");
    this.#stop(nowUs, running.run);
    this.#end(nowUs, device, { kind: "failed", reason: "cancelled" });
    return true;
  }

  /** What waits for a client, in the order in which it will go out. */
  waiting(endpoint: string): { readonly id: number; readonly operation: Operation; readonly running: boolean }[] {
    const device = this.#devices.get(endpoint);
    if (device === undefined) return [];
    const all = device.running === undefined ? device.waiting : [device.running, ...device.waiting];
    return all.flatMap((one) =>
      one.askers.map(({ id }) => ({ id, operation: one.operation, running: one === device.running })),
    );
  }

  /** The client showed by a message of its own that it is awake. */
  heard(nowUs: number, endpoint: string): void {
    const device = this.#devices.get(endpoint);
    if (device === undefined) return;
    device.wakefulness.heard(nowUs, true);
    this.#next(nowUs, device);
  }

  wakefulness(endpoint: string): Wakefulness | undefined {
    return this.#devices.get(endpoint)?.wakefulness;
  }

  /** Whether `endpoint` can be reached now. */
  isAwake(nowUs: number, endpoint: string): boolean {
    const device = this.#devices.get(endpoint);
    return device !== undefined && isAwake(nowUs, device);
  }

  /** A registration that was taken back after a restart: nobody knows whether the client is awake. */
  recover(registration: Registration): void {
    this.#devices.set(registration.endpoint, this.#newDevice(registration));
  }

  handleRegistration(nowUs: number, { kind, registration }: RegistryEvent): void {
    const { endpoint } = registration;
    const before = this.#devices.get(endpoint);
    if (kind === "expired") return before && this.#miss(nowUs, before);
    if (kind === "deregistered") return before && this.#forget(nowUs, before, kind);
    const device = before ?? this.#newDevice(registration);
    device.registration = registration;
    device.registered = true;
    // It has restarted: what it was being asked it does not know of. What it may have done is waited for.
    if (kind === "registered" && device.running !== undefined && !ONCE.has(device.running.operation.kind))
      this.#interrupt(nowUs, device, device.running);
    device.wakefulness.heard(nowUs, true);
    this.#devices.set(endpoint, device);
    this.#next(nowUs, device);
  }

  /** Takes an event of the endpoint; false when it is another's. */
  handleEvent(nowUs: number, event: ClientEvent): boolean {
    const device = this.#byRequest.get(event.request);
    const running = device?.running;
    if (device === undefined || running === undefined) return false;
    this.#byRequest.delete(event.request);
    if (event.kind !== "failed") device.wakefulness.heard(nowUs, false);
    const result = running.run.handleEvent(nowUs, event);
    if (result === undefined) this.#await(device, running.run);
    else this.#end(nowUs, device, result);
    return true;
  }

  pollOutcome(): OperationOutcome | undefined {
    return this.#outcomes.shift();
  }

  #newDevice(registration: Registration): Device {
    const wakefulness = new Wakefulness(this.#parts.awakeUs(registration.endpoint));
    const registered = true;
    return {
      registration,
      registered,
      wakefulness,
      waiting: [],
      running: undefined,
      cut: undefined,
      format: undefined,
    };
  }

  #next(nowUs: number, device: Device): void {
    while (device.running === undefined && device.waiting.length > 0 && isAwake(nowUs, device)) {
      const waiting = device.waiting.shift()!;
      const run = this.#runOf(device, waiting);
      device.running = { ...waiting, run };
      if (ONCE.has(waiting.operation.kind)) for (const { id } of waiting.askers) this.#parts.onOnce(id);
      const result = run.start(nowUs);
      if (result === undefined) this.#await(device, run);
      else this.#end(nowUs, device, result);
    }
  }

  #runOf(device: Device, { operation, priority }: Waiting): Run {
    const { requester, observing } = this.#parts;
    const { registration, format: known } = device;
    if (operation.kind === "observe" || operation.kind === "cancel-observation")
      return new ObserveRun(observing, registration, operation, known);
    if (operation.kind !== "push") return new RunningOperation({ requester, registration, operation, known });
    const yields = (): boolean => device.waiting.some((other) => other.priority < priority);
    return new PushRun(operation.push, requester, registration, yields);
  }

  /** Waits for the answer, but not longer than the client hears. */
  #await(device: Device, run: Run): void {
    if (run.request !== undefined) this.#byRequest.set(run.request, device);
    device.cut?.cancel();
    const sleepsUs = device.wakefulness.sleepsUs(device.registration);
    device.cut = undefined;
    if (sleepsUs === undefined) return;
    device.cut = this.#parts.timers.schedule(sleepsUs, (nowUs) => {
      if (device.running?.run !== run) return;
      if (isAwake(nowUs, device)) return this.#await(device, run); // it was heard of meanwhile
      this.#stop(nowUs, run);
      this.#end(nowUs, device, { kind: "failed", reason: "timeout" });
    });
  }

  #stop(nowUs: number, run: Run): void {
    if (run.request !== undefined) this.#byRequest.delete(run.request);
    run.cancel(nowUs);
  }

  #end(nowUs: number, device: Device, result: OperationResult): void {
    const { run, ...waiting } = device.running!;
    const { operation } = waiting;
    device.running = undefined;
    device.cut?.cancel();
    const tells = result.kind === "done" && (operation.kind === "read" || operation.kind === "write");
    if (tells && run.format !== undefined && STRUCTURED.has(run.format)) device.format = run.format;
    const { queueMode } = device.registration;
    const timeout = result.kind === "failed" && result.reason === "timeout";
    if (timeout && queueMode) device.wakefulness.silent();
    // A client in Queue Mode that does not answer has gone to sleep: it is asked again when it is heard
    // of, unless it may have done already what must not be done twice.
    const again = timeout && queueMode && !ONCE.has(operation.kind);
    // What a client leaves without an answer at each wake must not keep the rest waiting for ever.
    const patient = operation.kind === "push" || ++waiting.attempts < MAX_ATTEMPTS;
    if (result === INTERRUPTED) insert(device.waiting, waiting);
    else if (again && patient) this.#waitOn(device, waiting);
    else this.#conclude(device, waiting, result);
    this.#next(nowUs, device);
  }

  /** It waits once more, behind what is as urgent; who has waited too long does not. */
  #waitOn(device: Device, waiting: Waiting): void {
    const late = waiting.askers.filter((asker) => asker.late);
    if (late.length > 0) this.#conclude(device, { ...waiting, askers: late }, { kind: "failed", reason: "deadline" });
    const askers = waiting.askers.filter((asker) => !asker.late);
    if (askers.length > 0) insert(device.waiting, { ...waiting, askers });
  }

  /** A later Write of the same resource makes an earlier one that still waits pointless. */
  #supersede(device: Device, operation: Operation): void {
    if (operation.kind !== "write" || !operation.replace) return;
    const before = device.waiting.find(
      (one) => one.operation.kind === "write" && one.operation.replace && samePath(one.operation, operation),
    );
    if (before === undefined) return;
    device.waiting.splice(device.waiting.indexOf(before), 1);
    this.#conclude(device, before, { kind: "failed", reason: "superseded" });
  }

  #giveUp(device: Device, id: number, reason: string): boolean {
    const waiting = device.waiting.find(({ askers }) => askers.some((asker) => asker.id === id));
    if (waiting === undefined) {
      const running = device.running?.askers.find((asker) => asker.id === id);
      if (running !== undefined) running.late = true;
      return false;
    }
    const at = waiting.askers.findIndex((asker) => asker.id === id);
    const [asker] = waiting.askers.splice(at, 1);
    if (waiting.askers.length === 0) device.waiting.splice(device.waiting.indexOf(waiting), 1);
    this.#conclude(device, { ...waiting, askers: [asker!] }, { kind: "failed", reason });
    return true;
  }

  /** It has not kept up its registration: a client that only could not reach us is asked when it is back. */
  #miss(nowUs: number, device: Device): void {
    device.registered = false;
    const { running } = device;
    if (running !== undefined) {
      this.#interrupt(nowUs, device, running);
      const at = device.waiting.findIndex(({ operation }) => operation === running.operation);
      if (ONCE.has(running.operation.kind))
        this.#conclude(device, device.waiting.splice(at, 1)[0]!, { kind: "failed", reason: "expired" });
    }
    if (device.waiting.length === 0) this.#devices.delete(device.registration.endpoint);
  }

  /** What runs waits again, before what is as urgent. */
  #interrupt(nowUs: number, device: Device, { run, ...waiting }: NonNullable<Device["running"]>): void {
    this.#stop(nowUs, run);
    device.running = undefined;
    device.cut?.cancel();
    insert(device.waiting, waiting, true);
  }

  #forget(nowUs: number, device: Device, reason: string): void {
    this.#devices.delete(device.registration.endpoint);
    device.cut?.cancel();
    if (device.running !== undefined) this.#stop(nowUs, device.running.run);
    const left = device.running === undefined ? device.waiting : [device.running, ...device.waiting];
    for (const waiting of left) this.#conclude(device, waiting, { kind: "failed", reason });
    device.waiting.length = 0;
    device.running = undefined;
  }

  #conclude({ registration: { endpoint } }: Device, { askers, operation }: Waiting, result: OperationResult): void {
    for (const { id, owner, deadline } of askers) {
      deadline?.cancel();
      this.#outcomes.push({ id, owner, endpoint, operation, result });
    }
  }
}

/** Wakes at which a client may leave one thing without an answer. */
const MAX_ATTEMPTS = 3;
/** Operations that must not be done twice. */
const ONCE: ReadonlySet<Operation["kind"]> = new Set(["execute", "create", "post"]);

const isAwake = (nowUs: number, { registered, registration, wakefulness }: Device): boolean =>
  registered && wakefulness.isAwake(nowUs, registration);

const askersOf = ({ waiting }: Device): number => waiting.reduce((sum, { askers }) => sum + askers.length, 0);

/** Behind what is as urgent; at the head of it where it was under way already. */
function insert(waiting: Waiting[], one: Waiting, first = false): void {
  const at = waiting.findIndex(({ priority }) => (first ? priority >= one.priority : priority > one.priority));
  waiting.splice(at < 0 ? waiting.length : at, 0, one);
}

const samePath = (a: Operation, b: Operation): boolean => pathText(a.path) === pathText(b.path);

/** Whether one answer serves both. */
function isSameQuestion(a: Operation, b: Operation): boolean {
  return a.kind === b.kind && (a.kind === "read" || a.kind === "discover") && samePath(a, b);
}

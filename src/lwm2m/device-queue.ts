import type { ClientEvent, Requester } from "../coap/request.ts";
import { RunningOperation, type Operation, type OperationResult } from "./operation.ts";
import type { Registration } from "./registration.ts";
import type { RegistryEvent } from "./registry.ts";

/** MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2): how long a client in Queue Mode hears after its last message. */
const AWAKE_US = 93_000_000;
/** Operations that wait for one client. */
const MAX_WAITING = 64;

export interface OperationOutcome {
  readonly id: number;
  readonly endpoint: string;
  readonly operation: Operation;
  readonly result: OperationResult;
}

interface Waiting {
  readonly id: number;
  readonly operation: Operation;
}

interface Device {
  registration: Registration;
  awakeUntilUs: number;
  readonly waiting: Waiting[];
  running: (Waiting & { readonly run: RunningOperation }) | undefined;
  /** The format that it took last. */
  format: number | undefined;
}

/**
 * Operations on clients, one at a time for each (LwM2M 1.1 Core, section 6.4): to one in Queue Mode
 * nothing is sent once it may be asleep, and what waits goes out when it is heard of again.
 */
export class DeviceQueues {
  readonly #requester: Requester;
  readonly #devices = new Map<string, Device>();
  readonly #outcomes: OperationOutcome[] = [];
  #nextId = 1;

  constructor(requester: Requester) {
    this.#requester = requester;
  }

  /** The number under which the outcome comes; undefined when no such client is registered, or too much waits for it. */
  submit(nowUs: number, endpoint: string, operation: Operation): number | undefined {
    const device = this.#devices.get(endpoint);
    if (device === undefined || device.waiting.length >= MAX_WAITING) return undefined;
    const id = this.#nextId++;
    device.waiting.push({ id, operation });
    this.#next(nowUs, device);
    return id;
  }

  /** The client showed by a message of its own that it is awake. */
  heard(nowUs: number, endpoint: string): void {
    const device = this.#devices.get(endpoint);
    if (device === undefined) return;
    device.awakeUntilUs = nowUs + AWAKE_US;
    this.#next(nowUs, device);
  }

  /** The format that it took last. */
  formatOf(endpoint: string): number | undefined {
    return this.#devices.get(endpoint)?.format;
  }

  /** Whether `endpoint` can be reached now. */
  isAwake(nowUs: number, endpoint: string): boolean {
    const device = this.#devices.get(endpoint);
    return device !== undefined && isAwake(nowUs, device);
  }

  /** A registration that was taken back after a restart: nobody knows whether the client is awake. */
  recover(registration: Registration): void {
    this.#devices.set(registration.endpoint, newDevice(registration, 0));
  }

  handleRegistration(nowUs: number, { kind, registration }: RegistryEvent): void {
    const { endpoint } = registration;
    const before = this.#devices.get(endpoint);
    if (kind === "deregistered" || kind === "expired") {
      if (before === undefined) return;
      this.#devices.delete(endpoint);
      before.running?.run.cancel(nowUs);
      const left = before.running === undefined ? before.waiting : [before.running, ...before.waiting];
      for (const { id, operation } of left) this.#conclude(before, id, operation, { kind: "failed", reason: kind });
      return;
    }
    const device = before ?? newDevice(registration, 0);
    device.registration = registration;
    device.awakeUntilUs = nowUs + AWAKE_US;
    this.#devices.set(endpoint, device);
    this.#next(nowUs, device);
  }

  /** Takes an event of the endpoint; false when it is another's. */
  handleEvent(nowUs: number, event: ClientEvent): boolean {
    for (const device of this.#devices.values()) {
      const { running } = device;
      if (running?.run.awaits(event.request) !== true) continue;
      if (event.kind !== "failed") device.awakeUntilUs = nowUs + AWAKE_US;
      const result = running.run.handleEvent(nowUs, event);
      if (result !== undefined) this.#end(nowUs, device, running, result);
      return true;
    }
    return false;
  }

  pollOutcome(): OperationOutcome | undefined {
    return this.#outcomes.shift();
  }

  #next(nowUs: number, device: Device): void {
    while (device.running === undefined && device.waiting.length > 0 && isAwake(nowUs, device)) {
      const { id, operation } = device.waiting.shift()!;
      const { registration, format: known } = device;
      const run = new RunningOperation({ requester: this.#requester, registration, operation, known });
      device.running = { id, operation, run };
      const result = run.start(nowUs);
      if (result !== undefined) this.#end(nowUs, device, device.running, result);
    }
  }

  #end(
    nowUs: number,
    device: Device,
    { id, operation, run }: NonNullable<Device["running"]>,
    result: OperationResult,
  ): void {
    device.running = undefined;
    if (result.kind === "done" && (operation.kind === "read" || operation.kind === "write")) device.format = run.format;
    // A client in Queue Mode that does not answer has gone to sleep: it is asked again when it is heard
    // of, unless it may have done already what must not be done twice.
    const asleep = result.kind === "failed" && result.reason === "timeout" && device.registration.queueMode;
    if (asleep && operation.kind !== "execute" && operation.kind !== "create") {
      device.awakeUntilUs = nowUs;
      device.waiting.unshift({ id, operation });
      return;
    }
    this.#conclude(device, id, operation, result);
    this.#next(nowUs, device);
  }

  #conclude({ registration }: Device, id: number, operation: Operation, result: OperationResult): void {
    this.#outcomes.push({ id, endpoint: registration.endpoint, operation, result });
  }
}

function newDevice(registration: Registration, awakeUntilUs: number): Device {
  return { registration, awakeUntilUs, waiting: [], running: undefined, format: undefined };
}

function isAwake(nowUs: number, { registration, awakeUntilUs }: Device): boolean {
  return !registration.queueMode || nowUs < awakeUntilUs;
}

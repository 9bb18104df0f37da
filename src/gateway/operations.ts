import type { DeviceQueues, OperationOutcome } from "../lwm2m/device-queue.ts";
import { operationOf, type OperationSpec } from "../lwm2m/operation-spec.ts";
import type { Timelines } from "../lwm2m/timeline.ts";
import type { StoreOp } from "../ports/store.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export const OPERATION_PREFIX = "operation/";

/** An operation of an operator that waits for its client. */
export interface PendingOperation {
  readonly id: number;
  readonly endpoint: string;
  readonly spec: OperationSpec;
  readonly priority: number;
  /** Milliseconds since 1970; undefined where it may take as long as it does. */
  readonly deadlineMs: number | undefined;
  /** It was sent, of those that must not be done twice. */
  begun?: boolean;
}

export interface OperationsParts {
  readonly queues: DeviceQueues;
  readonly timelines: Timelines;
  readonly store: (ops: readonly StoreOp[]) => number;
  readonly unixMs: (nowUs: number) => number;
}

/**
 * Operators' operations outlive the gateway's process: each is on the disk before its operator
 * hears that it was taken, until its client has answered.
 */
export class Operations {
  readonly #parts: OperationsParts;
  readonly #kept = new Map<number, PendingOperation>();
  readonly #queued = new Set<number>();
  readonly #writes = new Map<
    number,
    { readonly operation: PendingOperation; readonly tell: (taken: boolean) => void }
  >();

  constructor(parts: OperationsParts) {
    this.#parts = parts;
  }

  /** Takes an operation; `tell` is called once it is on the disk, and waits for its client. */
  submit(
    endpoint: string,
    spec: OperationSpec,
    options: { readonly priority?: number | undefined; readonly deadlineMs?: number | undefined },
    tell: (taken: boolean) => void,
  ): number {
    const id = this.#parts.queues.newId();
    const { priority = 5, deadlineMs } = options;
    const operation: PendingOperation = { id, endpoint, spec, priority, deadlineMs };
    const write = this.#parts.store([{ kind: "put", key: keyOf(operation), value: utf8(JSON.stringify(operation)) }]);
    this.#writes.set(write, { operation, tell });
    return id;
  }

  /** What became of a write; false when it is none of these. */
  stored(nowUs: number, write: number, done: boolean): boolean {
    const pending = this.#writes.get(write);
    if (pending === undefined) return false;
    this.#writes.delete(write);
    const { operation, tell } = pending;
    const taken = done && this.#enqueue(nowUs, operation);
    if (!taken) this.#remove(operation);
    tell(taken);
    return true;
  }

  recover(record: Uint8Array): boolean {
    const operation = decode(record);
    if (operation === undefined) return false;
    this.#kept.set(operation.id, operation);
    this.#parts.queues.skipIds(operation.id);
    return true;
  }

  /**
   * Puts what a restart has left behind into the queues of the clients that are registered; what must not
   * be done twice, and had been sent, is told in the timeline and left at that.
   */
  begin(nowUs: number): void {
    for (const operation of this.#kept.values()) {
      const { endpoint, spec, begun } = operation;
      if (begun !== true) continue;
      const text = `${spec.path}: sent before a restart of the gateway; whether it was done is not known`;
      this.#parts.timelines.note(nowUs, endpoint, spec.operation, text);
      this.#remove(operation);
    }
    for (const { endpoint } of this.#kept.values()) this.registered(nowUs, endpoint);
  }

  /** What is kept for a client goes into its queue, once it is registered. */
  registered(nowUs: number, endpoint: string): void {
    for (const operation of this.#kept.values()) {
      if (operation.endpoint !== endpoint || this.#queued.has(operation.id)) continue;
      if (this.#isLate(nowUs, operation)) this.#remove(operation);
      else this.#enqueue(nowUs, operation);
    }
  }

  /** One that must not be done twice is about to be sent. */
  begun(id: number): void {
    const operation = this.#kept.get(id);
    if (operation === undefined) return;
    operation.begun = true;
    this.#parts.store([{ kind: "put", key: keyOf(operation), value: utf8(JSON.stringify(operation)) }]);
  }

  /** An operation has ended: its record goes. */
  ended({ id }: OperationOutcome): void {
    const operation = this.#kept.get(id);
    if (operation !== undefined) this.#remove(operation);
  }

  #isLate(nowUs: number, { deadlineMs }: PendingOperation): boolean {
    return deadlineMs !== undefined && deadlineMs <= this.#parts.unixMs(nowUs);
  }

  #enqueue(nowUs: number, operation: PendingOperation): boolean {
    const { id, endpoint, spec, priority, deadlineMs } = operation;
    const meant = operationOf(spec);
    const left = deadlineMs === undefined ? undefined : Math.max(0, deadlineMs - this.#parts.unixMs(nowUs));
    const deadline = left === undefined ? {} : { deadlineUs: nowUs + Math.round(left * 1_000) };
    if (typeof meant === "string") return false;
    this.#kept.set(id, operation);
    this.#queued.add(id); // it may begin, and end, at once
    const taken = this.#parts.queues.submit(nowUs, endpoint, meant, { id, priority, ...deadline }) !== undefined;
    if (!taken) this.#queued.delete(id);
    return taken;
  }

  #remove(operation: PendingOperation): void {
    this.#kept.delete(operation.id);
    this.#queued.delete(operation.id);
    this.#parts.store([{ kind: "delete", key: keyOf(operation) }]);
  }
}

const keyOf = ({ id, endpoint }: PendingOperation): string =>
  `${OPERATION_PREFIX}${encodeURIComponent(endpoint)}/${id}`;

function decode(record: Uint8Array): PendingOperation | undefined {
  try {
    const value = JSON.parse(fromUtf8(record) ?? "") as PendingOperation;
    const { id, endpoint, spec } = value;
    const whole = Number.isSafeInteger(id) && typeof endpoint === "string" && typeof spec.path === "string";
    return whole ? { ...value, deadlineMs: value.deadlineMs } : undefined;
  } catch {
    return undefined;
  }
}

import type { FirmwareFacts } from "../firmware.ts";
import type { Operation } from "../operation.ts";
import type { OperationResult } from "../operation-result.ts";
import type { Evidence, Quirks } from "../quirks.ts";
import type { Registration } from "../registration.ts";
import type { UpdateEvent } from "../states.ts";
import type { Component, UpdateJob } from "./job.ts";

/** Why an update ends that could have gone on. */
export interface Why {
  readonly reason: string;
  readonly detail: string;
}

/** What an update needs of the gateway; all of it about its own client. */
export interface UpdatePorts {
  registration(): Registration | undefined;
  /** The number of the operation; undefined while the client is not registered, or too much waits for it. */
  submit(nowUs: number, operation: Operation, priority?: number): number | undefined;
  withdraw(nowUs: number, operation: number): void;
  /** The image's bytes; "loading" while they are on their way from the disk. */
  image(nowUs: number, digest: string): Uint8Array | "loading" | "unknown";
  /** Why the client may not have what the update gives it, by now. */
  refusal(nowUs: number): Why | undefined;
  /** Where the client finds the image, by a path of its own; undefined where no address of ours is known to it. */
  packageUri(digest: string): string | undefined;
  /** Where its SUIT worker finds the manifest; undefined where none names this image. */
  manifestUri(digest: string): string | undefined;
  /** Bytes that have got there, and the first that has not. */
  progress(digest: string): { readonly covered: number; readonly firstMissing: number };
  /** The package is begun anew, by a way of which nothing has arrived. */
  restart(digest: string): void;
  record(nowUs: number, digest: string, offset: number, length: number): void;
  isAwake(nowUs: number): boolean;
  /** Microseconds between two times that it can be reached. */
  intervalUs(activeIntervalUs: number): number;
  quirks(evidence: Evidence): Quirks;
  quirksNamed(name: string | undefined): Quirks;
  unixMs(nowUs: number): number;
  note(nowUs: number, event: string, text?: string): void;
  /** From now on it counts what is served to the client's address, whatever the path. */
  watch(): void;
  /** The job has changed; `then` is told whether that got to the disk. */
  changed(then?: Stored): void;
}

export type Stored = (nowUs: number, done: boolean) => void;

/** An answer that does not come is asked for again, at the earliest so much later. */
export const RETRY_US = 5_000_000;

/** What the parts of one update share. */
export interface UpdateContext {
  readonly job: UpdateJob;
  readonly ports: UpdatePorts;
  readonly facts: FirmwareFacts;
  readonly quirks: Quirks;
  readonly target: Component;
  /** True while an operation of this update is under way. */
  readonly busy: boolean;
  /** Asks the client; `then` hears the answer, unless the client could not be reached: then it is asked anew. */
  ask(nowUs: number, operation: Operation, then: Answered, priority?: number): void;
  /** False when the event means nothing in this state; `then` is told whether the step got to the disk. */
  step(nowUs: number, event: UpdateEvent, then?: Stored): boolean;
  fail(nowUs: number, reason: string, detail: string, advice: string): void;
  /** Microseconds between two times that the client can be reached. */
  intervalUs(): number;
  /** When this update is to be looked at again. */
  lookAt(atUs: number): void;
  /** The client was heard of: an answer in the middle of something. */
  hear(nowUs: number): void;
  /** It installs what it has: from now on it is to come back. */
  installing(nowUs: number): void;
  /** State in the standard's numbers; undefined where it is not known, or means nothing. */
  state(): number | undefined;
}

export type Answered = (nowUs: number, result: OperationResult) => void;

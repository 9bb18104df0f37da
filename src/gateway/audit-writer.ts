import { entryLine, type AuditEntry } from "../lifecycle/audit-log.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import type { Lifecycle } from "../lifecycle/lifecycle.ts";
import type { StoreOp } from "../ports/store.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export const AUDIT_PREFIX = "audit/";

export type DeskResult = { readonly ok: true; readonly entry: AuditEntry } | ({ readonly ok: false } & Refusal);

/** What is written in one turn, all of it or nothing: an entry of the log, other records, or both. */
export interface Turn {
  readonly event?: LifecycleEvent | undefined;
  readonly ops: readonly StoreOp[];
}

/** `entry`: where the turn had an event. */
export type TurnResult = { readonly ok: true; readonly entry?: AuditEntry } | ({ readonly ok: false } & Refusal);

export interface Submission {
  readonly unixMs: number;
  readonly actor: string;
  /** Asked when its turn has come: what was so when it was submitted may not be so any more. */
  readonly plan: () => Turn | Refusal;
  readonly done: (result: TurnResult) => void;
}

interface WriterParts {
  readonly lifecycle: Lifecycle;
  readonly store: (ops: readonly StoreOp[]) => number;
  /** Told of each entry that is on disk. */
  readonly written: (nowUs: number, entry: AuditEntry) => void;
}

export const WRITER_LIMITS = { maxWaiting: 1_000 } as const;

/**
 * Writes the audit log, and what has to be judged by it, one turn after the other: the next is chained to what is on disk,
 * and nothing is so before it is there. What could not be written never was.
 */
export class AuditWriter {
  readonly #parts: WriterParts;
  readonly #queue: Submission[] = [];
  readonly #lines: string[] = [];
  #underWay:
    | { readonly id: number; readonly entry: AuditEntry | undefined; readonly done: Submission["done"] }
    | undefined;
  /** Where the log on disk stops making sense; nothing is written behind it. */
  tampered: string | undefined;

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  /** The log, line by line, as it is on disk. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  recover(entries: Iterable<readonly [key: string, value: Uint8Array]>): void {
    const lines = new Map<string, string>();
    // A mirror may tell of a key once more: the store's own word comes first.
    for (const [key, value] of entries)
      if (key.startsWith(AUDIT_PREFIX) && !lines.has(key)) lines.set(key, fromUtf8(value) ?? "");
    // One by one: a call takes some 100,000 arguments at most.
    for (const [, line] of [...lines].toSorted(([a], [b]) => (a < b ? -1 : 1))) this.#lines.push(line);
    this.tampered = this.#parts.lifecycle.recover(this.#lines);
  }

  /** Makes an event so; `done` is called when it is on disk, or why it is not so. */
  submit(submission: Submission): void {
    if (this.#queue.length >= WRITER_LIMITS.maxWaiting)
      return submission.done({ ok: false, reason: "too-many-waiting", detail: "the log cannot be written as fast" });
    this.#queue.push(submission);
    if (this.#underWay === undefined) this.#next();
    return undefined;
  }

  #next(): void {
    const next = this.#queue.shift();
    if (next === undefined) return;
    const refusal = this.#begin(next);
    if (refusal !== undefined) this.#tell(next.done, { ok: false, ...refusal });
  }

  /** Why it is not under way. A defect in one is that one's, and holds back nobody else. */
  #begin(next: Submission): Refusal | undefined {
    try {
      const turn = next.plan();
      if ("reason" in turn) return turn;
      const result = this.#propose(next, turn);
      if (!result.ok) return { reason: result.reason, detail: result.detail };
      const { entry } = result;
      // The entry comes last: where these are several writes after all, as in a mirror, it stands for the others.
      this.#underWay = { id: this.#parts.store([...turn.ops, ...entryOps(entry)]), entry, done: next.done };
      return undefined;
    } catch (error) {
      return { reason: "internal-error", detail: String(error) };
    }
  }

  /** Whatever becomes of that, the next one has its turn; who was told may have submitted something. */
  #tell(done: Submission["done"], result: TurnResult): void {
    try {
      done(result);
    } finally {
      if (this.#underWay === undefined) this.#next();
    }
  }

  #propose({ unixMs, actor }: Submission, { event }: Turn): TurnResult {
    if (this.tampered !== undefined) {
      const detail = `${this.tampered}; restore the log before anything is added`;
      return { ok: false, reason: "audit-log-tampered", detail };
    }
    return event === undefined ? { ok: true } : this.#parts.lifecycle.propose(unixMs, actor, event);
  }

  /** A write came to its end; `failure` says why it was none. */
  stored(nowUs: number, id: number, failure: Refusal | undefined): void {
    if (this.#underWay?.id !== id) return;
    const { entry, done } = this.#underWay;
    this.#underWay = undefined;
    try {
      if (failure === undefined && entry !== undefined) {
        this.#parts.lifecycle.take(entry);
        this.#lines.push(entryLine(entry));
        this.#parts.written(nowUs, entry);
      }
    } finally {
      this.#tell(done, failure === undefined ? { ok: true, ...(entry && { entry }) } : refusalOf(failure, entry));
    }
  }
}

const refusalOf = ({ reason, detail }: Refusal, entry: AuditEntry | undefined): TurnResult => ({
  ok: false,
  reason: entry === undefined ? reason : "store-write-failed",
  detail,
});

function entryOps(entry: AuditEntry | undefined): StoreOp[] {
  if (entry === undefined) return [];
  const key = `${AUDIT_PREFIX}${String(entry.number).padStart(10, "0")}`;
  return [{ kind: "put", key, value: utf8(entryLine(entry)) }];
}

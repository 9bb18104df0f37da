import { entryLine, type AuditEntry } from "../lifecycle/audit-log.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import type { Lifecycle } from "../lifecycle/lifecycle.ts";
import type { StoreOp } from "../ports/store.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export const AUDIT_PREFIX = "audit/";

export type DeskResult = { readonly ok: true; readonly entry: AuditEntry } | ({ readonly ok: false } & Refusal);

interface Submission {
  readonly unixMs: number;
  readonly actor: string;
  readonly event: LifecycleEvent;
  /** Written with the entry, or not at all. */
  readonly extra: readonly StoreOp[];
  readonly done: (result: DeskResult) => void;
  /** Looked at when its turn has come: what was so when it was asked for may not be so any more. */
  readonly check?: (() => Refusal | undefined) | undefined;
}

interface WriterParts {
  readonly lifecycle: Lifecycle;
  readonly store: (ops: readonly StoreOp[]) => number;
  /** Told of each entry that is on disk. */
  readonly written: (nowUs: number, entry: AuditEntry) => void;
}

export const WRITER_LIMITS = { maxWaiting: 1_000 } as const;

/**
 * Writes the audit log, one entry at a time: the next is chained to what is on disk, and nothing is so before it is there.
 * An entry that could not be written never was.
 */
export class AuditWriter {
  readonly #parts: WriterParts;
  readonly #queue: Submission[] = [];
  readonly #lines: string[] = [];
  #underWay: { readonly id: number; readonly entry: AuditEntry; readonly submission: Submission } | undefined;
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
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const result = this.#propose(next);
      if (!result.ok) {
        next.done(result);
        continue;
      }
      const { entry } = result;
      const key = `${AUDIT_PREFIX}${String(entry.number).padStart(10, "0")}`;
      const id = this.#parts.store([{ kind: "put", key, value: utf8(entryLine(entry)) }, ...next.extra]);
      this.#underWay = { id, entry, submission: next };
      return;
    }
  }

  #propose({ unixMs, actor, event, check }: Submission): DeskResult {
    const refusal = check?.();
    if (refusal !== undefined) return { ok: false, ...refusal };
    if (this.tampered === undefined) return this.#parts.lifecycle.propose(unixMs, actor, event);
    const detail = `${this.tampered}; restore the log before anything is added`;
    return { ok: false, reason: "audit-log-tampered", detail };
  }

  stored(nowUs: number, id: number, ok: boolean, detail: string): void {
    if (this.#underWay?.id !== id) return;
    const { entry, submission } = this.#underWay;
    this.#underWay = undefined;
    if (ok) {
      this.#parts.lifecycle.take(entry);
      this.#lines.push(entryLine(entry));
      this.#parts.written(nowUs, entry);
    }
    submission.done(ok ? { ok, entry } : { ok, reason: "store-write-failed", detail });
    if (this.#underWay === undefined) this.#next();
  }
}

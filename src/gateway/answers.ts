import type { StoreOp } from "../ports/store.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export const ANSWER_PREFIX = "answer/";
export const ANSWER_LIMITS = {
  maxAnswers: 2_000,
  maxBytes: 8_388_608,
  /** Longer ones are not kept. */
  maxAnswerBytes: 131_072,
  keepMs: 86_400_000,
} as const;

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly payload: string;
  readonly etag?: string | undefined;
}

/** A request that may come once more. */
export interface Asked {
  /** Of its body. */
  readonly print: string;
  readonly atMs: number;
  /** Missing while it is under way, and for good where the gateway stopped meanwhile: it may be done, and may be not. */
  readonly answer?: Answer | undefined;
  readonly isRunning: boolean;
}

interface AnswersParts {
  readonly unixMs: (nowUs: number) => number;
  readonly store: (ops: readonly StoreOp[]) => number;
}

/**
 * What was asked for by keys, and answered: on the disk before it is done, and again before it is answered, so that it is
 * done once whenever the gateway stops.
 */
export class Answers {
  readonly #parts: AnswersParts;
  readonly #asked = new Map<string, Asked>();
  #bytes = 0;
  readonly #writes = new Map<number, (done: boolean) => void>();

  constructor(parts: AnswersParts) {
    this.#parts = parts;
  }

  recover(key: string, record: Uint8Array): boolean | undefined {
    if (!key.startsWith(ANSWER_PREFIX)) return undefined;
    try {
      const { print, atMs, answer } = JSON.parse(fromUtf8(record) ?? "") as Omit<Asked, "isRunning">;
      const isWhole = answer === undefined || (Number.isInteger(answer.status) && typeof answer.payload === "string");
      if (typeof print !== "string" || !Number.isFinite(atMs) || !isWhole) return false;
      this.#put(key.slice(ANSWER_PREFIX.length), { print, atMs, answer, isRunning: false });
      return true;
    } catch {
      return false;
    }
  }

  /** What became of a request; undefined for one that is new, or was too long ago. */
  known(key: string, unixMs: number): Asked | undefined {
    const asked = this.#asked.get(key);
    return asked === undefined || isOver(asked, unixMs) ? undefined : asked;
  }

  /** Before anything is done; `tell` once that is on the disk. */
  begin(nowUs: number, key: string, print: string, tell: (done: boolean) => void): void {
    const atMs = this.#parts.unixMs(nowUs);
    const asked = { print, atMs, isRunning: true };
    this.#put(key, asked);
    this.#write([...this.#makeRoom(atMs, key), putOp(key, asked)], (done) => {
      if (!done) this.#forget(key);
      tell(done);
    });
  }

  /**
   * Without an answer the request may come again as a new one; with one that cannot be kept it is known to be done. `tell`
   * once that is on the disk, or cannot be.
   */
  end(key: string, given: Answer | "unkept" | undefined, tell: () => void): void {
    const before = this.#asked.get(key);
    if (before === undefined) return tell();
    const isKept = given !== undefined;
    const isShort = given !== "unkept" && isKept && given.payload.length <= ANSWER_LIMITS.maxAnswerBytes;
    const asked = { ...before, answer: isShort ? given : undefined, isRunning: false };
    if (isKept) this.#put(key, asked);
    else this.#forget(key);
    this.#write([...this.#makeRoom(before.atMs, key), isKept ? putOp(key, asked) : deleteOp(key)], tell);
    return undefined;
  }

  stored(write: number, done: boolean): void {
    const then = this.#writes.get(write);
    this.#writes.delete(write);
    then?.(done);
  }

  #write(ops: readonly StoreOp[], then: (done: boolean) => void): void {
    this.#writes.set(this.#parts.store(ops), then);
  }

  #put(key: string, asked: Asked): void {
    this.#forget(key);
    this.#asked.set(key, asked);
    this.#bytes += sizeOf(asked);
  }

  #forget(key: string): void {
    const asked = this.#asked.get(key);
    if (asked !== undefined) this.#bytes -= sizeOf(asked);
    this.#asked.delete(key);
  }

  /** Those go that are over; of too many the oldest, first of those whose answers are there. */
  #makeRoom(unixMs: number, but: string): StoreOp[] {
    const { maxAnswers, maxBytes } = ANSWER_LIMITS;
    const gone = [...this.#asked].flatMap(([key, asked]) => (key !== but && isOver(asked, unixMs) ? [key] : []));
    for (const key of gone) this.#forget(key);
    while (this.#asked.size > maxAnswers || this.#bytes > maxBytes) {
      const key = this.#leastNeeded(but);
      if (key === undefined) break;
      this.#forget(key);
      gone.push(key);
    }
    return gone.map(deleteOp);
  }

  #leastNeeded(but: string): string | undefined {
    const isOpen = ({ answer }: Asked): number => Number(answer === undefined);
    let least: readonly [key: string, asked: Asked] | undefined;
    for (const [key, asked] of this.#asked) {
      if (key === but || asked.isRunning) continue;
      const order = least === undefined ? -1 : isOpen(asked) - isOpen(least[1]) || asked.atMs - least[1].atMs;
      if (order < 0) least = [key, asked];
    }
    return least?.[0];
  }
}

const isOver = ({ atMs, isRunning }: Asked, unixMs: number): boolean =>
  !isRunning && unixMs - atMs >= ANSWER_LIMITS.keepMs;

const putOp = (key: string, { print, atMs, answer }: Asked): StoreOp => ({
  kind: "put",
  key: ANSWER_PREFIX + key,
  value: utf8(JSON.stringify({ print, atMs, answer })),
});

const deleteOp = (key: string): StoreOp => ({ kind: "delete", key: ANSWER_PREFIX + key });

const sizeOf = ({ answer }: Asked): number => 200 + (answer?.payload.length ?? 0);

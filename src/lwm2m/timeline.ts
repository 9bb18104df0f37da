import { percentDecode } from "../coap/uri.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";
import type { StoreOp } from "../ports/store.ts";

export const TIMELINE_PREFIX = "timeline/";
/** Entries of one record, and records of one device: the oldest record goes. */
const CHUNK_ENTRIES = 32;
const MAX_CHUNKS = 8;
/** Devices whose timelines are kept; the one that has been silent longest goes. */
const MAX_DEVICES = 20_000;
const MAX_TEXT = 240;
/** A run of blocks that pauses longer is a new one. */
const RUN_PAUSE_MS = 30_000;
/** How old a change may be when it is written. */
const FLUSH_US = 1_000_000;

/** One thing that happened to a device. Times are milliseconds since 1970. */
export type TimelineEntry =
  | { readonly atMs: number; readonly kind: "event"; readonly event: string; readonly text: string }
  /** Blocks one behind the other: bytes from `from` to `to`, in so many blocks, some of them more than once. */
  | {
      readonly atMs: number;
      readonly kind: "blocks";
      readonly by: "pull" | "push";
      readonly from: number;
      to: number;
      blocks: number;
      repeats: number;
      retransmissions: number;
      endMs: number;
    };

type BlocksEntry = Extract<TimelineEntry, { kind: "blocks" }>;

interface Chunk {
  /** Of its record. */
  readonly key: string;
  readonly number: number;
  readonly entries: TimelineEntry[];
}

/** What happened to each device, in the order in which it did: bounded, and written within a second or so. */
export class Timelines {
  readonly #byEndpoint = new Map<string, Chunk[]>();
  readonly #dirty = new Set<Chunk>();
  readonly #gone: string[] = [];
  readonly #unixMs: (nowUs: number) => number;
  #dueUs: number | undefined;

  constructor(unixMs: (nowUs: number) => number) {
    this.#unixMs = unixMs;
  }

  note(nowUs: number, endpoint: string, event: string, text = ""): void {
    const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
    this.#add(nowUs, endpoint, { atMs: this.#unixMs(nowUs), kind: "event", event, text: cut });
  }

  /** A block was served or acknowledged; `repeat`: it had been before. */
  block(
    nowUs: number,
    endpoint: string,
    by: BlocksEntry["by"],
    { offset, length, repeat }: { offset: number; length: number; repeat: boolean },
  ): void {
    const nowMs = this.#unixMs(nowUs);
    const chunk = this.#byEndpoint.get(endpoint)?.at(-1);
    const last = chunk?.entries.at(-1);
    const again = repeat && last?.kind === "blocks" && offset + length === last.to;
    if (
      last?.kind === "blocks" &&
      last.by === by &&
      nowMs - last.endMs < RUN_PAUSE_MS &&
      (again || offset === last.to)
    ) {
      last.blocks++;
      if (repeat) last.repeats++;
      last.to = offset + length;
      last.endMs = nowMs;
      return this.#touch(nowUs, chunk!);
    }
    const run = { from: offset, to: offset + length, blocks: 1, repeats: repeat ? 1 : 0, retransmissions: 0 };
    this.#add(nowUs, endpoint, { atMs: nowMs, kind: "blocks", by, ...run, endMs: nowMs });
  }

  /** A message of ours was sent once more, in the run of blocks that is under way if there is one. */
  retransmitted(nowUs: number, endpoint: string): void {
    const chunk = this.#byEndpoint.get(endpoint)?.at(-1);
    const last = chunk?.entries.at(-1);
    if (last?.kind !== "blocks") return;
    last.retransmissions++;
    this.#touch(nowUs, chunk!);
  }

  /** Share of the blocks to and from a device that were sent more than once; undefined before any was. */
  lossOf(endpoint: string): number | undefined {
    let [sent, again] = [0, 0];
    for (const { entries } of this.#byEndpoint.get(endpoint) ?? [])
      for (const entry of entries)
        if (entry.kind === "blocks") {
          sent += entry.blocks + entry.retransmissions;
          again += entry.repeats + entry.retransmissions;
        }
    return sent === 0 ? undefined : Math.min(1, again / sent);
  }

  of(endpoint: string): TimelineEntry[] {
    return (this.#byEndpoint.get(endpoint) ?? []).flatMap(({ entries }) => entries);
  }

  /** Takes a record back; false when it is none. */
  recover(key: string, record: Uint8Array): boolean {
    const match = KEY.exec(key);
    const endpoint = percentDecode(match?.[1] ?? "");
    const entries = decode(record);
    if (match === null || endpoint === undefined || entries === undefined) return false;
    const chunks = this.#byEndpoint.get(endpoint) ?? [];
    chunks.push({ key, number: Number(match[2]), entries });
    chunks.sort((a, b) => a.number - b.number);
    this.#byEndpoint.set(endpoint, chunks);
    return true;
  }

  pollTimeout(): number | undefined {
    return this.#dueUs;
  }

  /** What is to be written now. */
  takeWrites(): StoreOp[] {
    this.#dueUs = undefined;
    const ops: StoreOp[] = this.#gone.splice(0).map((key) => ({ kind: "delete", key }));
    for (const { key, entries } of this.#dirty) ops.push({ kind: "put", key, value: utf8(JSON.stringify(entries)) });
    this.#dirty.clear();
    return ops;
  }

  #add(nowUs: number, endpoint: string, entry: TimelineEntry): void {
    const chunks = this.#byEndpoint.get(endpoint) ?? [];
    this.#byEndpoint.delete(endpoint); // the one used last is the last
    this.#byEndpoint.set(endpoint, chunks);
    let last = chunks.at(-1);
    if (last === undefined || last.entries.length >= CHUNK_ENTRIES) {
      const number = (last?.number ?? 0) + 1;
      last = { key: `${TIMELINE_PREFIX}${encodeURIComponent(endpoint)}/${number}`, number, entries: [] };
      chunks.push(last);
      if (chunks.length > MAX_CHUNKS) this.#drop(chunks.shift()!);
      if (this.#byEndpoint.size > MAX_DEVICES) this.#forgetOldest();
    }
    last.entries.push(entry);
    this.#touch(nowUs, last);
  }

  #touch(nowUs: number, chunk: Chunk): void {
    this.#dirty.add(chunk);
    this.#dueUs ??= nowUs + FLUSH_US;
  }

  #drop(chunk: Chunk): void {
    this.#dirty.delete(chunk);
    this.#gone.push(chunk.key);
  }

  #forgetOldest(): void {
    const [endpoint, chunks] = this.#byEndpoint.entries().next().value!;
    for (const chunk of chunks) this.#drop(chunk);
    this.#byEndpoint.delete(endpoint);
  }
}

const KEY = /^timeline\/([^/]+)\/(\d{1,15})$/;

function decode(record: Uint8Array): TimelineEntry[] | undefined {
  try {
    const value = JSON.parse(fromUtf8(record) ?? "") as TimelineEntry[];
    const whole =
      Array.isArray(value) && value.length <= CHUNK_ENTRIES && value.every(({ atMs }) => Number.isFinite(atMs));
    return whole ? value : undefined;
  } catch {
    return undefined;
  }
}

import { mkdir, readFile, rm } from "node:fs/promises";
import type { Durability, Store, StoreOp } from "../ports/store.ts";
import { readRecords, recordPath, replaceFile, writeRecord } from "./record-file.ts";

type Put = StoreOp & { kind: "put" };

/**
 * A store whose most precious records also lie in files of their own, one each, with a checksum.
 * LevelDB drops a damaged tail of its log without a word; what is here then comes back beside what
 * it still has. `entries` may name a key twice: the reader keeps the newer record.
 */
export class MirroredStore implements Store {
  readonly #inner: Store;
  readonly #folder: string;
  readonly #prefixes: readonly string[];
  /** Keys that only the mirror had when `entries` was called. */
  recovered = 0;

  private constructor(inner: Store, folder: string, prefixes: readonly string[]) {
    this.#inner = inner;
    this.#folder = folder;
    this.#prefixes = prefixes;
  }

  /** Mirrors durable puts of keys that begin with one of `prefixes` into `folder`. */
  static async open(inner: Store, folder: string, prefixes: readonly string[]): Promise<MirroredStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new MirroredStore(inner, folder, prefixes);
  }

  async entries(): Promise<[string, Uint8Array][]> {
    const entries = await this.#inner.entries();
    const keys = new Set(entries.map(([key]) => key));
    for (const entry of await readRecords(this.#folder)) {
      if (!keys.has(entry[0])) this.recovered++;
      entries.push(entry);
    }
    return entries;
  }

  /** The mirror goes first, and is taken back when the store fails: what was refused must not turn up later. */
  async write(ops: readonly StoreOp[], durability: Durability): Promise<void> {
    const puts =
      durability === "durable" ? ops.filter((op): op is Put => op.kind === "put" && this.#isPrecious(op.key)) : [];
    const undo: (() => Promise<void>)[] = [];
    try {
      for (const put of puts) undo.push(await this.#mirror(put));
      await this.#inner.write(ops, durability);
    } catch (error) {
      for (const action of undo) await action().catch(() => {});
      throw error;
    }
  }

  #isPrecious(key: string): boolean {
    return this.#prefixes.some((prefix) => key.startsWith(prefix));
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  /** Writes one file durably; returns what puts back the one before. */
  async #mirror({ key, value }: Put): Promise<() => Promise<void>> {
    const path = recordPath(this.#folder, key);
    const before = await readFile(path).catch(() => undefined);
    await writeRecord(this.#folder, key, value);
    return async () => (before === undefined ? rm(path, { force: true }) : replaceFile(this.#folder, path, before));
  }
}

import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Durability, Store, StoreOp } from "../ports/store.ts";

type Put = StoreOp & { kind: "put" };

const DIGEST_BYTES = 32;

/**
 * A store whose most precious records also lie in files of their own, one each, with a checksum.
 * LevelDB drops a damaged tail of its log without a word; what is here then comes back beside what
 * it still has. `entries` may name a key twice: the reader keeps the newer record.
 */
export class MirroredStore implements Store {
  readonly #inner: Store;
  readonly #folder: string;
  readonly #prefix: string;
  /** Keys that only the mirror had when `entries` was called. */
  recovered = 0;

  private constructor(inner: Store, folder: string, prefix: string) {
    this.#inner = inner;
    this.#folder = folder;
    this.#prefix = prefix;
  }

  /** Mirrors durable puts of keys that begin with `prefix` into `folder`. */
  static async open(inner: Store, folder: string, prefix: string): Promise<MirroredStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new MirroredStore(inner, folder, prefix);
  }

  async entries(): Promise<[string, Uint8Array][]> {
    const entries = await this.#inner.entries();
    const keys = new Set(entries.map(([key]) => key));
    for (const name of await readdir(this.#folder)) {
      const entry = name.endsWith(".tmp")
        ? undefined
        : decodeEntry(await readFile(join(this.#folder, name)).catch(() => undefined));
      if (entry === undefined) continue;
      if (!keys.has(entry[0])) this.recovered++;
      entries.push(entry);
    }
    return entries;
  }

  /** The mirror goes first, and is taken back when the store fails: what was refused must not turn up later. */
  async write(ops: readonly StoreOp[], durability: Durability): Promise<void> {
    const puts =
      durability === "durable"
        ? ops.filter((op): op is Put => op.kind === "put" && op.key.startsWith(this.#prefix))
        : [];
    const undo: (() => Promise<void>)[] = [];
    try {
      for (const put of puts) undo.push(await this.#mirror(put));
      await this.#inner.write(ops, durability);
    } catch (error) {
      for (const action of undo) await action().catch(() => {});
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  /** Writes one file durably; returns what puts back the one before. */
  async #mirror({ key, value }: Put): Promise<() => Promise<void>> {
    const path = join(this.#folder, createHash("sha256").update(key).digest("hex").slice(0, 32));
    const before = await readFile(path).catch(() => undefined);
    await this.#replace(path, encodeEntry(key, value));
    return async () => (before === undefined ? rm(path, { force: true }) : this.#replace(path, before));
  }

  async #replace(path: string, bytes: Uint8Array): Promise<void> {
    const file = await open(`${path}.tmp`, "w", 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.tmp`, path);
    const folder = await open(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}

/** Key, line end, value, and the SHA-256 of all that. */
function encodeEntry(key: string, value: Uint8Array): Uint8Array {
  const content = Buffer.concat([Buffer.from(`${key}\n`), value]);
  return Buffer.concat([content, createHash("sha256").update(content).digest()]);
}

function decodeEntry(bytes: Buffer | undefined): [string, Uint8Array] | undefined {
  if (bytes === undefined || bytes.length < DIGEST_BYTES) return undefined;
  const content = bytes.subarray(0, -DIGEST_BYTES);
  const line = content.indexOf("\n");
  if (line < 0 || !createHash("sha256").update(content).digest().equals(bytes.subarray(-DIGEST_BYTES)))
    return undefined;
  return [content.subarray(0, line).toString(), new Uint8Array(content.subarray(line + 1))];
}

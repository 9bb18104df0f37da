import { mkdir } from "node:fs/promises";
import type { Durability, Store, StoreOp } from "../ports/store.ts";
import { eraseRecord, readRecords, writeRecord } from "./record-file.ts";

type Put = StoreOp & { kind: "put" };

/**
 * A store whose secrets lie in files of their own and nowhere else: LevelDB keeps what was deleted in its log, and these
 * are overwritten. A secret is there before the records that come with it, and goes after them.
 */
export class SecretStore implements Store {
  readonly #inner: Store;
  readonly #folder: string;
  readonly #prefix: string;

  private constructor(inner: Store, folder: string, prefix: string) {
    this.#inner = inner;
    this.#folder = folder;
    this.#prefix = prefix;
  }

  /** Keeps keys that begin with `prefix` in `folder`. */
  static async open(inner: Store, folder: string, prefix: string): Promise<SecretStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new SecretStore(inner, folder, prefix);
  }

  async entries(): Promise<[string, Uint8Array][]> {
    return [...(await this.#inner.entries()), ...(await readRecords(this.#folder))];
  }

  async write(ops: readonly StoreOp[], durability: Durability): Promise<void> {
    const isSecret = ({ key }: StoreOp): boolean => key.startsWith(this.#prefix);
    const puts = ops.filter((op): op is Put => op.kind === "put" && isSecret(op));
    try {
      for (const { key, value } of puts) await writeRecord(this.#folder, key, value);
      const others = ops.filter((op) => !isSecret(op));
      if (others.length > 0) await this.#inner.write(others, durability);
    } catch (error) {
      for (const { key } of puts) await eraseRecord(this.#folder, key).catch(() => {});
      throw error;
    }
    // What cannot be erased now is so at the next start: the records say that it is to be.
    for (const op of ops)
      if (op.kind === "delete" && isSecret(op)) await eraseRecord(this.#folder, op.key).catch(() => {});
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }
}

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LevelStore } from "../../src/adapters/level-store.ts";
import { MirroredStore } from "../../src/adapters/mirrored-store.ts";
import type { Store, StoreOp } from "../../src/ports/store.ts";
import { temporaryFolder } from "../support/process.ts";

const put = (key: string, ...value: number[]): StoreOp => ({ kind: "put", key, value: Uint8Array.from(value) });

/** A store that forgets, and that fails when it is told to. */
class FickleStore implements Store {
  readonly records = new Map<string, Uint8Array>();
  failing = false;

  async entries(): Promise<[string, Uint8Array][]> {
    return await Promise.resolve([...this.records]);
  }

  async write(ops: readonly StoreOp[]): Promise<void> {
    if (this.failing) throw new Error("no space left on device");
    for (const op of ops) if (op.kind === "put") this.records.set(op.key, op.value);
    await Promise.resolve();
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

describe("a mirrored store", () => {
  it("brings back what the store lost, and nothing that it never had", async () => {
    const [folder, inner] = [temporaryFolder(), new FickleStore()];
    const store = await MirroredStore.open(inner, folder, ["release/"]);
    await store.write([put("release/a", 1), put("image/x", 9)], "durable");
    await store.write([put("release/a", 2)], "durable");
    await store.write([put("release/lazy", 3)], "lazy");
    inner.records.clear();
    expect(await store.entries()).toEqual([["release/a", Uint8Array.of(2)]]);
    expect(store.recovered).toBe(1);
  });

  it("takes back what the store refused", async () => {
    const [folder, inner] = [temporaryFolder(), new FickleStore()];
    const store = await MirroredStore.open(inner, folder, ["release/"]);
    await store.write([put("release/a", 1)], "durable");
    inner.failing = true;
    await expect(store.write([put("release/a", 2), put("release/b", 2)], "durable")).rejects.toThrow(/no space/);
    inner.records.clear();
    expect(await store.entries()).toEqual([["release/a", Uint8Array.of(1)]]);
  });

  it("skips files that are damaged or half written", async () => {
    const [folder, inner] = [temporaryFolder(), new FickleStore()];
    const store = await MirroredStore.open(inner, folder, ["release/"]);
    await store.write([put("release/a", 1)], "durable");
    const [name] = readdirSync(folder);
    const bytes = readFileSync(join(folder, name!));
    bytes[3]! ^= 1;
    writeFileSync(join(folder, name!), bytes);
    writeFileSync(join(folder, "x.tmp"), "half");
    writeFileSync(join(folder, "y"), "short");
    inner.records.clear();
    expect(await store.entries()).toEqual([]);
  });
});

it("LevelDB: what was durable is there after it is opened again", async () => {
  const folder = temporaryFolder();
  const store = await LevelStore.open(join(folder, "db"));
  await store.write([put("a", 1), put("b", 2)], "durable");
  await store.write([{ kind: "delete", key: "a" }], "lazy");
  await expect(LevelStore.open(join(folder, "db"))).rejects.toThrow();
  await store.close();
  const again = await LevelStore.open(join(folder, "db"));
  expect((await again.entries()).map(([key, value]) => [key, [...value]])).toEqual([["b", [2]]]);
  await again.close();
});

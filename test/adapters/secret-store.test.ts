import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LevelStore } from "../../src/adapters/level-store.ts";
import { SecretStore } from "../../src/adapters/secret-store.ts";
import { temporaryFolder } from "../support/process.ts";

const SECRET = Uint8Array.from({ length: 32 }, (_, i) => 0xa0 ^ (i * 7));

/** Whether any file below a folder has these bytes. */
function holds(folder: string, bytes: Uint8Array): boolean {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(Buffer.from(bytes)));
}

it("a secret is in a file of its own and nowhere else, and gone once it was deleted", async () => {
  const folder = temporaryFolder();
  const openStore = async (): Promise<SecretStore> =>
    SecretStore.open(await LevelStore.open(join(folder, "store")), join(folder, "credentials"), "credential/");
  const store = await openStore();
  await store.write(
    [
      { kind: "put", key: "credential/a", value: SECRET },
      { kind: "put", key: "audit/1", value: Uint8Array.of(1) },
    ],
    "durable",
  );
  expect(holds(join(folder, "store"), SECRET)).toBe(false);
  expect(holds(join(folder, "credentials"), SECRET)).toBe(true);
  await store.close();
  const again = await openStore();
  const found = (await again.entries()).map(([key, value]) => [key, [...value]]);
  expect(found).toEqual([
    ["audit/1", [1]],
    ["credential/a", [...SECRET]],
  ]);
  await again.write([{ kind: "delete", key: "credential/a" }], "durable");
  await again.close();
  expect(holds(folder, SECRET)).toBe(false);
});

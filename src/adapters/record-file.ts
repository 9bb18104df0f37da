import { createHash } from "node:crypto";
import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

const DIGEST_BYTES = 32;

/** The file of a record: its name says nothing of its key. */
export const recordPath = (folder: string, key: string): string =>
  join(folder, createHash("sha256").update(key).digest("hex").slice(0, 32));

/** Writes one record durably, readable to its owner only: key, line end, value, and the SHA-256 of all that. */
export async function writeRecord(folder: string, key: string, value: Uint8Array): Promise<void> {
  const content = Buffer.concat([Buffer.from(`${key}\n`), value]);
  await replaceFile(
    folder,
    recordPath(folder, key),
    Buffer.concat([content, createHash("sha256").update(content).digest()]),
  );
}

/** Puts bytes in the place of a file, durably. */
export async function replaceFile(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(`${path}.tmp`, "w", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.tmp`, path);
  await syncFolder(folder);
}

/** Overwrites a record's file before it goes; what the medium keeps besides is its own. */
export async function eraseRecord(folder: string, key: string): Promise<void> {
  const path = recordPath(folder, key);
  const length = (await readFile(path).catch(() => undefined))?.length;
  if (length === undefined) return;
  const file = await open(path, "r+");
  try {
    await file.write(new Uint8Array(length), 0, length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await rm(path, { force: true });
  await syncFolder(folder);
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** All records of a folder that are whole. */
export async function readRecords(folder: string): Promise<[string, Uint8Array][]> {
  const records: [string, Uint8Array][] = [];
  for (const name of await readdir(folder)) {
    if (name.endsWith(".tmp")) continue;
    const entry = decodeRecord(await readFile(join(folder, name)).catch(() => undefined));
    if (entry !== undefined) records.push(entry);
  }
  return records;
}

function decodeRecord(bytes: Buffer | undefined): [string, Uint8Array] | undefined {
  if (bytes === undefined || bytes.length < DIGEST_BYTES) return undefined;
  const content = bytes.subarray(0, -DIGEST_BYTES);
  const line = content.indexOf("\n");
  if (line < 0 || !createHash("sha256").update(content).digest().equals(bytes.subarray(-DIGEST_BYTES)))
    return undefined;
  return [content.subarray(0, line).toString(), new Uint8Array(content.subarray(line + 1))];
}

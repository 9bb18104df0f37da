import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { environmentError, usageError, whyUnreadable } from "./errors.ts";

/** A folder for what a command writes. */
export function makeFolder(folder: string, mode: number = 0o755): void {
  const missing: string[] = [];
  for (let at = resolve(folder); !existsSync(at); at = dirname(at)) missing.unshift(at);
  try {
    // One by one: where the system has nothing of the kind, as in /proc, the recursive one tries for ever.
    for (const at of missing) mkdirSync(at, { mode });
    if (!statSync(folder).isDirectory()) throw new Error("it is a file");
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw environmentError("folder-not-writable", `cannot make ${folder}: ${(error as Error).message}`);
  }
}

export function refuseExisting(file: string): void {
  if (existsSync(file)) throw usageError("file-exists", `${file} is there already: choose another folder with --out`);
}

const realPath = (file: string): string => (existsSync(file) ? realpathSync(file) : resolve(file));

/** What a command was told to write. `inputs`: what it is made of, which is not to be lost by a slip. */
export function writeOutput(file: string, bytes: Uint8Array, inputs: readonly string[] = []): void {
  const input = inputs.find((one) => realPath(one) === realPath(file));
  if (input !== undefined)
    throw usageError("output-is-input", `${file} is what it is made of: write it to another file`);
  try {
    writeFileSync(file, bytes);
  } catch (error) {
    throw environmentError("file-not-writable", `cannot write ${file}: ${(error as Error).message}`);
  }
}

/** Lines of a file that nobody else may read: whole, or not there at all. */
export function writeSecretLines(file: string, lines: readonly string[]): void {
  try {
    const descriptor = openSync(`${file}.tmp`, "w", 0o600);
    writeFileSync(descriptor, lines.map((line) => `${line}\n`).join(""));
    fsyncSync(descriptor);
    closeSync(descriptor);
    renameSync(`${file}.tmp`, file);
  } catch (error) {
    throw environmentError("file-not-writable", `cannot write ${file}: ${(error as Error).message}`);
  }
}

/** Puts text behind what is there, and on the disk. */
export function appendDurably(file: string, text: string): void {
  try {
    const descriptor = openSync(file, "a");
    writeFileSync(descriptor, text);
    fsyncSync(descriptor);
    closeSync(descriptor);
  } catch (error) {
    throw environmentError("file-not-writable", `cannot write ${file}: ${(error as Error).message}`);
  }
}

/** Lines that are not empty. */
export function readLines(file: string): string[] {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line.length > 0);
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${whyUnreadable(error)}`);
  }
}

/** A JSON object on each line, in the form that `schema` says. */
export function readJsonLines<T>(file: string, schema: z.ZodType<T>): T[] {
  return readLines(file).map((line, i) => {
    try {
      return schema.parse(JSON.parse(line));
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
      throw usageError("bad-line", `${file}, line ${i + 1}: ${why}`);
    }
  });
}

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { fromHex, toHex } from "../util/bytes.ts";
import { environmentError } from "./errors.ts";

interface Note {
  readonly uri: string;
  readonly etag: string;
}

/** A download in progress: `<file>.part` holds the bytes, `<file>.part.json` says of which version. */
export class ResumeFile {
  readonly #file: string;
  readonly #uri: string;
  #handle: number;
  /** Bytes that are there. */
  bytes = 0;
  etag: Uint8Array | undefined;

  constructor(file: string, uri: string) {
    this.#file = file;
    this.#uri = uri;
    const note = this.#readNote();
    const resumable = note?.uri === uri && existsSync(`${file}.part`);
    if (resumable) {
      this.bytes = statSync(`${file}.part`).size;
      this.etag = fromHex(note.etag);
    }
    this.#handle = this.#guard(() => openSync(`${file}.part`, resumable ? "r+" : "w"));
  }

  /** Keeps the first `bytes` only: the transfer goes on at a whole block. */
  truncate(bytes: number): void {
    this.bytes = bytes;
    this.#guard(() => ftruncateSync(this.#handle, bytes));
  }

  write(offset: number, bytes: Uint8Array, etag: Uint8Array | undefined): void {
    if (etag !== undefined && this.etag === undefined) {
      this.etag = etag;
      const note: Note = { uri: this.#uri, etag: toHex(etag) };
      this.#guard(() => writeFileSync(`${this.#file}.part.json`, JSON.stringify(note)));
    }
    for (let at = 0; at < bytes.length;) {
      const from = at;
      at += this.#guard(() => writeSync(this.#handle, bytes, from, bytes.length - from, offset + from));
    }
    this.bytes = offset + bytes.length;
  }

  /** Another version: nothing of what is there can be used. */
  restart(): void {
    this.truncate(0);
    this.etag = undefined;
    rmSync(`${this.#file}.part.json`, { force: true });
  }

  close(): void {
    closeSync(this.#handle);
  }

  /** The whole content, to be checked before `commit`. */
  content(): Uint8Array {
    return readFileSync(`${this.#file}.part`);
  }

  commit(): void {
    this.#guard(() => fsyncSync(this.#handle));
    this.close();
    renameSync(`${this.#file}.part`, this.#file);
    rmSync(`${this.#file}.part.json`, { force: true });
  }

  discard(): void {
    this.close();
    for (const suffix of [".part", ".part.json"]) rmSync(this.#file + suffix, { force: true });
  }

  #readNote(): Note | undefined {
    try {
      const note = JSON.parse(readFileSync(`${this.#file}.part.json`, "utf8")) as Partial<Note>;
      return typeof note.uri === "string" && typeof note.etag === "string" ? (note as Note) : undefined;
    } catch {
      return undefined;
    }
  }

  #guard<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw environmentError("file-not-writable", `cannot write ${this.#file}.part: ${(error as Error).message}`);
    }
  }
}

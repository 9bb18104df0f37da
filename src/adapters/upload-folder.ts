import { createHash, randomBytes, type Hash } from "node:crypto";
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { AppendResult, UploadInfo, Uploads } from "../ports/uploads.ts";

const MAX_UPLOADS = 64;
/** One that nobody has sent a byte to for so long, and that no release names, is thrown away. */
const IDLE_MS = 7 * 86_400_000;

export interface UploadOptions {
  readonly maxBytes: number;
  /** Whether a release names the image of this SHA-256: it may have to be fetched once more. */
  readonly isNeeded: (sha256: string) => boolean;
  readonly unixMs?: (() => number) | undefined;
}

interface Meta {
  readonly bytes: number;
  readonly sha256: string;
  complete: boolean;
}

/** Uploads as files of a folder: `<id>` has the bytes, `<id>.json` what they are to be. */
export class UploadFolder implements Uploads {
  readonly folder: string;
  readonly #options: UploadOptions;
  readonly #metas = new Map<string, Meta>();
  readonly #busy = new Set<string>();

  constructor(folder: string, options: UploadOptions) {
    this.folder = folder;
    this.#options = options;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder)) {
      const id = /^([0-9a-f]{16})\.json$/.exec(name)?.[1];
      const meta = id === undefined ? undefined : readMeta(join(folder, name));
      if (meta !== undefined) this.#metas.set(id!, meta);
    }
    // What no record stands for is of no use to anybody.
    for (const name of readdirSync(folder))
      if (!this.#metas.has(name.slice(0, 16))) rmSync(join(folder, name), { force: true });
  }

  async create(bytes: number, sha256: string): Promise<UploadInfo | "too-many-uploads" | "too-long"> {
    if (bytes > this.#options.maxBytes) return "too-long";
    await this.#expire();
    if (this.#metas.size >= MAX_UPLOADS) return "too-many-uploads";
    const id = randomBytes(8).toString("hex");
    const meta = { bytes, sha256, complete: false };
    writeFileSync(this.#path(id), "", { flush: true });
    this.#keep(id, meta);
    return this.#info(id, meta);
  }

  async get(id: string): Promise<UploadInfo | undefined> {
    await this.#expire();
    const meta = this.#metas.get(id);
    return meta && this.#info(id, meta);
  }

  async all(): Promise<UploadInfo[]> {
    await this.#expire();
    return Array.from(this.#metas, ([id, meta]) => this.#info(id, meta));
  }

  async #expire(): Promise<void> {
    const { unixMs = Date.now, isNeeded } = this.#options;
    const beforeMs = unixMs() - IDLE_MS;
    for (const [id, meta] of this.#metas)
      if (!this.#busy.has(id) && this.#info(id, meta).touchedMs < beforeMs && !isNeeded(meta.sha256))
        await this.remove(id);
  }

  async append(id: string, offset: number, pieces: AsyncIterable<Uint8Array>): Promise<AppendResult> {
    const meta = this.#metas.get(id);
    if (meta === undefined) return "no-such-upload";
    if (this.#busy.has(id)) return "under-way";
    if (meta.complete || offset !== this.#size(id)) return "wrong-offset";
    this.#busy.add(id);
    try {
      return await this.#append(id, meta, offset, pieces);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return "disk-full";
      throw error;
    } finally {
      this.#busy.delete(id);
    }
  }

  async #append(id: string, meta: Meta, offset: number, pieces: AsyncIterable<Uint8Array>): Promise<AppendResult> {
    const hash = await this.#hashed(id);
    const file = await open(this.#path(id), "a");
    let at = offset;
    try {
      for await (const piece of pieces) {
        at += piece.length;
        if (at > meta.bytes) return "too-long";
        await file.appendFile(piece);
        hash.update(piece);
      }
    } finally {
      await file.sync();
      await file.close();
    }
    if (at === meta.bytes) {
      if (hash.digest("hex") !== meta.sha256) {
        await this.remove(id);
        return "wrong-digest";
      }
      if (this.#metas.get(id) !== meta) return "no-such-upload"; // it was thrown away meanwhile
      meta.complete = true;
      this.#keep(id, meta);
    }
    return this.#info(id, meta);
  }

  /** The hash of what is there: of another connection, or another run. */
  async #hashed(id: string): Promise<Hash> {
    const hash = createHash("sha256");
    for await (const piece of createReadStream(this.#path(id))) hash.update(piece as Buffer);
    return hash;
  }

  async remove(id: string): Promise<boolean> {
    if (!this.#metas.delete(id)) return false;
    await rm(this.#path(id), { force: true });
    await rm(`${this.#path(id)}.json`, { force: true });
    return true;
  }

  uriOf(id: string): string | undefined {
    return this.#metas.get(id)?.complete === true ? pathToFileURL(this.#path(id)).href : undefined;
  }

  #path(id: string): string {
    return join(this.folder, id);
  }

  #size(id: string): number {
    return statSync(this.#path(id), { throwIfNoEntry: false })?.size ?? 0;
  }

  #keep(id: string, meta: Meta): void {
    const path = `${this.#path(id)}.json`;
    writeFileSync(`${path}.new`, JSON.stringify(meta), { flush: true });
    renameSync(`${path}.new`, path);
    this.#metas.set(id, meta);
  }

  #info(id: string, { bytes, sha256, complete }: Meta): UploadInfo {
    const stat = statSync(this.#path(id), { throwIfNoEntry: false });
    return { id, bytes, sha256, complete, offset: stat?.size ?? 0, touchedMs: Math.floor(stat?.mtimeMs ?? 0) };
  }
}

function readMeta(file: string): Meta | undefined {
  try {
    const { bytes, sha256, complete } = JSON.parse(readFileSync(file, "utf8")) as Meta;
    return Number.isInteger(bytes) && /^[0-9a-f]{64}$/.test(sha256) ? { bytes, sha256, complete } : undefined;
  } catch {
    return undefined;
  }
}

import { mkdir, open, readdir, readFile, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { BlobInfo, BlobStore, PartWriter } from "../ports/blob-store.ts";

const PART = ".part";

/** Blobs as files named by their digest; `<digest>.part` while they are being fetched. */
export class FileBlobStore implements BlobStore {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<FileBlobStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new FileBlobStore(folder);
  }

  async list(): Promise<BlobInfo[]> {
    const out: BlobInfo[] = [];
    for (const name of await readdir(this.#folder)) {
      const digest = name.replace(/\.part$/, "");
      if (!/^[0-9a-f]{64}$/.test(digest)) continue;
      // A link to nowhere, or a folder, is none of ours.
      const info = await stat(join(this.#folder, name)).catch(() => undefined);
      if (info?.isFile() === true) out.push({ digest, bytes: info.size, complete: !name.endsWith(PART) });
    }
    return out;
  }

  async openPart(digest: string, offset: number): Promise<PartWriter> {
    const file = await open(this.#path(digest + PART), offset === 0 ? "w" : "r+", 0o600);
    try {
      if ((await file.stat()).size < offset)
        throw Object.assign(new Error(`${digest}${PART} is too short`), { code: "ENOENT" });
      await file.truncate(offset);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new FilePart(file, offset);
  }

  async readPart(digest: string): Promise<Uint8Array> {
    return await this.#read(digest + PART);
  }

  async commit(digest: string): Promise<void> {
    const part = await open(this.#path(digest + PART), "r+");
    try {
      await part.sync();
    } finally {
      await part.close();
    }
    await rename(this.#path(digest + PART), this.#path(digest));
    const folder = await open(this.#folder, "r");
    try {
      await folder.sync(); // the new name lasts through a power cut only so
    } finally {
      await folder.close();
    }
  }

  async read(digest: string): Promise<Uint8Array> {
    return await this.#read(digest);
  }

  async remove(digest: string, part: boolean): Promise<void> {
    await rm(this.#path(digest + (part ? PART : "")), { force: true, recursive: true });
  }

  /** As plain bytes: views of a Buffer are slower to make, and one is made for each block served. */
  async #read(name: string): Promise<Uint8Array> {
    const { buffer, byteOffset, length } = await readFile(this.#path(name));
    return new Uint8Array(buffer, byteOffset, length);
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}

class FilePart implements PartWriter {
  readonly #file: FileHandle;
  #offset: number;

  constructor(file: FileHandle, offset: number) {
    this.#file = file;
    this.#offset = offset;
  }

  async append(bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const result = await this.#file.write(bytes, written, bytes.length - written, this.#offset);
      written += result.bytesWritten;
      this.#offset += result.bytesWritten;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

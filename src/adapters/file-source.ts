import { open, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { SourceError, type ImageSource } from "../ports/image-source.ts";

const CHUNK_BYTES = 65_536;

/** `file:` URIs. A file that changed between two tries is told by its size and modification time. */
export const fileSource: ImageSource = {
  schemes: ["file"],
  open: async ({ uri, offset, validator, signal }) => {
    let path: string;
    try {
      path = fileURLToPath(uri);
    } catch {
      throw new SourceError("bad-uri", `${uri} is no local file; write file:///folder/image.bin`, false);
    }
    const fail = (error: NodeJS.ErrnoException): never => {
      const reason = error.code === "ENOENT" ? "not-found" : "unreadable";
      throw new SourceError(reason, `${path}: ${error.message}`, false);
    };
    // Opening a pipe would wait for its other end; a folder or a device is no image either.
    const info = await stat(path).catch(fail);
    if (!info.isFile()) throw new SourceError("not-a-file", `${path} is not a regular file`, false);
    const { size, mtimeMs } = info;
    const file = await open(path, "r").catch(fail);
    const current = `${size}-${mtimeMs}`;
    const start = validator === current && offset <= size ? offset : 0;
    const body = async function* (): AsyncGenerator<Uint8Array> {
      try {
        for (let at = start; at < size;) {
          signal.throwIfAborted();
          const { bytesRead, buffer } = await file.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, at);
          if (bytesRead === 0) return;
          yield buffer.subarray(0, bytesRead);
          at += bytesRead;
        }
      } finally {
        await file.close();
      }
    };
    return { offset: start, validator: current, body: body() };
  },
};

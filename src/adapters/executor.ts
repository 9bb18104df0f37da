import type { BlobStore, PartWriter } from "../ports/blob-store.ts";
import { exchangeHttp } from "./http-exchange.ts";
import type { Command, CommandEvent, CommandExecutor } from "../ports/commands.ts";
import { RESUME_REFUSED, SourceError, type ImageSource, type SourceResponse } from "../ports/image-source.ts";
import type { Store } from "../ports/store.ts";

type Emit = (event: CommandEvent) => void;
type Fetch = Command & { kind: "fetch" };

/** Bytes between two `progress` events of a fetch. */
const PROGRESS_BYTES = 8_192;

/** Runs commands on store, blobs and sources; those that touch one blob run one after another. */
export class StoreExecutor implements CommandExecutor {
  readonly #store: Store;
  readonly #blobs: BlobStore;
  readonly #sources: ReadonlyMap<string, ImageSource>;
  readonly #queues = new Map<string, Promise<void>>();
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(store: Store, blobs: BlobStore, sources: readonly ImageSource[]) {
    this.#store = store;
    this.#blobs = blobs;
    this.#sources = new Map(sources.flatMap((source) => source.schemes.map((scheme) => [scheme, source] as const)));
  }

  execute(command: Command, emit: Emit): void {
    if (command.kind === "http") {
      void exchangeHttp(command.request, command.maxBytes, this.#abort.signal)
        .then((response) => emit({ kind: "http-response", response }))
        .catch((error: unknown) => emit(toHttpFailure(error)));
      return;
    }
    const queue = command.kind === "store" ? "store" : command.digest;
    const before = this.#queues.get(queue) ?? Promise.resolve();
    const job = before.then(async () => this.#run(command, emit)).catch((error: unknown) => emit(toFailure(error)));
    this.#queues.set(queue, job);
    this.#running.add(job);
    void job.then(() => {
      this.#running.delete(job);
      if (this.#queues.get(queue) === job) this.#queues.delete(queue);
    });
  }

  /** Breaks fetches off and waits for what is being written. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#running);
  }

  async #run(command: Exclude<Command, { kind: "http" }>, emit: Emit): Promise<void> {
    switch (command.kind) {
      case "store":
        await this.#store.write(command.ops, command.durability);
        emit({ kind: "done" });
        return;
      case "blob-read": {
        const { part, digest } = command;
        emit({ kind: "done", bytes: await (part ? this.#blobs.readPart(digest) : this.#blobs.read(digest)) });
        return;
      }
      case "blob-commit":
        await this.#blobs.commit(command.digest);
        emit({ kind: "done" });
        return;
      case "blob-remove":
        await this.#blobs.remove(command.digest, command.part);
        emit({ kind: "done" });
        return;
      case "fetch":
        await this.#fetch(command, emit);
    }
  }

  async #fetch(command: Fetch, emit: Emit): Promise<void> {
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(command.uri)?.[1]?.toLowerCase() ?? "";
    const source = this.#sources.get(scheme);
    if (source === undefined) {
      const known = [...this.#sources.keys()].join(", ");
      throw new SourceError("scheme-unsupported", `cannot fetch ${command.uri}: the schemes are ${known}`, false);
    }
    const { uri, offset, validator, maxBytes } = command;
    const response = await source.open({ uri, offset, validator, maxBytes, signal: this.#abort.signal });
    emit({ kind: "started", offset: response.offset, validator: response.validator });
    const part = await this.#openPart(command, response);
    let [received, reported] = [response.offset, response.offset];
    try {
      for await (const bytes of response.body) {
        if (received + bytes.length > maxBytes) {
          throw new SourceError(
            "larger-than-signed",
            `${uri} is larger than the ${maxBytes} bytes that were signed`,
            false,
          );
        }
        await part.append(bytes);
        received += bytes.length;
        if (received - reported >= PROGRESS_BYTES) {
          emit({ kind: "progress", bytes: received - reported });
          reported = received;
        }
      }
    } finally {
      await part.close();
      if (received > reported) emit({ kind: "progress", bytes: received - reported });
    }
    emit({ kind: "done" });
  }

  /** A part that is gone, or shorter than it was, can't be gone on with; the source is let go either way. */
  async #openPart(command: Fetch, { offset, body }: SourceResponse): Promise<PartWriter> {
    try {
      return await this.#blobs.openPart(command.digest, offset);
    } catch (error) {
      await body[Symbol.asyncIterator]().return?.();
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" && offset > 0) throw new SourceError(RESUME_REFUSED, message, true);
      throw error;
    }
  }
}

/** Words for the failures that an operator can do something about. */
const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  ENOSPC: "disk-full",
  EDQUOT: "disk-full",
  EFBIG: "disk-full",
  EACCES: "permission-denied",
  EPERM: "permission-denied",
  EROFS: "read-only",
  ENOENT: "not-found",
};

export function toHttpFailure(error: unknown): CommandEvent {
  const { name, message } = error as Error;
  return { kind: "failed", reason: name === "TimeoutError" ? "timeout" : "failed", detail: message, retryable: true };
}

function toFailure(error: unknown): CommandEvent {
  if (error instanceof SourceError) {
    return { kind: "failed", reason: error.reason, detail: error.message, retryable: error.retryable };
  }
  const { message, code, cause } = error as Error & { code?: string; cause?: { code?: string; message?: string } };
  const text = cause?.message ?? message;
  // LevelDB tells a full disk only by the text of its IO error.
  const system = Object.keys(SYSTEM_REASONS).find((name) => code === name || cause?.code === name);
  const reason =
    system !== undefined ? SYSTEM_REASONS[system]! : /no space left/i.test(text) ? "disk-full" : "io-error";
  return { kind: "failed", reason, detail: text, retryable: false };
}

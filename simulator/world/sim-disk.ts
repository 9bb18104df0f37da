import type { BlobInfo } from "../../src/ports/blob-store.ts";
import type { Command, CommandEvent, CommandExecutor } from "../../src/ports/commands.ts";
import type { Engine } from "../engine/engine.ts";

/** How long the gateway's disk and upstream take; they are not what a mote's transfer waits for. */
const DISK_US = 1_000;
const UPSTREAM_US = 50_000;

/** What outlives the gateway's process: store, blobs, and the upstream that images come from. */
export class SimDisk {
  readonly entries: Map<string, Uint8Array> = new Map();
  readonly blobs: Map<string, Uint8Array> = new Map();
  readonly parts: Map<string, Uint8Array> = new Map();
  /** Images by URI. */
  readonly upstream: Map<string, Uint8Array> = new Map();

  list(): BlobInfo[] {
    const info =
      (complete: boolean) =>
      ([digest, bytes]: [string, Uint8Array]): BlobInfo => ({ digest, bytes: bytes.length, complete });
    return [...[...this.blobs].map(info(true)), ...[...this.parts].map(info(false))];
  }
}

/** Runs the gateway's commands on a SimDisk in virtual time. After `kill` nothing is heard of it any more. */
export class SimExecutor implements CommandExecutor {
  readonly #engine: Engine;
  readonly #disk: SimDisk;
  #alive = true;

  constructor(engine: Engine, disk: SimDisk) {
    this.#engine = engine;
    this.#disk = disk;
  }

  kill(): void {
    this.#alive = false;
  }

  execute(command: Command, emit: (event: CommandEvent) => void): void {
    const later = (us: number, event: () => CommandEvent): void => {
      this.#engine.after(us, () => {
        if (this.#alive) emit(event());
      });
    };
    const disk = this.#disk;
    switch (command.kind) {
      case "store":
        later(DISK_US, () => {
          for (const op of command.ops) {
            if (op.kind === "put") disk.entries.set(op.key, op.value);
            else disk.entries.delete(op.key);
          }
          return { kind: "done" };
        });
        return;
      case "blob-read":
        later(DISK_US, () => {
          const bytes = (command.part ? disk.parts : disk.blobs).get(command.digest);
          return bytes === undefined ? missing("not-found", command.digest) : { kind: "done", bytes };
        });
        return;
      case "blob-commit":
        later(DISK_US, () => {
          disk.blobs.set(command.digest, disk.parts.get(command.digest)!);
          disk.parts.delete(command.digest);
          return { kind: "done" };
        });
        return;
      case "blob-remove":
        later(DISK_US, () => {
          (command.part ? disk.parts : disk.blobs).delete(command.digest);
          return { kind: "done" };
        });
        return;
      case "fetch":
        this.#fetch(command, later);
        return;
      case "http":
        later(DISK_US, () => ({
          kind: "failed",
          reason: "failed",
          detail: "no HTTP in the simulator",
          retryable: false,
        }));
    }
  }

  #fetch(command: Command & { kind: "fetch" }, later: (us: number, event: () => CommandEvent) => void): void {
    const bytes = this.#disk.upstream.get(command.uri);
    if (bytes === undefined) {
      later(UPSTREAM_US, () => missing("not-found", command.uri));
      return;
    }
    later(UPSTREAM_US, () => ({ kind: "started", offset: 0, validator: undefined }));
    later(UPSTREAM_US + 1, () => {
      this.#disk.parts.set(command.digest, bytes);
      return { kind: "progress", bytes: bytes.length };
    });
    later(UPSTREAM_US + 2, () => ({ kind: "done" }));
  }
}

function missing(reason: string, detail: string): CommandEvent {
  return { kind: "failed", reason, detail, retryable: false };
}

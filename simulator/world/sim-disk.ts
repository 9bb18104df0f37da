import type { BlobInfo } from "../../src/ports/blob-store.ts";
import type { Command, CommandEvent, CommandExecutor } from "../../src/ports/commands.ts";
import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
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

/** Shares of the writes to the store, and of the fetches from upstream, that fail. */
export interface DiskFaults {
  readonly store: number;
  readonly upstream: number;
  readonly random: Random;
}

/** Runs the gateway's commands on a SimDisk in virtual time. After `kill` nothing is heard of it any more. */
export class SimExecutor implements CommandExecutor {
  readonly #engine: Engine;
  readonly #disk: SimDisk;
  readonly #faults: DiskFaults | undefined;
  #alive = true;

  constructor(engine: Engine, disk: SimDisk, faults?: DiskFaults) {
    this.#engine = engine;
    this.#disk = disk;
    this.#faults = faults;
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
          if (this.#fails("store")) return failed("failed", "the disk does not take it", true);
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
          return bytes === undefined ? failed("not-found", command.digest, false) : { kind: "done", bytes };
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
        later(DISK_US, () => failed("failed", "no HTTP in the simulator", false));
    }
  }

  #fails(what: "store" | "upstream"): boolean {
    const faults = this.#faults;
    return faults !== undefined && faults[what] > 0 && unitFloat(faults.random) < faults[what];
  }

  #fetch(command: Command & { kind: "fetch" }, later: (us: number, event: () => CommandEvent) => void): void {
    const bytes = this.#disk.upstream.get(command.uri);
    if (bytes === undefined || this.#fails("upstream")) {
      later(UPSTREAM_US, () => failed("not-found", command.uri, bytes !== undefined));
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

function failed(reason: string, detail: string, retryable: boolean): CommandEvent {
  return { kind: "failed", reason, detail, retryable };
}

import type { BlobInfo } from "../../src/ports/blob-store.ts";
import type { Command, CommandEvent, CommandExecutor } from "../../src/ports/commands.ts";
import type { StoreOp } from "../../src/ports/store.ts";
import type { Random } from "../../src/ports/random.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";
import type { Engine } from "../engine/engine.ts";

/** How long the gateway's disk and upstream take; they are not what a mote's transfer waits for. */
const DISK_US = 1_000;
const UPSTREAM_US = 50_000;
/** How long after it was told to be done a write that was lied about is. */
const LIE_US = 2_000_000;

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
  /** A planted fault: writes are told to be done before they are. */
  readonly lies?: boolean | undefined;
}

/** Runs the gateway's commands on a SimDisk in virtual time. After `kill` nothing is heard of it any more. */
export class SimExecutor implements CommandExecutor {
  readonly #engine: Engine;
  readonly #disk: SimDisk;
  readonly #faults: DiskFaults | undefined;
  #alive = true;
  readonly #underWay: (readonly StoreOp[])[] = [];

  constructor(engine: Engine, disk: SimDisk, faults?: DiskFaults) {
    this.#engine = engine;
    this.#disk = disk;
    this.#faults = faults;
  }

  /** The process dies; `random`: of the writes that were under way the disk may have done the first ones. */
  kill(random?: Random): void {
    this.#alive = false;
    const done = random === undefined ? 0 : uintBelow(random, this.#underWay.length + 1);
    for (const ops of this.#underWay.splice(0, done)) this.#write(ops);
  }

  #write(ops: readonly StoreOp[]): void {
    for (const op of ops) {
      if (op.kind === "put") this.#disk.entries.set(op.key, op.value);
      else this.#disk.entries.delete(op.key);
    }
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
        this.#store(command.ops, emit, later);
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

  #store(
    ops: readonly StoreOp[],
    emit: (event: CommandEvent) => void,
    later: (us: number, event: () => CommandEvent) => void,
  ): void {
    if (this.#faults?.lies === true) {
      this.#engine.after(1, () => this.#alive && emit({ kind: "done" }));
      this.#engine.after(LIE_US, () => this.#alive && this.#write(ops));
      return;
    }
    this.#underWay.push(ops);
    later(DISK_US, () => {
      this.#underWay.splice(this.#underWay.indexOf(ops), 1);
      if (this.#fails("store")) return failed("failed", "the disk does not take it", true);
      this.#write(ops);
      return { kind: "done" };
    });
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

import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { Gateway, type GatewayParts } from "../../src/gateway/gateway.ts";
import type { PublishOutcome } from "../../src/gateway/publications.ts";
import { RunLoop } from "../../src/host/run-loop.ts";
import type { Command, CommandEvent, CommandExecutor } from "../../src/ports/commands.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import type { Transmit } from "../../src/ports/datagram.ts";
import type { Log } from "../../src/ports/log.ts";
import { createEnvelope, signEnvelope } from "../../src/suit/author.ts";
import { Counters } from "../../src/util/counters.ts";
import { randomBytes } from "../../src/util/random.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import { Engine } from "../../simulator/engine/engine.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { SimDisk, SimExecutor } from "../../simulator/world/sim-disk.ts";

const random = new SeededRandom(9, "gateway-tests");
export const author: PrivateKey = keyPairOf("ES256", randomBytes(random, 32));
export const vendorId: Uint8Array = randomBytes(random, 16);
export const classId: Uint8Array = randomBytes(random, 16);

export function makeImage(seed: number, bytes: number): Uint8Array {
  return randomBytes(new SeededRandom(seed, "image"), bytes);
}

export function sign(image: Uint8Array, sequenceNumber: number, change: object = {}): Uint8Array {
  const imageDigest = nodeCrypto.sha256(image);
  const description = {
    vendorId,
    classId,
    sequenceNumber,
    imageDigest,
    imageSize: image.length,
    uri: `/${imagePath(imageDigest).join("/")}`,
  };
  return signEnvelope(nodeCrypto, author, createEnvelope(nodeCrypto, { ...description, ...change }));
}

/** `never`: it is not heard of again. */
type Intercept = (command: Command) => CommandEvent | "never" | undefined;

/** A gateway in virtual time on a disk of its own, which outlives it. */
export class GatewayBench {
  readonly engine: Engine = new Engine();
  readonly disk: SimDisk;
  readonly counters: Counters = new Counters();
  readonly events: { event: string; reason: string }[] = [];
  readonly commands: Command[] = [];
  readonly outcomes: PublishOutcome[] = [];
  readonly sent: Uint8Array[] = [];
  /** Where datagrams go, in place of `sent`. */
  route: ((transmit: Transmit) => void) | undefined;
  /** Answers a command in the disk's place. */
  intercept: Intercept = () => undefined;
  gateway!: Gateway;
  loop!: RunLoop;
  #executor!: SimExecutor;
  /** A gateway that is started again draws other numbers, as it does in life. */
  #starts = 0;
  readonly #parts: Partial<GatewayParts>;

  constructor(parts: Partial<GatewayParts> = {}, disk: SimDisk = new SimDisk()) {
    this.disk = disk;
    this.#parts = parts;
    this.start();
  }

  start(): void {
    const log: Log = {
      event: (_level, event, fields) => void this.events.push({ event, reason: String(fields?.["reason"] ?? "") }),
    };
    const MIB = 1_048_576;
    this.gateway = new Gateway(
      {
        crypto: nodeCrypto,
        random: new SeededRandom(1, `gateway${this.#starts++ || ""}`),
        log,
        metrics: this.counters,
        budget: { maxImageBytes: MIB, diskBytes: 4 * MIB, memoryBytes: 2 * MIB },
        anchors: [author.publicKey],
        preferredSzx: 2,
        ...this.#parts,
      },
      {
        entries: this.disk.entries,
        blobs: this.disk.list(),
        nowUs: this.engine.nowUs(),
        unixMs: this.engine.nowUs() / 1_000,
      },
    );
    const own = (this.#executor = new SimExecutor(this.engine, this.disk));
    const executor: CommandExecutor = {
      execute: (command, emit) => {
        this.commands.push(command);
        const instead = this.intercept(command);
        if (instead === undefined) own.execute(command, emit);
        else if (instead !== "never") this.engine.after(10, () => this.loop === loop && emit(instead)); // one that was killed hears nothing
      },
    };
    let timer: Timer | undefined;
    const loop: RunLoop = new RunLoop(this.gateway, {
      clock: this.engine,
      executor,
      send: (transmit) => {
        if (this.route === undefined) this.sent.push(transmit.bytes.slice());
        else this.route({ peer: transmit.peer, bytes: transmit.bytes.slice() });
      },
      setTimer: (atUs) => {
        timer?.cancel();
        timer = atUs === undefined ? undefined : this.engine.at(atUs, () => this.loop === loop && loop.wake());
      },
      onSettled: () => {
        for (let out = this.gateway.pollOutcome(); out !== undefined; out = this.gateway.pollOutcome())
          this.outcomes.push(out);
      },
    });
    this.loop = loop;
    loop.call(() => {});
  }

  /** The process dies here: nothing that was under way is heard of again. */
  restart(): void {
    this.#executor.kill();
    this.start();
    this.run(1);
  }

  run(seconds: number): void {
    const until = this.engine.nowUs() + seconds * 1e6;
    this.engine.run(until, () => false);
  }

  publish(
    image: Uint8Array,
    sequenceNumber: number,
    options: { change?: object; source?: string; seconds?: number; alias?: string | null } = {},
  ): PublishOutcome | undefined {
    const source = options.source ?? `sim:${sequenceNumber}`;
    if (options.source === undefined) this.disk.upstream.set(source, image);
    return this.publishEnvelope(sign(image, sequenceNumber, options.change), source, options);
  }

  publishEnvelope(
    envelope: Uint8Array,
    source: string | undefined,
    options: { seconds?: number; alias?: string | null } = {},
  ): PublishOutcome | undefined {
    const before = this.outcomes.length;
    this.loop.call((nowUs) => this.gateway.publish(nowUs, before + 1, { envelope, source, alias: options.alias }));
    this.run(options.seconds ?? 1);
    return this.outcomes[before];
  }
}

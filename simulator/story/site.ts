import { RunLoop, type Core } from "../../src/host/run-loop.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import type { PublishOutcome, PublishRequest } from "../../src/gateway/publications.ts";
import type { DeskResult, LifecycleDesk } from "../../src/gateway/lifecycle-desk.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import type { CommandExecutor } from "../../src/ports/commands.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { silentLog } from "../../src/ports/log.ts";
import { Counters } from "../../src/util/counters.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { SimDisk, SimExecutor } from "../world/sim-disk.ts";

const LATENCY_US = 5_000;
const HOUR_US = 3_600_000_000;
const BUDGET = { memoryBytes: 1 << 22, diskBytes: 1 << 24, maxImageBytes: 1 << 20 };
export const GATEWAY: PeerAddress = { address: "fd00::1", port: 5683 };

/** A gateway and devices on links that lose nothing, in virtual time: for stories about trust, not about air. */
export class StorySite {
  readonly engine: Engine = new Engine();
  readonly random: SeededRandom;
  readonly disk: SimDisk = new SimDisk();
  readonly counters: Counters = new Counters();
  readonly #loops = new Map<string, RunLoop>();
  readonly #outcomes = new Map<number, PublishOutcome>();
  #gateway: Gateway;
  #executor: SimExecutor | undefined;
  #operation = 1;
  #starts = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed, "story");
    this.#gateway = this.#start();
  }

  get gateway(): Gateway {
    return this.#gateway;
  }

  get desk(): LifecycleDesk {
    return this.#gateway.desk;
  }

  get unixMs(): number {
    return this.engine.nowUs() / 1_000;
  }

  /** Kills the gateway, and starts another one on its disk. */
  restart(): void {
    this.#executor?.kill();
    this.#gateway = this.#start();
  }

  attach(address: string, core: Core): RunLoop {
    return this.#attach(address, core);
  }

  publish(request: PublishRequest): PublishOutcome {
    const operation = this.#operation++;
    this.#loops.get(GATEWAY.address)!.call((nowUs) => this.#gateway.publish(nowUs, operation, request));
    this.settle(HOUR_US / 60);
    return this.#outcomes.get(operation)!;
  }

  /** Makes a call into the desk and waits until it is on disk. */
  onDesk(call: (desk: LifecycleDesk, nowUs: number, done: (result: DeskResult) => void) => void): DeskResult {
    let result: DeskResult | undefined;
    this.#loops.get(GATEWAY.address)!.call((nowUs) => call(this.desk, nowUs, (told) => (result = told)));
    this.settle(HOUR_US / 60);
    return result!;
  }

  /** Lets so much time pass. */
  settle(us: number = HOUR_US): void {
    this.engine.run(this.engine.nowUs() + us, () => false);
  }

  #start(): Gateway {
    const nowUs = this.engine.nowUs();
    const gateway = new Gateway(
      {
        crypto: nobleCrypto,
        log: silentLog,
        metrics: this.counters,
        budget: BUDGET,
        random: this.random.fork(`gateway-${this.#starts++}`),
        anchors: [],
        preferredSzx: 2,
      },
      { entries: this.disk.entries, blobs: this.disk.list(), nowUs, unixMs: nowUs / 1_000 },
    );
    const settled = (): void => {
      for (let outcome = gateway.pollOutcome(); outcome !== undefined; outcome = gateway.pollOutcome())
        this.#outcomes.set(outcome.operation, outcome);
    };
    this.#executor = new SimExecutor(this.engine, this.disk);
    this.#attach(GATEWAY.address, gateway, this.#executor, settled).call(() => {});
    return gateway;
  }

  #attach(address: string, core: Core, executor?: CommandExecutor, onSettled?: () => void): RunLoop {
    const own: PeerAddress = { address, port: 5683 };
    let timer: Timer | undefined;
    const loop: RunLoop = new RunLoop(core, {
      clock: this.engine,
      send: ({ bytes, peer }) => {
        const copy = bytes.slice();
        this.engine.after(LATENCY_US, () => this.#loops.get(peer.address)?.datagram(copy, own));
      },
      setTimer: (atUs) => {
        timer?.cancel();
        // What another one has taken the place of is dead.
        const wake = (): void => void (this.#loops.get(address) === loop && loop.wake());
        timer = atUs === undefined ? undefined : this.engine.at(atUs, wake);
      },
      ...(executor === undefined ? {} : { executor }),
      ...(onSettled === undefined ? {} : { onSettled }),
    });
    this.#loops.set(address, loop);
    return loop;
  }
}

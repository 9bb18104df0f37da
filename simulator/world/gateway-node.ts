import { szxOf } from "../../src/coap/blockwise/block.ts";
import { DEFAULT_PARAMETERS, type TransmissionParameters } from "../../src/coap/parameters.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import type { RunLoop } from "../../src/host/run-loop.ts";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import { silentLog } from "../../src/ports/log.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { createEnvelope, signEnvelope } from "../../src/suit/author.ts";
import { Counters } from "../../src/util/counters.ts";
import { randomBytes } from "../../src/util/random.ts";
import type { Engine } from "../engine/engine.ts";
import type { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import { CsmaMac, DEFAULT_CSMA } from "../mac/csma.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import type { Medium } from "../radio/medium.ts";
import type { Case } from "../scenarios/scenario.ts";
import { nodeAddress, SimNode } from "./node.ts";
import { SimDisk, SimExecutor } from "./sim-disk.ts";

export const GATEWAY_ID = 0;
export const FACTORY_SEQUENCE = 1;
export const TARGET_SEQUENCE = 2;
const MIB = 1_048_576;
const BUDGET = { maxImageBytes: MIB, diskBytes: 64 * MIB, memoryBytes: 16 * MIB };

/** A MAC of the cell; a mote's books its energy. */
export function newMac(
  cell: { readonly engine: Engine; readonly medium: Medium; readonly random: SeededRandom; readonly run: Case },
  id: number,
  ledger?: EnergyLedger,
): CsmaMac {
  const { engine, medium, random, run } = cell;
  const parameters = { ...DEFAULT_CSMA, maxRetries: run.mac.maxRetries, queueFrames: id === GATEWAY_ID ? 256 : 16 };
  const shared = { id, engine, medium, parameters, random: random.fork(`mac-${id}`) };
  return new CsmaMac({ ...shared, ...(ledger === undefined ? {} : { ledger }) });
}

export function parametersOf({ coap }: Case): TransmissionParameters {
  return { ...DEFAULT_PARAMETERS, ackTimeoutUs: coap.ackTimeoutMs * 1_000, maxRetransmit: coap.maxRetransmit };
}

/** The gateway at its border router, with a disk that outlives it, an author's image, and the faults of the scenario. */
export class GatewayNode {
  readonly counters: Counters = new Counters();
  restarts = 0;
  readonly image: Uint8Array;
  readonly classId: Uint8Array;
  readonly author: PrivateKey;
  readonly #vendorId: Uint8Array;
  readonly #engine: Engine;
  readonly #random: SeededRandom;
  readonly #case: Case;
  readonly #quirks: readonly Quirks[];
  readonly #router: SimNode;
  readonly #disk = new SimDisk();
  #gateway: { core: Gateway; loop: RunLoop; executor: SimExecutor } | undefined;

  /** `content` is drawn from for key, image and identifiers. */
  constructor(
    cell: { readonly engine: Engine; readonly medium: Medium; readonly random: SeededRandom; readonly run: Case },
    content: SeededRandom,
    quirks: readonly Quirks[] = [],
  ) {
    this.#engine = cell.engine;
    this.#random = cell.random;
    this.#case = cell.run;
    this.#quirks = quirks;
    this.author = keyPairOf("ES256", randomBytes(content, 32));
    this.image = randomBytes(content, cell.run.imageBytes);
    this.#vendorId = randomBytes(content, 16);
    this.classId = randomBytes(content, 16);
    this.#router = new SimNode(cell.engine, newMac(cell, GATEWAY_ID), 16);
    this.#start();
    this.#publish();
  }

  /** The core that runs now; undefined while it is down. */
  get core(): Gateway | undefined {
    return this.#gateway?.core;
  }

  /** Makes a call into the core, if it runs. */
  call(action: (core: Gateway, nowUs: number) => void): void {
    const gateway = this.#gateway;
    gateway?.loop.call((nowUs) => action(gateway.core, nowUs));
  }

  scheduleFaults(): void {
    for (const { atS, downS } of this.#case.faults.gateway) {
      this.#engine.at(atS * 1e6, () => {
        this.#engine.trace.note(Trace.FAULT, this.#engine.nowUs(), GATEWAY_ID);
        this.#gateway?.executor.kill();
        this.#router.stop();
        this.#gateway = undefined;
      });
      this.#engine.at((atS + downS) * 1e6, () => {
        this.restarts++;
        this.#start();
      });
    }
  }

  #start(): void {
    const executor = new SimExecutor(this.#engine, this.#disk);
    const nowUs = this.#engine.nowUs();
    const core = new Gateway(
      {
        crypto: nobleCrypto,
        log: silentLog,
        metrics: this.counters,
        budget: BUDGET,
        random: this.#random.fork(`gateway-${this.restarts}`),
        anchors: [this.author.publicKey],
        preferredSzx: szxOf(this.#case.blockBytes)!,
        parameters: parametersOf(this.#case),
        profiles: this.#quirks,
        ownAddress: () => `[${nodeAddress(GATEWAY_ID).address}]:${nodeAddress(GATEWAY_ID).port}`,
      },
      { entries: this.#disk.entries, blobs: this.#disk.list(), nowUs, unixMs: nowUs / 1_000 },
    );
    const loop = this.#router.run(core, executor);
    loop.call(() => {});
    this.#gateway = { core, loop, executor };
  }

  #publish(): void {
    const uri = "sim:image";
    this.#disk.upstream.set(uri, this.image);
    const description = {
      sequenceNumber: TARGET_SEQUENCE,
      vendorId: this.#vendorId,
      classId: this.classId,
      uri,
      imageDigest: nobleCrypto.sha256(this.image),
      imageSize: this.image.length,
      // What an LwM2M client is to read afterwards; the others need no such bytes on their air.
      ...(this.#case.transport === "lwm2m" ? { version: `${TARGET_SEQUENCE}.0.0` } : {}),
    };
    const envelope = signEnvelope(nobleCrypto, this.author, createEnvelope(nobleCrypto, description));
    this.call((core, nowUs) => core.publish(nowUs, 1, { envelope }));
  }
}

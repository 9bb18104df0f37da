import { szxOf } from "../../src/coap/blockwise/block.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { makePatch } from "../../src/delta/patch.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import { keyRecord, type DeviceClass } from "../../src/lifecycle/classes.ts";
import type { RunLoop } from "../../src/host/run-loop.ts";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import type { Component } from "../../src/lwm2m/update/job.ts";
import { silentLog } from "../../src/ports/log.ts";
import type { Random } from "../../src/ports/random.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { createEnvelope, signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope, type Image } from "../../src/suit/build.ts";
import { Admission } from "../../src/transfer/admission.ts";
import { Counters } from "../../src/util/counters.ts";
import { toHex } from "../../src/util/bytes.ts";
import { randomBytes } from "../../src/util/random.ts";
import type { Engine } from "../engine/engine.ts";
import type { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { Case } from "../scenarios/case.ts";
import { GATEWAY_ID, parametersOf, type Air } from "./air.ts";
import type { Mesh } from "./mesh.ts";
import type { SimNode } from "./node.ts";
import { SimDisk, SimExecutor } from "./sim-disk.ts";

export const FACTORY_SEQUENCE = 1;
export const TARGET_SEQUENCE = 2;
const MIB = 1_048_576;
const BUDGET = { maxImageBytes: MIB, diskBytes: 64 * MIB, memoryBytes: 16 * MIB };

/** The gateway at its border router, with a disk that outlives it, an author's image, and the faults of the scenario. */
export class GatewayNode {
  readonly counters: Counters = new Counters();
  restarts = 0;
  /** A planted fault, from the next start on: writes are told to be done before they are. */
  lies = false;
  readonly image: Uint8Array;
  /** What motes have before, where they make the image of that by the patch. */
  factory: Uint8Array | undefined;
  patch: Uint8Array | undefined;
  /** SHA-256 of the image. */
  readonly digest: Uint8Array;
  readonly classId: Uint8Array;
  readonly author: PrivateKey;
  readonly vendorId: Uint8Array;
  readonly #engine: Engine;
  readonly #random: SeededRandom;
  readonly #case: Case;
  readonly #quirks: readonly Quirks[];
  readonly #router: SimNode;
  readonly #disk = new SimDisk();
  #gateway: { core: Gateway; loop: RunLoop; executor: SimExecutor } | undefined;

  /** `content` is drawn from for key, image and identifiers. */
  constructor(air: Air, mesh: Mesh, content: SeededRandom, quirks: readonly Quirks[] = []) {
    this.#engine = air.engine;
    this.#random = air.random;
    this.#case = air.run;
    this.#quirks = quirks;
    this.author = keyPairOf("ES256", randomBytes(content, 32));
    this.image = randomBytes(content, air.run.imageBytes);
    const { changedBytes } = air.run;
    if (changedBytes !== undefined) this.#makePatch(randomBytes(content, changedBytes));
    this.digest = nobleCrypto.sha256(this.image);
    this.vendorId = randomBytes(content, 16);
    this.classId = randomBytes(content, 16);
    this.#router = mesh.nodes[GATEWAY_ID]!;
    this.#start();
    this.call((core, nowUs) => this.publish(core, nowUs));
  }

  /** What motes fetch: the image, or the patch by which they make it. */
  get fetched(): Uint8Array {
    return this.patch ?? this.image;
  }

  /** Motes have another piece in the middle of their image. */
  #makePatch(before: Uint8Array): void {
    const factory = this.image.slice();
    factory.set(before, Math.floor((factory.length - before.length) / 2));
    this.factory = factory;
    this.patch = makePatch(factory, this.image);
  }

  /** The core that runs now; undefined while it is down. */
  get core(): Gateway | undefined {
    return this.#gateway?.core;
  }

  /** The author's image as a component of an update. */
  get target(): Component {
    const { image, digest } = this;
    return { object: [5, 0], digest: toHex(digest), size: image.length, version: `${TARGET_SEQUENCE}.0.0` };
  }

  /** Makes a call into the core, if it runs. */
  call(action: (core: Gateway, nowUs: number) => unknown): void {
    const gateway = this.#gateway;
    gateway?.loop.call((nowUs) => action(gateway.core, nowUs));
  }

  scheduleFaults(): void {
    for (const { atS, downS } of this.#case.faults.gateway) {
      this.#engine.at(atS * 1e6, () => this.kill());
      this.#engine.at((atS + downS) * 1e6, () => this.restart());
    }
  }

  /** The process dies; `torn`: of what it was writing the disk may have taken some. */
  kill(torn?: Random): void {
    this.#engine.trace.note(Trace.FAULT, this.#engine.nowUs(), GATEWAY_ID);
    this.#gateway?.executor.kill(torn);
    this.#router.stop();
    this.#gateway = undefined;
  }

  restart(): void {
    this.restarts++;
    this.#start();
    // Nobody was told that it was done, so it is asked for again.
    this.call((core, nowUs) => core.listings().length === 0 && this.publish(core, nowUs));
  }

  #start(): void {
    const { store, upstream } = this.#case.faults;
    const faults = { store, upstream, random: this.#random.fork(`disk-${this.restarts}`), lies: this.lies };
    const executor = new SimExecutor(this.#engine, this.#disk, faults);
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
        admission: this.#case.adaptive ? new Admission() : undefined,
        ownAddress: () => `[${this.#router.address.address}]:${this.#router.address.port}`,
      },
      { entries: this.#disk.entries, blobs: this.#disk.list(), nowUs, unixMs: nowUs / 1_000 },
    );
    const loop = this.#router.run(core, executor);
    loop.call(() => {});
    this.#gateway = { core, loop, executor };
  }

  /** Publishes the author's image. */
  publish(core: Gateway, nowUs: number): void {
    const uri = "sim:image";
    this.#disk.upstream.set(uri, this.image);
    const description = {
      sequenceNumber: TARGET_SEQUENCE,
      vendorId: this.vendorId,
      classId: this.classId,
      uri,
      imageDigest: this.digest,
      imageSize: this.image.length,
      useBefore: this.#case.useBeforeS,
      // What an LwM2M client is to read afterwards; the others need no such bytes on their air.
      ...(this.#case.transport === "lwm2m" ? { version: `${TARGET_SEQUENCE}.0.0` } : {}),
    };
    if (this.patch !== undefined) return this.#publishPatch(core, nowUs, this.patch);
    const envelope = signEnvelope(nobleCrypto, this.author, createEnvelope(nobleCrypto, description));
    core.publish(nowUs, 1, { envelope });
  }

  /** The image and a patch to it, for a class that takes patches. */
  #publishPatch(core: Gateway, nowUs: number, patch: Uint8Array): void {
    const { author, vendorId, classId, image } = this;
    const of = (bytes: Uint8Array): Image => ({ digest: nobleCrypto.sha256(bytes), size: bytes.length });
    const pathOf = ({ digest }: Image): string => `/${imagePath(digest).join("/")}`;
    const [whole, patched] = [of(image), of(patch)];
    this.#disk.upstream.set("sim:patch", patch);
    const patches = [{ from: of(this.factory!), patch: patched, uri: pathOf(patched) }];
    const components = [{ id: [Uint8Array.of(0)], payloads: [{ image: whole, uri: pathOf(whole), patches }] }];
    const { useBeforeS: useBefore } = this.#case;
    const update = { sequenceNumber: TARGET_SEQUENCE, vendorId, classIds: [classId], components, useBefore };
    const envelope = signEnvelope(nobleCrypto, author, buildEnvelope(nobleCrypto, update));
    const sources = { [toHex(whole.digest)]: "sim:image", [toHex(patched.digest)]: "sim:patch" };
    const definition: DeviceClass = {
      id: toHex(classId),
      name: "motes",
      vendorId: toHex(vendorId),
      hardware: {
        rng: true,
        rtc: this.#case.rtc,
        slots: 2,
        recoveryImage: false,
        ramBytes: 65_536,
        features: ["delta"],
      },
      authorities: [{ ...keyRecord(author.publicKey), name: "author" }],
      escrow: [],
      operators: [],
      epoch: 0,
    };
    core.desk.submit(nowUs, "owner", { kind: "class-defined", definition }, () =>
      this.call((now, atUs) => now.publish(atUs, 1, { envelope, sources })),
    );
  }
}

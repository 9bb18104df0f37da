import { mkdirSync, accessSync, constants, readFileSync } from "node:fs";
import { join } from "node:path";
import { coapSource } from "../adapters/coap-source.ts";
import { Counters } from "../util/counters.ts";
import { StoreExecutor } from "../adapters/executor.ts";
import { FileBlobStore } from "../adapters/file-blob-store.ts";
import { fileSource } from "../adapters/file-source.ts";
import { httpSource } from "../adapters/http-source.ts";
import { causeCode, LevelStore } from "../adapters/level-store.ts";
import { MirroredStore } from "../adapters/mirrored-store.ts";
import { nodeCrypto } from "../adapters/node-crypto.ts";
import { systemClock, systemRandom, timerMs } from "../adapters/system.ts";
import { DEFAULT_PARAMETERS } from "../coap/parameters.ts";
import { SecretStore } from "../adapters/secret-store.ts";
import { AUDIT_PREFIX, CREDENTIAL_PREFIX, TRANSFER_PREFIX } from "../gateway/lifecycle-desk.ts";
import { RELEASE_PREFIX } from "../gateway/listing-record.ts";
import { Gateway } from "../gateway/gateway.ts";
import type { WebhookTarget } from "../gateway/webhooks.ts";
import { EventLog } from "../http/event-log.ts";
import type { OperationOutcome } from "../lwm2m/device-queue.ts";
import type { OperationSpec } from "../lwm2m/operation-spec.ts";
import type { ProbeReport } from "../lwm2m/probe.ts";
import type { OperationOptions } from "../http/devices.ts";
import type { PublishOutcome, PublishRequest } from "../gateway/publications.ts";
import { RunLoop } from "../host/run-loop.ts";
import type { Log } from "../ports/log.ts";
import type { Store } from "../ports/store.ts";
import { Admission } from "../transfer/admission.ts";
import { ClockWatch } from "./clock-watch.ts";
import { preferredSzx, type Config } from "./config.ts";
import { controlSocket } from "./control-client.ts";
import { environmentError } from "./errors.ts";
import { readAnchors } from "./keys.ts";
import { awakeTimes, ownAddress, readQuirks } from "./lwm2m-policy.ts";
import { provenAddresses, proxySettings } from "./network-policy.ts";
import { Sockets } from "./sockets.ts";

/** A gateway on this machine: the core, its state folder and its sockets. */
export class GatewayHost {
  readonly gateway: Gateway;
  readonly counters: Counters;
  /** What happens, for whoever listens. */
  readonly events: EventLog = new EventLog(Date.now().toString(36));
  readonly #loop: RunLoop;
  readonly #store: Store;
  readonly #executor: StoreExecutor;
  readonly #sockets: Sockets;
  /** Who waits for the outcome of an operation. */
  readonly #asked = new Map<number, (outcome: OperationOutcome) => void>();
  readonly #waiting = new Map<number, (outcome: PublishOutcome) => void>();
  #timer: NodeJS.Timeout | undefined;
  readonly #clockWatch: ClockWatch;
  #nextOperation = 1;

  private constructor(parts: {
    readonly gateway: Gateway;
    readonly counters: Counters;
    readonly store: Store;
    readonly executor: StoreExecutor;
    readonly log: Log;
  }) {
    this.gateway = parts.gateway;
    this.counters = parts.counters;
    this.#store = parts.store;
    this.#executor = parts.executor;
    this.#loop = new RunLoop(this.gateway, {
      clock: systemClock,
      executor: this.#executor,
      send: (transmit) => this.#sockets.send(transmit),
      setTimer: (atUs) => this.#setTimer(atUs),
      onSettled: () => this.#deliverOutcomes(),
    });
    this.#sockets = new Sockets((...datagram) => this.#loop.datagram(...datagram));
    this.#clockWatch = new ClockWatch(this.gateway, (action) => this.#loop.call(action), parts.log);
  }

  static async start(config: Config, log: Log): Promise<GatewayHost> {
    controlSocket(config.state); // too long a path is said before anything is touched
    prepareFolder(config.state);
    const anchors = readAnchors(config.trust, config.state);
    if (anchors.length === 0)
      log.event("warn", "no-trust-anchor", { reason: "nothing can be published until --trust names a public key" });
    const { store, mirror } = await openStore(config.state);
    try {
      const blobs = await openBlobs(join(config.state, "images"));
      const executor = new StoreExecutor(store, blobs, [fileSource, httpSource, coapSource]);
      const counters = new Counters();
      const entries = await store.entries();
      if (mirror.recovered > 0) {
        log.event("error", "store-lost-records", {
          reason: "releases or entries of the audit log came back from their own files",
          count: mirror.recovered,
        });
      }
      const bound: { addresses: readonly string[] } = { addresses: [] };
      const ackTimeoutUs = Math.round(config.coap.ackTimeoutMs * 1_000);
      const gateway = new Gateway(
        {
          crypto: nodeCrypto,
          random: systemRandom,
          log,
          metrics: counters,
          anchors,
          budget: config.limits,
          preferredSzx: preferredSzx(config),
          admission: config.coap.sharedChannel ? new Admission() : undefined,
          parameters: { ...DEFAULT_PARAMETERS, ackTimeoutUs },
          isTrusted: provenAddresses(config.coap.provenNetworks),
          ...(await proxySettings(config)),
          name: config.name,
          maxConcurrentUpdates: config.rollouts.maxConcurrent,
          webhooks: config.api.webhooks.map(webhookOf),
          profiles: readQuirks(config.lwm2m.profiles),
          awakeUs: awakeTimes(config.lwm2m.awakeS),
          ownAddress: (peer) => ownAddress(config.lwm2m.address, bound.addresses, peer),
        },
        { entries, blobs: await blobs.list(), nowUs: systemClock.nowUs(), unixMs: Date.now() },
      );
      const host = new GatewayHost({ gateway, counters, store, executor, log });
      await host.#sockets.bind(config.listen, config.coap.groups);
      bound.addresses = host.addresses;
      host.#loop.call(() => {}); // what recovery asks for
      return host;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  get addresses(): readonly string[] {
    return this.#sockets.addresses;
  }

  async publish(request: PublishRequest): Promise<PublishOutcome> {
    const operation = this.#nextOperation++;
    const outcome = new Promise<PublishOutcome>((resolve) => this.#waiting.set(operation, resolve));
    this.#loop.call((nowUs) => this.gateway.publish(nowUs, operation, request));
    return await outcome;
  }

  /** Makes a call into the core. */
  call(action: (nowUs: number) => void): void {
    this.#loop.call(action);
  }

  /** See DevicesControl. */
  async operate(
    endpoint: string,
    spec: OperationSpec,
    { priority, deadlineS }: OperationOptions,
  ): Promise<{ id: number; outcome: Promise<OperationOutcome> } | undefined> {
    const { devices } = this.gateway;
    if (devices.get(endpoint) === undefined) return undefined;
    const deadlineMs = deadlineS === undefined ? undefined : Date.now() + deadlineS * 1_000;
    return await new Promise((resolve) =>
      this.#loop.call(() => {
        let outcome: Promise<OperationOutcome> | undefined;
        const id = devices.operations.submit(endpoint, spec, { priority, deadlineMs }, (taken) => {
          if (!taken) this.#asked.delete(id);
          resolve(taken ? { id, outcome: outcome! } : undefined);
        });
        outcome = new Promise((tell) => this.#asked.set(id, tell)); // its outcome may come at once
      }),
    );
  }

  /** See DevicesControl. */
  async probe(endpoint: string): Promise<ProbeReport | undefined> {
    return await new Promise((resolve) =>
      this.#loop.call((nowUs) => {
        if (!this.gateway.devices.probes.start(nowUs, endpoint, resolve)) resolve(undefined);
        this.gateway.devices.settle(nowUs);
      }),
    );
  }

  /** Writes what is due and lets go of sockets and store. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#clockWatch.stop();
    await this.#sockets.close();
    this.#loop.call(() => this.gateway.flush());
    await this.#executor.stop();
    clearTimeout(this.#timer);
    await this.#store.close();
  }

  #setTimer(atUs: number | undefined): void {
    clearTimeout(this.#timer);
    if (atUs === undefined) return;
    this.#timer = setTimeout(() => this.#loop.wake(), timerMs(atUs, systemClock.nowUs()));
  }

  #deliverOutcomes(): void {
    for (let outcome = this.gateway.pollOutcome(); outcome !== undefined; outcome = this.gateway.pollOutcome()) {
      this.#waiting.get(outcome.operation)?.(outcome);
      this.#waiting.delete(outcome.operation);
    }
    const { devices, fleet, webhooks } = this.gateway;
    for (let news = fleet.pollNews(); news !== undefined; news = fleet.pollNews()) {
      const told = news;
      this.events.add(told.kind, told.data);
      this.#loop.call((nowUs) => webhooks.add(nowUs, told));
    }
    for (let outcome = devices.pollOutcome(); outcome !== undefined; outcome = devices.pollOutcome()) {
      this.#asked.get(outcome.id)?.(outcome);
      this.#asked.delete(outcome.id);
    }
  }
}

function webhookOf({ url, secretFile, kinds }: Config["api"]["webhooks"][number]): WebhookTarget {
  try {
    const secret = new Uint8Array(Buffer.from(readFileSync(secretFile, "utf8").trim(), "utf8"));
    if (secret.length < 16) throw new Error("write at least 16 characters into it");
    return { url, secret, kinds };
  } catch (error) {
    throw environmentError("webhook-secret", `${secretFile}: ${(error as Error).message}`);
  }
}

function prepareFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw environmentError(
      "state-not-writable",
      `cannot write to the state folder ${folder}: ${(error as Error).message}. Choose another one with --state, or fix its owner.`,
    );
  }
}

async function openBlobs(folder: string): Promise<FileBlobStore> {
  try {
    return await FileBlobStore.open(folder);
  } catch (error) {
    throw environmentError(
      "state-not-writable",
      `cannot use ${folder}: ${(error as Error).message}. Move what is there away, or choose another --state.`,
    );
  }
}

async function openStore(folder: string): Promise<{ store: Store; mirror: MirroredStore }> {
  try {
    const level = await LevelStore.open(join(folder, "store"));
    // What was revoked must not be believed again because LevelDB has dropped the end of its log; and devices take no
    // other hand-over than the one that the log tells of.
    const precious = [RELEASE_PREFIX, AUDIT_PREFIX, TRANSFER_PREFIX];
    const mirror = await MirroredStore.open(level, join(folder, "releases"), precious);
    return { mirror, store: await SecretStore.open(mirror, join(folder, "credentials"), CREDENTIAL_PREFIX) };
  } catch (error) {
    if (causeCode(error) === "LEVEL_LOCKED") {
      throw environmentError(
        "state-in-use",
        `another gateway is running on ${folder}. Stop it, or choose another folder with --state.`,
      );
    }
    const { message, cause } = error as Error & { cause?: Error };
    throw environmentError(
      "store-failed",
      `cannot open the store in ${folder}: ${cause?.message ?? message}. Free some disk space or fix the folder's owner.`,
    );
  }
}

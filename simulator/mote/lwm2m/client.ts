import { BlockDownload } from "../../../src/coap/blockwise/block2-client.ts";
import { CoapEndpoint } from "../../../src/coap/endpoint.ts";
import { Code } from "../../../src/coap/numbers.ts";
import { Firmware } from "../../../src/lwm2m/firmware.ts";
import type { Path } from "../../../src/lwm2m/path.ts";
import type { PeerAddress, Transmit } from "../../../src/ports/datagram.ts";
import { BlockFetch } from "../../../src/transfer/block-fetch.ts";
import { trustOf, type DeviceTrust } from "../../../src/suit/trust.ts";
import { earlier } from "../../../src/util/deadline.ts";
import { boot, type BootResult } from "../bootloader.ts";
import { confirmSlot } from "../layout.ts";
import { BootstrapClient } from "./bootstrap.ts";
import { FirmwareObject } from "./firmware-object.ts";
import type { ManifestParts } from "../manifest-fetch.ts";
import { readTrust, writeTrust } from "../trust-store.ts";
import type { ClientParts } from "./client-parts.ts";
import { ObjectTree, type ObjectInstance } from "./objects.ts";
import { RegistrationClient } from "./registration-client.ts";

/** From one boot of a LwM2M client to the next. */
export class Lwm2mClient {
  readonly #parts: ClientParts;
  readonly #endpoint: CoapEndpoint;
  readonly booted: BootResult | undefined;
  readonly firmware: FirmwareObject | undefined;
  readonly #registration: RegistrationClient;
  /** While it is not known where to register. */
  #bootstrap: BootstrapClient | undefined;
  /** Where it sleeps between: when it falls asleep, or wakes, next. */
  #turnUs: number | undefined;
  asleep = false;
  #nowUs = 0;
  #proven = false;

  constructor(parts: ClientParts, boots: number) {
    this.#parts = parts;
    const { flash, layout, crypto, random, parameters, metrics, object } = parts;
    this.booted = boot(flash, layout, crypto);
    if (this.booted !== undefined) this.firmware = this.#newFirmware(this.booted);
    const tree = new ObjectTree(this.#instances(object, boots));
    this.#endpoint = new CoapEndpoint({
      random: random.fork("coap"),
      parameters,
      metrics,
      tokenLength: 2,
      handler: tree,
      preferredSzx: parts.szx,
    });
    const { endpointName, lifetimeS, version, queueMode } = parts;
    const settings = { endpointName, lifetimeS, version, queueMode: queueMode !== undefined, links: tree.links() };
    this.#registration = new RegistrationClient(this.#endpoint, parts.server, settings);
    if (parts.bootstrap === undefined) return;
    const bootstrap = new BootstrapClient(this.#endpoint, parts.bootstrap, endpointName);
    this.#bootstrap = bootstrap;
    tree.intercept = (request) => bootstrap.handleRequest(request);
  }

  get retransmitted(): number {
    return this.#endpoint.stats.retransmitted;
  }

  get isRegistered(): boolean {
    return this.#registration.isRegistered;
  }

  start(nowUs: number): void {
    if (this.booted === undefined) return;
    this.#nowUs = nowUs;
    this.#parts.onRadio(nowUs, true);
    this.#listen(nowUs);
    if (this.#bootstrap === undefined) this.#registration.announce(nowUs);
    else this.#bootstrap.start(nowUs);
    this.firmware!.start(nowUs);
  }

  deregister(nowUs: number): void {
    this.#registration.deregister(nowUs);
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    if (this.asleep) return;
    this.#nowUs = nowUs;
    this.#endpoint.handleDatagram(nowUs, bytes, peer);
    this.#takeEvents(nowUs);
    const told = this.#bootstrap?.result;
    if (told === undefined) return;
    this.#bootstrap = undefined;
    this.#registration.configure(told.server, told.lifetimeS);
    this.#registration.announce(nowUs);
  }

  handleTimeout(nowUs: number): void {
    this.#nowUs = nowUs;
    if (this.#turnUs !== undefined && this.#turnUs <= nowUs) this.#turn(nowUs);
    this.#endpoint.handleTimeout(nowUs);
    this.#takeEvents(nowUs);
    this.firmware?.handleTimeout(nowUs);
    if (this.asleep) return;
    this.#bootstrap?.handleTimeout(nowUs);
    this.#registration.handleTimeout(nowUs);
    this.#endpoint.drainHandlers(nowUs);
  }

  /** What it has to say while it sleeps is lost. */
  pollTransmit(): Transmit | undefined {
    const transmit = this.#endpoint.pollTransmit();
    if (transmit !== undefined && !this.asleep && this.#parts.queueMode?.fixed !== true) this.#listen(this.#nowUs);
    if (!this.asleep) return transmit;
    while (this.#endpoint.pollTransmit() !== undefined);
    return undefined;
  }

  pollTimeout(): number | undefined {
    const registration = this.asleep
      ? undefined
      : earlier(this.#registration.pollTimeout(), this.#bootstrap?.pollTimeout());
    const own = earlier(earlier(this.firmware?.pollTimeout(), registration), this.#turnUs);
    return earlier(this.#endpoint.pollTimeout(), own);
  }

  #listen(nowUs: number): void {
    const { queueMode } = this.#parts;
    if (queueMode !== undefined) this.#turnUs = nowUs + queueMode.awakeS * 1e6;
  }

  #turn(nowUs: number): void {
    const { wakeIntervalS, awakeS } = this.#parts.queueMode!;
    this.asleep = !this.asleep;
    this.#turnUs = nowUs + (this.asleep ? wakeIntervalS - awakeS : awakeS) * 1e6;
    this.#parts.onRadio(nowUs, !this.asleep);
    if (this.asleep) return;
    if (this.#bootstrap === undefined) this.#registration.announce(nowUs);
    this.firmware!.woke(nowUs);
  }

  #takeEvents(nowUs: number): void {
    for (let event = this.#endpoint.pollEvent(); event !== undefined; event = this.#endpoint.pollEvent())
      if (!this.#registration.handleEvent(nowUs, event)) {
        this.#bootstrap?.handleEvent(nowUs, event);
        this.firmware?.handleEvent(nowUs, event);
      }
    this.#prove();
  }

  /** A new image that can register reaches its server: that is what it had to prove. */
  #prove(): void {
    const { flash, layout } = this.#parts;
    if (this.#proven || this.booted === undefined || !this.#registration.isRegistered) return;
    this.#proven = true;
    if (this.booted.onTrial) confirmSlot(flash, layout, this.booted.slot);
  }

  #newFirmware(booted: BootResult): FirmwareObject {
    const { flash, layout, crypto, behaviour, szx, costs, onCpu, random, object } = this.#parts;
    const newFetch = (download: BlockDownload, peer: PeerAddress): BlockFetch =>
      new BlockFetch({
        endpoint: this.#endpoint,
        peer,
        random: random.fork("retry"),
        policy: this.#parts.policy,
        download,
      });
    return new FirmwareObject({
      flash,
      layout,
      crypto,
      manifest: () => this.#manifestParts((path) => newFetch(new BlockDownload({ path, szx }), this.#parts.server)),
      behaviour,
      szx,
      booted,
      onCpu,
      newFetch,
      costs,
      changed: (nowUs, resource) => {
        for (const path of [object, [...object, resource]]) this.#endpoint.notify(nowUs, `/${path.join("/")}`);
      },
    });
  }

  #manifestParts(newFetch: ManifestParts["newFetch"]): ManifestParts {
    const { anchors, flash, layout, crypto, classId } = this.#parts;
    if (!("trust" in anchors)) return { crypto, classId, newFetch, trust: trustOf(anchors), sealed: undefined };
    const keep = (trust: DeviceTrust): boolean => writeTrust(flash, layout, trust) !== undefined;
    const trust = readTrust(flash, layout) ?? anchors.trust;
    return { crypto, classId, newFetch, trust, sealed: { ...anchors, keep } };
  }

  #instances(object: Path, boots: number): ObjectInstance[] {
    const { behaviour, lifetimeS, queueMode } = this.#parts;
    const version = this.firmware?.runningVersion ?? "";
    const constant = (path: Path, values: Readonly<Record<number, string | number | boolean>>): ObjectInstance => ({
      path,
      read: () => Object.entries(values).map(([id, value]) => ({ path: [...path, Number(id)], value })),
    });
    const binding = queueMode !== undefined && this.#parts.version === "1.0" ? "UQ" : "U";
    const firmware = this.firmware;
    return [
      {
        ...constant([1, 0], { 0: 1, 1: lifetimeS, 6: false, 7: binding }),
        write: (nowUs, readings) => {
          const lifetime = readings.find(({ path }) => path[2] === 1)?.value;
          if (typeof lifetime !== "number") return Code.BAD_REQUEST;
          this.#registration.setLifetime(nowUs, lifetime);
          return Code.CHANGED;
        },
        execute: (nowUs, resource) => {
          if (resource !== 8) return Code.METHOD_NOT_ALLOWED;
          this.#registration.announce(nowUs);
          return Code.CHANGED;
        },
      },
      {
        ...constant([3, 0], {
          0: behaviour.manufacturer,
          1: "mote",
          2: this.#parts.endpointName,
          3: version,
          9: 90,
          11: 0,
          16: binding,
        }),
        execute: (nowUs, resource) => {
          if (resource !== 4 && resource !== 5) return Code.METHOD_NOT_ALLOWED;
          if (resource === 5) this.#parts.onFactoryReset();
          if (firmware !== undefined) firmware.rebootUs = nowUs + 200_000;
          return Code.CHANGED;
        },
      },
      constant([4, 0], { 0: 7, 2: -70, 8: boots }),
      {
        path: object,
        read: () => firmware?.read(object) ?? [],
        receives: Firmware.PACKAGE,
        receive: (nowUs, request) => firmware!.writePackage(nowUs, request),
        write: (nowUs, readings) => {
          const uri = readings.find(({ path }) => path[2] === Firmware.PACKAGE_URI)?.value;
          return typeof uri === "string" ? firmware!.writeUri(nowUs, uri) : Code.CHANGED;
        },
        execute: (nowUs, resource) => {
          if (resource === Firmware.UPDATE) return firmware!.execute(nowUs);
          return resource === Firmware.CANCEL ? firmware!.cancel(nowUs) : Code.METHOD_NOT_ALLOWED;
        },
      },
    ];
  }
}

import { BlockPath } from "../coap/blockwise/block-path.ts";
import { CoapEndpoint } from "../coap/endpoint.ts";
import { DEFAULT_PARAMETERS, type TransmissionParameters } from "../coap/parameters.ts";
import { Router } from "../coap/router.ts";
import { ImageCache, type ImageState, type CacheEvent } from "../image/image-cache.ts";
import { isSameSource } from "../image/image-fetch.ts";
import type { Command, CommandEvent } from "../ports/commands.ts";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";
import type { Durability, StoreOp } from "../ports/store.ts";
import type { Transfer } from "../transfer/transfer.ts";
import { registerKeptUs } from "../lwm2m/registration.ts";
import { AccessTokens } from "./access.ts";
import { Answers } from "./answers.ts";
import { Webhooks, type WebhooksParts } from "./webhooks.ts";
import { FleetDesk } from "./fleet-desk.ts";
import type { GatewayParts, Recovered } from "./parts.ts";
import { DeviceTimer } from "./device-timer.ts";
import { Devices } from "./devices.ts";
import { TransferTable } from "../transfer/transfer-table.ts";
import { verifyingOnce } from "../codec/verifying-once.ts";
import { utf8 } from "../util/bytes.ts";
import { earlier } from "../util/deadline.ts";
import { WallClock } from "../util/wall-clock.ts";
import { Catalogue, type Listing } from "./catalogue.ts";
import { VALIDATOR_PREFIX } from "./listing-record.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import { imagePackages } from "./packages.ts";
import { recoverDevices, recoverImages, removeStrays, tellDamaged } from "./recovery.ts";
import { Proxying } from "./proxying.ts";
import { Publishing } from "./publishing.ts";
import { Publications, type Publication, type PublishOutcome, type PublishRequest } from "./publications.ts";
import { RefusalLog } from "./refusal-log.ts";
import { LifecycleDesk } from "./lifecycle-desk.ts";
import { Offers } from "./offers.ts";
import type { Need } from "./retention.ts";
import { ServedImages } from "./resources.ts";
import type { Nameable } from "./update-target.ts";

export type { GatewayParts, Recovered } from "./parts.ts";

/**
 * The gateway without its sockets and disks: datagrams, time and the outcome of commands go in;
 * datagrams, commands and outcomes for operators come out. The host drains the `poll*` methods
 * after each call.
 */
export class Gateway {
  readonly #parts: GatewayParts;
  readonly #endpoint: CoapEndpoint;
  readonly #catalogue = new Catalogue();
  readonly #transfers = new TransferTable();
  readonly #cache: ImageCache;
  readonly #publications: Publications;
  readonly #publishing: Publishing;
  readonly #router: Router;
  readonly #served: ServedImages;
  readonly #commands: Command[] = [];
  /** Writes that are under way. */
  readonly #storeWrites = new Set<number>();
  readonly #refusals: RefusalLog;
  readonly #proxying: Proxying | undefined;
  readonly #devices: Devices;
  readonly #offers: Offers;
  /** Who may do what to which devices, from factory to scrapyard. */
  readonly desk: LifecycleDesk;
  /** Who may use the API over the network. */
  readonly access: AccessTokens;
  readonly answers: Answers;
  readonly clock: WallClock;
  /** Who is told of what happens. */
  readonly webhooks: Webhooks;
  /** The fleet, and the rollouts over it. */
  readonly fleet: FleetDesk;
  #nextId = 1;

  constructor(given: GatewayParts, recovered: Recovered) {
    const parts = { ...given, crypto: verifyingOnce(given.crypto, GATEWAY_LIMITS.maxVerified) };
    this.#parts = parts;
    const { crypto, log, budget, preferredSzx, admission } = parts;
    this.#refusals = new RefusalLog(parts.metrics, log);
    const metrics = this.#refusals;
    const blockPath = new BlockPath();
    this.#router = new Router(preferredSzx, (bytes) => crypto.sha256(bytes), parts.parameters);
    const parameters = parts.parameters ?? DEFAULT_PARAMETERS;
    const [sha256, random] = [crypto.sha256.bind(crypto), parts.random.fork("proxy")];
    const proxyParts = { local: this.#router, parameters, random, metrics, digest: sha256, preferredSzx };
    this.#proxying = parts.proxy && new Proxying(parts.proxy, proxyParts, () => this.#nextId++);
    this.#endpoint = this.#newEndpoint(blockPath, parameters);
    this.#proxying?.attach(this.#endpoint);
    const isPinned = (nowUs: number, digest: string): boolean => this.#isPinned(nowUs, digest);
    const cacheParts = { crypto, random: parts.random.fork("fetch"), log, metrics, budget, isPinned };
    this.#cache = new ImageCache(cacheParts, recovered.blobs, () => this.#nextId++);
    const respond = this.#endpoint.respond.bind(this.#endpoint);
    const mayHave = ({ address, port }: PeerAddress, digest: string): boolean =>
      !this.desk.holdsAnybody || this.desk.mayHave(address, this.#devices.at({ address, port }), digest);
    const servedParts = { cache: this.#cache, transfers: this.#transfers, metrics, respond, admission, mayHave };
    this.#served = new ServedImages(servedParts, this.#router, blockPath);
    const { unixMs } = (this.clock = new WallClock(recovered.nowUs ?? 0, recovered.unixMs ?? 0));
    this.desk = this.#newDesk(unixMs);
    this.#publications = new Publications(crypto, parts.anchors, this.#catalogue, this.desk, this.#router);
    const [catalogue, served, router, desk] = [this.#catalogue, this.#served, this.#router, this.desk];
    const stopUnfit = (nowUs: number, endpoint?: string): void => this.fleet.stopUnfit(nowUs, endpoint);
    const offered = { catalogue, served, router, desk, judge: this.#publications, stopUnfit };
    const notify = (nowUs: number, path: string): void => this.#endpoint.notify(nowUs, path);
    const needOf = (nowUs: number, digest: string): Need | undefined => this.#needOf(nowUs, digest);
    this.#offers = new Offers({ crypto, log, metrics, notify, ...offered, needOf, storeLazily: this.#storeLazily });
    const refusalToGive = this.#offers.refusalToGive.bind(this.#offers);
    const store = (ops: readonly StoreOp[], durability: Durability): number => this.#store(ops, durability);
    const { maxConcurrentUpdates: maxConcurrent = 100, name = "gateway", webhooks: targets = [] } = parts;
    const shared = { crypto, log, metrics, unixMs };
    const fleetParts = { ...shared, desk, refusalToGive, devices: () => this.#devices, store, maxConcurrent, name };
    this.fleet = new FleetDesk({ ...fleetParts, random: parts.random.fork("rollout") });
    const durably = (ops: readonly StoreOp[]): number => store(ops, "durable");
    const [publications, offers, cache] = [this.#publications, this.#offers, this.#cache];
    this.#publishing = new Publishing({ log, metrics, publications, cache, desk, offers });
    this.access = new AccessTokens({ crypto, random: parts.random.fork("access"), unixMs, store: durably });
    this.answers = new Answers({ unixMs, store: durably });
    const send: WebhooksParts["send"] = (command) => {
      this.#commands.push({ ...command, id: this.#nextId });
      return this.#nextId++;
    };
    this.webhooks = new Webhooks({ ...shared, targets, send, store: durably });
    this.#devices = this.#newDevices(unixMs);
    this.#recover(recovered.nowUs ?? 0, recovered.entries);
  }

  #newEndpoint(blockPath: BlockPath, parameters: TransmissionParameters): CoapEndpoint {
    return new CoapEndpoint({
      random: this.#parts.random.fork("coap"),
      handler: this.#router,
      blockPath,
      keptUs: registerKeptUs,
      preferredSzx: this.#parts.preferredSzx,
      metrics: this.#refusals,
      parameters,
      ...(this.#proxying && { proxy: this.#proxying.handler }),
      ...(this.#parts.isTrusted && { isTrusted: this.#parts.isTrusted }),
      retransmission: (peer) => {
        const name = this.#devices.at(peer);
        return name === undefined
          ? undefined
          : new DeviceTimer(parameters, () => this.#devices.updates.quirksOf(name)?.ackTimeoutMs);
      },
      onRetransmission: (nowUs, peer) => this.#devices.handleRetransmission(nowUs, peer),
    });
  }

  #newDevices(unixMs: (nowUs: number) => number): Devices {
    const { log, random, ownAddress = () => undefined, profiles = [], awakeUs = () => undefined } = this.#parts;
    const classOf = (endpoint: string): string | undefined => this.desk.lifecycle.state.byEndpoint(endpoint)?.classId;
    const [catalogue, cache, served, transfers] = [this.#catalogue, this.#cache, this.#served, this.#transfers];
    const manifestPath = (digest: string, classId: string | undefined): readonly string[] | undefined =>
      this.#offers.manifestPath(digest, classId);
    const refusal = this.fleet.stopping.bind(this.fleet);
    const parts = {
      random: random.fork("lwm2m"),
      metrics: this.#refusals,
      log,
      endpoint: this.#endpoint,
      profiles,
      awakeUs,
      packages: imagePackages({ catalogue, cache, served, transfers, manifestPath, ownAddress, classOf, refusal }),
      unixMs,
      heard: (nowUs: number, endpoint: string): void => {
        this.desk.heard(nowUs, endpoint, this.#devices.updates.runs(endpoint));
        this.fleet.heard(nowUs, endpoint);
      },
      learn: this.fleet.learn.bind(this.fleet),
      answered: this.fleet.handleOutcome.bind(this.fleet),
      registered: this.fleet.registered.bind(this.fleet),
      updateChanged: this.fleet.updateChanged.bind(this.fleet),
      store: (ops: readonly StoreOp[], durability: Durability): number => this.#store(ops, durability),
    };
    return new Devices(parts, this.#router);
  }

  #newDesk(unixMs: (nowUs: number) => number): LifecycleDesk {
    const { crypto, log } = this.#parts;
    return new LifecycleDesk({
      crypto,
      log,
      unixMs,
      metrics: this.#refusals,
      router: this.#router,
      store: (ops) => this.#store(ops, "durable"),
      storeLazily: (ops) => this.#store(ops, "lazy"),
      hasImage: (digest) => this.#catalogue.runs(digest),
      withheld: (digest, classId) => this.#offers.withheld(digest, classId),
      isCurrent: (classId, digest) => this.#catalogue.isOffered(digest, classId),
      comesWith: (classId, digest, other) => this.#catalogue.comesWith(digest, other, classId),
      changed: (nowUs, event) => {
        this.#offers.review(nowUs, event);
        this.fleet.lifecycleChanged(nowUs, event);
      },
    });
  }

  /**
   * `toGroup`: the datagram was sent to a multicast address. True when a datagram is all that came
   * of it: then there is nothing else to drain, and no deadline has moved.
   */
  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress, toGroup = false): boolean {
    const flushUs = this.#transfers.nextFlushUs;
    if (this.#endpoint.handleDatagram(nowUs, bytes, peer, toGroup) && !this.#served.takeTold())
      return flushUs !== undefined && flushUs === this.#transfers.nextFlushUs;
    this.#settle(nowUs);
    return false;
  }

  handleTimeout(nowUs: number): void {
    this.#endpoint.handleTimeout(nowUs);
    this.#cache.handleTimeout(nowUs);
    this.#devices.handleTimeout(nowUs);
    this.fleet.handleTimeout(nowUs);
    this.webhooks.handleTimeout(nowUs);
    const flushUs = this.#transfers.nextFlushUs;
    if (flushUs !== undefined && flushUs <= nowUs) this.#storeLazily(this.#transfers.takeWrites(nowUs));
    this.#settle(nowUs);
  }

  handleEvent(nowUs: number, id: number, event: CommandEvent): void {
    if (this.webhooks.handleEvent(nowUs, id, event)) return this.#settle(nowUs);
    if (this.#proxying?.handleEvent(nowUs, id, event) === true) return this.#settle(nowUs);
    if (this.#storeWrites.has(id)) this.#onStored(nowUs, id, event);
    else this.#cache.handleEvent(nowUs, id, event);
    this.#settle(nowUs);
  }

  /** Starts a publication; its outcome comes by `pollOutcome` under `operation`. */
  publish(nowUs: number, operation: number, request: PublishRequest): void {
    this.#publishing.publish(nowUs, operation, request);
    this.#settle(nowUs);
  }

  /** Writes all checkpoints that changed since the last time, before a stop; on its own it does so each second. */
  flush(): void {
    this.#devices.flush();
    while (this.#transfers.nextFlushUs !== undefined) this.#storeLazily(this.#transfers.takeWrites(0, true));
  }

  /** Releases on offer. */
  listings(): Listing[] {
    return [...this.#catalogue.listings()].filter(({ release }) => this.#catalogue.isOnOffer(release.key));
  }

  /** Releases that others took the place of, and that somebody stands for: the latest first. */
  replaced(): Listing[] {
    return this.#catalogue.replaced();
  }

  /** What an operator may name. */
  nameable(): Nameable {
    return { listings: this.listings(), replaced: this.replaced() };
  }

  /** Whether a release has this image, be it on offer, withdrawn or on its way. */
  isNamed(digest: string): boolean {
    return this.#catalogue.isCurrent(digest) || this.#publications.needsImage(digest);
  }

  /** Publications that wait for their image or their record. */
  publications(): Iterable<Publication> {
    return this.#publications.underWay();
  }

  /** The LwM2M clients, and what is asked of them. */
  get devices(): Devices {
    return this.#devices;
  }

  transfers(): Iterable<Transfer> {
    return this.#transfers.all();
  }

  /** Where an image is: in memory, on disk, on its way, or nowhere near. */
  imageState(digest: string): ImageState {
    const state = this.#cache.state(digest);
    const isAtHand = this.#catalogue.image(digest)?.content !== undefined; // in the record of its release
    return isAtHand && state.state === "absent" ? { state: "disk" } : state;
  }

  get stats(): CoapEndpoint["stats"] {
    return this.#endpoint.stats;
  }

  pollTransmit(): Transmit | undefined {
    return this.#endpoint.pollTransmit();
  }

  pollCommand(): Command | undefined {
    if (this.#commands.length > 0) return this.#commands.shift();
    return this.#cache.pollCommand() ?? this.#proxying?.pollCommand();
  }

  pollOutcome(): PublishOutcome | undefined {
    return this.#publishing.pollOutcome();
  }

  pollTimeout(): number | undefined {
    const { fleet, webhooks } = this;
    const devices = earlier(this.#devices.pollTimeout(), earlier(fleet.pollTimeout(), webhooks.pollTimeout()));
    const next = earlier(devices, earlier(this.#cache.pollTimeout(), this.#transfers.nextFlushUs));
    return earlier(this.#endpoint.pollTimeout(), next);
  }

  readonly #storeLazily = (ops: readonly StoreOp[]): void => {
    if (ops.length > 0) this.#store(ops, "lazy");
  };

  #recover(nowUs: number, entries: Recovered["entries"]): void {
    const { crypto, anchors, log, metrics } = this.#parts;
    const [catalogue, cache, transfers] = [this.#catalogue, this.#cache, this.#transfers];
    const storeLazily = this.#storeLazily;
    const records = [...entries];
    for (const key of this.desk.recover(records)) tellDamaged({ log, metrics }, key, "record-damaged");
    const trusted = [...anchors, ...this.desk.anchors()];
    const publications = this.#publications;
    const recovery = { crypto, anchors: trusted, log, metrics, catalogue, cache, transfers, publications, storeLazily };
    this.#offers.recover(nowUs, recoverImages(recovery, records));
    recoverDevices(recovery, [this.#devices, this.fleet, this.access, this.answers, this.webhooks], nowUs, records);
    removeStrays(recovery);
    this.#devices.begin(nowUs);
    this.#offers.begin(nowUs);
    this.fleet.begin(nowUs);
    this.webhooks.handleTimeout(nowUs);
  }

  #settle(nowUs: number): void {
    this.#refusals.flush(nowUs);
    this.#devices.settle(nowUs);
    for (let event = this.#endpoint.pollEvent(); event !== undefined; event = this.#endpoint.pollEvent())
      if (!this.#devices.handleEvent(nowUs, event)) this.#proxying?.handleClientEvent(nowUs, event);
    this.fleet.rollouts.settle(nowUs);
    this.#devices.settle(nowUs);
    this.#endpoint.drainHandlers(nowUs);
    for (let event = this.#cache.pollEvent(); event !== undefined; event = this.#cache.pollEvent())
      this.#onCacheEvent(nowUs, event);
  }

  #onCacheEvent(nowUs: number, event: CacheEvent): void {
    const { digest } = event;
    if (event.kind === "validator") {
      const key = VALIDATOR_PREFIX + digest;
      const { validator } = event;
      this.#storeLazily([
        validator === undefined ? { kind: "delete", key } : { kind: "put", key, value: utf8(validator) },
      ]);
    } else if (event.kind === "evicted") {
      this.#offers.evicted(nowUs, digest);
    } else {
      const failure = event.kind === "failed" ? event : undefined;
      this.#publishing.imageSettled(nowUs, digest, failure);
      const offered = this.#catalogue.image(digest);
      // What failed may be another release's word about it.
      if (failure !== undefined && offered?.uri !== undefined && !isSameSource(offered, failure.image))
        this.#cache.ensure(nowUs, offered);
      else {
        this.#served.settle(nowUs, digest);
        this.#devices.updates.imageSettled(nowUs, digest, failure === undefined);
      }
    }
  }

  #onStored(nowUs: number, id: number, event: CommandEvent): void {
    this.#storeWrites.delete(id);
    if (event.kind === "failed") {
      this.#parts.log.event("error", "store-write-failed", { reason: event.reason, detail: event.detail });
      this.#parts.metrics.count("store_write_failed", event.reason);
    }
    const isDone = event.kind === "done";
    this.#devices.stored(nowUs, id, isDone);
    for (const owner of [this.access, this.answers]) owner.stored(id, isDone);
    this.fleet.stored(nowUs, id, isDone, event.kind === "failed" ? event.detail : "");
    this.desk.stored(nowUs, id, event.kind === "failed" ? event : undefined);
  }

  #store(ops: readonly StoreOp[], durability: Durability): number {
    const id = this.#nextId++;
    this.#storeWrites.add(id);
    this.#commands.push({ kind: "store", id, ops, durability });
    return id;
  }

  /** The current ones stay on the disk, and those of a release with one that is needed. */
  #isPinned(nowUs: number, digest: string): boolean {
    const isNeeded = (one: string): boolean => this.#needOf(nowUs, one) !== undefined;
    const isOfOne = ({ images }: Listing): boolean => images.some((image) => isNeeded(image.digest));
    return this.#catalogue.isCurrent(digest) || isNeeded(digest) || this.#catalogue.having(digest).some(isOfOne);
  }

  /** Whoever has begun may end, and a rollout may go back. */
  #needOf(nowUs: number, digest: string): Need | undefined {
    const isOrdered =
      this.#publications.needsImage(digest) ||
      this.#devices.updates.needs(digest) ||
      this.desk.isRecovery(digest) ||
      this.fleet.needs(digest);
    if (isOrdered) return "ordered";
    return this.#transfers.hasUnfinished(nowUs, digest) ? "begun" : undefined;
  }
}

import { BlockDownload } from "../../src/coap/blockwise/block2-client.ts";
import { blockSize } from "../../src/coap/blockwise/block.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import { manifestPath, transferPath } from "../../src/gateway/catalogue.ts";
import type { PeerAddress, Transmit } from "../../src/ports/datagram.ts";
import { reportOf, REPORT_PATH, signReport } from "../../src/suit/report.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import type { Outcome } from "../../src/suit/processor/procedure.ts";
import { anchorsOf, trustOf, type DeviceTrust } from "../../src/suit/trust.ts";
import { BlockFetch } from "../../src/transfer/block-fetch.ts";
import { earlier } from "../../src/util/deadline.ts";
import { CONFIRM_WITHIN_US, measuredTimer, type AgentParts, type AgentState } from "./agent-parts.ts";
import { boot, goesOnTo, type BootResult } from "./bootloader.ts";
import { Confirmation } from "./confirmation.ts";
import { EnvelopeFetch, type EnvelopeEvent } from "./envelope-fetch.ts";
import { ImageDownload } from "./image-download.ts";
import { Journal } from "./journal.ts";
import { confirmSlot, giveUpTrial, writeSlotInfo, type SlotIndex } from "./layout.ts";
import { patchBase, PatchedImage } from "./patched-image.ts";
import { SectorBuffer } from "./sector-buffer.ts";
import { SectorTables } from "./sector-tables.ts";
import { SlotWriter } from "./slot-writer.ts";
import { readTrust, writeTrust } from "./trust-store.ts";
import { reasonOf, UpdateRun, type UpdateRunParts } from "./update-run.ts";
import { Work } from "./work.ts";

/**
 * A mote's update agent, from one boot to the next: boots, proves a new image, asks for its class's manifest, verifies
 * it, and does what the manifest says. The same code runs in virtual time and over real sockets; flash and CPU take the
 * time that the profile says.
 */
export class MoteAgent {
  readonly #parts: AgentParts;
  readonly #endpoint: CoapEndpoint;
  #state: AgentState = "booting";
  #booted: BootResult | undefined;
  #trust: DeviceTrust;
  #envelope: EnvelopeFetch | undefined;
  #confirmation: Confirmation | undefined;
  #run: UpdateRun | undefined;
  readonly #tables: SectorTables;
  /** When an image that has not proved itself is given up. */
  #trialEndsUs: number | undefined;
  #askedForTransfer = false;
  /** It looks for a hand-over without need of one: what becomes of it where there is none. */
  #otherwise: ((nowUs: number) => void) | undefined;
  readonly #work: Work;
  readonly #counts = { resumesAtNonZero: 0, imageBytesReceived: 0 };
  failure: string | undefined;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const factoryTrust = "epoch" in parts.anchors ? parts.anchors : trustOf(parts.anchors);
    this.#trust = readTrust(parts.flash, parts.layout) ?? factoryTrust;
    this.#work = new Work(parts.onCpu);
    this.#tables = new SectorTables(parts, this.#work, (path) => this.#newFetch(path));
    this.#endpoint = new CoapEndpoint({
      random: parts.random.fork("coap"),
      parameters: parts.parameters,
      metrics: parts.metrics,
      tokenLength: 2,
      ...(parts.blockSizes === undefined ? {} : { retransmission: () => measuredTimer(parts) }),
    });
  }

  get state(): AgentState {
    return this.#state;
  }

  get booted(): BootResult | undefined {
    return this.#booted;
  }

  get trust(): DeviceTrust {
    return this.#trust;
  }

  get journal(): Journal | undefined {
    return this.#run?.writer?.journal;
  }

  get resumesAtNonZero(): number {
    return this.#counts.resumesAtNonZero;
  }

  get imageBytesReceived(): number {
    return this.#counts.imageBytesReceived;
  }

  /** Sectors that did not have the digest that their author signed. */
  get sectorsRefused(): number {
    return this.#run?.download?.sectorsRefused ?? 0;
  }

  /** True while the gateway is silent: an exchange got no answer and nothing has come since. */
  get isPaused(): boolean {
    return this.#run?.download?.isPaused ?? false;
  }

  /** Requests that are still under way. */
  get openExchanges(): number {
    return this.#endpoint.stats.requests;
  }

  get retransmitted(): number {
    return this.#endpoint.stats.retransmitted;
  }

  start(nowUs: number): void {
    const { flash, layout, crypto, costs } = this.#parts;
    this.#booted = boot(flash, layout, crypto);
    if (this.#booted === undefined) {
      this.#state = "bricked";
      return;
    }
    const { hashedBytes } = this.#booted;
    this.#work.compute(nowUs, hashedBytes * costs.sha256UsPerByte, (now) => this.#started(now));
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    this.#endpoint.handleDatagram(nowUs, bytes, peer);
    this.#takeEvents(nowUs);
  }

  handleTimeout(nowUs: number): void {
    this.#endpoint.handleTimeout(nowUs);
    this.#takeEvents(nowUs);
    this.#confirmation?.handleTimeout(nowUs);
    this.#envelope?.handleTimeout(nowUs);
    this.#tables.handleTimeout(nowUs);
    this.#run?.download?.handleTimeout(nowUs);
    this.#work.handleTimeout(nowUs);
    if (this.#trialEndsUs !== undefined && this.#trialEndsUs <= nowUs) this.#giveUp(nowUs);
  }

  pollTransmit(): Transmit | undefined {
    return this.#endpoint.pollTransmit();
  }

  pollTimeout(): number | undefined {
    const small = earlier(this.#envelope?.pollTimeout(), this.#tables.pollTimeout());
    const fetch = earlier(small, this.#run?.download?.pollTimeout());
    const trial = earlier(this.#confirmation?.pollTimeout(), this.#trialEndsUs);
    return earlier(earlier(this.#endpoint.pollTimeout(), earlier(fetch, trial)), this.#work.pollTimeout());
  }

  #takeEvents(nowUs: number): void {
    for (let event = this.#endpoint.pollEvent(); event !== undefined; event = this.#endpoint.pollEvent())
      this.#onEvent(nowUs, event);
  }

  #onEvent(nowUs: number, event: ClientEvent): void {
    if (this.#confirmation?.handleEvent(nowUs, event) === true) {
      this.#confirmation = undefined;
      this.#confirm(nowUs, (now) => this.#askManifest(now));
    }
    const fetched = this.#envelope?.handleEvent(nowUs, event);
    if (fetched !== undefined) this.#onEnvelope(nowUs, fetched);
    this.#tables.handleEvent(nowUs, event);
    if (this.#state === "download") this.#run?.download?.handleEvent(nowUs, event);
  }

  #newFetch(path: readonly string[]): BlockFetch {
    const { gateway: peer, random, policy } = this.#parts;
    const { szx } = this.#parts.blockSizes ?? this.#parts;
    const download = new BlockDownload({ path, szx });
    return new BlockFetch({ endpoint: this.#endpoint, peer, random: random.fork("retry"), policy, download });
  }

  /** A new image has to prove itself first; one that cannot is given up in the end. */
  #started(nowUs: number): void {
    const {
      credential,
      crypto,
      random,
      policy,
      gateway: peer,
      confirmWithinUs = CONFIRM_WITHIN_US,
      isDead,
    } = this.#parts;
    const { onTrial, info } = this.#booted!;
    if (onTrial) this.#trialEndsUs = nowUs + confirmWithinUs;
    if (isDead?.(info.digest) === true) {
      this.#state = "confirming";
      return;
    }
    if (!onTrial || credential === undefined) return this.#askManifest(nowUs);
    this.#state = "confirming";
    const { sequenceNumber } = info;
    const asking = { endpoint: this.#endpoint, peer, crypto, random: random.fork("nonce"), policy };
    const parts = { ...asking, credential, sequenceNumber };
    this.#confirmation = new Confirmation(parts);
    this.#confirmation.start(nowUs);
  }

  #confirm(nowUs: number, next: (nowUs: number) => void): void {
    const { flash, layout } = this.#parts;
    this.#trialEndsUs = undefined;
    this.#work.after(nowUs, confirmSlot(flash, layout, this.#booted!.slot), next);
  }

  #giveUp(nowUs: number): void {
    const { flash, layout } = this.#parts;
    this.#trialEndsUs = undefined;
    this.#confirmation = this.#envelope = undefined;
    this.#work.after(nowUs, giveUpTrial(flash, layout, this.#booted!.slot), () => {
      this.#state = "reverting";
    });
  }

  #askManifest(nowUs: number): void {
    this.#state = "manifest";
    this.#fetchEnvelope(nowUs, manifestPath(this.#parts.classId, "00"));
  }

  #fetchEnvelope(nowUs: number, path: readonly string[]): void {
    this.#envelope = new EnvelopeFetch(this.#newFetch(path));
    this.#envelope.start(nowUs);
  }

  #onEnvelope(nowUs: number, event: EnvelopeEvent): void {
    this.#envelope = undefined;
    const what = this.#state;
    if (event.kind === "failed") {
      const end = (): void => this.#fail(`${what}-${event.reason}`);
      // No software for it, perhaps since nobody that it believes maintains it any more.
      if (this.#otherwise === undefined && what === "manifest" && event.reason === "4.04")
        return this.#look(nowUs, end);
      return (this.#otherwise ?? end)(nowUs);
    }
    this.#work.compute(nowUs, this.#parts.costs.verifySignatureUs, (now) => {
      this.#onFetched(now, event.envelope);
    });
  }

  #onFetched(nowUs: number, envelope: Uint8Array): void {
    const opened = this.#open(envelope);
    if (typeof opened !== "string") {
      // What has come is its vendor's: that is what there is to prove where the mote has no credential.
      if (this.#trialEndsUs === undefined) return this.#process(nowUs, opened);
      return this.#confirm(nowUs, (now) => this.#process(now, opened));
    }
    // Signed by nobody that it knows: perhaps others maintain it by now.
    const unknown = opened === "signature-invalid" && this.#state === "manifest" && !this.#askedForTransfer;
    if (this.#otherwise !== undefined) return this.#otherwise(nowUs);
    if (!unknown) return this.#fail(opened);
    this.#askTransfer(nowUs);
  }

  /** The next hand-over behind those that it has been through. */
  #askTransfer(nowUs: number): void {
    this.#askedForTransfer = true;
    this.#state = "transfer";
    this.#fetchEnvelope(nowUs, transferPath(this.#parts.classId, this.#trust.epoch + 1));
  }

  /** Nothing to install. A device whose factory foresaw a hand-over looks whether there was one, once for each boot. */
  #look(nowUs: number, otherwise: (nowUs: number) => void = () => this.#upToDate()): void {
    if (!("epoch" in this.#parts.anchors) || this.#askedForTransfer) return otherwise(nowUs);
    this.#otherwise = otherwise;
    this.#askTransfer(nowUs);
  }

  #upToDate(): void {
    this.#state = "up-to-date";
    this.#run = undefined;
  }

  #open(envelope: Uint8Array): OpenEnvelope | string {
    try {
      return openEnvelope(this.#parts.crypto, envelope, { anchors: anchorsOf(this.#trust) });
    } catch (error) {
      if (error instanceof EnvelopeError) return error.reason;
      throw error;
    }
  }

  #process(nowUs: number, open: OpenEnvelope): void {
    const { rejected } = this.#booted!;
    const { sequenceNumber } = open.manifest;
    if (this.#state === "manifest" && !goesOnTo(this.#booted!, sequenceNumber)) return this.#look(nowUs);
    // What did not prove itself is not tried again; another number is another matter, and one that nobody has proved
    // locks out none below it.
    if (this.#state === "manifest" && sequenceNumber === rejected?.sequenceNumber)
      return this.#fail("image-did-not-confirm");
    this.#run = this.#newRun(open, true);
    if (this.#state === "manifest") this.#state = "download";
    this.#run.start(nowUs);
  }

  #newRun(open: OpenEnvelope, byPatches: boolean): UpdateRun {
    const { crypto, costs, vendorId, classId, layout, flash, unixS } = this.#parts;
    const { slot: running, info } = this.#booted!;
    const slot: SlotIndex = running === 0 ? 1 : 0;
    const { szx, blockSizes } = this.#parts;
    const newWriter: UpdateRunParts["newWriter"] = ({ digest: key, size, base }) =>
      new SlotWriter(flash, layout, slot, { key, size, blockBytes: blockSize(szx), base });
    const installed = (): Uint8Array => flash.read(layout.slotAddress[running], info.size);
    const patching: UpdateRunParts["patching"] = {
      base: (size, patchSize) => patchBase(layout.slotBytes, flash.geometry.sectorBytes, size, patchSize),
      isBegun: ({ digest, size }) => Journal.open(flash, layout, slot, digest, size) !== undefined,
      begin: (patch, size) => new PatchedImage(flash, layout, patch, installed(), size),
    };
    const onEnd = (now: number, outcome: Outcome, run: UpdateRun): void => this.#onProcessed(now, open, outcome, run);
    return new UpdateRun(open, {
      crypto,
      costs,
      vendorId,
      classId,
      slot,
      purpose: this.#state === "transfer" ? "trust" : "image",
      unixS,
      onEnd,
      work: this.#work,
      trust: this.#trust,
      slotBytes: layout.slotBytes,
      runningDigest: info.digest,
      patching: byPatches ? patching : undefined,
      newDownload: (nowUs, image, end, ready) =>
        this.#tables.get(nowUs, image, this.#trust, (now, table) => {
          const [fetch, writer] = [this.#newFetch(image.path), newWriter(image)];
          const parts = { fetch, writer, work: this.#work, counts: this.#counts, blockSizes };
          const sectors = table && new SectorBuffer(crypto, table, writer);
          const { sha256UsPerByte } = costs;
          ready(now, new ImageDownload({ ...parts, sectors, sha256UsPerByte, onEnd: end }));
        }),
      newWriter,
      writeTrust: (trust) => {
        const us = writeTrust(flash, layout, trust);
        if (us !== undefined) this.#trust = trust;
        return us;
      },
    });
  }

  #onProcessed(nowUs: number, open: OpenEnvelope, outcome: Outcome, run: UpdateRun): void {
    if (this.#state === "transfer" && outcome.ok) {
      this.#askedForTransfer = false; // there may be another one behind it
      this.#otherwise = undefined;
      return this.#askManifest(nowUs);
    }
    if (this.#otherwise !== undefined) return this.#otherwise(nowUs);
    if (!outcome.ok && run.isPatched) {
      // The whole image is there for all who cannot make it.
      this.#run = this.#newRun(open, false);
      return this.#run.start(nowUs);
    }
    if (!outcome.ok) {
      this.#report(nowUs, open, outcome);
      return this.#fail(reasonOf(outcome, run));
    }
    const { fetched } = run;
    if (fetched === undefined) {
      this.#upToDate(); // it changed no image
      return;
    }
    const { flash, layout } = this.#parts;
    this.#state = "installing";
    const { sequenceNumber } = open.manifest;
    const us = writeSlotInfo(flash, layout, run.writer!.slot, { sequenceNumber, ...fetched });
    this.#work.after(nowUs, us, () => {
      this.#state = "installed";
    });
  }

  /** Says what went wrong, and where in the manifest: once, to whom it concerns, under its own key. */
  #report(nowUs: number, open: OpenEnvelope, outcome: Outcome): void {
    const { credential, crypto, gateway } = this.#parts;
    if (credential === undefined) return;
    const key = { algorithm: "HMAC-256", bytes: credential.key } as const;
    const about = { uri: open.manifest.referenceUri ?? "", digest: open.digest };
    const payload = signReport(crypto, key, reportOf(outcome, about), credential.kid);
    const options = textOptions(Option.URI_PATH, REPORT_PATH);
    this.#endpoint.request(nowUs, gateway, { code: Code.POST, options, payload });
  }

  #fail(reason: string): void {
    this.#state = "failed";
    this.failure = reason;
    this.#run = undefined;
    this.#envelope = undefined;
  }
}

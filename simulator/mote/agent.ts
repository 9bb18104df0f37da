import { BlockDownload } from "../../src/coap/blockwise/block2-client.ts";
import { blockSize, type Szx } from "../../src/coap/blockwise/block.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import type { TransmissionParameters } from "../../src/coap/parameters.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import { imagePath, manifestPath } from "../../src/gateway/catalogue.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import type { PeerAddress, Transmit } from "../../src/ports/datagram.ts";
import type { Metrics } from "../../src/ports/metrics.ts";
import type { Random } from "../../src/ports/random.ts";
import { openRelease, type Release } from "../../src/suit/release.ts";
import { BlockFetch, type FetchEvent, type RetryPolicy } from "../../src/transfer/block-fetch.ts";
import { bytesEqual, concatBytes } from "../../src/util/bytes.ts";
import { earlier } from "../../src/util/deadline.ts";
import { boot, type BootResult } from "./bootloader.ts";
import type { Flash } from "./flash.ts";
import { Journal } from "./journal.ts";
import { eraseSlotInfo, writeSlotInfo, type Layout, type SlotIndex } from "./layout.ts";

export interface CpuCosts {
  readonly sha256UsPerByte: number;
  readonly verifySignatureUs: number;
}

export interface AgentParts {
  readonly flash: Flash;
  readonly layout: Layout;
  readonly crypto: Crypto;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly classId: Uint8Array;
  readonly anchors: readonly Verifier[];
  readonly gateway: PeerAddress;
  readonly szx: Szx;
  readonly parameters: TransmissionParameters;
  readonly policy: RetryPolicy;
  readonly costs: CpuCosts;
  /** Told how long the CPU works; the agent does nothing else meanwhile. */
  readonly onCpu: (us: number) => void;
}

export type AgentState =
  | "booting"
  | "manifest"
  | "download"
  | "installing"
  | "installed"
  | "up-to-date"
  | "bricked"
  | "failed";

/** Largest envelope that a mote takes into RAM. */
const MAX_MANIFEST_BYTES = 1_024;

/**
 * A mote's update agent, from one boot to the next: boots, asks for its class's manifest, verifies
 * it, fetches the blocks that its journal lacks, verifies the image and installs it. The same code
 * runs in virtual time and over real sockets; flash and CPU take the time that the profile says.
 */
export class MoteAgent {
  readonly #parts: AgentParts;
  readonly #endpoint: CoapEndpoint;
  #state: AgentState = "booting";
  #booted: BootResult | undefined;
  #fetch: BlockFetch | undefined;
  #manifest: Uint8Array[] = [];
  #release: Release | undefined;
  #journal: Journal | undefined;
  /** Where the next piece of a block goes that the server sends in smaller ones. */
  #pieceOffset: number | undefined;
  #busy: { untilUs: number; next: (nowUs: number) => void } | undefined;
  failure: string | undefined;
  /** Times that the download went on behind block 0: after a reboot, or after the gateway was silent. */
  resumesAtNonZero = 0;
  imageBytesReceived = 0;
  #paused = false;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#endpoint = new CoapEndpoint({
      random: parts.random.fork("coap"),
      parameters: parts.parameters,
      metrics: parts.metrics,
      tokenLength: 2,
    });
  }

  get state(): AgentState {
    return this.#state;
  }

  get booted(): BootResult | undefined {
    return this.#booted;
  }

  get journal(): Journal | undefined {
    return this.#journal;
  }

  /** True while the gateway is silent: an exchange got no answer and nothing has come since. */
  get isPaused(): boolean {
    return this.#paused;
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
    this.#compute(nowUs, this.#booted.hashedBytes * costs.sha256UsPerByte, (now) => this.#askManifest(now));
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    this.#endpoint.handleDatagram(nowUs, bytes, peer);
    this.#takeEvents(nowUs);
  }

  handleTimeout(nowUs: number): void {
    this.#endpoint.handleTimeout(nowUs);
    this.#takeEvents(nowUs);
    this.#fetch?.handleTimeout(nowUs);
    const busy = this.#busy;
    if (busy === undefined || busy.untilUs > nowUs) return;
    this.#busy = undefined;
    busy.next(nowUs);
  }

  pollTransmit(): Transmit | undefined {
    return this.#endpoint.pollTransmit();
  }

  pollTimeout(): number | undefined {
    return earlier(earlier(this.#endpoint.pollTimeout(), this.#fetch?.pollTimeout()), this.#busy?.untilUs);
  }

  #takeEvents(nowUs: number): void {
    for (let event = this.#endpoint.pollEvent(); event !== undefined; event = this.#endpoint.pollEvent()) {
      const result = this.#fetch?.handleEvent(nowUs, event);
      if (result === undefined) continue;
      if (this.#state === "manifest") this.#onManifest(nowUs, result);
      else if (this.#state === "download") this.#onBlock(nowUs, result);
    }
  }

  #newFetch(path: readonly string[]): BlockFetch {
    const { gateway: peer, szx, random, policy } = this.#parts;
    const download = new BlockDownload({ path, szx });
    return new BlockFetch({ endpoint: this.#endpoint, peer, random: random.fork("retry"), policy, download });
  }

  #askManifest(nowUs: number): void {
    this.#state = "manifest";
    this.#manifest = [];
    this.#fetch = this.#newFetch(manifestPath(this.#parts.classId, "00"));
    this.#fetch.ask(nowUs, this.#fetch.download.requestAt(0));
  }

  #onManifest(nowUs: number, event: FetchEvent): void {
    if (event.kind === "paused") return;
    if (event.kind === "changed") {
      this.#manifest = []; // a newer release came while this one was being read
      this.#fetch!.ask(nowUs, this.#fetch!.download.requestAt(0));
      return;
    }
    if (event.kind !== "block") {
      this.#fail(event.kind === "failed" ? `manifest-${event.reason}` : "manifest-missing");
      return;
    }
    this.#manifest.push(event.bytes.slice());
    const received = event.offset + event.bytes.length;
    if (received > MAX_MANIFEST_BYTES) this.#fail("manifest-too-large");
    else if (!event.last) this.#fetch!.ask(nowUs, this.#fetch!.download.requestAt(received));
    else this.#compute(nowUs, this.#parts.costs.verifySignatureUs, (now) => this.#verifyManifest(now));
  }

  #verifyManifest(nowUs: number): void {
    const { crypto, anchors, classId, layout } = this.#parts;
    const opened = openRelease(crypto, concatBytes(...this.#manifest), anchors);
    this.#manifest = [];
    if (!opened.ok) {
      this.#fail(opened.reason);
      return;
    }
    const { release } = opened;
    if (!bytesEqual(release.classId, classId)) this.#fail("class-mismatch");
    else if (release.imageSize > layout.slotBytes) this.#fail("image-larger-than-slot");
    else if (release.sequenceNumber <= this.#booted!.info.sequenceNumber) this.#state = "up-to-date";
    else this.#beginDownload(nowUs, release);
  }

  #beginDownload(nowUs: number, release: Release): void {
    const { flash, layout, szx } = this.#parts;
    this.#state = "download";
    this.#release = release;
    this.#fetch = this.#newFetch(imagePath(release.imageDigest));
    let us = eraseSlotInfo(flash, layout, this.#targetSlot());
    this.#journal = Journal.open(flash, layout, release.imageDigest, release.imageSize);
    if (this.#journal === undefined) {
      const created = Journal.create(flash, layout, release.imageDigest, release.imageSize, blockSize(szx));
      this.#journal = created.journal;
      us += created.us;
    } else if (this.#journal.storedCount > 0) this.#paused = true;
    this.#after(nowUs, us, (now) => this.#askNext(now));
  }

  #targetSlot(): SlotIndex {
    return this.#booted!.slot === 0 ? 1 : 0;
  }

  #askNext(nowUs: number): void {
    const journal = this.#journal!;
    const missing = journal.firstMissing();
    if (missing === undefined) {
      this.#state = "installing";
      this.#compute(nowUs, journal.size * this.#parts.costs.sha256UsPerByte, (now) => this.#install(now));
      return;
    }
    const offset = this.#pieceOffset ?? missing * journal.blockBytes;
    this.#fetch!.ask(nowUs, this.#fetch!.download.requestAt(offset));
  }

  #onBlock(nowUs: number, event: FetchEvent): void {
    if (event.kind === "paused") {
      this.#paused = true;
      return;
    }
    if (event.kind !== "block") {
      this.#fail(event.kind === "failed" ? event.reason : "image-changed");
      return;
    }
    const { offset, bytes } = event;
    const journal = this.#journal!;
    if (this.#paused && offset > 0) this.resumesAtNonZero++;
    this.#paused = false;
    this.imageBytesReceived += bytes.length;
    if (offset + bytes.length > journal.size || event.last !== (offset + bytes.length === journal.size)) {
      this.#fail("image-size-mismatch");
      return;
    }
    const end = offset + bytes.length;
    let us = this.#programBlock(offset, bytes);
    const complete = end % journal.blockBytes === 0 || end === journal.size;
    this.#pieceOffset = complete ? undefined : end;
    // Mostly one block; a gateway that ignores Block2 sends all of a small image at once.
    const first = Math.floor(offset / journal.blockBytes);
    const behind = complete ? Math.ceil(end / journal.blockBytes) : Math.floor(end / journal.blockBytes);
    for (let block = first; block < behind; block++) us += journal.markStored(block);
    this.#after(nowUs, us, (now) => this.#askNext(now));
  }

  /** Programs image bytes into the target slot; a sector is erased when its first block comes. */
  #programBlock(offset: number, bytes: Uint8Array): number {
    const { flash, layout } = this.#parts;
    const { sectorBytes, writeUnitBytes } = flash.geometry;
    const base = layout.slotAddress[this.#targetSlot()];
    const padded = new Uint8Array(Math.ceil(bytes.length / writeUnitBytes) * writeUnitBytes).fill(0xff);
    padded.set(bytes);
    let us = 0;
    const firstSector = Math.floor(offset / sectorBytes);
    const lastSector = Math.floor((offset + padded.length - 1) / sectorBytes);
    for (let sector = firstSector; sector <= lastSector; sector++) {
      if (!this.#sectorInUse(sector) && !flash.isErased(base + sector * sectorBytes, sectorBytes)) {
        us += flash.erase(base + sector * sectorBytes);
      }
    }
    return us + flash.program(base + offset, padded);
  }

  /** True when the sector holds a stored block, or the piece of one. */
  #sectorInUse(sector: number): boolean {
    const journal = this.#journal!;
    const { sectorBytes } = this.#parts.flash.geometry;
    const first = Math.floor((sector * sectorBytes) / journal.blockBytes);
    const last = Math.min(journal.blocks - 1, Math.floor(((sector + 1) * sectorBytes - 1) / journal.blockBytes));
    if (this.#pieceOffset !== undefined && Math.floor((this.#pieceOffset - 1) / sectorBytes) === sector) return true;
    for (let block = first; block <= last; block++) if (journal.isStored(block)) return true;
    return false;
  }

  #install(nowUs: number): void {
    const { flash, layout, crypto } = this.#parts;
    const { imageDigest: digest, imageSize: size, sequenceNumber } = this.#release!;
    const slot = this.#targetSlot();
    if (!bytesEqual(crypto.sha256(flash.read(layout.slotAddress[slot], size)), digest)) {
      flash.erase(layout.journalAddress); // nothing in the slot can be trusted: the next boot begins again
      this.#fail("digest-mismatch");
      return;
    }
    const us = writeSlotInfo(flash, layout, slot, { sequenceNumber, size, digest });
    this.#after(nowUs, us, () => {
      this.#state = "installed";
    });
  }

  #compute(nowUs: number, us: number, next: (nowUs: number) => void): void {
    this.#parts.onCpu(Math.round(us));
    this.#after(nowUs, us, next);
  }

  #after(nowUs: number, us: number, next: (nowUs: number) => void): void {
    if (us === 0) next(nowUs);
    else this.#busy = { untilUs: nowUs + Math.round(us), next };
  }

  #fail(reason: string): void {
    this.#state = "failed";
    this.failure = reason;
    this.#fetch = undefined;
  }
}

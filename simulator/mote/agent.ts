import { BlockDownload } from "../../src/coap/blockwise/block2-client.ts";
import { blockSize, type Szx } from "../../src/coap/blockwise/block.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import type { TransmissionParameters } from "../../src/coap/parameters.ts";
import { CocoaTimer } from "../../src/coap/retransmission.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import type { PeerAddress, Transmit } from "../../src/ports/datagram.ts";
import type { Metrics } from "../../src/ports/metrics.ts";
import type { Random } from "../../src/ports/random.ts";
import type { Release } from "../../src/suit/release.ts";
import type { BlockSizeChoice } from "../../src/transfer/block-size.ts";
import { BlockFetch, type FetchEvent, type RetryPolicy } from "../../src/transfer/block-fetch.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { earlier } from "../../src/util/deadline.ts";
import { boot, type BootResult } from "./bootloader.ts";
import type { Flash } from "./flash.ts";
import type { Journal } from "./journal.ts";
import { writeSlotInfo, type Layout } from "./layout.ts";
import { ManifestFetch, type ManifestEvent } from "./manifest-fetch.ts";
import type { CpuCosts } from "./profile.ts";
import { SlotWriter } from "./slot-writer.ts";
import { Work } from "./work.ts";

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
  /** Chooses the size of each block; always that of `szx` when absent. */
  readonly blockSizes?: BlockSizeChoice | undefined;
  /** How often the mote polls its parent during a transfer; absent where it listens always. */
  readonly pollPeriodUs?: number | undefined;
  /** Told how long the CPU works; the agent does nothing else meanwhile. */
  readonly onCpu: (us: number) => void;
}

/** A response that was not there at the first poll comes with one of the next: asking again before takes air for nothing. */
const PATIENT_POLLS = 4;

function measuredTimer({ parameters, pollPeriodUs = 0 }: AgentParts): CocoaTimer {
  return new CocoaTimer(parameters, PATIENT_POLLS * pollPeriodUs);
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
  #manifest: ManifestFetch | undefined;
  #release: Release | undefined;
  #writer: SlotWriter | undefined;
  readonly #work: Work;
  failure: string | undefined;
  /** Times that the download went on behind block 0: after a reboot, or after the gateway was silent. */
  resumesAtNonZero = 0;
  imageBytesReceived = 0;
  #paused = false;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#work = new Work(parts.onCpu);
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

  get journal(): Journal | undefined {
    return this.#writer?.journal;
  }

  /** True while the gateway is silent: an exchange got no answer and nothing has come since. */
  get isPaused(): boolean {
    return this.#paused;
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
    this.#work.compute(nowUs, this.#booted.hashedBytes * costs.sha256UsPerByte, (now) => this.#askManifest(now));
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    this.#endpoint.handleDatagram(nowUs, bytes, peer);
    this.#takeEvents(nowUs);
  }

  handleTimeout(nowUs: number): void {
    this.#endpoint.handleTimeout(nowUs);
    this.#takeEvents(nowUs);
    this.#manifest?.handleTimeout(nowUs);
    this.#fetch?.handleTimeout(nowUs);
    this.#work.handleTimeout(nowUs);
  }

  pollTransmit(): Transmit | undefined {
    return this.#endpoint.pollTransmit();
  }

  pollTimeout(): number | undefined {
    const fetch = earlier(this.#manifest?.pollTimeout(), this.#fetch?.pollTimeout());
    return earlier(earlier(this.#endpoint.pollTimeout(), fetch), this.#work.pollTimeout());
  }

  #takeEvents(nowUs: number): void {
    for (let event = this.#endpoint.pollEvent(); event !== undefined; event = this.#endpoint.pollEvent()) {
      if (this.#state === "manifest") this.#onManifest(nowUs, this.#manifest?.handleEvent(nowUs, event));
      const result = this.#fetch?.handleEvent(nowUs, event);
      if (result !== undefined && this.#state === "download") this.#onBlock(nowUs, result);
    }
  }

  #newFetch(path: readonly string[]): BlockFetch {
    const { gateway: peer, szx, random, policy } = this.#parts;
    const download = new BlockDownload({ path, szx });
    return new BlockFetch({ endpoint: this.#endpoint, peer, random: random.fork("retry"), policy, download });
  }

  #askManifest(nowUs: number): void {
    this.#state = "manifest";
    this.#manifest = new ManifestFetch((path) => this.#newFetch(path), this.#parts.classId);
    this.#manifest.start(nowUs);
  }

  #onManifest(nowUs: number, event: ManifestEvent | undefined): void {
    if (event?.kind === "failed") this.#fail(event.reason);
    else if (event !== undefined)
      this.#work.compute(nowUs, this.#parts.costs.verifySignatureUs, (now) => this.#verifyManifest(now));
  }

  #verifyManifest(nowUs: number): void {
    const { crypto, anchors, classId, layout } = this.#parts;
    const release = this.#manifest!.verify(crypto, anchors, classId, layout.slotBytes);
    this.#manifest = undefined;
    if (typeof release === "string") this.#fail(release);
    else if (release.sequenceNumber <= this.#booted!.info.sequenceNumber) this.#state = "up-to-date";
    else this.#beginDownload(nowUs, release);
  }

  #beginDownload(nowUs: number, release: Release): void {
    const { flash, layout, szx } = this.#parts;
    this.#state = "download";
    this.#release = release;
    this.#fetch = this.#newFetch(imagePath(release.imageDigest));
    const { imageDigest, imageSize } = release;
    const slot = this.#booted!.slot === 0 ? 1 : 0;
    this.#writer = new SlotWriter(flash, layout, slot, imageDigest, imageSize, blockSize(szx));
    if (this.#writer.resumed) this.#paused = true;
    this.#work.after(nowUs, this.#writer.setUpUs, (now) => this.#askNext(now));
  }

  #askNext(nowUs: number): void {
    const { missing, journal } = this.#writer!;
    if (missing === undefined) {
      this.#state = "installing";
      this.#work.compute(nowUs, journal.size * this.#parts.costs.sha256UsPerByte, (now) => this.#install(now));
      return;
    }
    this.#resize(missing);
    this.#fetch!.ask(nowUs, this.#fetch!.download.requestAt(missing));
  }

  /** Nothing came of a block: the next attempt is for a smaller one. */
  #askSmaller(): void {
    const { blockSizes } = this.#parts;
    const { missing } = this.#writer!;
    if (blockSizes === undefined || missing === undefined) return;
    const { download } = this.#fetch!;
    blockSizes.failed(download.szx);
    this.#resize(missing);
    this.#fetch!.replace(download.requestAt(missing));
  }

  /** The largest size up to the one that is chosen of which the offset is a multiple, and nothing behind it is stored. */
  #resize(offset: number): void {
    const { blockSizes } = this.#parts;
    if (blockSizes === undefined) return;
    const { journal } = this.#writer!;
    const isFree = (szx: Szx): boolean => {
      const end = Math.min(offset + blockSize(szx), journal.size);
      for (let at = offset; at < end; at += journal.blockBytes)
        if (journal.isStored(Math.floor(at / journal.blockBytes))) return false;
      return true;
    };
    let { szx } = blockSizes;
    while (szx > 0 && (offset % blockSize(szx) !== 0 || !isFree(szx))) szx--;
    this.#fetch!.download.resize(szx);
  }

  #onBlock(nowUs: number, event: FetchEvent): void {
    if (event.kind === "paused") {
      this.#paused = true;
      if (event.reason === "timeout") this.#askSmaller();
      return;
    }
    if (event.kind !== "block") {
      this.#fail(event.kind === "failed" ? event.reason : "image-changed");
      return;
    }
    const { offset, bytes } = event;
    this.#parts.blockSizes?.delivered(this.#fetch!.download.szx, event.lost ?? 0);
    const { journal } = this.#writer!;
    if (this.#paused && offset > 0) this.resumesAtNonZero++;
    this.#paused = false;
    this.imageBytesReceived += bytes.length;
    if (offset + bytes.length > journal.size || event.last !== (offset + bytes.length === journal.size)) {
      this.#fail("image-size-mismatch");
      return;
    }
    this.#work.after(nowUs, this.#writer!.store(offset, bytes), (now) => this.#askNext(now));
  }

  #install(nowUs: number): void {
    const { flash, layout, crypto } = this.#parts;
    const { imageDigest: digest, imageSize: size, sequenceNumber } = this.#release!;
    const writer = this.#writer!;
    if (!bytesEqual(crypto.sha256(writer.read()), digest)) {
      writer.discard();
      this.#fail("digest-mismatch");
      return;
    }
    const us = writeSlotInfo(flash, layout, writer.slot, { sequenceNumber, size, digest });
    this.#work.after(nowUs, us, () => {
      this.#state = "installed";
    });
  }

  #fail(reason: string): void {
    this.#state = "failed";
    this.failure = reason;
    this.#fetch = undefined;
    this.#manifest = undefined;
  }
}

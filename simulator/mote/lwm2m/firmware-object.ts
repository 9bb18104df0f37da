import { blockOption, blockSize, encodeBlock, type Szx } from "../../../src/coap/blockwise/block.ts";
import type { BlockDownload } from "../../../src/coap/blockwise/block2-client.ts";
import { encodeUint, uintOption } from "../../../src/coap/message.ts";
import { Code, Option } from "../../../src/coap/numbers.ts";
import type { ClientEvent, CoapResponse, IncomingRequest } from "../../../src/coap/request.ts";
import { Firmware, State } from "../../../src/lwm2m/firmware.ts";
import type { Path } from "../../../src/lwm2m/path.ts";
import type { Reading } from "../../../src/lwm2m/reading.ts";
import type { Crypto } from "../../../src/ports/crypto.ts";
import type { PeerAddress } from "../../../src/ports/datagram.ts";
import type { BlockFetch } from "../../../src/transfer/block-fetch.ts";
import { toHex, utf8 } from "../../../src/util/bytes.ts";
import { earlier } from "../../../src/util/deadline.ts";
import { goesOnTo, type BootResult } from "../bootloader.ts";
import type { Flash } from "../flash.ts";
import { writeSlotInfo, type Layout, type SlotInfo } from "../layout.ts";
import { imageIn, ManifestFetch, type ManifestParts } from "../manifest-fetch.ts";
import type { CpuCosts } from "../profile.ts";
import { SlotWriter } from "../slot-writer.ts";
import { Work } from "../work.ts";
import type { Behaviour } from "./behaviour.ts";
import { PackageDownload, type DownloadStep } from "./package-download.ts";
import { readSettings, writeSettings, type Settings } from "./settings.ts";

/** Update Result, as far as this client has reasons for it. */
const Result = {
  INITIAL: 0,
  SUCCESS: 1,
  NO_SPACE: 2,
  INTEGRITY: 5,
  INVALID_URI: 7,
  FAILED: 8,
  PROTOCOL: 9,
  CANCELLED: 10,
  DEFERRED: 11,
};
/** A push that pauses for longer and goes on behind block 0 has been resumed. */
const PAUSE_US = 400_000;

export interface FirmwareParts {
  readonly flash: Flash;
  readonly layout: Layout;
  readonly crypto: Crypto;
  readonly manifest: () => ManifestParts;
  readonly behaviour: Behaviour;
  readonly szx: Szx;
  readonly booted: BootResult;
  readonly costs: CpuCosts;
  readonly onCpu: (us: number) => void;
  readonly newFetch: (download: BlockDownload, peer: PeerAddress) => BlockFetch;
  /** A resource has another value. */
  readonly changed: (nowUs: number, resource: number) => void;
}

/** The firmware object of a client: what it fetches or is given, whether it is what its author signed, and its installation. */
export class FirmwareObject {
  readonly #parts: FirmwareParts;
  readonly #settings: Settings;
  #writer: SlotWriter | undefined;
  #download: PackageDownload | undefined;
  #manifest: ManifestFetch | undefined;
  /** What is to be installed. */
  #release: SlotInfo | undefined;
  readonly #work: Work;
  #lastBlockUs: number | undefined;
  #paused = false;
  #deferred = false;
  /** Set when the client is to restart. */
  rebootUs: number | undefined;
  vanished = false;
  resumesAtNonZero = 0;
  bytesReceived = 0;
  /** Blocks of a push that came although they were stored. */
  repeatedBlocks = 0;

  constructor(parts: FirmwareParts) {
    this.#parts = parts;
    this.#work = new Work(parts.onCpu);
    this.#settings = readSettings(parts.flash, parts.layout);
    const { behaviour, booted } = parts;
    const { state, before } = this.#settings;
    if (state === State.UPDATING) {
      const isNew = booted.info.sequenceNumber > (before ?? 0);
      if (isNew) this.#settings.running = this.#settings.version;
      const updated = isNew || behaviour.bootsOld;
      this.#settings.state = State.IDLE;
      this.#settings.result = updated ? Result.SUCCESS : Result.FAILED;
    }
    if (behaviour.forgets) this.#settings.state = this.#settings.result = 0;
    this.#paused = true;
  }

  get writer(): SlotWriter | undefined {
    return this.#writer;
  }

  /** What the image that runs calls itself; the factory's has a number only. */
  get runningVersion(): string {
    return this.#settings.running ?? `${this.#parts.booted.info.sequenceNumber}.0.0`;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  get state(): number {
    return this.#settings.state;
  }

  /** Goes on with what a restart interrupted. */
  start(nowUs: number): void {
    const { state, uri, size, etag, pushSize } = this.#settings;
    if (state !== State.DOWNLOADING && state !== State.DOWNLOADED) return;
    if (uri !== undefined) {
      if (size !== undefined) this.#openSlot(utf8(uri), size);
      if (state === State.DOWNLOADING) this.#pull(nowUs, uri, etag);
      else this.#verify(nowUs);
    } else if (pushSize !== undefined) {
      this.#openSlot(PUSH_KEY, pushSize);
      if (this.#writer!.missing === undefined) this.#verify(nowUs);
    }
  }

  read(object: Path): Reading[] {
    const { behaviour } = this.#parts;
    const { state, result, version } = this.#settings;
    const at = (resource: number, value: Reading["value"]): Reading => ({ path: [...object, resource], value });
    if (behaviour.stubState) return [at(Firmware.STATE, state === State.UPDATING ? 2 : 1), at(Firmware.RESULT, 0)];
    const delivery = { pull: 0, push: 1, both: 2 }[behaviour.delivery];
    const readings = [at(Firmware.STATE, state), at(Firmware.RESULT, result), at(Firmware.PKG_VERSION, version ?? "")];
    readings.push({ path: [...object, Firmware.PROTOCOLS, 0], value: 0 }, at(Firmware.DELIVERY, delivery));
    if (object[0] !== 5) readings.push(at(14, "main"), at(Firmware.CURRENT_VERSION, this.runningVersion));
    return readings;
  }

  /** Resource 1: an empty one resets (object 5, State table). */
  writeUri(nowUs: number, uri: string): number {
    if (this.state === State.UPDATING) return Code.METHOD_NOT_ALLOWED;
    if (this.#parts.behaviour.stubState) return Code.CHANGED; // and nothing comes of it
    if (uri === "") {
      this.#toIdle(nowUs, Result.INITIAL);
      return Code.CHANGED;
    }
    if (this.#parts.behaviour.delivery === "push") return Code.METHOD_NOT_ALLOWED;
    if (this.state !== State.IDLE) return Code.BAD_REQUEST;
    this.#set(nowUs, { state: State.DOWNLOADING, result: Result.INITIAL, uri, pushSize: undefined });
    this.#pull(nowUs, uri, undefined);
    return Code.CHANGED;
  }

  /** Resource 0, a block of it: in order, from where the flash stops (RFC 7959 section 2.5). */
  writePackage(nowUs: number, request: IncomingRequest): CoapResponse {
    const { behaviour, szx: own } = this.#parts;
    const block = blockOption(request.options, Option.BLOCK1) ?? { num: 0, more: false, szx: 6 };
    if (behaviour.delivery === "pull" || this.state === State.UPDATING) return { code: Code.METHOD_NOT_ALLOWED };
    if (block.more && block.szx > own)
      return { code: Code.REQUEST_ENTITY_TOO_LARGE, options: [block1({ ...block, num: 0, szx: own })] };
    const offset = block.num * blockSize(block.szx);
    if (offset === 0) {
      if (request.payload.length === 1 && request.payload[0] === 0) return this.#nullPackage(nowUs);
      if (!behaviour.stubState && this.state === State.DOWNLOADED) return { code: Code.BAD_REQUEST };
      const size = uintOption(request.options, Option.SIZE1) ?? request.payload.length;
      if (size > this.#parts.layout.slotBytes)
        return {
          code: Code.REQUEST_ENTITY_TOO_LARGE,
          options: [{ number: Option.SIZE1, value: encodeUint(this.#parts.layout.slotBytes) }],
        };
      this.#beginPush(nowUs, size);
    }
    const writer = this.#writer;
    const answer = { code: block.more ? Code.CONTINUE : Code.CHANGED, options: [block1(block)] };
    if (writer === undefined || this.#settings.pushSize === undefined) return { code: Code.REQUEST_ENTITY_INCOMPLETE };
    const missing = writer.missing;
    if (missing === undefined || offset < missing) {
      this.repeatedBlocks++;
      return answer;
    }
    if (offset > missing) return behaviour.stubState ? answer : { code: Code.REQUEST_ENTITY_INCOMPLETE };
    if (offset + request.payload.length > writer.journal.size) return { code: Code.REQUEST_ENTITY_TOO_LARGE };
    if (
      this.#lastBlockUs === undefined ? this.#paused && offset > 0 : nowUs - this.#lastBlockUs > PAUSE_US && offset > 0
    )
      this.resumesAtNonZero++;
    this.#paused = false;
    this.#lastBlockUs = nowUs;
    this.bytesReceived += request.payload.length;
    writer.store(offset, request.payload);
    if (writer.missing === undefined) this.#verify(nowUs);
    return answer;
  }

  /** Resource 2. */
  execute(nowUs: number): number {
    const { behaviour, booted } = this.#parts;
    if (this.#release === undefined || (!behaviour.stubState && this.state !== State.DOWNLOADED))
      return Code.METHOD_NOT_ALLOWED;
    if (behaviour.defers && !this.#deferred) {
      this.#deferred = true;
      this.#set(nowUs, { result: Result.DEFERRED });
      return Code.CHANGED;
    }
    this.#set(nowUs, {
      state: State.UPDATING,
      result: Result.INITIAL,
      before: booted.info.sequenceNumber,
      uri: undefined,
      pushSize: undefined,
    });
    this.#install(); // before the answer: what was promised survives a power cut
    this.vanished = behaviour.vanishes;
    this.rebootUs = nowUs + 200_000; // the answer is to leave before
    return Code.CHANGED;
  }

  /** Resource 10. */
  cancel(nowUs: number): number {
    if (this.state === State.UPDATING) return Code.METHOD_NOT_ALLOWED;
    this.#toIdle(nowUs, Result.CANCELLED);
    return Code.CHANGED;
  }

  /** The slot becomes the one to boot. */
  #install(): void {
    const { flash, layout, behaviour } = this.#parts;
    const { digest, size, sequenceNumber } = this.#release!;
    if (!behaviour.bootsOld) writeSlotInfo(flash, layout, this.#writer!.slot, { sequenceNumber, size, digest });
  }

  /** It can be heard again: what was asked before is asked anew. */
  woke(nowUs: number): void {
    this.#download?.again(nowUs);
    if (this.#manifest !== undefined && !this.#work.isUnderWay) this.#manifest.start(nowUs);
  }

  handleEvent(nowUs: number, event: ClientEvent): void {
    const step = this.#download?.handleEvent(nowUs, event);
    if (step !== undefined) this.#onDownload(nowUs, step);
    const manifest = this.#manifest?.handleEvent(nowUs, event);
    if (manifest?.kind === "failed") this.#unknown(nowUs, manifest.reason === "manifest-4.04");
    else if (manifest !== undefined) {
      const { verifySignatureUs, sha256UsPerByte } = this.#parts.costs;
      const us = verifySignatureUs + this.#writer!.journal.size * sha256UsPerByte;
      this.#work.compute(nowUs, us, (now) => this.#verified(now));
    }
  }

  handleTimeout(nowUs: number): void {
    this.#download?.handleTimeout(nowUs);
    this.#manifest?.handleTimeout(nowUs);
    this.#work.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    const fetching = earlier(this.#download?.pollTimeout(), this.#manifest?.pollTimeout());
    return earlier(earlier(fetching, this.#work.pollTimeout()), this.rebootUs);
  }

  #nullPackage(nowUs: number): CoapResponse {
    if (!this.#parts.behaviour.stubState) this.#toIdle(nowUs, Result.INITIAL);
    return { code: Code.CHANGED };
  }

  #beginPush(nowUs: number, size: number): void {
    this.#download = this.#manifest = this.#release = undefined;
    this.#discard();
    this.#set(nowUs, {
      state: State.DOWNLOADING,
      result: Result.INITIAL,
      uri: undefined,
      etag: undefined,
      pushSize: size,
    });
    this.#openSlot(PUSH_KEY, size);
  }

  #pull(nowUs: number, uri: string, etag: string | undefined): void {
    this.#download = PackageDownload.open(uri, this.#parts.szx, etag, this.#parts.newFetch);
    if (this.#download === undefined) return this.#toIdle(nowUs, Result.PROTOCOL);
    this.#askNext(nowUs);
  }

  #askNext(nowUs: number): void {
    const missing = this.#writer === undefined ? 0 : this.#writer.missing;
    if (missing === undefined) {
      this.#download = undefined;
      this.#verify(nowUs);
    } else this.#download?.ask(nowUs, missing);
  }

  #onDownload(nowUs: number, step: DownloadStep): void {
    if (step.kind === "failed") return this.#toIdle(nowUs, Result.INVALID_URI);
    if (step.kind === "paused") {
      this.#paused = true;
      return;
    }
    if (step.kind === "changed") {
      this.#discard();
      this.#set(nowUs, { etag: undefined, size: undefined });
      return this.#download!.ask(nowUs, 0);
    }
    const { offset, bytes } = step;
    if (this.#writer === undefined && !this.#begin(nowUs, step)) return;
    if (this.#paused && offset > 0) this.resumesAtNonZero++;
    this.#paused = false;
    if (offset + bytes.length > this.#writer!.journal.size) return this.#toIdle(nowUs, Result.INTEGRITY);
    this.bytesReceived += bytes.length;
    this.#work.after(nowUs, this.#writer!.store(offset, bytes), (now) => this.#askNext(now));
  }

  /** The first block says how large the whole is. */
  #begin(nowUs: number, { bytes, last }: Extract<DownloadStep, { kind: "block" }>): boolean {
    const size = last ? bytes.length : this.#download!.size;
    const { etag } = this.#download!;
    if (size === undefined || size > this.#parts.layout.slotBytes) {
      this.#toIdle(nowUs, Result.NO_SPACE);
      return false;
    }
    this.#set(nowUs, { size, etag: etag === undefined ? undefined : toHex(etag) });
    this.#openSlot(utf8(this.#settings.uri!), size);
    return true;
  }

  #openSlot(name: Uint8Array, size: number): void {
    const { flash, layout, crypto, booted, szx } = this.#parts;
    const slot = booted.slot === 0 ? 1 : 0;
    this.#writer = new SlotWriter(flash, layout, slot, { key: crypto.sha256(name), size, blockBytes: blockSize(szx) });
  }

  /** All of it is there: what is it? */
  #verify(nowUs: number, digest?: Uint8Array): void {
    this.#manifest = new ManifestFetch(this.#parts.manifest(), digest);
    this.#manifest.start(nowUs);
  }

  #verified(nowUs: number): void {
    const { crypto, layout, booted, manifest } = this.#parts;
    const { classId } = manifest();
    const writer = this.#writer;
    if (this.#manifest === undefined || writer === undefined) return;
    const { slot } = writer;
    const [digest, running] = [crypto.sha256(writer.read()), booted.info.digest];
    const release = this.#manifest.verify(layout.slotBytes, { slot, running, digest, size: writer.journal.size });
    const image = typeof release === "string" ? undefined : imageIn(release, digest, classId);
    if (typeof release === "string" || image === undefined || !goesOnTo(booted, release.sequenceNumber))
      return this.#unknown(nowUs, image === undefined);
    this.#manifest = undefined;
    this.#release = { digest, size: image.size, sequenceNumber: release.sequenceNumber };
    this.#set(nowUs, { state: State.DOWNLOADED, version: release.version });
  }

  /** The manifest does not say what the image is; where another one may, since it was replaced meanwhile, that is asked for. */
  #unknown(nowUs: number, mayBeReplaced: boolean): void {
    if (!mayBeReplaced || this.#manifest!.isByImage || this.#writer === undefined)
      return this.#toIdle(nowUs, Result.INTEGRITY);
    return this.#verify(nowUs, this.#parts.crypto.sha256(this.#writer.read()));
  }

  /** Back to Idle, for this Update Result. */
  #toIdle(nowUs: number, result: number): void {
    this.#download = this.#manifest = this.#release = undefined;
    // What has arrived by a URI is kept: the same one may be given again.
    if (result === Result.INTEGRITY || this.#settings.uri === undefined) this.#discard();
    this.#writer = undefined;
    this.#set(nowUs, {
      state: State.IDLE,
      result,
      uri: undefined,
      size: undefined,
      etag: undefined,
      pushSize: undefined,
    });
  }

  #discard(): void {
    this.#writer?.discard();
    this.#writer = undefined;
  }

  #set(nowUs: number, change: Partial<Settings>): void {
    const { flash, layout, changed } = this.#parts;
    const { state, result } = this.#settings;
    Object.assign(this.#settings, change);
    writeSettings(flash, layout, this.#settings);
    if (this.#settings.state !== state) changed(nowUs, Firmware.STATE);
    if (this.#settings.result !== result) changed(nowUs, Firmware.RESULT);
  }
}

/** What the journal of a push is known by: a client is not told what it is given. */
const PUSH_KEY = utf8("push");

const block1 = (block: { num: number; more: boolean; szx: number }): { number: number; value: Uint8Array } => ({
  number: Option.BLOCK1,
  value: encodeBlock(block),
});

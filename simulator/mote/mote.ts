import type { TransmissionParameters } from "../../src/coap/parameters.ts";
import type { Szx } from "../../src/coap/blockwise/block.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import type { PeerAddress, Transmit } from "../../src/ports/datagram.ts";
import type { Random } from "../../src/ports/random.ts";
import { BlockSizeChoice, type PathModel } from "../../src/transfer/block-size.ts";
import type { RetryPolicy } from "../../src/transfer/block-fetch.ts";
import { Counters } from "../../src/util/counters.ts";
import { RefetchChecker } from "../checkers/refetch.ts";
import { MoteAgent } from "./agent.ts";
import type { DeviceTrust } from "../../src/suit/trust.ts";
import type { DeviceCredential } from "./confirmation.ts";
import { runs } from "./bootloader.ts";
import { factoryFlash } from "./factory.ts";
import { FlashWornOut, type Flash } from "./flash.ts";
import type { Layout } from "./layout.ts";
import { costsOf, type ChipProfile } from "./profile.ts";

export interface MoteParts {
  readonly profile: ChipProfile;
  readonly crypto: Crypto;
  readonly random: Random;
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
  readonly anchors: readonly Verifier[] | DeviceTrust;
  readonly credential?: DeviceCredential | undefined;
  readonly confirmWithinUs?: number | undefined;
  readonly isDead?: ((imageDigest: Uint8Array) => boolean) | undefined;
  readonly unixS?: ((nowUs: number) => number) | undefined;
  readonly sectorTableBytes?: number | undefined;
  readonly gateway: PeerAddress;
  readonly blockBytes: number;
  readonly szx: Szx;
  readonly parameters: TransmissionParameters;
  readonly policy: RetryPolicy;
  /** Room for images; slots are as large. */
  readonly maxImageBytes: number;
  readonly factoryImage: { readonly bytes: Uint8Array; readonly sequenceNumber: number };
  readonly spareSlot?: "erased" | "used" | undefined;
  readonly onBusy?: (state: "cpu" | "flash", us: number) => void;
  /** Has it choose block sizes and time-outs by what it measures; what its link layer makes of datagrams. */
  readonly adaptive?: PathModel | undefined;
}

/** UDP payload of a request for a block, and of its answer besides the block: 4 + 2 of token, ETag, Block2, marker. */
const REQUEST_BYTES = 56;
const RESPONSE_BYTES = 21;

const SIZES = { smallest: 2, largest: 6, requestBytes: REQUEST_BYTES, headerBytes: RESPONSE_BYTES } as const;

export type MoteOutcome = "updated" | "failed" | "bricked";

/** A mote over its whole life: flash that stays, an agent per boot, and counts of what it did. */
export class Mote {
  readonly flash: Flash;
  readonly layout: Layout;
  readonly counters: Counters = new Counters();
  readonly refetch: RefetchChecker = new RefetchChecker();
  readonly #parts: MoteParts;
  #agent: MoteAgent;
  #boots = 0;
  #erased = false;
  /** Its flash takes nothing any more. */
  #isWornOut = false;
  datagramsSent = 0;
  datagramBytesSent = 0;
  datagramsReceived = 0;
  datagramBytesReceived = 0;
  /** Sums over the boots before this one. */
  readonly #past = { imageBytesReceived: 0, resumesAtNonZero: 0, retransmitted: 0, sectorsRefused: 0 };

  constructor(parts: MoteParts) {
    this.#parts = parts;
    ({ flash: this.flash, layout: this.layout } = factoryFlash(parts));
    // What the factory did costs the mote nothing.
    this.flash.busyUs = 0;
    this.flash.onBusy = (us) => parts.onBusy?.("flash", us);
    this.#agent = this.#newAgent();
  }

  get agent(): MoteAgent {
    return this.#agent;
  }

  get boots(): number {
    return this.#boots;
  }

  get imageBytesReceived(): number {
    return this.#past.imageBytesReceived + this.#agent.imageBytesReceived;
  }

  /** Times that a download went on behind block 0. */
  get resumesAtNonZero(): number {
    return this.#past.resumesAtNonZero + this.#agent.resumesAtNonZero;
  }

  get sectorsRefused(): number {
    return this.#past.sectorsRefused + this.#agent.sectorsRefused;
  }

  get retransmitted(): number {
    return this.#past.retransmitted + this.#agent.retransmitted;
  }

  /** How it ended; undefined while it is still at it. An update counts once the new image runs and reaches the gateway. */
  outcome(targetSequence: number): MoteOutcome | undefined {
    const { state, booted } = this.#agent;
    if (this.#isWornOut) return "failed";
    if (state === "bricked" || state === "failed") return state;
    if (state !== "up-to-date") return undefined;
    return booted!.info.sequenceNumber >= targetSequence ? "updated" : "failed";
  }

  /** Why its update failed; undefined of one that did not. */
  get failure(): string | undefined {
    return this.#isWornOut ? "flash-worn-out" : this.#agent.failure;
  }

  /** True when it runs exactly these bytes. */
  runs(image: Uint8Array): boolean {
    return runs(this.flash, this.layout, this.#agent.booted, image);
  }

  start(nowUs: number): void {
    this.#boots++;
    this.#guarded(() => this.#agent.start(nowUs));
  }

  /** Power cut or reset: RAM is gone, flash stays. */
  reboot(nowUs: number): void {
    this.#past.imageBytesReceived = this.imageBytesReceived;
    this.#past.resumesAtNonZero = this.resumesAtNonZero;
    this.#past.retransmitted = this.retransmitted;
    this.#past.sectorsRefused = this.sectorsRefused;
    this.refetch.onReboot();
    this.#agent = this.#newAgent();
    this.start(nowUs);
  }

  /** Its life is over: keys and anchors go, and with them every way to be told anything. */
  eraseSecrets(): void {
    for (const address of this.layout.trustAddress) this.flash.erase(address);
    this.#erased = true;
    this.#agent = this.#newAgent();
  }

  get secretsErased(): boolean {
    return this.#erased && this.layout.trustAddress.every((address) => this.flash.isErased(address, 64));
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    this.datagramsReceived++;
    this.datagramBytesReceived += bytes.length;
    this.#guarded(() => this.#agent.handleDatagram(nowUs, bytes, peer));
  }

  #guarded(action: () => void): void {
    if (this.#isWornOut) return;
    try {
      action();
    } catch (error) {
      if (!(error instanceof FlashWornOut)) throw error;
      this.#isWornOut = true;
    }
  }

  handleTimeout(nowUs: number): void {
    this.#guarded(() => this.#agent.handleTimeout(nowUs));
    const { state } = this.#agent;
    if (state === "installed" || state === "reverting") this.reboot(nowUs);
  }

  pollTransmit(): Transmit | undefined {
    const out = this.#isWornOut ? undefined : this.#agent.pollTransmit();
    if (out === undefined) return undefined;
    this.datagramsSent++;
    this.datagramBytesSent += out.bytes.length;
    this.refetch.onSend(out.bytes, this.#agent.journal);
    return out;
  }

  pollTimeout(): number | undefined {
    return this.#isWornOut ? undefined : this.#agent.pollTimeout();
  }

  #newAgent(): MoteAgent {
    const { profile, onBusy, gateway, szx, parameters, policy, adaptive, crypto } = this.#parts;
    const { vendorId, classId, anchors, credential, confirmWithinUs, isDead, unixS, sectorTableBytes } = this.#parts;
    return new MoteAgent({
      flash: this.flash,
      layout: this.layout,
      metrics: this.counters,
      crypto,
      vendorId,
      classId,
      anchors: this.#erased ? [] : anchors,
      credential: this.#erased ? undefined : credential,
      confirmWithinUs,
      isDead,
      unixS,
      sectorTableBytes,
      gateway,
      szx,
      parameters,
      policy,
      random: this.#parts.random.fork(`boot-${this.#boots}`),
      costs: costsOf(profile),
      onCpu: (us) => onBusy?.("cpu", us),
      pollPeriodUs: adaptive?.wake?.periodUs,
      blockSizes: adaptive && new BlockSizeChoice({ path: adaptive, first: szx, ...SIZES }),
    });
  }
}

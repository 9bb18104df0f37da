import type { PeerAddress, Transmit } from "../../../src/ports/datagram.ts";
import { Counters } from "../../../src/util/counters.ts";
import { RefetchChecker } from "../../checkers/refetch.ts";
import { runs } from "../bootloader.ts";
import { factoryFlash } from "../factory.ts";
import { FlashWornOut, type Flash } from "../flash.ts";
import type { Layout } from "../layout.ts";
import { costsOf, type ChipProfile } from "../profile.ts";
import type { ClientParts } from "./client-parts.ts";
import { Lwm2mClient } from "./client.ts";

type FixedParts = Pick<
  ClientParts,
  | ("crypto" | "random" | "anchors" | "classId" | "server" | "endpointName" | "lifetimeS")
  | ("bootstrap" | "version" | "queueMode" | "object" | "behaviour" | "szx" | "parameters" | "policy")
>;

export interface Lwm2mMoteParts extends FixedParts {
  readonly profile: ChipProfile;
  readonly blockBytes: number;
  readonly maxImageBytes: number;
  readonly factoryImage: { readonly bytes: Uint8Array; readonly sequenceNumber: number };
  readonly spareSlot?: "erased" | "used" | undefined;
  readonly onBusy?: (state: "cpu" | "flash", us: number) => void;
  readonly onRadio?: (nowUs: number, on: boolean) => void;
  /** How long it is away when it restarts. */
  readonly bootUs?: number;
}

/** After so long an image that hangs is reset. */
const WATCHDOG_US = 120_000_000;

/** A LwM2M client over its whole life: flash that stays, a client per boot. */
export class Lwm2mMote {
  readonly flash: Flash;
  readonly layout: Layout;
  readonly counters: Counters = new Counters();
  readonly refetch: RefetchChecker = new RefetchChecker();
  readonly #parts: Lwm2mMoteParts;
  #client: Lwm2mClient;
  #bootAtUs: number | undefined;
  boots = 0;
  /** It is never heard of again. */
  gone = false;
  /** Its life is over: it believes nobody. */
  #isReset = false;
  readonly #past = { bytes: 0, resumes: 0, retransmitted: 0, repeated: 0 };

  constructor(parts: Lwm2mMoteParts) {
    this.#parts = parts;
    ({ flash: this.flash, layout: this.layout } = factoryFlash(parts));
    this.flash.busyUs = 0;
    this.flash.onBusy = (us) => parts.onBusy?.("flash", us); // what the factory did costs the mote nothing
    this.#client = this.#newClient();
  }

  get client(): Lwm2mClient {
    return this.#client;
  }

  get imageBytesReceived(): number {
    return this.#past.bytes + (this.#client.firmware?.bytesReceived ?? 0);
  }

  get resumesAtNonZero(): number {
    return this.#past.resumes + (this.#client.firmware?.resumesAtNonZero ?? 0);
  }

  get retransmitted(): number {
    return this.#past.retransmitted + this.#client.retransmitted;
  }

  get repeatedBlocks(): number {
    return this.#past.repeated + (this.#client.firmware?.repeatedBlocks ?? 0);
  }

  /** Sequence number of what it runs; undefined of a brick. */
  get sequenceNumber(): number | undefined {
    return this.#client.booted?.info.sequenceNumber;
  }

  /** True when it runs exactly these bytes. */
  runs(image: Uint8Array): boolean {
    return runs(this.flash, this.layout, this.#client.booted, image);
  }

  start(nowUs: number): void {
    this.boots++;
    const isDead = this.#parts.behaviour.neverConfirms && this.#client.booted?.onTrial === true;
    if (isDead) this.#bootAtUs = nowUs + WATCHDOG_US;
    else this.#guarded(() => this.#client.start(nowUs));
  }

  /** Where its flash takes nothing any more it is never heard of again. */
  #guarded(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof FlashWornOut)) throw error;
      this.gone = true;
    }
  }

  /** Power cut or reset: RAM is gone, flash stays. */
  reboot(nowUs: number): void {
    if (this.gone) return;
    this.#bootAtUs = undefined;
    this.#past.bytes = this.imageBytesReceived;
    this.#past.resumes = this.resumesAtNonZero;
    this.#past.retransmitted = this.retransmitted;
    this.#past.repeated = this.repeatedBlocks;
    this.refetch.onReboot();
    this.#client = this.#newClient();
    this.start(nowUs);
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    if (this.gone || this.#bootAtUs !== undefined) return;
    this.#guarded(() => this.#client.handleDatagram(nowUs, bytes, peer));
  }

  handleTimeout(nowUs: number): void {
    if (this.gone) return;
    if (this.#bootAtUs !== undefined) {
      if (this.#bootAtUs <= nowUs) this.reboot(nowUs);
      return;
    }
    const { firmware } = this.#client;
    if (firmware?.rebootUs !== undefined && firmware.rebootUs <= nowUs) return this.#shutDown(nowUs);
    this.#guarded(() => this.#client.handleTimeout(nowUs));
  }

  pollTransmit(): Transmit | undefined {
    if (this.gone || this.#bootAtUs !== undefined) return undefined;
    const out = this.#client.pollTransmit();
    if (out !== undefined) this.refetch.onSend(out.bytes, this.#client.firmware?.writer?.journal);
    return out;
  }

  pollTimeout(): number | undefined {
    if (this.gone) return undefined;
    return this.#bootAtUs ?? this.#client.pollTimeout();
  }

  #shutDown(nowUs: number): void {
    const { firmware } = this.#client;
    this.#parts.onRadio?.(nowUs, false);
    this.gone = firmware!.vanished;
    firmware!.rebootUs = undefined;
    this.#bootAtUs = nowUs + (this.#parts.bootUs ?? 500_000);
  }

  #newClient(): Lwm2mClient {
    const { profile, onBusy, onRadio, ...parts } = this.#parts;
    return new Lwm2mClient(
      {
        ...parts,
        anchors: this.#isReset ? [] : parts.anchors,
        flash: this.flash,
        layout: this.layout,
        metrics: this.counters,
        random: this.#parts.random.fork(`boot-${this.boots}`),
        costs: costsOf(profile),
        onCpu: (us) => onBusy?.("cpu", us),
        onRadio: (nowUs, on) => onRadio?.(nowUs, on),
        onFactoryReset: () => {
          for (const address of this.layout.trustAddress) this.flash.erase(address);
          this.#isReset = true;
        },
      },
      this.boots,
    );
  }
}

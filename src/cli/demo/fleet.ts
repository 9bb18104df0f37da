import { systemClock } from "../../adapters/system.ts";
import { DEFAULT_PARAMETERS } from "../../coap/parameters.ts";
import { szxOf } from "../../coap/blockwise/block.ts";
import { nobleCrypto } from "../../crypto/noble-crypto.ts";
import type { PublicKey } from "../../ports/crypto.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import { SeededRandom } from "../../../simulator/engine/random.ts";
import { WorkEstimate } from "../../../simulator/mote/air-estimate.ts";
import { Mote } from "../../../simulator/mote/mote.ts";
import type { ChipProfile } from "../../../simulator/mote/profile.ts";
import { UdpClient } from "../udp-client.ts";
import { LossyLink, type LinkQuality } from "./lossy-link.ts";

export interface FleetOptions {
  readonly motes: number;
  readonly seed: number;
  readonly quality: LinkQuality;
  readonly profile: ChipProfile;
  readonly gateway: PeerAddress;
  readonly classId: Uint8Array;
  readonly anchor: PublicKey;
  readonly factoryImage: Uint8Array;
  readonly newImage: Uint8Array;
  readonly targetSequence: number;
  readonly blockBytes: number;
  readonly ackTimeoutMs: number;
}

/** A mote on a real UDP socket behind its own bad link. */
export class DemoMote {
  readonly id: number;
  readonly mote: Mote;
  readonly link: LossyLink;
  readonly energy: WorkEstimate;
  readonly #options: FleetOptions;
  #client: UdpClient | undefined;
  #startedUs = 0;
  #finishedUs: number | undefined;
  /** Resumes and blocks counted when the gateway was killed. */
  atKill: { resumes: number; blocks: number } | undefined;

  constructor(id: number, options: FleetOptions) {
    this.id = id;
    this.#options = options;
    const random = new SeededRandom(options.seed, `demo-mote-${id}`);
    this.link = new LossyLink(options.quality, random.fork("link"));
    this.energy = new WorkEstimate(options.profile);
    const { profile, classId, anchor, gateway, blockBytes, factoryImage, newImage } = options;
    this.mote = new Mote({
      profile,
      crypto: nobleCrypto,
      classId,
      gateway,
      blockBytes,
      random: random.fork("mote"),
      anchors: [anchor],
      szx: szxOf(blockBytes)!,
      parameters: {
        ...DEFAULT_PARAMETERS,
        ackTimeoutUs: options.ackTimeoutMs * 1e3,
      },
      policy: {
        backoffUs: 2e5,
        maxBackoffUs: 1e6,
        maxFailures: 200,
      },
      maxImageBytes: Math.max(factoryImage.length, newImage.length),
      factoryImage: {
        bytes: factoryImage,
        sequenceNumber: options.targetSequence - 1,
      },
      onBusy: (state, us) => this.energy.worked(state, us),
    });
  }

  async start(): Promise<void> {
    const { mote, energy } = this;
    const observed = {
      handleDatagram: (nowUs: number, bytes: Uint8Array, peer: PeerAddress): void => {
        energy.received(bytes.length);
        mote.handleDatagram(nowUs, bytes, peer);
      },
      handleTimeout: (nowUs: number): void => mote.handleTimeout(nowUs),
      pollTimeout: (): number | undefined => mote.pollTimeout(),
      pollTransmit: (): ReturnType<Mote["pollTransmit"]> => {
        const out = mote.pollTransmit();
        if (out !== undefined) energy.sent(out.bytes.length);
        return out;
      },
    };
    this.#startedUs = systemClock.nowUs();
    this.#client = await UdpClient.open(observed, "127.0.0.1", () => this.#onSettled(), this.link);
    this.#client.loop.call((nowUs) => mote.start(nowUs));
  }

  async close(): Promise<void> {
    await this.#client?.close();
  }

  get blocks(): { stored: number; total: number } {
    const { journal, booted } = this.mote.agent;
    const { newImage, blockBytes, targetSequence } = this.#options;
    const total = Math.ceil(newImage.length / blockBytes);
    const installed = (booted?.info.sequenceNumber ?? 0) >= targetSequence;
    return { stored: installed ? total : (journal?.storedCount ?? 0), total };
  }

  get done(): boolean {
    return this.#finishedUs !== undefined;
  }

  get seconds(): number {
    return ((this.#finishedUs ?? systemClock.nowUs()) - this.#startedUs) / 1e6;
  }

  /** True when the mote booted the new image and its flash holds it byte for byte. */
  get runsNewImage(): boolean {
    const { booted } = this.mote.agent;
    if (this.mote.outcome(this.#options.targetSequence) !== "updated" || booted === undefined) return false;
    const { newImage } = this.#options;
    const bytes = this.mote.flash.read(this.mote.layout.slotAddress[booted.slot], booted.info.size);
    return bytes.length === newImage.length && bytes.every((byte, i) => byte === newImage[i]);
  }

  get resumedAfterKill(): boolean {
    return this.atKill !== undefined && this.atKill.blocks > 0 && this.mote.resumesAtNonZero > this.atKill.resumes;
  }

  #onSettled(): void {
    if (!this.done && this.mote.outcome(this.#options.targetSequence) !== undefined)
      this.#finishedUs = systemClock.nowUs();
  }
}

import { systemClock } from "../../adapters/system.ts";
import { DEFAULT_PARAMETERS } from "../../coap/parameters.ts";
import { szxOf } from "../../coap/blockwise/block.ts";
import { nobleCrypto } from "../../crypto/noble-crypto.ts";
import type { UpdateView } from "../../http/updates.ts";
import type { PublicKey } from "../../ports/crypto.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import { SeededRandom } from "../../../simulator/engine/random.ts";
import { WorkEstimate } from "../../../simulator/mote/air-estimate.ts";
import { BEHAVIOURS } from "../../../simulator/mote/lwm2m/behaviour.ts";
import { Lwm2mMote } from "../../../simulator/mote/lwm2m/lwm2m-mote.ts";
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
  readonly mote: Lwm2mMote;
  readonly link: LossyLink;
  readonly energy: WorkEstimate;
  readonly #options: FleetOptions;
  #client: UdpClient | undefined;
  #startedUs = 0;
  #finishedUs: number | undefined;
  /** The update as the gateway has it. */
  update: UpdateView | undefined;
  /** Resumes and blocks counted when the gateway was killed. */
  atKill: { resumes: number; blocks: number } | undefined;

  constructor(id: number, options: FleetOptions) {
    this.id = id;
    this.#options = options;
    const random = new SeededRandom(options.seed, `demo-mote-${id}`);
    this.link = new LossyLink(options.quality, random.fork("link"));
    this.energy = new WorkEstimate(options.profile);
    const { profile, classId, anchor, gateway, blockBytes, factoryImage, newImage } = options;
    this.mote = new Lwm2mMote({
      profile,
      classId,
      blockBytes,
      crypto: nobleCrypto,
      server: gateway,
      endpointName: this.endpoint,
      lifetimeS: 60,
      version: "1.1",
      queueMode: undefined,
      object: [5, 0],
      behaviour: BEHAVIOURS[id % 2 === 1 ? "pull-only" : "push-only"]!,
      random: random.fork("mote"),
      anchors: [anchor],
      szx: szxOf(blockBytes)!,
      parameters: { ...DEFAULT_PARAMETERS, ackTimeoutUs: options.ackTimeoutMs * 1e3 },
      policy: { backoffUs: 2e5, maxBackoffUs: 1e6, maxFailures: 200 },
      maxImageBytes: Math.max(factoryImage.length, newImage.length),
      factoryImage: { bytes: factoryImage, sequenceNumber: options.targetSequence - 1 },
      onBusy: (state, us) => this.energy.worked(state, us),
    });
  }

  /** The name that it registers by. */
  get endpoint(): string {
    return `mote-${this.id}`;
  }

  get method(): "pull" | "push" {
    return this.id % 2 === 1 ? "pull" : "push";
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
      pollTransmit: (): ReturnType<Lwm2mMote["pollTransmit"]> => {
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
    const { newImage, blockBytes } = this.#options;
    const total = Math.ceil(newImage.length / blockBytes);
    return { stored: this.done ? total : (this.mote.client.firmware?.writer?.journal.storedCount ?? 0), total };
  }

  get done(): boolean {
    return this.#finishedUs !== undefined;
  }

  get seconds(): number {
    return ((this.#finishedUs ?? systemClock.nowUs()) - this.#startedUs) / 1e6;
  }

  /** True when the mote booted the new image and its flash holds it byte for byte. */
  get runsNewImage(): boolean {
    return this.mote.runs(this.#options.newImage);
  }

  /** It has noticed that the gateway is away; one that is given its package cannot. */
  get isPaused(): boolean {
    return this.method === "push" || this.mote.client.firmware?.isPaused === true;
  }

  get resumedAfterKill(): boolean {
    return this.atKill !== undefined && this.atKill.blocks > 0 && this.mote.resumesAtNonZero > this.atKill.resumes;
  }

  #onSettled(): void {
    if (!this.done && this.mote.client.isRegistered && this.runsNewImage) this.#finishedUs = systemClock.nowUs();
  }
}

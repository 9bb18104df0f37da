import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { encodeMessage } from "../../src/coap/encode.ts";
import { EMPTY_BYTES, type CoapMessage } from "../../src/coap/message.ts";
import { Code, MessageType } from "../../src/coap/numbers.ts";
import { uriPath } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { RunLoop } from "../../src/host/run-loop.ts";
import { parseQuirks, type Quirks } from "../../src/lwm2m/quirks.ts";
import { DEFAULT_POLICY, type Component, type UpdateJob, type UpdatePolicy } from "../../src/lwm2m/update/job.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { toHex } from "../../src/util/bytes.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { GOOD, type Behaviour } from "../../simulator/mote/lwm2m/behaviour.ts";
import { Lwm2mMote, type Lwm2mMoteParts } from "../../simulator/mote/lwm2m/lwm2m-mote.ts";
import { parseBattery, type Battery } from "../../simulator/mote/battery.ts";
import { parseProfile, type ChipProfile } from "../../simulator/mote/profile.ts";
import { decoded } from "./coap-get.ts";
import { author, classId, GatewayBench, makeImage } from "./gateway.ts";
import { SERVER } from "./pair.ts";

const folder = new URL("../../config/profiles/", import.meta.url);
export const PROFILES: readonly Quirks[] = readdirSync(fileURLToPath(folder))
  .filter((name) => name.endsWith(".json"))
  .map((name) => parseQuirks(JSON.parse(readFileSync(new URL(name, folder), "utf8"))));

export const CHIP: ChipProfile = parseProfile(
  JSON.parse(readFileSync(new URL("../../simulator/profiles/nrf52840.json", import.meta.url), "utf8")),
);
export const AA2: Battery = parseBattery(
  JSON.parse(readFileSync(new URL("../../simulator/profiles/batteries/aa2.json", import.meta.url), "utf8")),
);
const DELAY_US = 5_000;

/** Which datagrams arrive, and how often: none loses one, two doubles it; "late" has others overtake it. */
export type Fate = (flight: {
  readonly from: "gateway" | "mote";
  readonly bytes: Uint8Array;
  readonly index: number;
}) => number | "late";

/** A gateway and LwM2M motes in virtual time, joined by links that do what a test wants. */
export class Lwm2mSite {
  readonly bench: GatewayBench;
  readonly image: Uint8Array;
  fate: Fate = () => 1;
  /** What a mote sends to anybody else than the gateway. */
  elsewhere: (bytes: Uint8Array, to: PeerAddress) => void = () => {};
  /** One way over the link. */
  delayUs: number = DELAY_US;
  #flights = 0;
  readonly #motes = new Map<string, { readonly mote: Lwm2mMote; loop: RunLoop; readonly peer: PeerAddress }>();
  readonly #made = new Map<string, Lwm2mMoteParts>();

  constructor(imageBytes = 2_000) {
    this.image = makeImage(5, imageBytes);
    this.bench = new GatewayBench({ profiles: PROFILES, ownAddress: () => "[fd00::2]:5683" });
    this.bench.route = ({ peer, bytes }) =>
      this.#carry("gateway", bytes, () => this.#find(peer)?.loop.datagram(bytes, SERVER));
    this.bench.publish(this.image, 2, { change: { version: "2.0.0" } });
  }

  addMote(name: string, behaviour: Partial<Behaviour> = {}, parts: Partial<Lwm2mMoteParts> = {}): Lwm2mMote {
    const random = new SeededRandom(7, name);
    const made: Lwm2mMoteParts = {
      profile: CHIP,
      crypto: nobleCrypto,
      classId,
      anchors: [author.publicKey],
      server: SERVER,
      endpointName: name,
      lifetimeS: 300,
      version: "1.1",
      queueMode: undefined,
      object: [5, 0],
      behaviour: { ...GOOD, ...behaviour },
      blockBytes: 64,
      szx: 2,
      parameters: DEFAULT_PARAMETERS,
      policy: { backoffUs: 1e6, maxBackoffUs: 6e7, maxFailures: 1_000 },
      maxImageBytes: 8_192,
      factoryImage: { bytes: makeImage(1, 1_000), sequenceNumber: 1 },
      random,
      ...parts,
    };
    this.#made.set(name, made);
    return this.#plugIn(name, `fd00::${(this.#motes.size + 16).toString(16)}`);
  }

  /** Another mote in its place, as new. */
  replaceMote(name: string): void {
    const { peer, loop, mote } = this.#motes.get(name)!;
    mote.gone = true;
    loop.call(() => {});
    this.#plugIn(name, peer.address);
  }

  mote(name: string): Lwm2mMote {
    return this.#motes.get(name)!.mote;
  }

  #plugIn(name: string, address: string): Lwm2mMote {
    const mote = new Lwm2mMote(this.#made.get(name)!);
    const peer = { address, port: 5_683 };
    const { engine } = this.bench;
    let timer: Timer | undefined;
    const loop: RunLoop = new RunLoop(mote, {
      clock: engine,
      send: ({ bytes, peer: to }) => {
        const copy = bytes.slice();
        if (to.address !== SERVER.address) this.elsewhere(copy, to);
        else this.#carry("mote", copy, () => this.bench.loop.datagram(copy, peer));
      },
      setTimer: (atUs) => {
        timer?.cancel();
        timer = atUs === undefined ? undefined : engine.at(atUs, () => loop.wake());
      },
    });
    this.#motes.set(name, { mote, loop, peer });
    loop.call((nowUs) => mote.start(nowUs));
    return mote;
  }

  /** Anybody else than the gateway sends to a mote. */
  toMote(name: string, bytes: Uint8Array, from: PeerAddress): void {
    this.#motes.get(name)!.loop.datagram(bytes, from);
  }

  /** A power cut of a mote. */
  rebootMote(name: string): void {
    const { mote, loop } = this.#motes.get(name)!;
    loop.call((nowUs) => mote.reboot(nowUs));
  }

  get target(): Component {
    return { object: [5, 0], digest: toHex(nobleCrypto.sha256(this.image)), size: this.image.length, version: "2.0.0" };
  }

  update(name: string, policy: Partial<UpdatePolicy> = {}, target: Partial<Component> = {}): UpdateJob {
    return this.updateAll(name, [{ ...this.target, ...target }], policy);
  }

  updateAll(name: string, components: readonly Component[], policy: Partial<UpdatePolicy> = {}): UpdateJob {
    let job: UpdateJob | string = "";
    this.bench.loop.call((nowUs) => {
      const { updates } = this.bench.gateway.devices;
      job = updates.start(nowUs, name, components, { ...DEFAULT_POLICY, ...policy }, () => {});
    });
    if (typeof job === "string") throw new Error(job);
    return job;
  }

  cancel(name: string): boolean {
    let done = false;
    this.bench.loop.call((nowUs) => (done = this.bench.gateway.devices.updates.cancel(nowUs, name)));
    return done;
  }

  job(name: string): UpdateJob {
    return this.bench.gateway.devices.updates.get(name)!;
  }

  /** Answers requests of the gateway in the motes' place: "drop" loses one, undefined lets it through. */
  answer(how: (path: string, request: CoapMessage) => Partial<CoapMessage> | "drop" | undefined): void {
    const { bench } = this;
    const through = bench.route!;
    bench.route = (transmit) => {
      const request = decoded(transmit.bytes);
      const isRequest = request.code >= 1 && request.code < 32;
      const answer = isRequest ? how(`/${(uriPath(request.options) ?? []).join("/")}`, request) : undefined;
      if (answer === undefined) return through(transmit);
      if (answer === "drop") return;
      const { messageId, token } = request;
      const ack = { type: MessageType.ACK, code: Code.CHANGED, messageId, token, options: [], payload: EMPTY_BYTES };
      const bytes = encodeMessage({ ...ack, ...answer });
      bench.engine.after(DELAY_US, () => bench.loop.datagram(bytes, transmit.peer));
    };
  }

  /** Runs until the update of each of these has ended, or for so long. */
  settle(names: readonly string[], seconds = 7_200): void {
    const { engine } = this.bench;
    const over = (): boolean => names.every((name) => this.job(name).endedMs !== undefined);
    engine.run(engine.nowUs() + seconds * 1e6, over);
  }

  timeline(name: string): string[] {
    return this.bench.gateway.devices.timelines.of(name).map((entry) => {
      const at = (entry.atMs / 1_000).toFixed(1);
      if (entry.kind === "event") return `${at} ${entry.event} ${entry.text}`;
      const { by, from, to, blocks, repeats, retransmissions } = entry;
      return `${at} ${by} ${from}-${to} ${blocks} blocks, ${repeats} repeats, ${retransmissions} retransmissions`;
    });
  }

  #find({ address }: PeerAddress): { readonly loop: RunLoop } | undefined {
    for (const one of this.#motes.values()) if (one.peer.address === address) return one;
    return undefined;
  }

  #carry(from: "gateway" | "mote", bytes: Uint8Array, deliver: () => void): void {
    const fate = this.fate({ from, bytes, index: this.#flights++ });
    if (fate === "late") this.bench.engine.after(this.delayUs * 20, deliver);
    else for (let i = 0; i < fate; i++) this.bench.engine.after(this.delayUs * (1 + i), deliver);
  }
}

import type { PeerAddress } from "../../src/ports/datagram.ts";
import { RunLoop, type Core } from "../../src/host/run-loop.ts";
import type { CommandExecutor } from "../../src/ports/commands.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import type { Engine } from "../engine/engine.ts";
import { MAC_MAX_PAYLOAD_BYTES, type CsmaMac } from "../mac/csma.ts";
import { Reassembler, toPackets } from "../network/sixlowpan.ts";

export const COAP_PORT = 5683;

/** The link-local address of a node's short MAC address. */
export const nodeAddress = (id: number): PeerAddress => ({
  address: `fe80::ff:fe00:${id.toString(16)}`,
  port: COAP_PORT,
});

const nodeOf = (peer: PeerAddress): number =>
  Number.parseInt(peer.address.slice(peer.address.lastIndexOf(":") + 1), 16);

/** A node's network stack, with a core on top that can be replaced when the node reboots. */
export class SimNode {
  readonly id: number;
  readonly mac: CsmaMac;
  readonly #engine: Engine;
  #reassembler: Reassembler;
  readonly #buffers: number;
  #loop: RunLoop | undefined;
  #timer: Timer | undefined;
  #tag = 0;
  /** UDP datagrams that came up to the core, and their bytes. */
  received = 0;
  onSettled: () => void = () => {};

  constructor(engine: Engine, mac: CsmaMac, reassemblyBuffers: number) {
    this.id = mac.id;
    this.mac = mac;
    this.#engine = engine;
    this.#buffers = reassemblyBuffers;
    this.#reassembler = new Reassembler(mac.id, reassemblyBuffers);
    mac.onPayload = (from, payload) => this.#onPacket(from, payload);
  }

  /** Puts a core in charge; the one before hears nothing any more. Returns the way to call into it. */
  run(core: Core, executor?: CommandExecutor): RunLoop {
    this.stop();
    const loop = new RunLoop(core, {
      clock: this.#engine,
      ...(executor === undefined ? {} : { executor }),
      send: ({ bytes, peer }) => this.#send(bytes, peer),
      setTimer: (atUs) => this.#setTimer(loop, atUs),
      onSettled: () => this.onSettled(),
    });
    this.#loop = loop;
    return loop;
  }

  /** Takes the core off; its timer and half-received datagrams are lost, as in a reboot. */
  stop(): void {
    this.#loop = undefined;
    this.#timer?.cancel();
    this.#reassembler = new Reassembler(this.id, this.#buffers);
  }

  #setTimer(loop: RunLoop, atUs: number | undefined): void {
    if (this.#loop !== loop) return;
    this.#timer?.cancel();
    this.#timer = atUs === undefined ? undefined : this.#engine.at(atUs, () => loop.wake());
  }

  #send(bytes: Uint8Array, peer: PeerAddress): void {
    this.#tag = (this.#tag + 1) & 0xffff;
    const to = nodeOf(peer);
    const datagram = { from: this.id, to, sourcePort: COAP_PORT, destinationPort: peer.port, payload: bytes };
    // A fragment that finds the queue full takes its whole datagram with it.
    for (const packet of toPackets(datagram, this.#tag, MAC_MAX_PAYLOAD_BYTES)) if (!this.mac.send(to, packet)) return;
  }

  #onPacket(from: number, packet: Uint8Array): void {
    const datagram = this.#reassembler.accept(this.#engine.nowUs(), from, packet);
    if (datagram === undefined || this.#loop === undefined) return;
    this.received++;
    this.#loop.datagram(datagram.payload, { ...nodeAddress(from), port: datagram.sourcePort });
  }
}

import type { PeerAddress } from "../../src/ports/datagram.ts";
import { RunLoop, type Core } from "../../src/host/run-loop.ts";
import type { CommandExecutor } from "../../src/ports/commands.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import type { Engine } from "../engine/engine.ts";
import { MAC_MAX_PAYLOAD_BYTES, type LinkLayer } from "../mac/link-layer.ts";
import { HOP_LIMIT, udpChecksum, type Datagram } from "../network/datagram.ts";
import { FragmentForwarder } from "../network/forwarding.ts";
import { Reassembler } from "../network/reassembler.ts";
import { RecoverableFragments } from "../network/recoverable.ts";
import type { Router } from "../network/router.ts";
import { readFragment, toPackets } from "../network/sixlowpan.ts";
import { nodeAddress, nodeOf, COAP_PORT } from "./address.ts";

/** How datagrams get across more than one frame and more than one hop. */
export interface NetworkParameters {
  readonly scope: "link" | "mesh";
  readonly fragments: "reassemble" | "forward" | "recoverable";
  readonly reassemblyBuffers: number;
  /** Of a data frame's payload that link security takes. */
  readonly securityBytes: number;
}

/** What joins border routers behind the mesh: takes datagrams for the gateway, and brings its own to where they belong. */
export interface Wire {
  /** True at a border router for what goes on from there by wire. */
  takes(at: number, to: number): boolean;
  /** True when the datagram went over the wire. */
  carry(at: number, datagram: Datagram): boolean;
}

/** Between fragments that are forwarded as they come: the one before has to be some hops on (RFC 8930 section 5). */
const FRAGMENT_GAP_US = 25_000;

export interface NodeCounters {
  /** Datagrams for which there was no way, or no hop left. */
  unroutable: number;
  forwarded: number;
  /** Came up with a wrong checksum. */
  corrupt: number;
  /** UDP payload sent from here. */
  datagramBytes: number;
}

/** A node's network stack, with a core on top that can be replaced when the node reboots. */
export class SimNode {
  readonly id: number;
  readonly mac: LinkLayer;
  readonly counters: NodeCounters = { unroutable: 0, forwarded: 0, corrupt: 0, datagramBytes: 0 };
  router: Router;
  wire: Wire | undefined;
  onSettled: () => void = () => {};
  /** Timers of this node run so much slower than true time. */
  clockRate = 1;
  readonly #engine: Engine;
  readonly #parameters: NetworkParameters;
  readonly #maxPayload: number;
  #reassembler: Reassembler;
  #forwarder: FragmentForwarder;
  #recoverable: RecoverableFragments;
  #loop: RunLoop | undefined;
  #timer: Timer | undefined;
  #tag = 0;

  constructor(engine: Engine, mac: LinkLayer, router: Router, parameters: NetworkParameters) {
    this.id = mac.id;
    this.mac = mac;
    this.router = router;
    this.#engine = engine;
    this.#parameters = parameters;
    this.#maxPayload = MAC_MAX_PAYLOAD_BYTES - parameters.securityBytes;
    this.#reassembler = new Reassembler(mac.id, parameters.reassemblyBuffers);
    this.#forwarder = this.#newForwarder();
    this.#recoverable = this.#newRecoverable();
    mac.onPayload = (from, payload) => this.#onPacket(from, payload);
  }

  get address(): PeerAddress {
    return nodeAddress(this.id, this.#parameters.scope);
  }

  get isRunning(): boolean {
    return this.#loop !== undefined;
  }

  /** Puts a core in charge; the one before hears nothing any more. Returns the way to call into it. */
  run(core: Core, executor?: CommandExecutor): RunLoop {
    this.stop();
    const loop = new RunLoop(core, {
      clock: this.#engine,
      ...(executor === undefined ? {} : { executor }),
      send: ({ bytes, peer }) => this.#sendUdp(bytes, peer),
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
    this.#reassembler = new Reassembler(this.id, this.#parameters.reassemblyBuffers);
    this.#forwarder = this.#newForwarder();
    this.#recoverable.stop();
    this.#recoverable = this.#newRecoverable();
  }

  /** Sends a datagram of this node's, or one that it forwards. */
  send(datagram: Datagram, from?: number): void {
    if (this.wire?.carry(this.id, datagram) === true) return;
    const nextHop = datagram.scope === "mesh" ? this.router.nextHop(datagram.to, from) : datagram.to;
    if (nextHop === undefined) {
      this.counters.unroutable++;
      return;
    }
    if (this.#parameters.fragments === "recoverable" && datagram.scope === "mesh") {
      if (this.#recoverable.send(datagram, nextHop, this.#maxPayload)) return;
    }
    const packets = toPackets(datagram, this.#newTag(), this.#maxPayload);
    if (this.#parameters.fragments === "forward") {
      for (const [i, packet] of packets.entries())
        this.#engine.after(i * FRAGMENT_GAP_US, () => void this.#transmit(nextHop, packet));
      return;
    }
    // A fragment that finds the queue full takes its whole datagram with it.
    for (const packet of packets) if (!this.#transmit(nextHop, packet)) return;
  }

  /** Takes a datagram that has arrived where it was going, by air or by wire. */
  deliver(datagram: Datagram): void {
    const { from, ports, payload, scope } = datagram;
    if (datagram.checksum !== undefined && udpChecksum(datagram) !== datagram.checksum) this.counters.corrupt++;
    else if (ports === undefined) this.router.onControl?.(from, datagram);
    else this.#loop?.datagram(payload, { ...nodeAddress(from, scope), port: ports.source });
  }

  #setTimer(loop: RunLoop, atUs: number | undefined): void {
    if (this.#loop !== loop) return;
    this.#timer?.cancel();
    if (atUs === undefined) return;
    const nowUs = this.#engine.nowUs();
    const inUs = Math.max(0, Math.ceil((atUs - nowUs) * this.clockRate));
    this.#timer = this.#engine.after(inUs, () => loop.wake());
  }

  #sendUdp(bytes: Uint8Array, peer: PeerAddress): void {
    this.counters.datagramBytes += bytes.length;
    const ports = { source: COAP_PORT, destination: peer.port };
    const { scope } = this.#parameters;
    this.send({ from: this.id, to: nodeOf(peer), scope, hopLimit: HOP_LIMIT, ports, payload: bytes });
  }

  #newTag(): number {
    this.#tag = (this.#tag + 1) & 0xffff;
    return this.#tag;
  }

  #transmit(nextHop: number, packet: Uint8Array): boolean {
    if (this.router.onSent === undefined) return this.mac.send(nextHop, packet);
    return this.mac.send(nextHop, packet, (acknowledged, transmissions) =>
      this.router.onSent!(nextHop, acknowledged, transmissions),
    );
  }

  #onPacket(from: number, packet: Uint8Array): void {
    const nowUs = this.#engine.nowUs();
    const { fragments } = this.#parameters;
    if (fragments === "recoverable" && this.#recoverable.accept(from, packet)) return;
    if (fragments === "forward" && readFragment(packet) !== undefined) {
      const route = (to: number): number | undefined => this.router.nextHop(to, from);
      const forwarded = this.#forwarder.accept(nowUs, from, packet, route, () => this.#newTag());
      if (forwarded === "dropped") this.counters.unroutable++;
      else if (forwarded !== "here") {
        this.counters.forwarded++;
        this.#transmit(forwarded.nextHop, forwarded.packet);
      }
      if (forwarded !== "here") return;
    }
    const datagram = this.#reassembler.accept(nowUs, from, packet);
    if (datagram !== undefined) this.#route(datagram, from);
  }

  /** Datagrams that are put together here: this node's own, and what goes on by wire. */
  #isHere(to: number): boolean {
    return to === this.id || this.wire?.takes(this.id, to) === true;
  }

  #newForwarder(): FragmentForwarder {
    return new FragmentForwarder(this.id, (to) => this.#isHere(to));
  }

  /** A datagram is whole here: for this node, or to be sent on. */
  #route(datagram: Datagram, from?: number): void {
    if (datagram.to === this.id || datagram.scope === "link") this.deliver(datagram);
    else if (datagram.hopLimit <= 1) this.counters.unroutable++;
    else {
      this.counters.forwarded++;
      this.send({ ...datagram, hopLimit: datagram.hopLimit - 1 }, from);
    }
  }

  #newRecoverable(): RecoverableFragments {
    return new RecoverableFragments({
      self: this.id,
      engine: this.#engine,
      maxBuffers: this.#parameters.reassemblyBuffers,
      transmit: (nextHop, packet) => this.#transmit(nextHop, packet),
      isHere: (to) => this.#isHere(to),
      route: (to) => this.router.nextHop(to),
      deliver: (datagram) => this.#route(datagram),
    });
  }
}

import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { EnergyLedger } from "../../../simulator/mote/energy.ts";
import { nodeAddress, nodeOf } from "../../../simulator/world/address.ts";
import { GATEWAY_ID, openAir, type Air } from "../../../simulator/world/air.ts";
import { Mesh } from "../../../simulator/world/mesh.ts";
import { RelayCore } from "../../../simulator/world/relay-core.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import { environmentError } from "../errors.ts";
import type { Simulation } from "./load.ts";

export interface LiveOptions {
  /** Of the first mote; the others' follow. */
  readonly firstPort: number;
  readonly gateway: PeerAddress;
  readonly seed: number;
  /** Until the process is told to stop, when absent. */
  readonly seconds: number | undefined;
}

/** What was carried, for the summary at the end. */
export interface LiveSummary {
  readonly seconds: number;
  readonly up: number;
  readonly down: number;
  readonly delivered: number;
  readonly frames: number;
  readonly lost: number;
  readonly collisions: number;
  readonly energyMj: Readonly<Record<string, number>>;
}

/** How far the virtual clock may be behind the real one. */
const TICK_MS = 2;

interface Ends {
  /** Where the client of a mote sends to, and where it was heard from last. */
  readonly client: Socket;
  from: { readonly port: number; readonly address: string } | undefined;
  /** The gateway sees each mote as an address of its own. */
  readonly upstream: Socket;
}

/**
 * The modelled mesh between real sockets, in real time: a client that sends to a mote's port is that mote, and what
 * gets through to the border router goes to the gateway; and back.
 */
export class LiveMesh {
  readonly #options: LiveOptions;
  readonly #air: Air;
  readonly #mesh: Mesh;
  readonly #ledgers: (EnergyLedger | undefined)[];
  readonly #ends: Ends[] = [];
  readonly #counts = { up: 0, down: 0, delivered: 0 };
  #startMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor({ scenario, profiles, files }: Simulation, options: LiveOptions) {
    const { run } = scenario.cases[0]!;
    this.#options = options;
    this.#air = openAir(run, options.seed, { files });
    const profile = profiles[run.profile]!;
    this.#ledgers = Array.from({ length: run.motes + 1 }, (_, id) =>
      id === GATEWAY_ID ? undefined : new EnergyLedger(profile, "sleep", 0),
    );
    this.#mesh = new Mesh(this.#air, (id) => this.#ledgers[id]);
    for (const [id, ledger] of this.#ledgers.entries()) if (this.#air.medium.isOn(id)) ledger?.setRadio(0, "listen");
  }

  get motes(): number {
    return this.#air.run.motes;
  }

  /** Opens all sockets; rejects with an environment error when a port is in use. */
  async open(): Promise<void> {
    const { scope } = this.#air;
    const root = new RelayCore((bytes, peer) => this.#toGateway(nodeOf(peer), bytes));
    const rootLoop = this.#mesh.nodes[GATEWAY_ID]!.run(root);
    this.#mesh.start();
    for (let id = 1; id <= this.motes; id++) {
      const node = this.#mesh.nodes[id]!;
      node.mac.turnOn();
      node.router.start?.();
      const core = new RelayCore((bytes) => this.#toClient(id, bytes));
      const loop = node.run(core);
      const client = await bound("127.0.0.1", this.#options.firstPort + id - 1);
      const upstream = await bound(isIPv6(this.#options.gateway.address) ? "::1" : "127.0.0.1", 0);
      const ends: Ends = { client, from: undefined, upstream };
      client.on("message", (bytes, from) => {
        ends.from = from;
        this.#counts.up++;
        this.#advance();
        loop.call(() => core.send(bytes, nodeAddress(GATEWAY_ID, scope)));
      });
      upstream.on("message", (bytes) => {
        this.#counts.down++;
        this.#advance();
        rootLoop.call(() => root.send(bytes, nodeAddress(id, scope)));
      });
      this.#ends[id] = ends;
    }
    this.#startMs = performance.now();
    this.#timer = setInterval(() => this.#advance(), TICK_MS);
  }

  close(): LiveSummary {
    clearInterval(this.#timer);
    this.#advance();
    for (const ends of this.#ends) {
      ends?.client.close();
      ends?.upstream.close();
    }
    const { engine, medium } = this.#air;
    const energyMj: Record<string, number> = {};
    for (const [id, ledger] of this.#ledgers.entries()) {
      if (ledger === undefined) continue;
      this.#mesh.nodes[id]!.mac.settle?.(engine.nowUs());
      ledger.setRadio(engine.nowUs(), ledger.radio);
      energyMj[id] = ledger.totalUj() / 1_000;
    }
    const { frames, acks, lost, collisions } = medium.counters;
    return { seconds: engine.nowUs() / 1e6, ...this.#counts, frames: frames + acks, lost, collisions, energyMj };
  }

  /** Brings the virtual clock up to the real one. */
  #advance(): void {
    this.#air.engine.run(Math.round((performance.now() - this.#startMs) * 1_000), () => false);
  }

  #toGateway(id: number, bytes: Uint8Array): void {
    const { address, port } = this.#options.gateway;
    this.#counts.delivered++;
    this.#ends[id]?.upstream.send(bytes.slice(), port, address);
  }

  #toClient(id: number, bytes: Uint8Array): void {
    const ends = this.#ends[id];
    if (ends?.from === undefined) return;
    this.#counts.delivered++;
    ends.client.send(bytes.slice(), ends.from.port, ends.from.address);
  }
}

async function bound(address: string, port: number): Promise<Socket> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  socket.bind(port, address);
  try {
    await once(socket, "listening");
  } catch (error) {
    throw environmentError("port-in-use", `${address}:${port}: ${(error as Error).message}; choose others with --port`);
  }
  return socket;
}

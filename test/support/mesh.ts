import type { PeerAddress } from "../../src/ports/datagram.ts";
import { Engine } from "../../simulator/engine/engine.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { CsmaMac } from "../../simulator/mac/csma.ts";
import { DEFAULT_CSMA } from "../../simulator/mac/link-layer.ts";
import { treeRouters } from "../../simulator/network/router.ts";
import type { Channel } from "../../simulator/radio/channel.ts";
import { Medium } from "../../simulator/radio/medium.ts";
import { nodeAddress } from "../../simulator/world/address.ts";
import { RelayCore } from "../../simulator/world/relay-core.ts";
import { SimNode, type NetworkParameters } from "../../simulator/world/node.ts";

/** A core that answers each datagram as a test says, and keeps what came. */
export class ScriptedCore extends RelayCore {
  readonly received: { readonly bytes: Uint8Array; readonly peer: PeerAddress; readonly atUs: number }[] = [];

  constructor(reply?: (bytes: Uint8Array) => Uint8Array | undefined) {
    super((bytes, peer, atUs) => {
      this.received.push({ bytes: bytes.slice(), peer, atUs });
      const answer = reply?.(bytes);
      if (answer !== undefined) this.send(answer, peer);
    });
  }
}

/** A line of nodes, 0 at one end, whose links are a test's. */
export class Line {
  readonly engine: Engine = new Engine();
  readonly medium: Medium;
  readonly nodes: SimNode[];

  constructor(channel: Channel, length: number, network: Partial<NetworkParameters> = {}, maxRetries = 3) {
    this.medium = new Medium(this.engine, channel);
    const random = new SeededRandom(1, "line");
    const routers = treeRouters(Int32Array.from({ length }, (_, id) => id - 1));
    const fixed = { scope: "mesh", fragments: "reassemble", reassemblyBuffers: 4, securityBytes: 0 } as const;
    const parameters = { ...fixed, ...network };
    const csma = { ...DEFAULT_CSMA, maxRetries, securityBytes: parameters.securityBytes };
    this.nodes = routers.map((router, id) => {
      const mac = new CsmaMac({
        id,
        engine: this.engine,
        medium: this.medium,
        random: random.fork(`${id}`),
        parameters: csma,
      });
      return new SimNode(this.engine, mac, router, parameters);
    });
  }

  address(id: number): PeerAddress {
    return nodeAddress(id, "mesh");
  }
}

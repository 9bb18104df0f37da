import { DEFAULT_PARAMETERS, type TransmissionParameters } from "../../src/coap/parameters.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { DEFAULT_CSMA, type CsmaParameters } from "../mac/link-layer.ts";
import { TschSchedule } from "../mac/tsch.ts";
import type { Datagram } from "../network/datagram.ts";
import { MIC32_BYTES, type Frame } from "../radio/frame.ts";
import { Medium } from "../radio/medium.ts";
import { PartitionedChannel } from "../radio/partition.ts";
import type { ScenarioFiles } from "../scenarios/files.ts";
import type { Case } from "../scenarios/case.ts";
import { AirLayers } from "./layers.ts";
import { buildTopology, type Topology } from "./topology.ts";

export const GATEWAY_ID = 0;

/** What a run is told besides its scenario. */
export interface RunOptions {
  readonly files: ScenarioFiles;
  /** Told of each frame as it goes on air. */
  readonly onFrame?: ((nowUs: number, frame: Frame) => void) | undefined;
}

/** What all that is in one scenario shares. */
export interface Air {
  readonly engine: Engine;
  readonly medium: Medium;
  readonly channel: PartitionedChannel;
  readonly random: SeededRandom;
  readonly run: Case;
  readonly topology: Topology;
  readonly layers: AirLayers;
  readonly csma: CsmaParameters;
  readonly tsch: TschSchedule;
  /** One hop everywhere: link-local addresses, no routing. */
  readonly isCell: boolean;
  readonly scope: Datagram["scope"];
}

export function openAir(run: Case, seed: number, { files, onFrame }: RunOptions): Air {
  const engine = new Engine();
  const random = new SeededRandom(seed, run.streams ?? run.name);
  const topology = buildTopology(run, random, files);
  const half = run.motes / 2;
  const channel = new PartitionedChannel(topology.channel, (id) => id > half && id <= run.motes);
  const medium = new Medium(engine, channel, run.receiver);
  const securityBytes = run.mac.security === "none" ? 0 : MIC32_BYTES;
  const layers = new AirLayers(securityBytes);
  medium.onSend = (nowUs, frame) => {
    layers.count(frame);
    onFrame?.(nowUs, frame);
  };
  const { maxRetries, queueFrames, slotframe, sharedSlots } = run.mac;
  const tsch = new TschSchedule(engine, { slotUs: 10_000, slotframe, sharedSlots });
  const csma = { ...DEFAULT_CSMA, maxRetries, queueFrames, securityBytes };
  const oneHop = run.topology.kind === "cell" && run.network.borderRouters === 1 && (run.network.routers ?? 0) === 0;
  const pathless = run.link.model === "edges" || run.link.model === "k7";
  const isCell = oneHop && !pathless;
  const scope = isCell ? "link" : "mesh";
  for (const { atS, forS } of run.faults.partitions) {
    engine.at(atS * 1e6, () => (channel.isCut = true));
    engine.at((atS + forS) * 1e6, () => (channel.isCut = false));
  }
  return { engine, random, run, topology, channel, medium, layers, tsch, csma, isCell, scope };
}

export function parametersOf({ coap }: Case): TransmissionParameters {
  return { ...DEFAULT_PARAMETERS, ackTimeoutUs: coap.ackTimeoutMs * 1_000, maxRetransmit: coap.maxRetransmit };
}

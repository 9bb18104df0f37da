import type { QueueMode } from "../mote/lwm2m/client-parts.ts";
import type { ReceiverModel } from "../radio/channel.ts";
import type { GilbertElliott } from "../radio/links.ts";
import type { PathLoss } from "../radio/path-loss.ts";

/** Which links there are, and what is lost on them. */
export type LinkSpec =
  | { readonly model: "iid"; readonly per: number }
  | { readonly model: "gilbert-elliott"; readonly gilbertElliott: GilbertElliott }
  | ({ readonly model: "path-loss" } & PathLoss)
  | { readonly model: "k7"; readonly file: string; readonly channel?: number | undefined }
  | { readonly model: "edges"; readonly file: string };

export type TopologySpec =
  | { readonly kind: "cell" }
  | { readonly kind: "line"; readonly spacingM: number }
  | { readonly kind: "grid"; readonly columns: number; readonly spacingM: number }
  | { readonly kind: "disc"; readonly radiusM: number };

export interface MacSpec {
  readonly kind: "csma" | "sleepy" | "csl" | "lpl" | "tsch";
  readonly maxRetries: number;
  readonly queueFrames: number;
  readonly security: "none" | "mic-32";
  readonly pollIdleS: number;
  readonly pollFastMs: number;
  readonly fastForMs: number;
  readonly frameWaitMs: number;
  readonly framesPerChild: number;
  readonly cslPeriodMs: number;
  readonly cslWindowMs: number;
  readonly lplIntervalMs: number;
  readonly lplPhaseLock: boolean;
  readonly slotframe: number;
  readonly sharedSlots: number;
}

export interface NetworkSpec {
  readonly fragments: "reassemble" | "forward" | "recoverable";
  readonly routing: "static" | "rpl";
  readonly borderRouters: number;
  readonly routers?: number | undefined;
  readonly reassemblyBuffers: number;
}

export interface FaultSpec {
  readonly gateway: readonly { readonly atS: number; readonly downS: number }[];
  readonly motes: readonly { readonly mote: number; readonly atS: number }[];
  readonly rebootShare: number;
  readonly rebootWithinS: number;
  readonly partitions: readonly { readonly atS: number; readonly forS: number }[];
  readonly flashWrite: number;
  readonly store: number;
  readonly upstream: number;
  readonly clockDriftPpm: number;
}

export interface Lwm2mSpec {
  readonly lifetimeS: number;
  readonly graceS: number;
  readonly queue?: QueueMode | undefined;
  readonly clients: readonly { readonly behaviour: string; readonly count: number }[];
}

export type Transport = "coap" | "ideal-arq" | "lwm2m";

/** One run of a scenario: every key has one value. schema.ts says what each is. */
export interface Case {
  readonly name: string;
  readonly description: string;
  readonly motes: number;
  readonly only?: number | undefined;
  readonly transport: Transport;
  readonly link: LinkSpec;
  readonly topology: TopologySpec;
  readonly receiver: ReceiverModel;
  readonly mac: MacSpec;
  readonly network: NetworkSpec;
  readonly imageBytes: number;
  readonly changedBytes?: number | undefined;
  readonly blockBytes: number;
  readonly adaptive: boolean;
  readonly profile: string;
  readonly streams?: string | undefined;
  readonly spareSlot: "erased" | "used";
  readonly rtc: boolean;
  readonly useBeforeS?: number | undefined;
  readonly battery: string;
  readonly coap: { readonly ackTimeoutMs: number; readonly maxRetransmit: number };
  readonly lwm2m: Lwm2mSpec;
  readonly faults: FaultSpec;
  readonly startWithinS: number;
  readonly maxHours: number;
}

/** What nobody can do without sending: all of an image, or of one that comes as a patch what is new in it. */
export const newBytesOf = ({ imageBytes, changedBytes }: Case): number => changedBytes ?? imageBytes;

import type { Component, Method, UpdatePolicy } from "../lwm2m/update/job.ts";

/** A device as a filter sees it. */
export interface FleetDevice {
  readonly endpoint: string;
  /** Name of its class, where one is defined. */
  readonly class?: string | undefined;
  readonly version?: string | undefined;
  readonly tags: readonly string[];
  /** Percent; null for one that has no battery level to tell. */
  readonly battery?: number | null | undefined;
  readonly batteryAtMs?: number | undefined;
  /** Radio signal strength in dBm (object 4, resource 2). */
  readonly linkQuality?: number | undefined;
  /** Share of our messages to it that were sent again. */
  readonly loss?: number | undefined;
  readonly hops?: number | undefined;
  readonly lastSeenMs?: number | undefined;
  readonly gateway: string;
  readonly registered: boolean;
  /** In quarantine, or decommissioned: it may not have this. */
  readonly held?: boolean | undefined;
  readonly queueMode?: boolean | undefined;
  readonly lifetimeS?: number | undefined;
  /** Between two wakes of one in Queue Mode: learnt, or what its lifetime has it keep. */
  readonly wakeIntervalS?: number | undefined;
}

/** What became of the update of a device that a rollout asked for. */
export interface Verdict {
  readonly endpoint: string;
  /** Whose it is: `Order.origin`. */
  readonly origin: string;
  readonly state: "under-way" | "held" | "applying" | "succeeded" | "failed" | "cancelled";
  readonly reason?: string | undefined;
  readonly detail?: string | undefined;
  readonly startedMs: number;
  /** One that is held may apply what it has until then. */
  readonly releasedUntilMs?: number | undefined;
}

export interface Order {
  readonly endpoint: string;
  /** Rollout, and which attempt: the same for the same command, whenever it is given. */
  readonly origin: string;
  readonly components: readonly Component[];
  readonly policy: UpdatePolicy;
}

/** What a device may not be given, and why. */
export interface GiveRefusal {
  readonly reason: string;
  readonly detail: string;
}

/** What rollouts need of the gateway. */
export interface Fleet {
  devices(): Iterable<FleetDevice>;
  device(endpoint: string): FleetDevice | undefined;
  /** Why a device may not have these images, be it free or not: nothing that is over in a moment. */
  refusalToGive(
    unixMs: number,
    endpoint: string,
    components: readonly Pick<Component, "digest">[],
    methods: readonly Method[],
  ): GiveRefusal | undefined;
  /** Has the device updated; a text says why not now. */
  start(nowUs: number, order: Order): string | undefined;
  cancel(nowUs: number, endpoint: string): void;
  /** Lets it apply what it has downloaded, until then; 0 takes that back. */
  release(nowUs: number, endpoint: string, untilMs: number): void;
  /** Of its newest update, whoever asked for it. */
  verdict(endpoint: string): Verdict | undefined;
  /** An update is under way. */
  isBusy(endpoint: string): boolean;
  /** Asks it how its battery is. */
  refresh(nowUs: number, endpoint: string): void;
}

import { z } from "zod";
import { BEHAVIOURS } from "../mote/lwm2m/behaviour.ts";
import type { GilbertElliott } from "../radio/links.ts";

/** A value, or several that the scenario is run with one after another. */
const sweep = <T extends z.ZodType>(value: T): z.ZodArray<T> =>
  z.preprocess(
    (given) => (Array.isArray(given) ? given : [given]),
    z.array(value).min(1).max(32),
  ) as unknown as z.ZodArray<T>;

const gilbertElliott = z.strictObject({
  perGood: z.number().min(0).max(0.95),
  perBad: z.number().min(0).max(0.99),
  meanBadFrames: z.number().min(1),
  fractionBad: z.number().min(0.001).max(0.95),
});

const ScenarioSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]+$/),
  description: z.string().default(""),
  motes: z.int().min(1).max(200),
  /** `coap` runs the gateway and the motes, `lwm2m` has the gateway update them; `ideal-arq` sends bare frames with free feedback. */
  transport: sweep(z.enum(["coap", "ideal-arq", "lwm2m"])).default(["coap"]),
  link: z.union([
    z.strictObject({ model: z.literal("iid"), per: sweep(z.number().min(0).max(0.9)) }),
    z.strictObject({ model: z.literal("gilbert-elliott"), gilbertElliott }),
  ]),
  imageBytes: sweep(z.int().min(64).max(1_048_576)),
  blockBytes: sweep(z.union([16, 32, 64, 128, 256, 512, 1024].map((size) => z.literal(size)))).default([64]),
  profile: z.string().default("nrf52840"),
  mac: z.strictObject({ maxRetries: z.int().min(0).max(7).default(3) }).prefault({}),
  coap: z
    .strictObject({ ackTimeoutMs: z.number().min(10).default(2_000), maxRetransmit: z.int().min(0).max(8).default(4) })
    .prefault({}),
  /** Of transport `lwm2m`: how the clients are. */
  lwm2m: z
    .strictObject({
      lifetimeS: z.int().min(1).default(86_400),
      graceS: z.int().min(0).default(120),
      /** Queue Mode: asleep between; always on when absent. */
      queue: z.strictObject({ wakeIntervalS: z.number().positive(), awakeS: z.number().positive() }).optional(),
      /** Behaviours of the first of them; the others are good. */
      clients: z
        .array(z.strictObject({ behaviour: z.enum(Object.keys(BEHAVIOURS) as [string]), count: z.int().min(1) }))
        .default([]),
    })
    .prefault({}),
  reassemblyBuffers: z.int().min(1).max(16).default(2),
  faults: z
    .strictObject({
      /** The gateway is killed and started again, with what its disk held. */
      gateway: z.array(z.strictObject({ atS: z.number().positive(), downS: z.number().positive() })).default([]),
      /** Motes reboot in mid-transfer, with what their flash held. */
      motes: z.array(z.strictObject({ mote: z.int().min(1), atS: z.number().positive() })).default([]),
    })
    .prefault({}),
  maxHours: z.number().positive().max(1_000).default(24),
});

export type Transport = "coap" | "ideal-arq" | "lwm2m";

export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly motes: number;
  readonly transport: readonly Transport[];
  readonly link:
    | { readonly model: "iid"; readonly per: readonly number[] }
    | { readonly model: "gilbert-elliott"; readonly gilbertElliott: GilbertElliott };
  readonly imageBytes: readonly number[];
  readonly blockBytes: readonly number[];
  readonly profile: string;
  readonly mac: { readonly maxRetries: number };
  readonly coap: { readonly ackTimeoutMs: number; readonly maxRetransmit: number };
  readonly lwm2m: {
    readonly lifetimeS: number;
    readonly graceS: number;
    readonly queue?: { readonly wakeIntervalS: number; readonly awakeS: number } | undefined;
    readonly clients: readonly { readonly behaviour: string; readonly count: number }[];
  };
  readonly reassemblyBuffers: number;
  readonly faults: {
    readonly gateway: readonly { readonly atS: number; readonly downS: number }[];
    readonly motes: readonly { readonly mote: number; readonly atS: number }[];
  };
  readonly maxHours: number;
}

/** One run of a scenario: every swept key has one value. */
export interface Case extends Omit<Scenario, "transport" | "link" | "imageBytes" | "blockBytes"> {
  readonly transport: Transport;
  readonly link:
    | { readonly model: "iid"; readonly per: number }
    | { readonly model: "gilbert-elliott"; readonly gilbertElliott: GilbertElliott };
  readonly imageBytes: number;
  readonly blockBytes: number;
}

/** Checks a scenario read from YAML; throws a ZodError that names the key. */
export function parseScenario(value: unknown): Scenario {
  return ScenarioSchema.parse(value);
}

/** The cases of a scenario, in the order in which its lists are written. */
export function expand(scenario: Scenario): Case[] {
  const links: Case["link"][] =
    scenario.link.model === "iid" ? scenario.link.per.map((per) => ({ model: "iid", per })) : [scenario.link];
  const cases: Case[] = [];
  for (const transport of scenario.transport) {
    for (const link of links) {
      for (const imageBytes of scenario.imageBytes) {
        for (const blockBytes of scenario.blockBytes)
          cases.push({ ...scenario, transport, link, imageBytes, blockBytes });
      }
    }
  }
  return cases;
}

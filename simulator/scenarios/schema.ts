import { z } from "zod";
import { DEFAULT_RECEIVER } from "../radio/channel.ts";
import type { Case } from "./case.ts";
import { BEHAVIOURS } from "../mote/lwm2m/behaviour.ts";

const ratio = z.number().min(0).max(1);
const seconds = z.number().positive();

const gilbertElliott = z.strictObject({
  perGood: z.number().min(0).max(0.95),
  perBad: z.number().min(0).max(0.99),
  meanBadFrames: z.number().min(1),
  fractionBad: z.number().min(0.001).max(0.95),
});

const link = z.discriminatedUnion("model", [
  /** Independent loss; `per` is that of the longest frame. */
  z.strictObject({ model: z.literal("iid"), per: z.number().min(0).max(0.9) }),
  z.strictObject({ model: z.literal("gilbert-elliott"), gilbertElliott }),
  /** Powers from distances, losses from SINR. */
  z.strictObject({
    model: z.literal("path-loss"),
    exponent: z.number().min(1).max(8).default(3),
    referenceDb: z.number().min(0).max(100).default(46.67),
    sigmaDb: z.number().min(0).max(20).default(0),
    nodeSigmaDb: z.number().min(0).max(10).default(0),
    fadingSigmaDb: z.number().min(0).max(20).default(0),
    fadingS: seconds.default(150),
    txDbm: z.number().min(-30).max(20).default(0),
    cutDbm: z.number().min(-130).max(-80).default(-112),
    bursts: gilbertElliott.optional(),
  }),
  /** Replays a k7 trace; `channel` absent hops over all of the trace's. */
  z.strictObject({ model: z.literal("k7"), file: z.string(), channel: z.int().min(11).max(26).optional() }),
  /** Links one by one: a CSV file of from, to, per. */
  z.strictObject({ model: z.literal("edges"), file: z.string() }),
]);

const topology = z.discriminatedUnion("kind", [
  /** Everybody hears everybody. */
  z.strictObject({ kind: z.literal("cell") }),
  z.strictObject({ kind: z.literal("line"), spacingM: seconds.default(40) }),
  z.strictObject({ kind: z.literal("grid"), columns: z.int().min(1).max(100), spacingM: seconds.default(40) }),
  z.strictObject({ kind: z.literal("disc"), radiusM: seconds }),
]);

const mac = z
  .strictObject({
    /** `sleepy`, `csl`: motes that are no routers sleep, and their parent holds what is for them. */
    kind: z.enum(["csma", "sleepy", "csl", "lpl", "tsch"]).default("csma"),
    maxRetries: z.int().min(0).max(7).default(3),
    queueFrames: z.int().min(1).max(256).default(16),
    security: z.enum(["none", "mic-32"]).default("none"),
    pollIdleS: seconds.default(236),
    pollFastMs: seconds.default(250),
    /** Polls fast for so long after a frame either way, each time later. */
    fastForMs: seconds.default(3_000),
    /** Receiver on for a frame that the parent holds: macMaxFrameTotalWaitTime, 1,220 symbols. */
    frameWaitMs: seconds.default(19.52),
    framesPerChild: z.int().min(1).max(4).default(4),
    cslPeriodMs: seconds.default(500),
    cslWindowMs: seconds.default(1),
    lplIntervalMs: seconds.default(125),
    /** Senders learn when their neighbours look, and strobe only then (ContikiMAC). */
    lplPhaseLock: z.boolean().default(false),
    slotframe: z.int().min(1).max(1_000).default(101),
    sharedSlots: z.int().min(1).max(100).default(1),
  })
  .prefault({});

const network = z
  .strictObject({
    /** Each router puts datagrams together, or sends fragments on as they come (RFC 8930), or so that they can be asked for again (RFC 8931). */
    fragments: z.enum(["reassemble", "forward", "recoverable"]).default("reassemble"),
    /** `static`: the tree of least expected transmissions, known beforehand; `rpl` finds and repairs it. */
    routing: z.enum(["static", "rpl"]).default("static"),
    borderRouters: z.int().min(1).max(8).default(1),
    /** Motes 1 to n route, the others are leaves; all of them when absent. */
    routers: z.int().min(0).optional(),
    reassemblyBuffers: z.int().min(1).max(16).default(2),
  })
  .prefault({});

const faults = z
  .strictObject({
    /** The gateway is killed and started again, with what its disk held. */
    gateway: z.array(z.strictObject({ atS: seconds, downS: seconds })).default([]),
    /** Motes reboot in mid-transfer, with what their flash held. */
    motes: z.array(z.strictObject({ mote: z.int().min(1), atS: seconds })).default([]),
    /** This share of the motes, drawn from the seed, reboots once within `rebootWithinS`. */
    rebootShare: ratio.default(0),
    rebootWithinS: seconds.default(600),
    /** Nothing passes between the motes of the upper half of the numbers, and all others. */
    partitions: z.array(z.strictObject({ atS: seconds, forS: seconds })).default([]),
    /** Share of flash programs that fail. */
    flashWrite: ratio.default(0),
    /** Share of the gateway's writes to its store that fail. */
    store: ratio.default(0),
    /** Share of fetches from upstream that fail. */
    upstream: ratio.default(0),
    /** Each mote's clock is off by up to this much, either way. */
    clockDriftPpm: z.number().min(0).max(10_000).default(0),
  })
  .prefault({});

const lwm2m = z
  .strictObject({
    lifetimeS: z.int().min(1).default(86_400),
    graceS: z.int().min(0).default(120),
    /** Queue Mode: asleep between; always on when absent. `fixed`: what is said to it does not keep it awake. */
    queue: z.strictObject({ wakeIntervalS: seconds, awakeS: seconds, fixed: z.boolean().optional() }).optional(),
    /** Behaviours of the first of them; the others are good. */
    clients: z
      .array(z.strictObject({ behaviour: z.enum(Object.keys(BEHAVIOURS) as [string]), count: z.int().min(1) }))
      .default([]),
  })
  .prefault({});

const receiver = z
  .strictObject({
    noiseDbm: z.number().min(-120).max(-70).default(DEFAULT_RECEIVER.noiseDbm),
    sensitivityDbm: z.number().min(-120).max(-70).default(DEFAULT_RECEIVER.sensitivityDbm),
    ccaDbm: z.number().min(-120).max(-40).default(DEFAULT_RECEIVER.ccaDbm),
    captureDb: z.number().min(0).max(30).default(DEFAULT_RECEIVER.captureDb),
  })
  .prefault({});

const CaseShape = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]+$/),
  description: z.string().default(""),
  /** Another scenario's name: a copy of it has the same placement, shadowing and losses with the same seed. Its own when absent. */
  streams: z
    .string()
    .regex(/^[a-z0-9-]+$/)
    .optional(),
  /** Border routers not counted. */
  motes: z.int().min(1).max(5_000),
  /** Only this mote updates; the others are there to forward, and always on. */
  only: z.int().min(1).optional(),
  /** `coap` runs the gateway and the motes, `lwm2m` has the gateway update them; `ideal-arq` sends bare frames with free feedback. */
  transport: z.enum(["coap", "ideal-arq", "lwm2m"]).default("coap"),
  link,
  topology: topology.prefault({ kind: "cell" }),
  receiver,
  mac,
  network,
  imageBytes: z.int().min(64).max(1_048_576),
  /** Of these so many are new, in one piece; the rest motes have, and the update comes as a patch too. All are when absent. */
  changedBytes: z.int().min(1).optional(),
  blockBytes: z.union([16, 32, 64, 128, 256, 512, 1024].map((size) => z.literal(size))).default(64),
  /** Block size and timers are chosen from what is measured on the way. */
  adaptive: z.boolean().default(false),
  profile: z.string().default("nrf52840"),
  /** What is in the slot that an update writes: nothing, or an earlier image, whose sectors have to be erased. */
  spareSlot: z.enum(["erased", "used"]).default("used"),
  /** Motes have a clock that runs through resets; without one they refuse what expires. */
  rtc: z.boolean().default(false),
  /** The manifest is not to be used later than this. */
  useBeforeS: z.int().min(1).optional(),
  /** What a mote is powered from; see the profiles of batteries. */
  battery: z.string().default("aa2"),
  coap: z
    .strictObject({ ackTimeoutMs: z.number().min(10).default(2_000), maxRetransmit: z.int().min(0).max(8).default(4) })
    .prefault({}),
  lwm2m,
  faults,
  /** Motes begin within so many seconds of each other. */
  startWithinS: seconds.default(1),
  maxHours: z.number().positive().max(10_000).default(24),
});

const isSleepy = (kind: string): boolean => kind === "sleepy" || kind === "csl";

/** What does not go together, and the key that says so. */
const CLASHES: readonly (readonly [path: string, clash: (run: z.infer<typeof CaseShape>) => string | undefined])[] = [
  [
    "changedBytes",
    ({ changedBytes = 0, imageBytes, transport }) =>
      changedBytes > imageBytes
        ? `${changedBytes} of ${imageBytes}`
        : changedBytes > 0 && transport === "lwm2m"
          ? "LwM2M clients are given whole images"
          : undefined,
  ],
  ["only", ({ only = 1, motes }) => (only > motes ? `mote ${only} of ${motes}` : undefined)],
  [
    "faults.motes",
    ({ faults: { motes: planned }, motes }) => {
      const odd = planned.find(({ mote }) => mote > motes);
      return odd && `mote ${odd.mote} of ${motes}`;
    },
  ],
  [
    "mac.sharedSlots",
    ({ mac: { sharedSlots, slotframe } }) =>
      sharedSlots > slotframe ? `${sharedSlots} slots of a slotframe of ${slotframe}` : undefined,
  ],
  [
    "mac.cslWindowMs",
    ({ mac: { cslWindowMs, cslPeriodMs } }) =>
      cslWindowMs > cslPeriodMs ? `longer than the period of ${cslPeriodMs} ms` : undefined,
  ],
  [
    "network.routing",
    ({ mac: { kind }, network: { routing } }) =>
      routing === "rpl" && isSleepy(kind)
        ? `rpl has no children that sleep: take static, or another mac.kind than ${kind}`
        : undefined,
  ],
];

const CaseSchema = CaseShape.superRefine((run, context) => {
  for (const [path, clash] of CLASHES) {
    const message = clash(run);
    if (message !== undefined) context.addIssue({ code: "custom", path: path.split("."), message });
  }
});

/** Checks one case, and fills in what is left out; throws a ZodError that names the key. */
export function parseCase(value: unknown): Case {
  return CaseSchema.parse(value);
}

/** Keys whose value is a list by nature; a list anywhere else is swept. */
export const LIST_KEYS: ReadonlySet<string> = new Set([
  "faults.gateway",
  "faults.motes",
  "faults.partitions",
  "lwm2m.clients",
]);

import type { DeviceQueues, OperationOutcome } from "./device-queue.ts";
import {
  ADVANCED_FIRMWARE_OBJECT,
  DELIVERIES,
  Firmware,
  FIRMWARE_OBJECT,
  hasObject,
  learnFacts,
  STATE_NAMES,
  waysIn,
  type FirmwareFacts,
} from "./firmware.ts";
import { writeOf, type Operation } from "./operation.ts";
import { outcomeText, type OperationResult } from "./operation-result.ts";
import { pathText, type Path } from "./path.ts";
import { chooseQuirks, scoreOf, type Quirks } from "./quirks.ts";
import type { Reading } from "./reading.ts";
import type { Registration } from "./registration.ts";
import { toText } from "./values.ts";

/** One thing that was tried, and what came of it. */
export interface ProbeStep {
  readonly tried: string;
  readonly answer: string;
  readonly works: boolean;
}

export interface ProbeReport {
  readonly endpoint: string;
  readonly version: string;
  readonly queueMode: boolean;
  readonly objects: readonly string[];
  readonly steps: readonly ProbeStep[];
  readonly device: Readonly<Record<string, string>>;
  readonly firmware: {
    readonly state?: string;
    readonly result?: number;
    readonly delivery?: string;
    readonly protocols?: readonly number[];
  };
  /** The profile that fits best, and what speaks for each. */
  readonly profile: string;
  readonly scores: Readonly<Record<string, number>>;
  /** What an update of this client would try first, or why none can be. */
  readonly verdict: string;
}

interface Step {
  readonly tried: string;
  readonly operation: Operation;
  /** Left out unless the one before worked. */
  readonly after?: boolean;
}

interface ProbeParts {
  readonly queues: DeviceQueues;
  readonly registration: (endpoint: string) => Registration | undefined;
  readonly profiles: readonly Quirks[];
}

interface Probe {
  readonly endpoint: string;
  readonly left: Step[];
  readonly steps: ProbeStep[];
  readonly readings: Reading[];
  pending: number | undefined;
  readonly tell: (report: ProbeReport | undefined) => void;
}

const MAX_PROBES = 64;
/** How long a question waits for a client to wake. */
const LEAST_PATIENCE_US = 600_000_000;
/** Ends of a question after which the client is not there to be asked on. */
const GONE: ReadonlySet<string> = new Set(["deadline", "expired", "deregistered"]);
/** Before whatever else waits for the client. */
const PRIORITY = 3;
const STATE: Path = [FIRMWARE_OBJECT, 0, Firmware.STATE];

/** What a client can do, found out by asking: nothing is written to it but an empty URI, and that only at Idle. */
export class Probes {
  readonly #parts: ProbeParts;
  readonly #probes = new Map<string, Probe>();

  constructor(parts: ProbeParts) {
    this.#parts = parts;
  }

  /** Begins; `tell` gets the report, or undefined when the client has gone. False when there is none, or it is probed already. */
  start(nowUs: number, endpoint: string, tell: Probe["tell"]): boolean {
    const registration = this.#parts.registration(endpoint);
    if (registration === undefined || this.#probes.has(endpoint) || this.#probes.size >= MAX_PROBES) return false;
    const probe: Probe = { endpoint, left: stepsFor(registration), steps: [], readings: [], pending: undefined, tell };
    this.#probes.set(endpoint, probe);
    this.#next(nowUs, probe);
    return true;
  }

  handleOutcome(nowUs: number, { endpoint, id, result }: OperationOutcome): void {
    const probe = this.#probes.get(endpoint);
    if (probe === undefined || probe.pending !== id) return;
    if (result.kind === "failed" && GONE.has(result.reason)) return this.#end(probe);
    const { tried, operation } = probe.left.shift()!;
    probe.steps.push({ tried, answer: answerText(result), works: result.kind === "done" });
    if (result.kind === "done") probe.readings.push(...(result.readings ?? []));
    if (operation === RESET_CHECK && stateOf(probe.readings) === 0) probe.left.push(...RESET_STEPS);
    this.#next(nowUs, probe);
  }

  #next(nowUs: number, probe: Probe): void {
    while (probe.left[0]?.after === true && probe.steps.at(-1)?.works !== true) probe.left.shift();
    const step = probe.left[0];
    if (step === undefined) return this.#end(probe);
    const registration = this.#parts.registration(probe.endpoint);
    const intervalUs =
      (registration && this.#parts.queues.wakefulness(probe.endpoint)?.intervalUs(registration, 0)) ?? 0;
    const deadlineUs = nowUs + Math.max(LEAST_PATIENCE_US, 2 * intervalUs);
    const how = { owner: "probe", priority: PRIORITY, deadlineUs } as const;
    probe.pending = this.#parts.queues.submit(nowUs, probe.endpoint, step.operation, how);
    if (probe.pending === undefined) this.#end(probe);
  }

  #end(probe: Probe): void {
    this.#probes.delete(probe.endpoint);
    const registration = this.#parts.registration(probe.endpoint);
    probe.tell(registration && reportOf(probe, registration, this.#parts.profiles));
  }
}

const COMPOSITE: Step = {
  tried: "read-composite /3/0/3, /5/0/3",
  operation: { kind: "read-composite", path: [], paths: [[3, 0, 3], STATE] },
};
const RESET_CHECK: Operation = { kind: "read", path: STATE };
const URI: Path = [FIRMWARE_OBJECT, 0, Firmware.PACKAGE_URI];
const RESET_STEPS: readonly Step[] = [
  {
    tried: "reset by an empty Package URI at Idle",
    operation: writeOf(URI, ""),
  },
];

function stepsFor({ version }: Registration): Step[] {
  const read = (text: string, path: Path): Step => ({
    tried: `read ${text} ${pathText(path)}`,
    operation: { kind: "read", path },
  });
  return [
    read("the device", [3, 0]),
    read("the firmware version", [3, 0, 3]),
    { tried: "discover /5", operation: { kind: "discover", path: [FIRMWARE_OBJECT] } },
    // Wakaama 1.0 writes behind its heap when it is asked for the object as a whole.
    ...(version === "1.0" ? [] : [read("the firmware object", [FIRMWARE_OBJECT, 0])]),
    read("Result", [FIRMWARE_OBJECT, 0, Firmware.RESULT]),
    read("Delivery Method", [FIRMWARE_OBJECT, 0, Firmware.DELIVERY]),
    { tried: "observe State", operation: { kind: "observe", path: STATE, paths: [STATE] } },
    {
      tried: "end that observation",
      operation: { kind: "cancel-observation", path: STATE, paths: [STATE] },
      after: true,
    },
    // Operations of 1.1: some clients leave them without an answer.
    ...(version === "1.0" ? [] : [COMPOSITE]),
    { tried: "read State /5/0/3", operation: RESET_CHECK },
  ];
}

const stateOf = (readings: readonly Reading[]): number | undefined => factsOf(readings).state;

function factsOf(readings: readonly Reading[]): FirmwareFacts {
  const facts: FirmwareFacts = {};
  learnFacts(facts, [FIRMWARE_OBJECT, 0], readings);
  return facts;
}

const DEVICE_NAMES: Readonly<Record<string, string>> = {
  "/3/0/0": "manufacturer",
  "/3/0/1": "model",
  "/3/0/2": "serial",
  "/3/0/3": "firmwareVersion",
  "/3/0/9": "batteryPercent",
  "/3/0/18": "hardwareVersion",
  "/3/0/19": "softwareVersion",
};

function reportOf(
  { endpoint, steps, readings }: Probe,
  registration: Registration,
  profiles: readonly Quirks[],
): ProbeReport {
  const facts = factsOf(readings);
  const evidence = { registration, readings, restState: facts.state };
  const profile = chooseQuirks(profiles, evidence);
  const device: Record<string, string> = {};
  for (const { path, value } of readings) {
    const name = DEVICE_NAMES[pathText(path)];
    if (name !== undefined) device[name] = toText(value);
  }
  const state = facts.state === undefined ? undefined : STATE_NAMES[profile.states.indexOf(facts.state)];
  return {
    endpoint,
    version: registration.version,
    queueMode: registration.queueMode,
    objects: registration.objects.map(
      ({ path, version }) => `${pathText(path)}${version === undefined ? "" : ` ${version}`}`,
    ),
    steps,
    device,
    firmware: {
      ...(facts.state === undefined ? {} : { state: `${facts.state}${state === undefined ? "" : ` (${state})`}` }),
      ...(facts.result === undefined ? {} : { result: facts.result }),
      ...(facts.delivery === undefined ? {} : { delivery: DELIVERIES[facts.delivery] ?? String(facts.delivery) }),
      ...(facts.protocols === undefined ? {} : { protocols: facts.protocols }),
    },
    profile: profile.name,
    scores: Object.fromEntries(profiles.map((one) => [one.name, scoreOf(one, evidence)])),
    verdict: verdictOf(registration, facts, profile),
  };
}

function verdictOf(registration: Registration, facts: FirmwareFacts, profile: Quirks): string {
  if (![FIRMWARE_OBJECT, ADVANCED_FIRMWARE_OBJECT].some((object) => hasObject(registration, [object])))
    return "it has no firmware object: only a SUIT trigger could update it";
  const { pull, push } = waysIn(facts, profile.delivery);
  if (!pull) return "push, block by block, to /5/0/0";
  return !push
    ? "pull, by a Package URI of this gateway"
    : "pull by a Package URI of this gateway; push where that fails";
}

function answerText(result: OperationResult): string {
  if (result.kind !== "done") return outcomeText(result);
  const values = (result.readings ?? []).slice(0, 6).map(({ path, value }) => `${pathText(path)}=${shown(value)}`);
  const links = (result.links ?? []).map(({ target }) => target);
  return [result.code, ...values, ...links.slice(0, 12)].join(" ");
}

const shown = (value: Reading["value"]): string =>
  value instanceof Uint8Array ? `${value.length} bytes` : toText(value);

import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { VersionComparison, WaitEvent } from "./keys.ts";
import { beforeWhich } from "./delta.ts";
import { componentName, type ComponentId, type Manifest } from "./manifest.ts";
import type { OpenEnvelope } from "./opened.ts";
import { bytesBehind } from "./payloads.ts";
import { componentsChangedBy, planLater, planProcedure, type PlannedWay } from "./plan.ts";
import type { Action, Question } from "./processor/effects.ts";
import type { OpenManifest, ProcessorOptions } from "./processor/state.ts";
import { isoTime } from "../util/iso-time.ts";
import { labelOf, oneLine, readText, versionText } from "./text.ts";
import { decodeTransfer, isTrustComponent, type AuthorityTransfer } from "./trust.ts";

type Step = Question | Action;

export interface WayText {
  readonly when: readonly string[];
  readonly steps: readonly string[];
  readonly fails?: string;
}

/** What a manifest will do, for people and programs. */
export interface Inspection {
  readonly sequenceNumber: number;
  readonly version: string | undefined;
  readonly description: string | undefined;
  readonly manifestDigest: string;
  readonly envelopeBytes: number;
  readonly signers: readonly KeyText[];
  /** Manifests of others in the envelope that it processes, each with its own signers. */
  readonly dependencies: readonly {
    readonly manifestDigest: string;
    readonly sequenceNumber: number;
    readonly version: string | undefined;
    readonly signers: readonly KeyText[];
  }[];
  /** Who may sign from then on, where it hands devices over. */
  readonly handOver: { readonly epoch: number; readonly authorities: readonly KeyText[] } | undefined;
  readonly vendors: readonly string[];
  readonly classes: readonly string[];
  /** The same by component, which may be of classes of their own. */
  readonly classesOf: readonly { readonly component: string; readonly classes: readonly string[] }[];
  readonly devices: readonly string[];
  /** What it replaces, and what its dependencies do. */
  readonly components: readonly {
    readonly name: string;
    readonly version: string | undefined;
    readonly description: string | undefined;
  }[];
  /** Ways through the update, one for each kind of device that it tells apart. */
  readonly ways: readonly WayText[];
  /** The same of what is done each time that the device starts, and when the software is removed; mostly nothing. */
  readonly starts: readonly WayText[];
  readonly removal: readonly WayText[];
  /** What would make it stop before anything is changed. */
  readonly stopsWhen: readonly string[];
  readonly missing: readonly string[];
}

interface KeyText {
  readonly algorithm: string;
  readonly fingerprint: string;
}

/** First 8 bytes of a key's SHA-256: short enough to be compared by eye. */
export function fingerprint(crypto: Pick<Crypto, "sha256">, key: Verifier): string {
  return toHex(crypto.sha256(key.bytes).subarray(0, 8));
}

export function inspectEnvelope(
  crypto: Crypto,
  open: OpenEnvelope,
  envelopeBytes: number,
  options: Partial<ProcessorOptions> = {},
): Inspection {
  const { manifest, digest, signers } = open;
  const opened: OpenManifest[] = [];
  const opening = (envelope: Uint8Array): OpenManifest => {
    const dependency = options.open!(envelope);
    if (!opened.some((other) => bytesEqual(other.digest, dependency.digest))) opened.push(dependency);
    return dependency;
  };
  const loosely = { requireIdentity: false, ...options, open: options.open && opening };
  const ways = planProcedure(crypto, open, "update", loosely);
  const behind = planLater(crypto, open, ways, loosely);
  const later = (groups: readonly PlannedWay[][]): WayText[] =>
    groups
      .flatMap((group) => group.map((way) => wayText(way, names)))
      .filter(({ steps, fails }) => steps.length > 0 || fails !== undefined);
  const names = new Map(manifest.components.map((id) => [componentName(id), labelOf(id)]));
  const all = ways.flatMap(({ steps }) => steps);
  const ever = [...ways, ...behind.invocation.flat(), ...behind.uninstall.flat()].flatMap(({ steps }) => steps);
  const identifiers = (which: string): string[] =>
    unique(all.flatMap((step) => (step.kind === "identifier" && step.which === which ? [uuidText(step.value)] : [])));
  const keysOf = (keys: readonly Verifier[]): KeyText[] =>
    keys.map((key) => ({ algorithm: key.algorithm, fingerprint: fingerprint(crypto, key) }));
  const handOver = ever.map(handOverOf).find((transfer) => transfer !== undefined);
  return {
    sequenceNumber: manifest.sequenceNumber,
    version: versionOfManifest(manifest),
    description: readText(manifest.text).description,
    manifestDigest: toHex(digest),
    envelopeBytes,
    signers: keysOf(signers),
    dependencies: opened.map((other) => ({
      manifestDigest: toHex(other.digest),
      sequenceNumber: other.manifest.sequenceNumber,
      version: versionOfManifest(other.manifest),
      signers: keysOf(other.signers),
    })),
    handOver: handOver && { epoch: handOver.epoch, authorities: keysOf(handOver.authorities) },
    vendors: identifiers("vendor"),
    classes: identifiers("class"),
    classesOf: classesByComponent(all, names),
    devices: identifiers("device"),
    components: componentsOf(manifest, ever, opened),
    ways: ways.map((way) => wayText(way, names)),
    starts: later(behind.invocation),
    removal: later(behind.uninstall),
    stopsWhen: unique(all.flatMap((step) => stopOf(step, names))),
    missing: [...manifest.severed].map(
      (key) => `the body of member ${key} was severed: a device that needs it will stop`,
    ),
  };
}

const versionOfManifest = ({ setVersion }: Manifest): string | undefined =>
  setVersion === undefined ? undefined : versionText(setVersion);

const handOverOf = (step: Step): AuthorityTransfer | undefined =>
  step.kind === "store" && isTrustComponent(step.component) ? decodeTransfer(step.content) : undefined;

function classesByComponent(steps: readonly Step[], names: ReadonlyMap<string, string>): Inspection["classesOf"] {
  const found = new Map<string, string[]>();
  for (const step of steps) {
    if (step.kind !== "identifier" || step.which !== "class") continue;
    const name = nameOf(step.component, names);
    found.set(name, unique([...(found.get(name) ?? []), uuidText(step.value)]));
  }
  return [...found].map(([component, classes]) => ({ component, classes }));
}

/** Its own, and those that its dependencies change. */
function componentsOf(
  manifest: Manifest,
  steps: readonly Step[],
  opened: readonly OpenManifest[],
): Inspection["components"] {
  const own = new Set(manifest.components.map(componentName));
  const changed = new Set(componentsChangedBy([{ steps }]).map(componentName));
  const { components: texts } = readText(manifest.text);
  const shown = manifest.components.flatMap((id, index) => {
    const isManifest = manifest.dependencies.has(index);
    // What a device has before is asked about, and not replaced.
    if (!isManifest && beforeWhich(id) !== undefined && !changed.has(componentName(id))) return [];
    const role = isManifest ? " (another manifest)" : isStaging(id, steps) ? " (only until it is copied)" : "";
    return [{ name: labelOf(id) + role, ...(texts.get(componentName(id)) ?? UNTOLD) }];
  });
  const others = new Map<string, ComponentId>();
  for (const id of componentsChangedBy([{ steps }])) if (!own.has(componentName(id))) others.set(componentName(id), id);
  const told = opened.flatMap((other) => [...readText(other.manifest.text).components]);
  const theirs = [...others].map(([name, id]) => {
    // They name it without the prefix that it has here.
    const [, { version, description } = UNTOLD] =
      told.find(([theirName]) => name === theirName || name.endsWith(`.${theirName}`)) ?? [];
    return { name: `${labelOf(id)} (by another manifest)`, version, description };
  });
  return [...shown, ...theirs];
}

const UNTOLD = { version: undefined, description: undefined } as const;

/** A component that only holds what is copied into another. */
function isStaging(id: ComponentId, steps: readonly Step[]): boolean {
  return steps.some(
    (step) => step.kind === "copy" && step.encryption !== undefined && componentName(step.source) === componentName(id),
  );
}

const unique = (values: readonly string[]): string[] => [...new Set(values)];

export const uuidText = (bytes: Uint8Array): string => {
  const hex = toHex(bytes);
  return bytes.length === 16 ? hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-") : hex;
};

function wayText({ steps, outcome }: PlannedWay, names: ReadonlyMap<string, string>): WayText {
  const when = unique(steps.flatMap((step) => whenOf(step, names)));
  const done = steps.flatMap((step) => doneOf(step, names)).filter((line, i, lines) => line !== lines[i - 1]);
  return { when, steps: done, ...(outcome.ok ? {} : { fails: oneLine(`${outcome.section}: ${outcome.detail}`) }) };
}

const nameOf = (id: ComponentId, names: ReadonlyMap<string, string>): string =>
  names.get(componentName(id)) ?? labelOf(id);

/** What tells one kind of device from another. */
function whenOf(step: Step, names: ReadonlyMap<string, string>): string[] {
  if (step.kind === "slot") return [`${nameOf(step.component, names)} is written to slot ${step.slot}`];
  if (step.kind === "identifier" && step.which !== "vendor") return [`the ${step.which} is ${uuidText(step.value)}`];
  if (step.kind === "version") return [versionOf(step, names, "is")];
  if (step.kind === "content") return [`${nameOf(step.component, names)} is ${bytesText(step.content)}`];
  if (step.kind === "digest" && step.negated === true)
    return [`${nameOf(step.component, names)} is not the image ${sha(step.digest)}`];
  const before = step.kind === "digest" ? beforeWhich(step.component) : undefined;
  if (step.kind === "digest" && before !== undefined)
    return [`the device has ${nameOf(before, names)} ${sha(step.digest)}`];
  return [];
}

const versionOf = (
  { component, comparison, version }: Question & { kind: "version" },
  names: ReadonlyMap<string, string>,
  is: "is" | "is not",
): string => `${nameOf(component, names)} ${is} ${COMPARISONS[comparison]} version ${versionText(version)}`;

const bytesText = (bytes: Uint8Array): string =>
  bytes.length <= 32 ? `the bytes ${toHex(bytes)}` : `certain ${bytes.length} bytes`;

const size = (bytes: number | undefined): string =>
  bytes === undefined ? "an unknown number of bytes" : `${bytes} bytes`;
const sha = (digest: Uint8Array | undefined): string =>
  digest === undefined ? "whose digest is not given" : `with SHA-256 ${toHex(digest)}`;

function doneOf(step: Step, names: ReadonlyMap<string, string>): string[] {
  switch (step.kind) {
    case "fetch":
      return [fetchText(step, nameOf(step.component, names))];
    case "store": {
      const transfer = handOverOf(step);
      if (transfer !== undefined) return [`believe other authorities from then on (hand-over ${transfer.epoch})`];
      return [`write ${step.content.length} bytes that the envelope brings into ${nameOf(step.component, names)}`];
    }
    case "copy": {
      const how = step.encryption === undefined ? "copy" : "decrypt";
      return [`${how} ${nameOf(step.source, names)} into ${nameOf(step.component, names)}, ${sha(step.digest)}`];
    }
    case "swap":
      return [`swap ${nameOf(step.component, names)} and ${nameOf(step.source, names)}`];
    case "unlink":
      return [`give up ${nameOf(step.component, names)}`];
    case "invoke":
      return [`start ${nameOf(step.component, names)}`];
    case "wait":
      return [`wait for ${[...step.events].map(([event, value]) => waitText(event as number, value)).join(" and ")}`];
    case "digest":
      return step.negated === true
        ? [`go on only if ${nameOf(step.component, names)} is not the image ${sha(step.digest)}`]
        : beforeWhich(step.component) === undefined
          ? [`check that ${nameOf(step.component, names)} is what it must be`]
          : [];
    case "identifier":
    case "content":
    case "slot":
    case "before":
    case "battery":
    case "authorised":
    case "version":
    default:
      return [];
  }
}

function fetchText(step: Action & { kind: "fetch" }, name: string): string {
  const { isPatch, ...bytes } = bytesBehind(step);
  const from = `fetch ${size(bytes.size)} from ${oneLine(step.uri)}`;
  const odd = step.args === undefined ? "" : ", with fetch-arguments that are not known here";
  if (!isPatch) return `${from} into ${name}, ${sha(step.digest)}${odd}`;
  return `${from}, a patch ${sha(bytes.digest)}, and make ${name} by it: ${size(step.size)}, ${sha(step.digest)}`;
}

const WAITS: Readonly<Record<number, (value: unknown) => string>> = {
  [WaitEvent.AUTHORIZATION]: (value) => `leave to update with priority ${String(value)}`,
  [WaitEvent.POWER]: (value) => `power state ${String(value)}`,
  [WaitEvent.NETWORK]: (value) => `network state ${String(value)}`,
  [WaitEvent.TIME]: (value) => isoTime(Number(value)),
  [WaitEvent.TIME_OF_DAY]: (value) => `second ${String(value)} of the local day`,
  [WaitEvent.TIME_OF_DAY_UTC]: (value) => `second ${String(value)} of the day in UTC`,
  [WaitEvent.DAY_OF_WEEK]: (value) => `day ${String(value)} of the local week, Sunday being 0`,
  [WaitEvent.DAY_OF_WEEK_UTC]: (value) => `day ${String(value)} of the week in UTC, Sunday being 0`,
};

const waitText = (event: number, value: unknown): string => WAITS[event]?.(value) ?? "a version of another device";

const COMPARISONS: Readonly<Record<number, string>> = {
  [VersionComparison.GREATER]: "newer than",
  [VersionComparison.GREATER_EQUAL]: "at least",
  [VersionComparison.EQUAL]: "exactly",
  [VersionComparison.LESSER_EQUAL]: "at most",
  [VersionComparison.LESSER]: "older than",
};

/** The conditions of an update, as what would end it. */
function stopOf(step: Step, names: ReadonlyMap<string, string>): string[] {
  switch (step.kind) {
    case "identifier":
      return step.which === "device" ? ["the device is another one"] : ["vendor or class is another one"];
    case "before":
      return [`it is ${isoTime(step.unixS)} or later, or the device has no clock that it trusts`];
    case "battery":
      return [`less than ${step.atLeastMwh} mWh are left in the battery`];
    case "authorised":
      return [`the device's operator does not agree to an update of priority ${step.priority}`];
    case "version":
      return [versionOf(step, names, "is not")];
    case "digest":
      return step.negated === true
        ? [`${nameOf(step.component, names)} is the image ${sha(step.digest)} already`]
        : beforeWhich(step.component) !== undefined
          ? [] // then there is the whole image
          : ["what was fetched has another digest, or another size"];
    case "content":
      return [`${nameOf(step.component, names)} is not ${bytesText(step.content)}`];
    case "slot":
    case "fetch":
    case "store":
    case "copy":
    case "swap":
    case "invoke":
    case "wait":
    case "unlink":
    default:
      return [];
  }
}

import type { CborValue } from "../../codec/cbor.ts";
import type { Verifier } from "../../codec/cose.ts";
import type { Crypto } from "../../ports/crypto.ts";
import { Parameter } from "../keys.ts";
import { componentName, type ComponentId, type Manifest } from "../manifest.ts";
import type { Question } from "./effects.ts";
import { abort, type Failure } from "./failure.ts";
import type { Parameters } from "./parameters.ts";
import type { SuitRecord } from "./record.ts";

/** A manifest whose signature was checked, and who made it. */
export interface OpenManifest {
  readonly manifest: Manifest;
  /** SHA-256 over the manifest in its byte string, as the authentication wrapper has it. */
  readonly digest: Uint8Array;
  readonly signers: readonly Verifier[];
}

export interface ProcessorOptions {
  readonly crypto: Crypto;
  /** Authenticates and opens the envelope of a dependency; throws EnvelopeError. Absent: dependencies are not supported. */
  readonly open?: ((envelope: Uint8Array) => OpenManifest) | undefined;
  /** Components that the device has; absent: any. */
  readonly hasComponent?: ((component: ComponentId) => boolean) | undefined;
  /** Whether who signed may do this to a component (draft -37 section 9); `code` is the command's. */
  readonly permits?: ((signers: readonly Verifier[], component: ComponentId, code: number) => boolean) | undefined;
  /** Commands beyond those of `readOnly` sequences: which the device can do. Absent: all of this module. */
  readonly supports?: ((code: number) => boolean) | undefined;
  /** Nothing is changed before the manifest has asked for vendor and class (draft -37 section 6.2); true unless given. */
  readonly requireIdentity?: boolean | undefined;
  /** For plans: conditions hold, and of a try-each the branch that this says is taken. */
  readonly plan?: PlanHooks | undefined;
  readonly limits?: Partial<ProcessorLimits> | undefined;
}

/** How a plan takes part: it chooses, and sees to it that what it shows is what a device does. */
export interface PlanHooks {
  readonly branch: (branches: number) => number;
  /** Whether a condition can be taken as met beside those before. */
  readonly holds: (question: Question) => boolean;
  /** A branch of a try-each begins and ends; `mayFail`: another one, or nothing, can take its place. */
  readonly enter: (mayFail: boolean) => void;
  readonly leave: () => void;
  /** A parameter was set that decides what is fetched or written into a component. */
  readonly set: (component: ComponentId) => void;
  /** Something is about to be done to a component. */
  readonly act: (component: ComponentId) => void;
  /** One command more was begun; throws when there have been too many on all ways together. */
  readonly command: () => void;
  /** What comes of it cannot be told beforehand; throws. */
  readonly ambiguous: () => void;
  /** A dependency that is known is not the one that is meant: no device takes this branch. Throws where there is none. */
  readonly mismatch: () => void;
}

export interface ProcessorLimits {
  readonly maxCommands: number;
  readonly maxDepth: number;
  readonly maxRecords: number;
  readonly maxDependencyDepth: number;
}

export const PROCESSOR_LIMITS: ProcessorLimits = {
  maxCommands: 4_096,
  maxDepth: 8,
  maxRecords: 64,
  maxDependencyDepth: 4,
};

/** One manifest of the tree, while it is processed. */
export class Context {
  readonly open: OpenManifest;
  /** Component indices from the root to here. */
  readonly path: readonly number[];
  readonly prefix: ComponentId;
  /** Dependencies whose integrity was checked in this procedure, by component index. */
  readonly verified: Map<number, Context> = new Map();
  /** Sections that were processed of dependencies, by `<component index>/<key>`. */
  readonly processed: Set<string> = new Set();

  constructor(open: OpenManifest, path: readonly number[], prefix: ComponentId) {
    this.open = open;
    this.path = path;
    this.prefix = prefix;
  }

  get manifest(): Manifest {
    return this.open.manifest;
  }

  component(index: number): ComponentId {
    const id = this.manifest.components[index];
    if (id === undefined) throw abort("component-unsupported", `component index ${index} does not exist`);
    return [...this.prefix, ...id];
  }

  isDependency(index: number): boolean {
    return this.manifest.dependencies.has(index);
  }
}

/** What lasts for a whole procedure, over all manifests of the tree. */
export class Memory {
  readonly records: SuitRecord[] = [];
  readonly #parameters = new Map<string, Parameters>();
  #commands = 0;
  readonly limits: ProcessorLimits;
  /** Unlinked already, by manifest and component: once for each manifest (trust-domains section 4.9.5). */
  readonly unlinked: Set<string> = new Set();
  /** Vendor and class were asked for and matched: nothing is changed before. */
  readonly identified: Set<"vendor" | "class"> = new Set();

  constructor(limits: Partial<ProcessorLimits> = {}) {
    this.limits = { ...PROCESSOR_LIMITS, ...limits };
  }

  parametersOf(component: ComponentId): Parameters {
    const name = componentName(component);
    let parameters = this.#parameters.get(name);
    if (parameters === undefined) this.#parameters.set(name, (parameters = new Map<number, CborValue>()));
    return parameters;
  }

  count(): void {
    if (++this.#commands > this.limits.maxCommands)
      throw abort("operation-failed", `more than ${this.limits.maxCommands} commands`);
  }

  /** The parameters as they are now, to go back to. */
  snapshot(): ReadonlyMap<string, Parameters> {
    return new Map([...this.#parameters].map(([name, parameters]) => [name, new Map(parameters)]));
  }

  restore(snapshot: ReadonlyMap<string, Parameters>): void {
    for (const [name, parameters] of this.#parameters) {
      parameters.clear();
      for (const [key, value] of snapshot.get(name) ?? []) parameters.set(key, value);
    }
  }

  get isFull(): boolean {
    return this.records.length >= this.limits.maxRecords;
  }

  note(record: SuitRecord): void {
    if (!this.isFull) this.records.push(record);
  }
}

/** Within one sequence: what ends with it (section 8.4.8.15), and what strict order has to watch. */
export class Scope {
  #soft: boolean;
  /** Told when failures are made soft. */
  onSoft: () => void = () => {};
  readonly mayBeSoft: boolean;
  strictOrder = true;
  readonly #targets = new Set<string>();
  readonly #sources = new Set<string>();

  constructor(kind: "section" | "try-each" | "run-sequence") {
    this.#soft = kind === "try-each";
    this.mayBeSoft = kind !== "section";
  }

  setOrder(strict: boolean): void {
    this.strictOrder = strict;
    this.#targets.clear();
    this.#sources.clear();
  }

  /** Without strict order no component may be source and target both (section 6.7). */
  uses(target: ComponentId, source: ComponentId | undefined): void {
    if (this.strictOrder) return;
    this.#targets.add(componentName(target));
    if (source !== undefined) this.#sources.add(componentName(source));
    for (const name of this.#targets)
      if (this.#sources.has(name)) throw abort("operation-failed", `component ${name} is source and target at once`);
  }

  setSoft(soft: boolean): void {
    if (soft) this.onSoft();
    this.#soft = soft;
  }

  /** Whether a failure here lets the procedure go on. */
  forgives(failure: Failure): boolean {
    return failure.soft && this.#soft;
  }
}

/** Parameters that a sequence has for itself, not a component. */
export const SCOPED: ReadonlySet<number> = new Set([Parameter.SOFT_FAILURE, Parameter.STRICT_ORDER]);

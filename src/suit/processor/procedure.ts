import { isArray, isBytes } from "../../codec/cbor.ts";
import { Directive, ManifestKey, nameOf, type SuitReason } from "../keys.ts";
import { Failure } from "./failure.ts";
import { drive, type Device, type Run } from "./effects.ts";
import { Machine, requireProcessed } from "./machine.ts";
import type { SuitRecord } from "./record.ts";
import { readSequence } from "./sequence.ts";
import { Context, Memory, PROCESSOR_LIMITS, type OpenManifest, type ProcessorOptions } from "./state.ts";

export type Procedure = "update" | "staging" | "installation" | "invocation" | "uninstall";

/** Sections in their order (draft -37 section 8.4.6; trust-domains section 6). */
export const PROCEDURES: Readonly<Record<Procedure, readonly number[]>> = {
  update: [
    ManifestKey.DEPENDENCY_RESOLUTION,
    ManifestKey.PAYLOAD_FETCH,
    ManifestKey.CANDIDATE_VERIFICATION,
    ManifestKey.INSTALL,
    ManifestKey.VALIDATE,
  ],
  staging: [ManifestKey.DEPENDENCY_RESOLUTION, ManifestKey.PAYLOAD_FETCH],
  installation: [ManifestKey.CANDIDATE_VERIFICATION, ManifestKey.INSTALL, ManifestKey.VALIDATE],
  invocation: [ManifestKey.VALIDATE, ManifestKey.LOAD, ManifestKey.INVOKE],
  uninstall: [ManifestKey.UNINSTALL],
};

export type Outcome =
  | { readonly ok: true; readonly records: readonly SuitRecord[] }
  | {
      readonly ok: false;
      readonly reason: SuitReason;
      readonly detail: string;
      /** Name of the section that failed. */
      readonly section: string;
      readonly record: SuitRecord | undefined;
      readonly records: readonly SuitRecord[];
    };

/** Runs a procedure of a root manifest whose signature was checked. What the device must know and do is yielded. */
export function* runProcedure(open: OpenManifest, procedure: Procedure, options: ProcessorOptions): Run<Outcome> {
  const memory = new Memory(options.limits);
  const machine = new Machine(memory, options);
  const context = new Context(open, [], []);
  let section: number = ManifestKey.COMMON;
  const { records } = memory;
  try {
    requireDependencySupport(open, procedure, options);
    for (section of PROCEDURES[procedure]) yield* machine.section(context, section);
    // To be invoked a root may do without its dependencies, as the draft's own examples do.
    if (procedure !== "invocation") for (section of PROCEDURES[procedure]) requireProcessed(context, section);
    return { ok: true, records };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { reason, message: detail, record } = error;
    return { ok: false, reason, detail, section: nameOf(ManifestKey, section), record, records };
  }
}

/** The same on a device whose answers are there at once. */
export function processManifest(
  open: OpenManifest,
  procedure: Procedure,
  device: Device,
  options: ProcessorOptions,
): Outcome {
  return drive(runProcedure(open, procedure, options), device);
}

/** A dependent must process each of its dependencies in every section of the procedure (trust-domains section 4.1). */
function requireDependencySupport({ manifest }: OpenManifest, procedure: Procedure, options: ProcessorOptions): void {
  if (manifest.dependencies.size === 0) return;
  if (options.open === undefined) throw new Failure("component-unsupported", "dependencies are not supported here");
  // To be invoked a root may do without them, as the draft's own examples do.
  if (procedure === "invocation") return;
  const populated = PROCEDURES[procedure].some((key) => {
    const section = manifest.sections.get(key);
    return section !== undefined && processes(section);
  });
  const hasAny = PROCEDURES[procedure].some((key) => manifest.sections.has(key));
  if (hasAny && !populated)
    throw new Failure("operation-failed", `no section of ${procedure} processes the dependencies`);
}

/** Whether a sequence, or one within it, processes a dependency. */
function processes(sequence: Uint8Array, depth = 0): boolean {
  if (depth > PROCESSOR_LIMITS.maxDepth) return false;
  return readSequence(sequence).some(({ code, argument }) => {
    if (code === Directive.PROCESS_DEPENDENCY) return true;
    const nested = code === Directive.TRY_EACH && isArray(argument) ? argument : [argument];
    const holdsSequences = code === Directive.TRY_EACH || code === Directive.RUN_SEQUENCE;
    return holdsSequences && nested.some((one) => isBytes(one) && processes(one, depth + 1));
  });
}

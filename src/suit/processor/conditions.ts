import { Condition, nameOf, Parameter } from "../keys.ts";
import { encodeCbor, isBytes } from "../../codec/cbor.ts";
import { bytesEqual } from "../../util/bytes.ts";
import { EnvelopeError } from "../envelope.ts";
import type { ComponentId } from "../manifest.ts";
import type { Answer, Question, Run } from "./effects.ts";
import { abort, Failure, notMet } from "./failure.ts";
import { bytesParameter, digestParameter, uintParameter, versionMatch, type Parameters } from "./parameters.ts";
import { Context, type Memory, type ProcessorOptions } from "./state.ts";

/** Where a command is executed. */
export interface At {
  readonly context: Context;
  readonly index: number;
  readonly component: ComponentId;
  readonly parameters: Parameters;
}

const CODES: ReadonlySet<number> = new Set(Object.values(Condition));
export const isCondition = (code: number): boolean => CODES.has(code);

/** Executes a condition; throws a Failure where it is not met (draft -37 section 8.4.9). */
export function* runCondition(code: number, at: At, memory: Memory, options: ProcessorOptions): Run<void> {
  if (code === Condition.ABORT) throw notMet("the manifest says abort");
  if (code === Condition.IS_DEPENDENCY) {
    if (!at.context.isDependency(at.index)) throw notMet(`component ${at.index} is no dependency`);
    return;
  }
  if (code === Condition.DEPENDENCY_INTEGRITY) {
    yield* checkDependency(at, memory, options);
    return;
  }
  if ((code === Condition.IMAGE_MATCH || code === Condition.IMAGE_NOT_MATCH) && at.context.isDependency(at.index)) {
    const matches = yield* dependencyMatches(at, memory, options);
    if (matches === (code === Condition.IMAGE_MATCH)) return;
    options.plan?.mismatch();
    throw notMet(`dependency ${at.index} is not the one that is meant`);
  }
  const question = questionOf(code, at);
  if (options.plan !== undefined) {
    if (!options.plan.holds(question)) throw notMet("it contradicts what held before");
    if (question.kind === "identifier" && question.which !== "device") memory.identified.add(question.which);
    return;
  }
  const answer = (yield question) as Answer;
  const expected: Answer = code === Condition.IMAGE_NOT_MATCH ? "no" : "yes";
  if (answer === "unsupported")
    throw abort("condition-failed", `${nameOf(Condition, code)} cannot be told on this device`);
  if (answer !== expected) throw notMet(`${nameOf(Condition, code)} does not hold`);
  if (question.kind === "identifier" && question.which !== "device") memory.identified.add(question.which);
}

const IDENTIFIERS: ReadonlyMap<number, readonly ["vendor" | "class" | "device", number]> = new Map([
  [Condition.VENDOR_IDENTIFIER, ["vendor", Parameter.VENDOR_IDENTIFIER]],
  [Condition.CLASS_IDENTIFIER, ["class", Parameter.CLASS_IDENTIFIER]],
  [Condition.DEVICE_IDENTIFIER, ["device", Parameter.DEVICE_IDENTIFIER]],
]);

/** A condition whose parameter is missing fails (section 8.4.9). */
function questionOf(code: number, { component, parameters }: At): Question {
  const identifier = IDENTIFIERS.get(code);
  if (identifier !== undefined) {
    const value = parameters.get(identifier[1]);
    if (value === undefined) throw notMet(`no ${identifier[0]} identifier is set`);
    return { kind: "identifier", which: identifier[0], component, value: isBytes(value) ? value : encodeCbor(value) };
  }
  const uint = (key: number): number => needed(uintParameter(parameters, key), code);
  switch (code) {
    case Condition.IMAGE_MATCH:
    case Condition.IMAGE_NOT_MATCH: {
      const digest = needed(digestParameter(parameters), code);
      const size = uintParameter(parameters, Parameter.IMAGE_SIZE);
      const question = { kind: "digest", component, digest, size } as const;
      return code === Condition.IMAGE_NOT_MATCH ? { ...question, negated: true } : question;
    }
    case Condition.CHECK_CONTENT:
      return { kind: "content", component, content: needed(bytesParameter(parameters, Parameter.CONTENT), code) };
    case Condition.COMPONENT_SLOT:
      return { kind: "slot", component, slot: uint(Parameter.COMPONENT_SLOT) };
    case Condition.USE_BEFORE:
      return { kind: "before", unixS: uint(Parameter.USE_BEFORE) };
    case Condition.MINIMUM_BATTERY:
      return { kind: "battery", atLeastMwh: uint(Parameter.MINIMUM_BATTERY) };
    case Condition.UPDATE_AUTHORIZED:
      return { kind: "authorised", priority: uint(Parameter.UPDATE_PRIORITY) };
    default:
      return {
        kind: "version",
        component,
        ...versionMatch(needed(bytesParameter(parameters, Parameter.VERSION), code)),
      };
  }
}

function needed<T>(value: T | undefined, code: number): T {
  if (value === undefined) throw notMet(`${nameOf(Condition, code)} lacks its parameter`);
  return value;
}

/** A dependency is the manifest, whatever else its envelope has gained or lost (trust-domains section 5.2). */
function* dependencyMatches(at: At, memory: Memory, options: ProcessorOptions): Run<boolean> {
  const digest = digestParameter(at.parameters);
  if (isVerified(at, digest)) return true;
  let opened: Context["open"];
  try {
    opened = yield* openDependency(at, options);
  } catch (error) {
    // What is not there, is torn or was signed by somebody else does not match: it can be fetched.
    if (options.plan === undefined && error instanceof Failure && error.isMissing) return false;
    throw error;
  }
  const matches = digest !== undefined && bytesEqual(opened.digest, digest);
  // Its signature and its digest were checked: all that dependency-integrity does, and how the drafts' examples do it.
  if (matches) verified(at, opened, memory);
  return matches;
}

/** suit-condition-dependency-integrity: any fault aborts at once (trust-domains section 4.9.4). */
function* checkDependency(at: At, memory: Memory, options: ProcessorOptions): Run<void> {
  const { context, index } = at;
  if (!context.isDependency(index)) throw abort("component-unsupported", `component ${index} is no dependency`);
  const digest = digestParameter(at.parameters);
  if (digest === undefined) throw abort("condition-failed", `dependency ${index} has no digest`);
  if (isVerified(at, digest)) return;
  const opened = yield* openDependency(at, options);
  if (!bytesEqual(opened.digest, digest))
    // For a plan it is known to be another, so that no device is merely turned away here.
    throw abort(
      options.plan === undefined ? "condition-failed" : "operation-failed",
      `dependency ${index} is not the one that is meant`,
    );
  verified(at, opened, memory);
}

/** What was found out in this procedure, and nothing has touched since, need not be found out again. */
function isVerified({ context, index }: At, digest: Uint8Array | undefined): boolean {
  const known = context.verified.get(index);
  return known !== undefined && digest !== undefined && bytesEqual(known.open.digest, digest);
}

function verified({ context, index }: At, opened: Context["open"], memory: Memory): void {
  if (context.path.length >= memory.limits.maxDependencyDepth)
    throw abort("operation-failed", `dependencies deeper than ${memory.limits.maxDependencyDepth}`);
  if (context.verified.has(index)) return;
  const prefix = [...context.prefix, ...context.manifest.dependencies.get(index)!];
  context.verified.set(index, new Context(opened, [...context.path, index], prefix));
}

const missing = (failure: Failure): Failure => Object.assign(failure, { isMissing: true });

function* openDependency(at: At, { open, plan }: ProcessorOptions): Run<Context["open"]> {
  if (open === undefined) throw abort("component-unsupported", "dependencies are not supported here");
  const bytes = yield { kind: "read-envelope", component: at.component };
  // What a dependency does that is not in the envelope nobody can say beforehand.
  if (!isBytes(bytes as Uint8Array) && plan !== undefined)
    throw abort("operation-failed", `dependency ${at.index} is not in the envelope: nobody can say what it does`);
  if (!isBytes(bytes as Uint8Array)) throw missing(notMet(`dependency ${at.index} is not there`));
  try {
    return open(bytes as Uint8Array);
  } catch (error) {
    if (error instanceof EnvelopeError)
      throw missing(abort("unauthorised", `dependency ${at.index}: ${error.message}`));
    throw error;
  }
}

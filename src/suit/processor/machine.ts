import { isArray, type CborValue } from "../../codec/cbor.ts";
import { Condition, Directive, ManifestKey, nameOf, Parameter, PRIVATE_BELOW, ReportPolicy } from "../keys.ts";
import { EnvelopeError } from "../envelope.ts";
import { isCondition, runCondition, type At } from "./conditions.ts";
import { copyParameters, indexOf, isActing, overrideMultiple, runDirective, setParameters } from "./directives.ts";
import type { Run } from "./effects.ts";
import { abort, Failure } from "./failure.ts";
import { uintParameter } from "./parameters.ts";
import { offsetOf, readSequence, type Command } from "./sequence.ts";
import { Scope, type Context, type Memory, type ProcessorOptions } from "./state.ts";

/** What a shared sequence may hold besides conditions (draft -37, SUIT_Shared_Commands; trust-domains and update-management add to it). */
const SHARED: ReadonlySet<number> = new Set([
  Directive.SET_COMPONENT_INDEX,
  Directive.RUN_SEQUENCE,
  Directive.TRY_EACH,
  Directive.OVERRIDE_PARAMETERS,
  Directive.SET_PARAMETERS,
  Directive.OVERRIDE_MULTIPLE,
  Directive.COPY_PARAMS,
]);
const CONTROL: ReadonlySet<number> = new Set([...SHARED, Directive.PROCESS_DEPENDENCY]);

/** Where the machine is: components that commands apply to, and the section that they are in. */
interface Position {
  readonly context: Context;
  /** Key of the section; the shared sequence has the key of common. */
  readonly section: number;
  /** Key of the section for whose sake the shared sequence runs. */
  readonly purpose: number;
  indices: readonly number[];
}

/**
 * The abstract machine of draft -37 section 6.4 for one procedure. It never waits and never acts: what the device has to
 * find out or do is yielded as an effect.
 */
export class Machine {
  readonly #memory: Memory;
  readonly #options: ProcessorOptions;
  /** Where the command stands that is executed, for the record of a failure. */
  #last: { position: Position; commands: readonly Command[]; at: number; index: number } | undefined;

  constructor(memory: Memory, options: ProcessorOptions) {
    this.#memory = memory;
    this.#options = options;
  }

  /** One section of a manifest behind its shared sequence; true where the manifest has it. Throws a Failure. */
  *section(context: Context, key: number): Run<boolean> {
    const { manifest } = context;
    const bytes = manifest.sections.get(key);
    if (bytes === undefined) {
      if (manifest.severed.has(key)) throw abort("severing-unsupported", `${nameOf(ManifestKey, key)} was severed`);
      return false;
    }
    try {
      const base = { context, purpose: key };
      if (manifest.sharedSequence !== undefined)
        yield* this.#top(manifest.sharedSequence, { ...base, section: ManifestKey.COMMON, indices: [0] });
      yield* this.#top(bytes, { ...base, section: key, indices: [0] });
      requireProcessed(context, key);
      return true;
    } catch (error) {
      throw this.#recorded(error);
    }
  }

  /** A fault inside the manifest is one of its encoding; a failure gets its place. */
  #recorded(error: unknown): unknown {
    const failure = error instanceof EnvelopeError ? abort("cbor-parse", error.message) : error;
    if (!(failure instanceof Failure)) return failure;
    if (failure.record === undefined && this.#last !== undefined) {
      const { position, commands, at, index } = this.#last;
      failure.record = this.#recordOf(position, commands, at, index);
    }
    return failure;
  }

  *#top(bytes: Uint8Array, position: Position): Run<void> {
    const commands = readSequence(bytes);
    const { components } = position.context.manifest;
    // With more than one component nothing may be left to a default (section 6.2).
    const { code } = commands[0]!;
    if (components.length > 1 && code !== Directive.SET_COMPONENT_INDEX && code !== Directive.OVERRIDE_MULTIPLE)
      throw abort("cbor-parse", "a sequence must begin with set-component-index where there are several components");
    yield* this.#sequence(commands, position, new Scope("section"), 0);
  }

  *#sequence(commands: readonly Command[], position: Position, scope: Scope, depth: number): Run<void> {
    for (let at = 0; at < commands.length; at++) yield* this.#command(commands, at, position, scope, depth);
  }

  *#command(commands: readonly Command[], at: number, position: Position, scope: Scope, depth: number): Run<void> {
    const { code, argument } = commands[at]!;
    this.#last = { position, commands, at, index: position.indices[0] ?? 0 };
    this.#check(code, argument, position);
    this.#count();
    if (code === Directive.SET_COMPONENT_INDEX) {
      this.#select(argument, position);
      return;
    }
    if (code === Directive.OVERRIDE_MULTIPLE) {
      position.indices = [
        overrideMultiple(argument, (index) => this.#place(position.context, index), scope, this.#options.plan),
      ];
      return;
    }
    for (const index of position.indices) {
      this.#count();
      this.#last = { position, commands, at, index };
      const place = this.#place(position.context, index);
      if (code === Directive.TRY_EACH) yield* this.#tryEach(argument, position, index, depth);
      else if (code === Directive.RUN_SEQUENCE) yield* this.#runSequence(argument, position, index, scope, depth);
      else if (code === Directive.PROCESS_DEPENDENCY) yield* this.#processDependency(position, index);
      else if (CONTROL.has(code)) this.#assign(code, argument, position.context, place, scope);
      else yield* this.#perform(code, argument, place, position, scope, commands, at);
    }
  }

  #count(): void {
    this.#memory.count();
    this.#options.plan?.command();
  }

  /** A condition or an acting directive, reported as its policy asks. */
  *#perform(
    code: number,
    argument: CborValue,
    place: At,
    position: Position,
    scope: Scope,
    commands: readonly Command[],
    at: number,
  ): Run<void> {
    const policy = argument as number;
    const { index } = place;
    if (!isCondition(code) && code !== Directive.WAIT) this.#authorise(code, place);
    try {
      if (isCondition(code)) yield* runCondition(code, place, this.#memory, this.#options);
      else {
        this.#options.plan?.act(place.component);
        yield* runDirective(code, place, this.#memory, scope, this.#options.requireIdentity ?? true);
      }
    } catch (error) {
      const failure = this.#recorded(error);
      if (failure instanceof Failure && (policy & ReportPolicy.RECORD_FAILURE) !== 0)
        this.#memory.note(failure.record!);
      throw failure;
    }
    if ((policy & ReportPolicy.RECORD_SUCCESS) !== 0 && !this.#memory.isFull)
      this.#memory.note(this.#recordOf(position, commands, at, index));
  }

  /** Who signed must be allowed each component that the directive changes or reads: swap and copy have two (section 9). */
  #authorise(code: number, { context, component, parameters }: At): void {
    const { permits } = this.#options;
    if (permits === undefined) return;
    const changed = [component];
    if (code === Directive.SWAP || code === Directive.COPY) {
      const source = uintParameter(parameters, Parameter.SOURCE_COMPONENT);
      if (source !== undefined) changed.push(context.component(source));
    }
    for (const each of changed)
      if (!permits(context.open.signers, each, code))
        throw abort("component-unauthorised", `who signed this may not ${nameOf(Directive, code)} this component`);
  }

  #recordOf(
    position: Position,
    commands: readonly Command[],
    at: number,
    componentIndex: number,
  ): NonNullable<Failure["record"]> {
    const { context, section } = position;
    return { manifestId: context.path, section, offset: offsetOf(commands, at), componentIndex, properties: new Map() };
  }

  #check(code: number, argument: CborValue, { section }: Position): void {
    const isShared = section === ManifestKey.COMMON;
    const known = isCondition(code) || isActing(code) || CONTROL.has(code);
    if (!known || this.#options.supports?.(code) === false) {
      const whose = code < PRIVATE_BELOW ? "the vendor's own and " : "";
      throw abort("command-unsupported", `command ${code} is ${whose}not known here`);
    }
    if (isShared && !isCondition(code) && !SHARED.has(code))
      throw abort("command-unsupported", `${nameOf(Directive, code)} may not stand in the shared sequence`);
    if (CONTROL.has(code) && code !== Directive.PROCESS_DEPENDENCY) return;
    if (typeof argument !== "number" || !Number.isSafeInteger(argument) || argument < 0 || argument > 15)
      throw abort("cbor-parse", `command ${code} takes a reporting policy`);
  }

  #place(context: Context, index: number): At {
    const component = context.component(index);
    if (!context.isDependency(index) && this.#options.hasComponent?.(component) === false)
      throw abort("component-unsupported", `this device has no component ${index} of the manifest`);
    return { context, index, component, parameters: this.#memory.parametersOf(component) };
  }

  /** An index, a list of them, or true for all (section 6.5). */
  #select(argument: CborValue, position: Position): void {
    const { components } = position.context.manifest;
    if (argument === true) position.indices = components.map((_, index) => index);
    else position.indices = isArray(argument) ? argument.map(indexOf) : [indexOf(argument)];
    if (position.indices.length === 0) throw abort("cbor-parse", "set-component-index names no component");
    if (new Set(position.indices).size < position.indices.length)
      throw abort("cbor-parse", "set-component-index names a component twice");
    for (const index of position.indices) position.context.component(index);
  }

  #assign(code: number, argument: CborValue, context: Context, place: At, scope: Scope): void {
    if (code === Directive.COPY_PARAMS)
      copyParameters(argument, (index) => this.#place(context, index), place, this.#options.plan);
    else setParameters(argument, place, scope, code === Directive.OVERRIDE_PARAMETERS, this.#options.plan);
  }

  /** One sequence after the other until one succeeds; nil at the end lets all fail (section 8.4.10.2). */
  *#tryEach(argument: CborValue, position: Position, index: number, depth: number): Run<void> {
    if (!isArray(argument) || argument.length === 0) throw abort("cbor-parse", "try-each takes a list of sequences");
    const isOptional = argument.at(-1) === null;
    const branches = isOptional ? argument.slice(0, -1) : argument;
    if (branches.length === 0) throw abort("cbor-parse", "try-each takes a list of sequences");
    const chosen = this.#options.plan?.branch(argument.length);
    if (chosen !== undefined) {
      if (chosen >= branches.length) return;
      this.#options.plan!.enter(chosen < branches.length - 1 || isOptional);
      yield* this.#nested(branches[chosen]!, position, index, new Scope("try-each"), depth);
      this.#options.plan!.leave();
      return;
    }
    let last: Failure | undefined;
    const before = this.#memory.snapshot();
    for (const branch of branches) {
      const scope = new Scope("try-each");
      try {
        yield* this.#nested(branch, position, index, scope, depth);
        return;
      } catch (error) {
        const failure = this.#recorded(error);
        if (!(failure instanceof Failure) || !scope.forgives(failure)) throw failure;
        this.#memory.restore(before);
        last = failure;
      }
    }
    if (!isOptional) throw last!;
  }

  *#runSequence(argument: CborValue, position: Position, index: number, scope: Scope, depth: number): Run<void> {
    if (!scope.strictOrder) checkUnordered(readSequence(argument), position.indices.length > 1);
    const own = new Scope("run-sequence");
    // Where it may halt softly a plan cannot tell how far it comes.
    own.onSoft = () => this.#options.plan?.ambiguous();
    const before = this.#memory.snapshot();
    try {
      yield* this.#nested(argument, position, index, own, depth);
    } catch (error) {
      const failure = this.#recorded(error);
      if (!(failure instanceof Failure) || !own.forgives(failure)) throw failure;
      this.#memory.restore(before); // it halts with no side effects (section 8.4.8.15)
    }
  }

  /** A sequence within a command runs for one component at a time, and what it selects ends with it. */
  *#nested(bytes: CborValue, position: Position, index: number, scope: Scope, depth: number): Run<void> {
    if (depth >= this.#memory.limits.maxDepth)
      throw abort("operation-failed", `sequences deeper than ${this.#memory.limits.maxDepth}`);
    yield* this.#sequence(readSequence(bytes), { ...position, indices: [index] }, scope, depth + 1);
  }

  /** The dependency's shared sequence and its section of the same name (trust-domains section 4.9.2). */
  *#processDependency(position: Position, index: number): Run<void> {
    const { context, purpose, indices } = position;
    if (!context.isDependency(index)) {
      // With all components selected it applies to all dependencies.
      if (indices.length === context.manifest.components.length && indices.length > 1) return;
      throw abort("component-unsupported", `component ${index} is no dependency`);
    }
    const dependency = context.verified.get(index);
    if (dependency === undefined)
      throw abort("unauthorised", `dependency ${index} is used before its integrity was checked`);
    context.processed.add(`${index}/${purpose}`);
    try {
      yield* this.section(dependency, purpose);
    } catch (error) {
      // An abort there is one here, and no try-each makes it good.
      if (error instanceof Failure && error.soft)
        throw Object.assign(abort(error.reason, error.message), { record: error.record });
      throw error;
    }
  }
}

/** Without strict order a sequence is one of its own: it says first which component it is for, and stays with it (section 6.7). */
function checkUnordered(commands: readonly Command[], isPreset: boolean): void {
  const isSelecting = ({ code }: Command): boolean => code === Directive.SET_COMPONENT_INDEX;
  const [first, ...others] = commands;
  if (isPreset ? commands.some(isSelecting) : !isSelecting(first!) || others.some(isSelecting))
    throw abort("operation-failed", "without strict order a sequence selects its component first, and once");
}

/**
 * Each dependency that has this section had it run from the dependent's (trust-domains section 4.1): where the dependent
 * lacks the section, too, and where the dependency came later.
 */
export function requireProcessed({ verified, processed }: Context, key: number): void {
  for (const [index, dependency] of verified) {
    if (dependency.manifest.sections.has(key) && !processed.has(`${index}/${key}`))
      throw abort("operation-failed", `dependency ${index} has ${nameOf(ManifestKey, key)}, and was not processed`);
    requireProcessed(dependency, key);
  }
}

export const SUPPORTED_COMMANDS: readonly number[] = [...Object.values(Condition), ...Object.values(Directive)];

import { isArray, isMap, isUint, type CborValue } from "../../codec/cbor.ts";
import { Directive, nameOf, Parameter } from "../keys.ts";
import type { At } from "./conditions.ts";
import type { Action, Done, Run } from "./effects.ts";
import { toHex } from "../../util/bytes.ts";
import { componentName, type ComponentId } from "../manifest.ts";
import { abort } from "./failure.ts";
import { bytesParameter, checkParameters, digestParameter, uintParameter, waitEvents } from "./parameters.ts";
import { SCOPED, type Memory, type PlanHooks, type Scope } from "./state.ts";

/** Directives whose argument is a reporting policy. */
const ACTING: ReadonlySet<number> = new Set([
  Directive.WRITE,
  Directive.FETCH,
  Directive.COPY,
  Directive.SWAP,
  Directive.INVOKE,
  Directive.WAIT,
  Directive.UNLINK,
]);
export const isActing = (code: number): boolean => ACTING.has(code);

/** Has the device do what a directive says (draft -37 section 8.4.10). Its failure always aborts. */
export function* runDirective(code: number, at: At, memory: Memory, scope: Scope, requireIdentity: boolean): Run<void> {
  const action = actionOf(code, at, scope, memory);
  const changes = action.kind !== "wait" && action.kind !== "invoke";
  if (changes && requireIdentity && memory.identified.size < 2)
    throw abort("condition-failed", `${nameOf(Directive, code)} before vendor and class were checked`);
  const done = (yield action) as Done;
  if (!done.ok) throw abort("operation-failed", `${nameOf(Directive, code)}: ${done.detail}`);
  // What was known of a dependency's envelope is so no more (trust-domains section 4.9.4).
  if (!changes) return;
  const changed = [at.component, ...(action.kind === "swap" ? [action.source] : [])];
  const touched = new Set(changed.map(componentName));
  for (const index of at.context.verified.keys())
    if (touched.has(componentName(at.context.component(index)))) at.context.verified.delete(index);
}

function actionOf(code: number, at: At, scope: Scope, memory: Memory): Action {
  const { component, parameters } = at;
  const args = bytesParameter(parameters, Parameter.INVOKE_ARGS);
  if (code === Directive.INVOKE) return { kind: "invoke", component, args };
  if (code === Directive.WAIT) {
    const info = bytesParameter(parameters, Parameter.WAIT_INFO);
    if (info === undefined) throw abort("operation-failed", "wait lacks what it waits for");
    return { kind: "wait", events: waitEvents(info) };
  }
  if (code === Directive.UNLINK) return unlink(at, memory);
  if (code === Directive.SWAP) {
    const source = sourceOf(at, scope);
    return { kind: "swap", component, source };
  }
  const transfer = {
    component,
    digest: digestParameter(parameters),
    size: uintParameter(parameters, Parameter.IMAGE_SIZE),
    encryption: bytesParameter(parameters, Parameter.ENCRYPTION_INFO),
    metadata: bytesParameter(parameters, Parameter.COMPONENT_METADATA),
  };
  if (code === Directive.COPY) return { ...transfer, kind: "copy", source: sourceOf(at, scope) };
  scope.uses(component, undefined);
  const isDependency = at.context.isDependency(at.index);
  if (code === Directive.WRITE) {
    const content = bytesParameter(parameters, Parameter.CONTENT);
    if (content === undefined) throw abort("operation-failed", "write lacks its content");
    return { ...transfer, kind: "store", content, isDependency };
  }
  const uri = parameters.get(Parameter.URI) as string | undefined;
  if (uri === undefined) throw abort("operation-failed", "fetch lacks its URI");
  const integrated = at.context.manifest.integrated.get(uri);
  if (integrated !== undefined) return { ...transfer, kind: "store", content: integrated, uri, isDependency };
  return { ...transfer, kind: "fetch", uri, args: bytesParameter(parameters, Parameter.FETCH_ARGUMENTS) };
}

function sourceOf(at: At, scope: Scope): ComponentId {
  const index = uintParameter(at.parameters, Parameter.SOURCE_COMPONENT);
  if (index === undefined) throw abort("operation-failed", "the source component is not set");
  if (index === at.index) throw abort("operation-failed", "a component cannot be its own source");
  const source = at.context.component(index);
  scope.uses(at.component, source);
  return source;
}

/** At most once for a component in a manifest. */
function unlink({ context, component }: At, { unlinked }: Memory): Action {
  const name = componentName(component);
  const once = `${toHex(context.open.digest)}/${name}`;
  if (unlinked.has(once)) throw abort("operation-failed", `component ${name} was unlinked by this manifest before`);
  unlinked.add(once);
  return { kind: "unlink", component };
}

/** What is fetched, written and checked follows from these. */
const DECISIVE: ReadonlySet<number> = new Set([
  Parameter.IMAGE_DIGEST,
  Parameter.IMAGE_SIZE,
  Parameter.CONTENT,
  Parameter.ENCRYPTION_INFO,
  Parameter.URI,
  Parameter.SOURCE_COMPONENT,
  Parameter.FETCH_ARGUMENTS,
]);

/** override-parameters, or set-parameters, which leaves alone what is set. */
export function setParameters(argument: CborValue, at: At, scope: Scope, override: boolean, plan?: PlanHooks): void {
  for (const [key, value] of checkParameters(argument)) {
    if (SCOPED.has(key)) setScoped(key, value as boolean, scope);
    else if (override || !at.parameters.has(key)) {
      at.parameters.set(key, value);
      if (DECISIVE.has(key)) plan?.set(at.component);
    }
  }
}

function setScoped(key: number, value: boolean, scope: Scope): void {
  if (key === Parameter.STRICT_ORDER) {
    scope.setOrder(value);
    return;
  }
  if (!scope.mayBeSoft) throw abort("operation-failed", "soft-failure is for try-each and run-sequence only");
  scope.setSoft(value);
}

/**
 * suit-directive-override-multiple (update-management section 5.7): parameters for components by their index. Returns
 * the last one, which is selected from then on.
 */
export function overrideMultiple(
  argument: CborValue,
  at: (index: number) => At,
  scope: Scope,
  plan?: PlanHooks,
): number {
  if (!isMap(argument) || argument.size === 0) throw abort("cbor-parse", "override-multiple takes a map");
  let last = 0;
  for (const [index, parameters] of argument) {
    last = indexOf(index);
    setParameters(parameters, at(last), scope, true, plan);
  }
  return last;
}

/** suit-directive-copy-params (section 5.8): parameters of other components, by their index. */
export function copyParameters(argument: CborValue, at: (index: number) => At, into: At, plan?: PlanHooks): void {
  if (!isMap(argument) || argument.size === 0) throw abort("cbor-parse", "copy-params takes a map");
  for (const [index, keys] of argument) {
    if (!isArray(keys)) throw abort("cbor-parse", "copy-params takes lists of parameters");
    const source = at(indexOf(index));
    plan?.act(source.component); // what is taken over has to be certain
    const from = source.parameters;
    for (const key of keys) {
      if (typeof key !== "number" || SCOPED.has(key)) throw abort("cbor-parse", "a parameter's key must be a number");
      const value = from.get(key);
      if (value === undefined) continue;
      into.parameters.set(key, value);
      if (DECISIVE.has(key)) plan?.set(into.component);
    }
  }
}

export function indexOf(value: CborValue): number {
  if (!isUint(value)) throw abort("cbor-parse", "a component index must be an unsigned integer");
  return value;
}

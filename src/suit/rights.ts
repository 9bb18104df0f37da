import { isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import { bytesEqual } from "../util/bytes.ts";
import type { ComponentId } from "./manifest.ts";

/** What an authority may do (draft -37 section 9): to components that begin so, by these directives; to and by all where one is absent. */
export interface Right {
  readonly component?: ComponentId | undefined;
  readonly actions?: readonly number[] | undefined;
}

/** A key that may sign software: for everything, where it has no list of rights. */
export type DeviceAuthority = Verifier & { readonly rights?: readonly Right[] | undefined };

const MAX_RIGHTS = 16;

/** Whether one of the rights covers a directive on a component; segment by segment. */
export function mayDo(rights: readonly Right[] | undefined, component: ComponentId, code: number): boolean {
  if (rights === undefined) return true;
  const beginsWith = (prefix: ComponentId): boolean =>
    prefix.every((segment, i) => component[i] !== undefined && bytesEqual(component[i], segment));
  return rights.some(
    ({ component: prefix, actions }) =>
      (prefix === undefined || beginsWith(prefix)) && (actions === undefined || actions.includes(code)),
  );
}

export const encodeRights = (rights: readonly Right[]): CborValue =>
  rights.map(({ component, actions }) => [component ?? null, actions ?? null]);

/** Undefined for what is no list of rights: it must not be taken for all of them. */
export function decodeRights(value: CborValue): readonly Right[] | undefined {
  if (!isArray(value) || value.length > MAX_RIGHTS) return undefined;
  const rights: Right[] = [];
  for (const entry of value) {
    if (!isArray(entry) || entry.length !== 2) return undefined;
    const [component, actions] = entry;
    const isPrefix = component === null || (isArray(component) && component.every(isBytes));
    const areActions = actions === null || (isArray(actions) && actions.every(isUint));
    if (!isPrefix || !areActions) return undefined;
    rights.push({
      ...(component === null ? {} : { component }),
      ...(actions === null ? {} : { actions }),
    });
  }
  return rights;
}

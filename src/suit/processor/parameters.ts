import { isArray, isBytes, isMap, isUint, type CborMap, type CborValue } from "../../codec/cbor.ts";
import { DigestAlgorithm, Parameter, PRIVATE_BELOW, SuitTag, VersionComparison, WaitEvent } from "../keys.ts";
import { decodeItem, isVersion } from "../manifest.ts";
import { abort } from "./failure.ts";
import { Tag } from "cbor-x";

export type Parameters = Map<number, CborValue>;

/** Events that all have to come (update-management section 4.5). */
export type WaitEvents = CborMap;

const isUuid = (value: CborValue): boolean => isBytes(value) && value.length === 16;
const isInt = (value: CborValue): boolean => Number.isSafeInteger(value);
const isBool = (value: CborValue): boolean => typeof value === "boolean";

/** What each parameter's value must be; one that is not here is not supported (draft -37 section 8.4.8). */
const SHAPES: ReadonlyMap<number, (value: CborValue) => boolean> = new Map<number, (value: CborValue) => boolean>([
  [Parameter.VENDOR_IDENTIFIER, (value) => isUuid(value) || (value instanceof Tag && value.tag === SuitTag.PEN)],
  [Parameter.CLASS_IDENTIFIER, isUuid],
  [Parameter.DEVICE_IDENTIFIER, isUuid],
  [Parameter.IMAGE_DIGEST, isBytes],
  [Parameter.USE_BEFORE, isUint],
  [Parameter.COMPONENT_SLOT, isUint],
  [Parameter.STRICT_ORDER, isBool],
  [Parameter.SOFT_FAILURE, isBool],
  [Parameter.IMAGE_SIZE, isUint],
  [Parameter.CONTENT, isBytes],
  [Parameter.ENCRYPTION_INFO, isBytes],
  [Parameter.URI, (value) => typeof value === "string"],
  [Parameter.SOURCE_COMPONENT, isUint],
  [Parameter.INVOKE_ARGS, isBytes],
  [Parameter.FETCH_ARGUMENTS, isBytes],
  [Parameter.MINIMUM_BATTERY, isUint],
  [Parameter.UPDATE_PRIORITY, isInt],
  [Parameter.VERSION, isBytes],
  [Parameter.WAIT_INFO, isBytes],
  [Parameter.COMPONENT_METADATA, isBytes],
]);

export const SUPPORTED_PARAMETERS: readonly number[] = [...SHAPES.keys()];

/** The entries of a set of parameters that a command brings. An unknown one aborts: it may matter (section 6.1). */
export function checkParameters(argument: CborValue): [number, CborValue][] {
  if (!isMap(argument) || argument.size === 0) throw abort("cbor-parse", "parameters must be a map that is not empty");
  return [...argument].map(([key, value]) => {
    if (typeof key !== "number") throw abort("cbor-parse", "a parameter's key must be a number");
    const shape = SHAPES.get(key);
    if (shape === undefined) {
      const whose = key < PRIVATE_BELOW ? "the vendor's own and " : "";
      throw abort("parameter-unsupported", `parameter ${key} is ${whose}not known here`);
    }
    if (!shape(value)) throw abort("cbor-parse", `parameter ${key} has a value of the wrong kind`);
    return [key, value];
  });
}

export const bytesParameter = (parameters: Parameters, key: number): Uint8Array | undefined =>
  parameters.get(key) as Uint8Array | undefined;

export const uintParameter = (parameters: Parameters, key: number): number | undefined =>
  parameters.get(key) as number | undefined;

/** SHA-256 of a SUIT_Digest in a byte string. */
export function readDigest(bytes: Uint8Array): Uint8Array {
  const digest = decodeItem(bytes);
  if (!isArray(digest) || !isBytes(digest[1])) throw abort("cbor-parse", "a SUIT_Digest is [algorithm, bytes]");
  if (digest[0] !== DigestAlgorithm.SHA_256 || digest[1].length !== 32)
    throw abort("alg-unsupported", "a digest must be SHA-256 (-16)");
  return digest[1];
}

export function digestParameter(parameters: Parameters): Uint8Array | undefined {
  const bytes = bytesParameter(parameters, Parameter.IMAGE_DIGEST);
  return bytes === undefined ? undefined : readDigest(bytes);
}

/** SUIT_Parameter_Version_Match (update-management section 4.4). */
export function versionMatch(bytes: Uint8Array): { readonly comparison: number; readonly version: readonly number[] } {
  const match = decodeItem(bytes);
  const [comparison, version] = isArray(match) ? match : [];
  if (!isUint(comparison) || !isVersion(version) || !Object.values(VersionComparison).includes(comparison as 1))
    throw abort("cbor-parse", "a version is matched by [comparison, [integers]]");
  return { comparison, version };
}

/** Compares as the draft says: integer by integer, for as many as the manifest names. */
export function matchesVersion(installed: readonly number[], comparison: number, version: readonly number[]): boolean {
  let order = 0;
  for (let i = 0; i < version.length && order === 0; i++) order = Math.sign((installed[i] ?? 0) - version[i]!);
  switch (comparison) {
    case VersionComparison.GREATER:
      return order > 0;
    case VersionComparison.GREATER_EQUAL:
      return order >= 0;
    case VersionComparison.EQUAL:
      return order === 0;
    case VersionComparison.LESSER_EQUAL:
      return order <= 0;
    default:
      return order < 0;
  }
}

const EVENTS: ReadonlySet<CborValue> = new Set<CborValue>(Object.values(WaitEvent));

export function waitEvents(bytes: Uint8Array): WaitEvents {
  const events = decodeItem(bytes);
  if (!isMap(events) || events.size === 0) throw abort("cbor-parse", "wait events must be a map that is not empty");
  for (const [event, value] of events) {
    if (!EVENTS.has(event))
      throw abort("parameter-unsupported", `wait event ${JSON.stringify(event)} is not known here`);
    const isOther = event === WaitEvent.OTHER_DEVICE_VERSION;
    if (isOther ? !isArray(value) : !Number.isSafeInteger(value))
      throw abort("cbor-parse", "a wait event is malformed");
  }
  return events;
}

import { decodeData } from "../codec/cbor-data.ts";
import { CborFloat, encodeData, type CborData } from "../codec/cbor-data-encode.ts";
import { isMap, tagged, type CborValue } from "../codec/cbor.ts";
import {
  decodeSenmlCbor,
  decodeSenmlJson,
  encodeSenmlCbor,
  encodeSenmlJson,
  type SenmlRecord,
} from "../codec/senml.ts";
import { utf8 } from "../util/bytes.ts";
import { typeOf, type DataType } from "./definitions.ts";
import { decodeLwM2mJson, encodeLwM2mJson } from "./json.ts";
import { isWithin, parsePath, pathText, type Path } from "./path.ts";
import type { Reading } from "./reading.ts";
import { fromTlv, toTlv } from "./tlv-content.ts";
import {
  ContentError,
  fromText,
  isObjectLink,
  linkText,
  parseLink,
  textOf,
  toText,
  typed,
  type ResourceValue,
} from "./values.ts";

/** Content-Formats of LwM2M (1.2 Core, section 7.4), and the numbers that TLV and JSON had before they were registered. */
export const Format = {
  TEXT: 0,
  LINK: 40,
  OPAQUE: 42,
  CBOR: 60,
  SENML_JSON: 110,
  SENML_CBOR: 112,
  OLD_TLV: 1_542,
  OLD_JSON: 1_543,
  OLD_OPAQUE: 1_544,
  TLV: 11_542,
  JSON: 11_543,
  LWM2M_CBOR: 11_544,
} as const;

/** Formats that have room for any part of the tree: one that a client took once it takes for the next question too. */
export const STRUCTURED: ReadonlySet<number> = new Set<number>([
  Format.SENML_JSON,
  Format.SENML_CBOR,
  Format.OLD_TLV,
  Format.OLD_JSON,
  Format.TLV,
  Format.JSON,
  Format.LWM2M_CBOR,
]);

/**
 * What the content of a Read, a Notify, a Send or a Write of `path` says, in whatever format. Throws
 * ContentError when it is not to be understood.
 */
export function decodeContent(format: number, bytes: Uint8Array, path: Path): Reading[] {
  try {
    return decode(format, bytes, path);
  } catch (error) {
    if (error instanceof ContentError) throw error;
    throw new ContentError((error as Error).message);
  }
}

function decode(format: number, bytes: Uint8Array, path: Path): Reading[] {
  switch (format) {
    case Format.TEXT:
      return [{ path: single(path), value: fromText(textOf(bytes), typeOf(path)) }];
    case Format.OPAQUE:
      return [{ path: single(path), value: bytes }];
    case Format.CBOR:
      return [{ path: single(path), value: fromCbor(decodeData(bytes), typeOf(path)) }];
    case Format.TLV:
    case Format.OLD_TLV:
      return fromTlv(bytes, path);
    case Format.JSON:
    case Format.OLD_JSON:
      return within(decodeLwM2mJson(bytes), path);
    case Format.SENML_JSON:
      return within(decodeSenmlJson(bytes).map(fromSenml), path);
    case Format.SENML_CBOR:
      return within(decodeSenmlCbor(bytes).map(fromSenml), path);
    case Format.LWM2M_CBOR:
      return within(fromNested(decodeData(bytes), []), path);
    default:
      throw new ContentError(`Content-Format ${format} is none of LwM2M`);
  }
}

/** The content of a Write, or of the answer to a Read, of `path`. Throws ContentError where the format has no form for it. */
export function encodeContent(format: number, path: Path, readings: readonly Reading[]): Uint8Array {
  const [first] = readings;
  switch (format) {
    case Format.TEXT:
      return utf8(toText(only(path, readings)));
    case Format.OPAQUE: {
      const value = only(path, readings);
      if (!(value instanceof Uint8Array)) throw new ContentError("only an opaque value is octets");
      return value;
    }
    case Format.CBOR:
      return encodeData(toCbor(only(path, readings), typeOf(first!.path)));
    case Format.TLV:
    case Format.OLD_TLV:
      return toTlv(path, readings);
    case Format.JSON:
    case Format.OLD_JSON:
      return encodeLwM2mJson(path, readings);
    case Format.SENML_JSON:
      return encodeSenmlJson(baseOf(path), readings.map(toSenml));
    case Format.SENML_CBOR:
      return encodeSenmlCbor(baseOf(path), readings.map(toSenml));
    case Format.LWM2M_CBOR:
      return encodeData(nested(readings));
    default:
      throw new ContentError(`Content-Format ${format} is none of LwM2M`);
  }
}

/** The paths of a Read-Composite or an Observe-Composite (1.1 Core, section 6.3.8). */
export function encodePaths(format: number, paths: readonly Path[]): Uint8Array {
  const records = paths.map((path): SenmlRecord => ({ name: pathText(path) }));
  if (format === Format.SENML_JSON) return encodeSenmlJson("", records);
  if (format === Format.SENML_CBOR) return encodeSenmlCbor("", records);
  throw new ContentError(`a composite operation is in SenML, not in Content-Format ${format}`);
}

/** As they come to a client. */
export function decodePaths(format: number, bytes: Uint8Array): Path[] {
  const records = format === Format.SENML_JSON ? decodeSenmlJson(bytes) : decodeSenmlCbor(bytes);
  return records.map(({ name }) => pathOf(name));
}

function single(path: Path): Path {
  if (path.length < 3) throw new ContentError(`${pathText(path)} has more than one value`);
  return path;
}

function only(path: Path, readings: readonly Reading[]): ResourceValue {
  const [first, ...more] = readings;
  if (first === undefined || more.length > 0) throw new ContentError(`${pathText(path)} has not just one value`);
  return first.value;
}

function within(readings: Reading[], path: Path): Reading[] {
  for (const { path: of } of readings) {
    if (!isWithin(of, path)) throw new ContentError(`${pathText(of)} is not in ${pathText(path)}`);
    if (of.length < 3) throw new ContentError(`${pathText(of)} is no resource, but has a value`);
  }
  return readings;
}

function pathOf(name: string): Path {
  const path = parsePath(name);
  if (path === undefined) throw new ContentError(`${JSON.stringify(name)} is no path`);
  return path;
}

/** The base name: what all names begin with, up to and with a slash. */
const baseOf = (path: Path): string => (path.length === 0 || path.length > 2 ? "" : `${pathText(path)}/`);

function fromSenml({ name, value, link, timeS }: SenmlRecord): Reading {
  const path = pathOf(name);
  const time = timeS === undefined ? {} : { timeS };
  if (link !== undefined) return { path, value: parseLink(link), ...time };
  if (value === undefined) throw new ContentError(`${name} has no value`);
  return { path, value: typed(value instanceof CborFloat ? value.value : value, typeOf(path)), ...time };
}

function toSenml({ path, value, timeS }: Reading): SenmlRecord {
  const name = pathText(path);
  const time = timeS === undefined ? {} : { timeS };
  if (isObjectLink(value)) return { name, link: linkText(value), ...time };
  return { name, value: floatWhereFloat(value, typeOf(path)), ...time };
}

function fromCbor(value: CborValue, type: DataType | undefined): ResourceValue {
  const simple =
    value instanceof Uint8Array || ["string", "number", "bigint", "boolean"].includes(typeof value)
      ? (value as string | number | bigint | boolean | Uint8Array)
      : undefined;
  if (simple === undefined) throw new ContentError("the value is not one of a resource");
  return typed(simple, type);
}

function toCbor(value: ResourceValue, type: DataType | undefined): CborData {
  if (isObjectLink(value)) return linkText(value);
  return type === "time" ? tagged(1, value) : floatWhereFloat(value, type);
}

/** A whole number of a resource that is a float is sent as one: Leshan, for one, takes no integer for it. */
function floatWhereFloat<T extends ResourceValue>(value: T, type: DataType | undefined): T | CborFloat {
  return type === "float" && typeof value === "number" ? new CborFloat(value) : value;
}

/** LwM2M CBOR (1.2 Core, section 7.4.7): maps in maps, by IDs or by parts of a path in one. */
function fromNested(value: CborValue, path: Path): Reading[] {
  if (!isMap(value)) {
    if (path.length < 3) throw new ContentError(`${pathText(path)} has a value, but is no resource`);
    return [{ path, value: fromCbor(value, typeOf(path)) }];
  }
  const out: Reading[] = [];
  for (const [key, item] of value) {
    const ids = Array.isArray(key) ? (key as CborValue[]) : [key];
    const deeper = pathOf(pathText([...path, ...(ids as number[])]));
    if (ids.length === 0 || deeper.length !== path.length + ids.length)
      throw new ContentError("a key of LwM2M CBOR is an ID, or several");
    out.push(...fromNested(item, deeper));
  }
  return out;
}

type Nested = Map<CborData, CborData>;

function nested(readings: readonly Reading[]): Nested {
  const root: Nested = new Map();
  for (const { path, value } of readings) {
    let at = root;
    for (const id of path.slice(0, -1)) {
      const next = at.get(id);
      if (next !== undefined && !(next instanceof Map))
        throw new ContentError(`${pathText(path)} is a value and has instances`);
      const map = (next as Nested | undefined) ?? new Map();
      at.set(id, map);
      at = map;
    }
    at.set(path.at(-1)!, toCbor(value, typeOf(path)));
  }
  return root;
}

import { fromUtf8, toBase64Url, utf8 } from "../util/bytes.ts";
import { narrow } from "../util/integers.ts";
import type { DataType } from "./definitions.ts";

/** A link to an object instance; 65535 in both stands for none (LwM2M 1.1 Core, appendix C). */
export interface ObjectLink {
  readonly object: number;
  readonly instance: number;
}

/** Times are numbers, in seconds since 1970; integers beyond 2^53 are bigints. */
export type ResourceValue = string | number | bigint | boolean | Uint8Array | ObjectLink;

export class ContentError extends Error {}

export function isObjectLink(value: ResourceValue): value is ObjectLink {
  return typeof value === "object" && !(value instanceof Uint8Array);
}

export const linkText = ({ object, instance }: ObjectLink): string => `${object}:${instance}`;

export function parseLink(text: string): ObjectLink {
  const match = /^(\d{1,5}):(\d{1,5})$/.exec(text);
  const [object, instance] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || object > 0xffff || instance > 0xffff)
    throw new ContentError(`${JSON.stringify(text)} is no object link`);
  return { object, instance };
}

/** The value of a TLV (appendix C, table C-1); bytes where the type is not known. */
export function fromTlvBytes(bytes: Uint8Array, type: DataType | undefined): ResourceValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (type) {
    case "string":
    case "corelnk":
      return textOf(bytes);
    case "integer":
    case "time":
      return signed(view);
    case "unsigned":
      return unsigned(view);
    case "float":
      if (bytes.length === 4) return view.getFloat32(0);
      if (bytes.length === 8) return view.getFloat64(0);
      throw new ContentError(`a float has 4 or 8 bytes, not ${bytes.length}`);
    case "boolean":
      if (bytes.length !== 1 || bytes[0]! > 1) throw new ContentError("a boolean is one byte, 0 or 1");
      return bytes[0] === 1;
    case "objlnk":
      if (bytes.length !== 4) throw new ContentError(`an object link has 4 bytes, not ${bytes.length}`);
      return { object: view.getUint16(0), instance: view.getUint16(2) };
    case "opaque":
    case "none":
    case undefined:
      break;
  }
  return bytes;
}

export function toTlvBytes(value: ResourceValue, type: DataType | undefined): Uint8Array {
  if (typeof value === "string") return utf8(value);
  if (value instanceof Uint8Array) return value;
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  if (isObjectLink(value)) {
    const { object, instance } = value;
    return Uint8Array.of(object >> 8, object & 0xff, instance >> 8, instance & 0xff);
  }
  if (type === "float" || (typeof value === "number" && !Number.isInteger(value))) {
    const out = new DataView(new ArrayBuffer(8));
    out.setFloat64(0, Number(value));
    return new Uint8Array(out.buffer);
  }
  return integerBytes(BigInt(value), type === "unsigned");
}

/** The value of a text (section 7.4.1). */
export function fromText(text: string, type: DataType | undefined): ResourceValue {
  switch (type) {
    case "integer":
    case "time":
    case "unsigned": {
      if (!/^-?\d{1,20}$/.test(text)) throw new ContentError(`${JSON.stringify(text)} is no integer`);
      return narrow(BigInt(text));
    }
    case "float": {
      const value = Number(text);
      if (text.trim() === "" || Number.isNaN(value)) throw new ContentError(`${JSON.stringify(text)} is no number`);
      return value;
    }
    case "boolean":
      if (!["0", "1", "false", "true"].includes(text))
        throw new ContentError(`${JSON.stringify(text)} is no boolean, which is 0 or 1`);
      return text === "1" || text === "true";
    case "objlnk":
      return parseLink(text);
    case "opaque":
      return fromBase64(text);
    case "string":
    case "corelnk":
    case "none":
    case undefined:
      break;
  }
  return text;
}

export function toText(value: ResourceValue): string {
  if (typeof value === "boolean") return value ? "1" : "0";
  if (value instanceof Uint8Array) return toBase64(value);
  return isObjectLink(value) ? linkText(value) : String(value);
}

/** What a format that tells numbers, texts and bytes apart gave, as the type has it. */
export function typed(
  value: string | number | bigint | boolean | Uint8Array,
  type: DataType | undefined,
): ResourceValue {
  const wanted = JS_TYPES[type ?? "none"];
  if (type === "objlnk" && typeof value === "string") return parseLink(value);
  // A format without data has opaque values as base64url text, and some have numbers as texts.
  const fits = wanted === undefined || (value instanceof Uint8Array ? "bytes" : typeof value) === wanted;
  if (!fits && !(wanted === "number" && typeof value === "bigint"))
    throw new ContentError(`${String(value)} is no ${type}`);
  if ((type === "integer" || type === "unsigned") && typeof value === "number" && !Number.isInteger(value))
    throw new ContentError(`${value} is no integer`);
  return typeof value === "bigint" ? narrow(value) : value;
}

const JS_TYPES: Partial<Record<DataType, "string" | "number" | "boolean" | "bytes">> = {
  string: "string",
  corelnk: "string",
  integer: "number",
  unsigned: "number",
  float: "number",
  time: "number",
  boolean: "boolean",
  opaque: "bytes",
};

export function textOf(bytes: Uint8Array): string {
  const text = fromUtf8(bytes);
  if (text === undefined) throw new ContentError("the text is not UTF-8");
  return text;
}

function signed(view: DataView): number | bigint {
  switch (view.byteLength) {
    case 0:
      return 0; // some clients leave a zero out
    case 1:
      return view.getInt8(0);
    case 2:
      return view.getInt16(0);
    case 4:
      return view.getInt32(0);
    case 8:
      return narrow(view.getBigInt64(0));
    default:
      throw new ContentError(`an integer has 1, 2, 4 or 8 bytes, not ${view.byteLength}`);
  }
}

function unsigned(view: DataView): number | bigint {
  switch (view.byteLength) {
    case 0:
      return 0;
    case 1:
      return view.getUint8(0);
    case 2:
      return view.getUint16(0);
    case 4:
      return view.getUint32(0);
    case 8:
      return narrow(view.getBigUint64(0));
    default:
      throw new ContentError(`an integer has 1, 2, 4 or 8 bytes, not ${view.byteLength}`);
  }
}

/**
 * Big-endian, in the least of 1, 2, 4 and 8 bytes in which the first bit is that of the sign: of an unsigned number too,
 * up to 8 bytes, since some read it as a signed one.
 */
function integerBytes(value: bigint, isUnsigned: boolean): Uint8Array {
  for (const bytes of [1, 2, 4, 8]) {
    const half = 1n << BigInt(bytes * 8 - 1);
    const most = isUnsigned && bytes === 8 ? 2n * half - 1n : half - 1n;
    if (value < (isUnsigned ? 0n : -half) || value > most) continue;
    const out = new Uint8Array(bytes);
    let rest = BigInt.asUintN(bytes * 8, value);
    for (let i = bytes - 1; i >= 0; i--) {
      out[i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
    return out;
  }
  throw new ContentError(`${value} does not fit 64 bits`);
}

function toBase64(bytes: Uint8Array): string {
  const url = toBase64Url(bytes).replaceAll("-", "+").replaceAll("_", "/");
  return url.padEnd(Math.ceil(url.length / 4) * 4, "=");
}

function fromBase64(text: string): Uint8Array {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.replaceAll("=", "").length % 4 === 1)
    throw new ContentError("opaque text is base64");
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

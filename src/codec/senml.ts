import { fromUtf8, toBase64Url, utf8 } from "../util/bytes.ts";
import { narrow } from "../util/integers.ts";
import { decodeData } from "./cbor-data.ts";
import { CborFloat, encodeData, type CborData } from "./cbor-data-encode.ts";
import { isArray, isMap, type CborValue } from "./cbor.ts";

/** `CborFloat` only of what is to be written. */
export type SenmlValue = number | bigint | string | boolean | Uint8Array | CborFloat;

/** One resolved record of RFC 8428 section 4.6: its whole name, and its absolute or relative time. */
export interface SenmlRecord {
  readonly name: string;
  /** Absent in a record that only names something, as in a Read-Composite. */
  readonly value?: SenmlValue;
  /** An object link of LwM2M, `10/1` as `10:1` (LwM2M 1.1 Core, section 7.4.4). */
  readonly link?: string;
  /** Seconds since 1970; absent when the pack does not say. */
  readonly timeS?: number;
}

export class SenmlError extends Error {}

/** Labels of RFC 8428 sections 5 and 6, and `vlo` of LwM2M. */
const LABELS: readonly (readonly [json: string, cbor: number])[] = [
  ["bver", -1],
  ["bn", -2],
  ["bt", -3],
  ["bu", -4],
  ["bv", -5],
  ["bs", -6],
  ["n", 0],
  ["u", 1],
  ["v", 2],
  ["vs", 3],
  ["vb", 4],
  ["s", 5],
  ["t", 6],
  ["ut", 7],
  ["vd", 8],
];
const NAMES = new Map<CborValue, string>(LABELS.map(([json, cbor]) => [cbor, json]));
const NUMBERS = new Map(LABELS);
const MAX_RECORDS = 1_024;

type Fields = ReadonlyMap<string, unknown>;

/** Decodes a SenML JSON pack; a fault throws SenmlError. */
export function decodeSenmlJson(bytes: Uint8Array): SenmlRecord[] {
  const json = fromUtf8(bytes);
  if (json === undefined) throw new SenmlError("SenML: not UTF-8");
  let pack: unknown;
  try {
    pack = parseExactJson(json);
  } catch (error) {
    throw new SenmlError(`SenML: ${(error as Error).message}`);
  }
  if (!Array.isArray(pack)) throw new SenmlError("SenML: a pack is an array");
  return resolve(
    pack.map((record: unknown): Fields => {
      if (typeof record !== "object" || record === null || Array.isArray(record))
        throw new SenmlError("SenML: a record is an object");
      const fields = new Map<string, unknown>(Object.entries(record));
      const data = fields.get("vd");
      if (typeof data === "string") fields.set("vd", fromBase64Url(data));
      return fields;
    }),
  );
}

/** Decodes a SenML CBOR pack; a fault throws SenmlError or CborError. */
export function decodeSenmlCbor(bytes: Uint8Array): SenmlRecord[] {
  const pack = decodeData(bytes);
  if (!isArray(pack)) throw new SenmlError("SenML: a pack is an array");
  return resolve(
    pack.map((record): Fields => {
      if (!isMap(record)) throw new SenmlError("SenML: a record is a map");
      return new Map([...record].map(([key, value]) => [labelFor(key), value]));
    }),
  );
}

/** The name of a label; what is no label and no text is as good as unknown (section 4.4). */
function labelFor(key: CborValue): string {
  return NAMES.get(key) ?? (typeof key === "string" ? key : "unknown");
}

/** Adds base names, times and values to the records that they hold for (section 4.1). */
function resolve(pack: readonly Fields[]): SenmlRecord[] {
  if (pack.length > MAX_RECORDS) throw new SenmlError(`SenML: more than ${MAX_RECORDS} records`);
  const out: SenmlRecord[] = [];
  let [baseName, baseTime, baseValue] = ["", undefined as number | undefined, 0];
  for (const fields of pack) {
    for (const label of fields.keys())
      if (label.endsWith("_")) throw new SenmlError(`SenML: ${label} must be understood`); // section 4.4
    baseName = text(fields, "bn") ?? baseName;
    baseTime = number(fields, "bt") ?? baseTime;
    baseValue = number(fields, "bv") ?? baseValue;
    const name = baseName + (text(fields, "n") ?? "");
    const time = number(fields, "t");
    const timeS = time === undefined && baseTime === undefined ? undefined : (time ?? 0) + (baseTime ?? 0);
    const value = valueOf(fields, baseValue);
    const link = text(fields, "vlo");
    // A record with nothing but base fields says something of those that follow.
    if (value === undefined && link === undefined && !fields.has("n") && fields.has("bn") && pack.length > 1) continue;
    out.push({
      name,
      ...(value === undefined ? {} : { value }),
      ...(link === undefined ? {} : { link }),
      ...(timeS === undefined ? {} : { timeS }),
    });
  }
  return out;
}

function valueOf(fields: Fields, baseValue: number): SenmlValue | undefined {
  const found = ["v", "vs", "vb", "vd", "vlo"].filter((label) => fields.has(label));
  if (found.length > 1) throw new SenmlError("SenML: a record has one value");
  const exact = fields.get("v");
  if (typeof exact === "bigint" && baseValue === 0) return exact;
  const value = number(fields, "v");
  if (value !== undefined) return value + baseValue;
  const [flag, data] = [fields.get("vb"), fields.get("vd")];
  if (flag !== undefined && typeof flag !== "boolean") throw new SenmlError("SenML: vb is a boolean");
  if (data !== undefined && !(data instanceof Uint8Array)) throw new SenmlError("SenML: vd is data");
  return text(fields, "vs") ?? flag ?? data;
}

function text(fields: Fields, label: string): string | undefined {
  const value = fields.get(label);
  if (value !== undefined && typeof value !== "string") throw new SenmlError(`SenML: ${label} is a string`);
  return value;
}

function number(fields: Fields, label: string): number | undefined {
  const value = fields.get(label);
  if (typeof value === "bigint") return Number(value);
  if (value !== undefined && typeof value !== "number") throw new SenmlError(`SenML: ${label} is a number`);
  return value;
}

export function encodeSenmlJson(baseName: string, records: readonly SenmlRecord[]): Uint8Array {
  const pack = records.map((record, i) => {
    const { value } = record;
    const data = value instanceof Uint8Array ? toBase64Url(value) : value instanceof CborFloat ? value.value : value;
    return Object.fromEntries(
      entries(baseName, record, i).map(([label, item]) => [label, item === value ? data : item]),
    );
  });
  return utf8(exactJson(pack));
}

/** Marks an integer on its way through JSON.parse, which would round it. */
const INTEGER = "\uf8ffinteger:";

/** As JSON.parse, but integers beyond 2^53 are bigints. Throws SyntaxError. */
export function parseExactJson(json: string): unknown {
  // Whole tokens are matched, so that no part of a string or of a fraction is taken for an integer;
  // a text without an end is one too, or else each of its quotes would be tried anew.
  const tokens = /"(?:[^"\\]|\\[^])*"?|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  const marked = json.replaceAll(tokens, (token) => (/^-?\d{16,20}$/.test(token) ? `"${INTEGER}${token}"` : token));
  return JSON.parse(marked, (_key, item: unknown) => {
    if (typeof item !== "string" || !item.startsWith(INTEGER)) return item;
    return narrow(BigInt(item.slice(INTEGER.length)));
  });
}

/** JSON whose integers beyond 2^53 are whole: JSON.stringify knows none. */
export function exactJson(value: unknown): string {
  const json = JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? `\u0000${item}` : item));
  return json.replaceAll(/"\\u0000(-?\d+)"/g, "$1");
}

export function encodeSenmlCbor(baseName: string, records: readonly SenmlRecord[]): Uint8Array {
  const pack = records.map(
    (record, i): ReadonlyMap<CborData, CborData> =>
      new Map(entries(baseName, record, i).map(([label, item]) => [NUMBERS.get(label) ?? label, item as CborData])),
  );
  return encodeData(pack);
}

/** The fields of one record; the first one says the base name, which all begin with. */
function entries(baseName: string, { name, value, link, timeS }: SenmlRecord, i: number): [string, unknown][] {
  const out: [string, unknown][] = [];
  if (i === 0 && baseName !== "") out.push(["bn", baseName]);
  const rest = name.slice(baseName.length);
  if (rest !== "") out.push(["n", rest]);
  if (timeS !== undefined) out.push(["t", timeS]);
  if (link !== undefined) out.push(["vlo", link]);
  if (value !== undefined) out.push([labelOf(value), value]);
  return out;
}

function labelOf(value: SenmlValue): string {
  if (typeof value === "number" || typeof value === "bigint" || value instanceof CborFloat) return "v";
  if (typeof value === "string") return "vs";
  return typeof value === "boolean" ? "vb" : "vd";
}

function fromBase64Url(data: string): Uint8Array {
  const bare = data.endsWith("==") ? data.slice(0, -2) : data.endsWith("=") ? data.slice(0, -1) : data;
  if (!/^[A-Za-z0-9_-]*$/.test(bare) || bare.length % 4 === 1) throw new SenmlError("SenML: vd is base64url");
  const binary = atob(bare.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

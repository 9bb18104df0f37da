import { exactJson, parseExactJson } from "../codec/senml.ts";
import { utf8 } from "../util/bytes.ts";
import type { Reading } from "./reading.ts";
import { definitionOf, typeOf } from "./definitions.ts";
import { parsePath, pathText, type Path } from "./path.ts";
import { ContentError, fromText, isObjectLink, linkText, parseLink, textOf, toText, typed } from "./values.ts";

/** LwM2M JSON, format 11543 (LwM2M 1.0, section 6.4.4): an object with a base name and entries. */
export function decodeLwM2mJson(bytes: Uint8Array): Reading[] {
  let content: unknown;
  try {
    content = parseExactJson(textOf(bytes));
  } catch (error) {
    throw new ContentError(`LwM2M JSON: ${(error as Error).message}`);
  }
  const { bn = "", bt, e } = (content ?? {}) as { bn?: unknown; bt?: unknown; e?: unknown };
  if (typeof bn !== "string" || !Array.isArray(e)) throw new ContentError("LwM2M JSON has a base name and entries");
  return e.map((entry: unknown) => readEntry(bn, bt, (entry ?? {}) as Record<string, unknown>));
}

function readEntry(bn: string, bt: unknown, { n = "", t, v, bv, sv, ov }: Record<string, unknown>): Reading {
  const name = `${bn}${String(n)}`.replace(/\/$/, "");
  const whole = parsePath(name);
  // Wakaama of 1.0 says the resource twice where it is read by itself: /3/0/3/3, which is no resource instance then.
  const twice = whole?.length === 4 && whole[2] === whole[3] && definitionOf(whole[0]!, whole[2]!)?.multiple === false;
  const path = twice ? whole.slice(0, 3) : whole;
  if (path === undefined || path.length < 3) throw new ContentError(`${JSON.stringify(name)} is no resource`);
  const times = [bt, t].filter((time) => typeof time === "number");
  const time = times.length === 0 ? {} : { timeS: times.reduce((sum, part) => sum + part, 0) };
  const type = typeOf(path);
  if (typeof ov === "string") return { path, value: parseLink(ov), ...time };
  // An opaque value is a text in base64.
  if (typeof sv === "string") return { path, value: type === "opaque" ? fromText(sv, type) : typed(sv, type), ...time };
  if (typeof v === "number" || typeof v === "bigint" || typeof bv === "boolean")
    return { path, value: typed((v as number | bigint | undefined) ?? (bv as boolean), type), ...time };
  throw new ContentError(`${name} has no value`);
}

export function encodeLwM2mJson(path: Path, readings: readonly Reading[]): Uint8Array {
  // A resource is named below its instance: Wakaama finds none in a base name alone.
  const above = path.slice(0, 2);
  const base = above.length === 0 ? "/" : `${pathText(above)}/`;
  const e = readings.map(({ path: of, value, timeS }) => {
    const name = pathText(of).slice(base.length);
    const field = isObjectLink(value)
      ? { ov: linkText(value) }
      : typeof value === "number" || typeof value === "bigint"
        ? { v: value }
        : typeof value === "boolean"
          ? { bv: value }
          : { sv: toText(value) };
    return { ...(name === "" ? {} : { n: name }), ...field, ...(timeS === undefined ? {} : { t: timeS }) };
  });
  return utf8(exactJson({ bn: base, e }));
}

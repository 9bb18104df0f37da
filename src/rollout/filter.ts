import { compareVersions } from "../util/versions.ts";
import type { FleetDevice } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";

/** What a filter may ask for. Times are in days since the device was heard of. */
export const ATTRIBUTES = [
  "endpoint",
  "class",
  "version",
  "tag",
  "battery",
  "linkQuality",
  "loss",
  "hops",
  "notSeenDays",
  "gateway",
  "registered",
  "queueMode",
] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

type Comparator = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "out";

export type Filter =
  | { readonly kind: "all" }
  | { readonly kind: "and" | "or"; readonly parts: readonly Filter[] }
  | {
      readonly kind: "compare";
      readonly attribute: Attribute;
      readonly comparator: Comparator;
      readonly values: readonly string[];
    };

/** A filter that is none; the message says where and what was expected. */
export class FilterError extends Error {}

const ALL: Filter = { kind: "all" };
const TOKEN =
  /\s*(?:(==|!=|=(?:lt|le|gt|ge|in|out)=|<=|>=|<|>)|([();,])|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s"'();,=<>!]+))/y;
const LONG: Readonly<Record<string, Comparator>> = {
  "=lt=": "<",
  "=le=": "<=",
  "=gt=": ">",
  "=ge=": ">=",
  "=in=": "in",
  "=out=": "out",
};

interface Token {
  readonly kind: "comparator" | "sign" | "word" | "end";
  readonly text: string;
  readonly at: number;
}

/**
 * Reads RSQL, as hawkBit's target filters have it: `class==sensor-a;version=lt=2.0;tag=in=(lab,"roof 2")`, where `;` or
 * `and` binds closer than `,` or `or`. An empty text means all devices. Throws a FilterError.
 */
export function parseFilter(text: string): Filter {
  if (text.length > ROLLOUT_LIMITS.maxFilter)
    throw new FilterError(`a filter has at most ${ROLLOUT_LIMITS.maxFilter} characters`);
  const tokens = tokensOf(text);
  if (tokens[0]!.kind === "end") return ALL;
  const parser = new Parser(tokens);
  const filter = parser.any(0);
  parser.expect("end", "`;`, `,` or the end");
  return filter;
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) {
      if (text.slice(at).trim() === "") break;
      throw new FilterError(`at ${at + 1}: cannot read ${text.slice(at, at + 12).trim()}`);
    }
    const [, comparator, sign, double, single, word] = match;
    const quoted = double ?? single;
    if (comparator !== undefined) tokens.push({ kind: "comparator", text: comparator, at });
    else if (sign !== undefined) tokens.push({ kind: "sign", text: sign, at });
    else if (quoted !== undefined) tokens.push({ kind: "word", text: quoted.replaceAll(/\\(.)/g, "$1"), at });
    else if (word === "and" || word === "or") tokens.push({ kind: "sign", text: word === "and" ? ";" : ",", at });
    else tokens.push({ kind: "word", text: word!, at });
  }
  return [...tokens, { kind: "end", text: "", at: text.length }];
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  any(depth: number): Filter {
    return this.#list(",", "or", () => this.#every(depth));
  }

  #every(depth: number): Filter {
    return this.#list(";", "and", () => this.#one(depth));
  }

  #list(sign: string, kind: "and" | "or", part: () => Filter): Filter {
    const parts = [part()];
    while (this.#takes(sign)) parts.push(part());
    return parts.length === 1 ? parts[0]! : { kind, parts };
  }

  #one(depth: number): Filter {
    if (depth > ROLLOUT_LIMITS.maxFilterDepth) throw new FilterError("its parentheses go too deep");
    if (this.#takes("(")) {
      const inner = this.any(depth + 1);
      this.#sign(")");
      return inner;
    }
    const name = this.expect("word", "an attribute");
    const attribute = ATTRIBUTES.find((known) => known === name.text);
    if (attribute === undefined)
      throw new FilterError(`at ${name.at + 1}: ${name.text} is none of ${ATTRIBUTES.join(", ")}`);
    const { text } = this.expect("comparator", "==, !=, =lt=, =le=, =gt=, =ge=, =in= or =out=");
    const comparator = LONG[text] ?? (text as Comparator);
    const values = comparator === "in" || comparator === "out" ? this.#values() : [this.#value()];
    for (const value of values) checkValue(attribute, comparator, value, name.at);
    return { kind: "compare", attribute, comparator, values };
  }

  #values(): string[] {
    this.#sign("(");
    const values = [this.#value()];
    while (this.#takes(",")) values.push(this.#value());
    this.#sign(")");
    return values;
  }

  #value(): string {
    return this.expect("word", "a value").text;
  }

  #takes(sign: string): boolean {
    const token = this.#tokens[this.#next]!;
    if (token.kind !== "sign" || token.text !== sign) return false;
    this.#next++;
    return true;
  }

  #sign(sign: string): void {
    if (!this.#takes(sign)) throw new FilterError(`at ${this.#tokens[this.#next]!.at + 1}: ${sign} is missing`);
  }

  expect(kind: Token["kind"], what: string): Token {
    const token = this.#tokens[this.#next]!;
    if (token.kind !== kind) throw new FilterError(`at ${token.at + 1}: ${what} is missing`);
    this.#next++;
    return token;
  }
}

const NUMBERS: ReadonlySet<Attribute> = new Set(["battery", "linkQuality", "loss", "hops", "notSeenDays"]);
const FLAGS: ReadonlySet<Attribute> = new Set(["registered", "queueMode"]);
const ORDERED: ReadonlySet<Comparator> = new Set(["<", "<=", ">", ">="]);

/** What no device can have would silently match none. */
function checkValue(attribute: Attribute, comparator: Comparator, value: string, at: number): void {
  const wrong = (what: string): FilterError => new FilterError(`at ${at + 1}: ${attribute} ${what}, not ${value}`);
  if (NUMBERS.has(attribute)) {
    if (value.trim() === "" || !Number.isFinite(Number(value))) throw wrong("is a number");
  } else if (FLAGS.has(attribute) && value !== "true" && value !== "false") throw wrong("is true or false");
  else if (ORDERED.has(comparator) && attribute !== "version")
    throw wrong("has no order (== != =in= and =out= compare it)");
}

const DAY_MS = 86_400_000;

/** What a device has of an attribute; empty where it is not known. */
function valuesOf(device: FleetDevice, attribute: Attribute, nowMs: number): readonly string[] {
  const one = (value: string | number | boolean | null | undefined): string[] =>
    value === undefined || value === null ? [] : [String(value)];
  if (attribute === "tag") return device.tags;
  if (attribute === "notSeenDays")
    return one(device.lastSeenMs === undefined ? undefined : (nowMs - device.lastSeenMs) / DAY_MS);
  return one(device[attribute]);
}

/** Whether a device is meant; undefined when it depends on what is not known of it. */
export function matches(filter: Filter, device: FleetDevice, nowMs: number): boolean | undefined {
  if (filter.kind === "all") return true;
  if (filter.kind === "compare") return compare(filter, device, nowMs);
  const results = new Set(filter.parts.map((part) => matches(part, device, nowMs)));
  const decisive = filter.kind === "or";
  if (results.has(decisive)) return decisive;
  return results.has(undefined) ? undefined : !decisive;
}

function compare(filter: Filter & { kind: "compare" }, device: FleetDevice, nowMs: number): boolean | undefined {
  const { attribute, comparator, values } = filter;
  const has = valuesOf(device, attribute, nowMs);
  const isOne = (): boolean => has.some((value) => values.some((wanted) => isLike(value, wanted)));
  if (comparator === "!=" || comparator === "out") return !isOne();
  if (has.length === 0) return attribute === "tag" ? false : undefined;
  if (comparator === "==" || comparator === "in") return isOne();
  return has.some((value) => {
    const order = attribute === "version" ? compareVersions(value, values[0]!) : Number(value) - Number(values[0]);
    if (comparator === "<") return order < 0;
    if (comparator === "<=") return order <= 0;
    return comparator === ">" ? order > 0 : order >= 0;
  });
}

/** Equal, where `*` stands for any characters. */
function isLike(value: string, pattern: string): boolean {
  const parts = pattern.split("*");
  if (parts.length === 1) return value === pattern;
  const [first, last] = [parts[0]!, parts.at(-1)!];
  if (!value.startsWith(first) || !value.endsWith(last) || value.length < first.length + last.length) return false;
  let at = first.length;
  const end = value.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = value.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

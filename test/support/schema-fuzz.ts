import fc from "fast-check";

export interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly default?: unknown;
}

const NASTY: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1e308,
  "",
  "\u0000",
  "../../etc/passwd",
  "%00",
  "__proto__",
  "😀".repeat(50),
  "A".repeat(5_000),
  [],
  {},
  [[[[[[]]]]]],
  { __proto__: { admin: true } },
  "2026-13-45T99:99:99Z",
  Number.MAX_SAFE_INTEGER,
];

/** Values that a schema allows, and now and then some that it does not. */
export function arbitraryOf(schema: Schema, wrong = 0.1): fc.Arbitrary<unknown> {
  const sound = soundOf(schema, wrong);
  return fc.double({ min: 0, max: 1, noNaN: true }).chain((draw) => (draw < wrong ? fc.constantFrom(...NASTY) : sound));
}

function soundOf(schema: Schema, wrong: number): fc.Arbitrary<unknown> {
  if ("const" in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (choices !== undefined) return fc.oneof(...choices.map((one) => arbitraryOf(one, wrong)));
  if (schema.type === "object" || schema.properties !== undefined) return objectOf(schema, wrong);
  if (schema.type === "array") return fc.array(arbitraryOf(schema.items ?? {}, wrong), { maxLength: 3 });
  if (schema.type === "boolean") return fc.boolean();
  if (schema.type === "integer" || schema.type === "number") return numberOf(schema);
  if (schema.type === "string") return stringOf(schema);
  return fc.constantFrom(...NASTY);
}

function objectOf(
  { properties = {}, required = [], additionalProperties }: Schema,
  wrong: number,
): fc.Arbitrary<unknown> {
  const keys = Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, arbitraryOf(value, wrong)]));
  const known = fc.record(keys, { requiredKeys: required.filter((key) => key in keys) });
  if (typeof additionalProperties !== "object") return known;
  return fc.dictionary(fc.stringMatching(/^[0-9a-f]{64}$/), arbitraryOf(additionalProperties, wrong), { maxKeys: 3 });
}

function numberOf({ type, minimum = -1e6, maximum = 1e6 }: Schema): fc.Arbitrary<unknown> {
  const [low, high] = [Math.max(minimum, -1e9), Math.min(maximum, 1e9)];
  return type === "integer"
    ? fc.integer({ min: Math.ceil(low), max: Math.floor(high) })
    : fc.double({ min: low, max: high, noNaN: true });
}

function stringOf({ pattern, format, minLength = 0, maxLength = 40 }: Schema): fc.Arbitrary<unknown> {
  if (format === "date-time") return fc.constantFrom("2030-01-01T00:00:00Z", "1999-12-31T23:59:59+02:00");
  if (format === "base64")
    return fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes).toString("base64"));
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  return fc.oneof(
    fc.string({ minLength, maxLength: Math.min(maxLength, 40), unit: "binary" }),
    fc.constantFrom("m0", "2.0.0", "/5/0", "/3/0/9", "version==1", "tag==a,(b", "0 2 * * *", "UTC"),
  );
}

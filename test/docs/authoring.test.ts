import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { ClassFile } from "../../src/cli/authoring/class-file.ts";
import { parseUpdateFile, UpdateFileSchema } from "../../src/cli/authoring/schema.ts";
import { ClassDefinition } from "../../src/http/class-schema.ts";

const text = readFileSync(new URL("../../docs/authoring.md", import.meta.url), "utf8");

function example(name: string): unknown {
  const [, yaml] = new RegExp(`\`\`\`yaml\n# example: ${name}\n([^]*?)\`\`\``).exec(text)!;
  return parse(yaml!);
}

/** Each name that a schema has, at whatever depth. */
function namesIn(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null) return [];
  const own = "properties" in schema ? Object.keys(schema.properties as object) : [];
  return [...own, ...Object.values(schema).flatMap(namesIn)];
}

describe("docs/authoring.md", () => {
  it("its update is one", () => {
    expect(parseUpdateFile(example("update"))).toMatchObject({ sequence: 3, invoke: 0 });
  });

  it("its class is one", () => {
    const file = ClassFile.parse(example("class"));
    const { hardware, authorities } = file;
    const named = authorities.map(({ name, rights }, i) => ({
      algorithm: "Ed25519",
      key: `${i}`.repeat(64),
      name,
      rights,
    }));
    const ids = { id: "0".repeat(32), vendorId: "0".repeat(32) };
    expect(ClassDefinition.safeParse({ ...ids, name: file.name, hardware, authorities: named }).error).toBeUndefined();
  });

  it("has each key of both files", () => {
    const schemas = [UpdateFileSchema, ClassFile, ClassDefinition];
    // The definition of a class has keys and identifiers where the file names files.
    const others = new Set(["algorithm", "key", "vendorId", "epoch"]);
    const names = new Set(schemas.flatMap((schema) => namesIn(z.toJSONSchema(schema, { io: "input" }))));
    expect(names.size).toBeGreaterThan(40);
    const missing = [...names].filter((name) => !others.has(name) && !new RegExp(`\\b${name}\\b`).test(text));
    expect(missing).toEqual([]);
  });
});

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { szxOf, type Szx } from "../coap/blockwise/block.ts";
import type { CacheBudget } from "../image/limits.ts";
import { parsePeer } from "../util/peer.ts";
import { usageError, UserError } from "./errors.ts";

const MIB = 1_048_576;

const listenAddress = z.string().refine((text) => parsePeer(text) !== undefined, {
  message: "write an address and a port, such as 0.0.0.0:5683 or [::]:5683",
});
const blockSize = z.number().refine((size) => szxOf(size) !== undefined, {
  message: "a block has 16, 32, 64, 128, 256, 512 or 1024 bytes (RFC 7959 section 2.2)",
});

export interface Config {
  /** At most one IPv4 and one IPv6 address, with port. */
  readonly listen: readonly string[];
  /** Folder of store, images and control socket. */
  readonly state: string;
  /** Files of public keys whose signatures are trusted. */
  readonly trust: readonly string[];
  readonly limits: CacheBudget;
  readonly coap: { readonly blockSize: number; readonly ackTimeoutMs: number };
  readonly log: { readonly level: "debug" | "info" | "warn" | "error" | "silent" };
}

/** The configuration file. Every key has a default; unknown keys are errors. */
const ConfigSchema: z.ZodType<Config> = z.strictObject({
  listen: z.array(listenAddress).min(1).max(2).default(["0.0.0.0:5683", "[::]:5683"]),
  state: z.string().min(1).default(".blockferry"),
  trust: z.array(z.string()).default([]),
  limits: z
    .strictObject({
      maxImageBytes: z
        .int()
        .min(1)
        .max(16 * MIB)
        .default(4 * MIB),
      memoryBytes: z
        .int()
        .min(1)
        .default(64 * MIB),
      diskBytes: z
        .int()
        .min(1)
        .default(512 * MIB),
    })
    .refine((limits) => limits.memoryBytes >= limits.maxImageBytes && limits.diskBytes >= limits.maxImageBytes, {
      message: "memoryBytes and diskBytes must have room for one image of maxImageBytes",
    })
    .prefault({}),
  coap: z
    .strictObject({
      blockSize: blockSize.default(64),
      ackTimeoutMs: z.number().min(1).max(600_000).default(2_000),
    })
    .prefault({}),
  log: z.strictObject({ level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info") }).prefault({}),
});

/** Settings of the command line, which win over the file's. */
export interface ConfigOverrides {
  readonly listen?: string[] | undefined;
  readonly state?: string | undefined;
  readonly trust?: string[] | undefined;
  readonly blockSize?: number | undefined;
  readonly ackTimeoutMs?: number | undefined;
  readonly logLevel?: string | undefined;
}

/** Reads and checks the configuration; a UserError names file, key and remedy. */
export function loadConfig(file: string | undefined, overrides: ConfigOverrides): Config {
  const fromFile = file === undefined ? {} : readYaml(file);
  const base = file === undefined ? "." : dirname(file);
  const merged = merge(fromFile, overrides, base);
  const result = ConfigSchema.safeParse(merged);
  if (!result.success) throw configError(file ?? "the command line", result.error);
  const { listen } = result.data;
  const families = listen.map((address) => parsePeer(address)!.address.includes(":"));
  if (families.length === 2 && families[0] === families[1]) {
    throw usageError("bad-config", "listen takes one IPv4 and one IPv6 address at the most");
  }
  return result.data;
}

export function preferredSzx(config: Config): Szx {
  return szxOf(config.coap.blockSize)!;
}

function readYaml(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw usageError("config-unreadable", `${file}: ${(error as Error).message}; give --config an existing file`);
  }
  try {
    const value: unknown = parse(text, { maxAliasCount: 10 });
    if (value === null) return {};
    if (typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
    throw usageError("bad-config", `${file}: must be a map of settings; config/gateway.yaml is an example`);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw usageError("bad-config", `${file}: ${(error as Error).message}`);
  }
}

function merge(file: Record<string, unknown>, overrides: ConfigOverrides, base: string): Record<string, unknown> {
  const out: Record<string, unknown> = { ...file };
  // Paths in a file are relative to the file.
  if (typeof out["state"] === "string") out["state"] = resolve(base, out["state"]);
  if (Array.isArray(out["trust"]))
    out["trust"] = out["trust"].map((path) => (typeof path === "string" ? resolve(base, path) : path));
  if (overrides.listen !== undefined) out["listen"] = overrides.listen;
  if (overrides.state !== undefined) out["state"] = overrides.state;
  if (overrides.trust !== undefined) out["trust"] = overrides.trust;
  const section = (name: string, key: string, value: unknown): void => {
    if (value !== undefined) out[name] = { ...(out[name] as object | undefined), [key]: value };
  };
  section("coap", "blockSize", overrides.blockSize);
  section("coap", "ackTimeoutMs", overrides.ackTimeoutMs);
  section("log", "level", overrides.logLevel);
  return out;
}

function configError(where: string, error: z.ZodError): Error {
  const lines = error.issues.map((issue) => `  ${issue.path.join(".") || "(top)"}: ${issue.message}`);
  return usageError(
    "bad-config",
    `${where} is not a valid configuration:\n${lines.join("\n")}\nconfig/gateway.yaml shows every key.`,
  );
}

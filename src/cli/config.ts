import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { szxOf, type Szx } from "../coap/blockwise/block.ts";
import { parseUri } from "../coap/uri.ts";
import type { CacheBudget } from "../image/limits.ts";
import { parsePeer } from "../util/peer.ts";
import { usageError, UserError, whyUnreadable } from "./errors.ts";

const MIB = 1_048_576;

const listenAddress = z.string().refine((text) => parsePeer(text) !== undefined, {
  message: "write an address and a port, such as 0.0.0.0:5683 or [::]:5683",
});
const blockSize = z.number().refine((size) => szxOf(size) !== undefined, {
  message: "a block has 16, 32, 64, 128, 256, 512 or 1024 bytes (RFC 7959 section 2.2)",
});

const network = z.string().refine((text) => parseNetwork(text) !== undefined, {
  message: "write a network such as fd00::/8 or 192.0.2.0/24",
});
const group = z.string().refine((text) => isIP(text.split("%")[0]!) !== 0, {
  message: "write a multicast address such as 224.0.1.187 or ff02::fd%eth0 (RFC 7252 section 12.8)",
});
const origin = z.string().refine(
  (text) => {
    const uri = parseUri(text);
    return (
      uri !== undefined && ["coap", "http", "https"].includes(uri.scheme) && uri.path.length + uri.query.length === 0
    );
  },
  { message: "write an origin such as coap://[fd00::1], coap://updates.example:5683 or https://files.example" },
);

/** Address and prefix length of `address/length`. */
export function parseNetwork(text: string): { address: string; length: number; family: "ipv4" | "ipv6" } | undefined {
  const [address, length, rest] = text.split("/");
  const version = isIP(address ?? "");
  if (version === 0 || rest !== undefined || !/^\d{1,3}$/.test(length ?? "")) return undefined;
  if (Number(length) > (version === 4 ? 32 : 128)) return undefined;
  return { address: address!, length: Number(length), family: version === 4 ? "ipv4" : "ipv6" };
}

export interface Config {
  /** Addresses of this machine, with port. */
  readonly listen: readonly string[];
  /** Folder of store, images and control socket. */
  readonly state: string;
  /** Files of public keys whose signatures are trusted. */
  readonly trust: readonly string[];
  readonly limits: CacheBudget;
  readonly coap: {
    readonly blockSize: number;
    /** All devices share one radio channel: a few transfers at a time. */
    readonly sharedChannel: boolean;
    readonly ackTimeoutMs: number;
    /** Networks whose source addresses cannot be forged from outside, as `address/length`. */
    readonly provenNetworks: readonly string[];
    /** Multicast addresses to listen on as well. */
    readonly groups: readonly string[];
  };
  readonly proxy: { readonly origins: readonly string[]; readonly name: string };
  readonly lwm2m: {
    /** What clients write before the path of a Package URI: `[fd00::1]:5683`; found out for each when absent. */
    readonly address?: string | undefined;
    /** Folder with quirk profiles besides those that come with the gateway. */
    readonly profiles?: string | undefined;
    /** Seconds that a client in Queue Mode hears after its last message, by its name or `beginning*`; learnt for the others. */
    readonly awakeS: Readonly<Record<string, number>>;
  };
  /** The API over the network, beside the socket in the state folder; off when `listen` is absent. */
  readonly api: {
    readonly listen?: string | undefined;
    /** PEM files; read again on SIGHUP. */
    readonly tls?: { readonly cert: string; readonly key: string } | undefined;
    readonly requestsPerMinute: number;
    /** Origins of images that may be named over the network; uploads always may. */
    readonly sources: readonly string[];
    readonly webhooks: readonly {
      readonly url: string;
      readonly secretFile: string;
      readonly kinds?: string[] | undefined;
    }[];
  };
  /** What this gateway is called where there are several. */
  readonly name: string;
  readonly rollouts: { readonly maxConcurrent: number };
  readonly log: { readonly level: "debug" | "info" | "warn" | "error" | "silent" };
}

/** The configuration file. Every key has a default; unknown keys are errors. */
const KeysSchema = z.strictObject({
  listen: z.array(listenAddress).min(1).max(16).default(["0.0.0.0:5683", "[::]:5683"]),
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
      sharedChannel: z.boolean().default(false),
      ackTimeoutMs: z.number().min(1).max(600_000).default(2_000),
      provenNetworks: z.array(network).default(["127.0.0.0/8", "::1/128"]),
      groups: z.array(group).max(8).default([]),
    })
    .prefault({}),
  proxy: z
    .strictObject({
      origins: z.array(origin).max(64).default([]),
      name: z
        .string()
        .regex(/^[!-~]{1,64}$/, "a name without spaces, which a 5.08 response names this gateway by")
        .default("blockferry"),
    })
    .prefault({}),
  lwm2m: z
    .strictObject({
      address: z
        .string()
        .max(80)
        .refine(
          (text) => parseUri(`coap://${text}/`) !== undefined,
          "write an address such as [fd00::1]:5683 or a name",
        )
        .optional(),
      profiles: z.string().min(1).optional(),
      awakeS: z.record(z.string().min(1).max(255), z.number().positive().max(86_400)).default({}),
    })
    .prefault({}),
  api: z
    .strictObject({
      listen: listenAddress.optional(),
      tls: z.strictObject({ cert: z.string().min(1), key: z.string().min(1) }).optional(),
      requestsPerMinute: z.int().min(1).max(1_000_000).default(1_200),
      sources: z.array(origin).max(64).default([]),
      webhooks: z
        .array(
          z.strictObject({
            url: z.url({ protocol: /^https?$/ }),
            secretFile: z.string().min(1),
            kinds: z.array(z.enum(["rollout", "update", "device", "support"])).optional(),
          }),
        )
        .max(8)
        .default([]),
    })
    .prefault({}),
  name: z
    .string()
    .regex(/^[\w.:-]{1,64}$/)
    .default("gateway"),
  rollouts: z.strictObject({ maxConcurrent: z.int().min(1).max(10_000).default(100) }).prefault({}),
  log: z.strictObject({ level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info") }).prefault({}),
});

/**
 * A socket on all addresses hears what comes to a group as well, and cannot tell it from what was
 * meant for this host alone: it would be answered twice (RFC 7252 section 8.2).
 */
const ConfigSchema: z.ZodType<Config> = KeysSchema.superRefine(({ listen, coap }, context) => {
  for (const text of coap.groups) {
    const v6 = text.includes(":");
    const all = v6 ? "[::]" : "0.0.0.0";
    const isAll = (address: string): boolean => address.includes(":") === v6 && /^[0:.]+$/.test(address);
    if (!listen.some((one) => isAll(parsePeer(one)?.address ?? ""))) continue; // what is none is told elsewhere
    const message = `${text} needs a listen address of one interface, in place of ${all}`;
    context.addIssue({ code: "custom", path: ["coap", "groups"], message });
  }
});

/** Settings of the command line, which win over the file's. */
export interface ConfigOverrides {
  readonly listen?: string[] | undefined;
  readonly state?: string | undefined;
  readonly trust?: string[] | undefined;
  readonly blockSize?: number | undefined;
  readonly ackTimeoutMs?: number | undefined;
  readonly apiListen?: string | undefined;
  readonly logLevel?: string | undefined;
}

/** Reads and checks the configuration; a UserError names file, key and remedy. */
export function loadConfig(file: string | undefined, overrides: ConfigOverrides): Config {
  const fromFile = file === undefined ? {} : readYaml(file);
  const base = file === undefined ? "." : dirname(file);
  const merged = merge(fromFile, overrides, base);
  const result = ConfigSchema.safeParse(merged);
  if (!result.success) throw configError(file ?? "the command line", result.error);
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
    throw usageError("config-unreadable", `${file}: ${whyUnreadable(error)}; give --config an existing file`);
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
  const lwm2m = out["lwm2m"] as { profiles?: unknown } | null | undefined;
  if (typeof lwm2m?.profiles === "string") out["lwm2m"] = { ...lwm2m, profiles: resolve(base, lwm2m.profiles) };
  const api = out["api"] as { tls?: Record<string, unknown>; webhooks?: unknown } | null | undefined;
  if (typeof api === "object" && api !== null) out["api"] = resolveApi(api, base);
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
  section("api", "listen", overrides.apiListen);
  section("log", "level", overrides.logLevel);
  return out;
}

function resolveApi(api: { tls?: unknown; webhooks?: unknown }, base: string): object {
  const path = (value: unknown): unknown => (typeof value === "string" ? resolve(base, value) : value);
  const tls = api.tls as Record<string, unknown> | null | undefined;
  const hooks = api.webhooks as (Record<string, unknown> | null)[] | undefined;
  return {
    ...api,
    ...(typeof tls === "object" && tls !== null
      ? { tls: { ...tls, cert: path(tls["cert"]), key: path(tls["key"]) } }
      : {}),
    ...(Array.isArray(hooks)
      ? { webhooks: hooks.map((one) => Object.assign({}, one, { secretFile: path(one?.["secretFile"]) })) }
      : {}),
  };
}

function configError(where: string, error: z.ZodError): Error {
  const lines = error.issues.map((issue) => `  ${issue.path.join(".") || "(top)"}: ${issue.message}`);
  return usageError(
    "bad-config",
    `${where} is not a valid configuration:\n${lines.join("\n")}\nconfig/gateway.yaml shows every key.`,
  );
}

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { BlockList } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ZodError, prettifyError } from "zod";
import { parseQuirks, type Quirks } from "../lwm2m/quirks.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import { parsePeer } from "../util/peer.ts";
import { usageError } from "./errors.ts";

/** Beside the sources, or beside what is built from them. */
const SHIPPED = ["../../../config/profiles", "../../config/profiles"]
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find(existsSync)!;

/** The quirk profiles that come with the gateway, and those of a folder, which win over them by name. */
export function readQuirks(folder: string | undefined): Quirks[] {
  const byName = new Map<string, Quirks>();
  for (const from of folder === undefined ? [SHIPPED] : [SHIPPED, folder])
    for (const file of jsonFiles(from)) {
      const quirks = readProfileFile(join(from, file));
      byName.set(quirks.name, quirks);
    }
  return [...byName.values()];
}

function jsonFiles(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => name.endsWith(".json"));
  } catch (error) {
    throw usageError("profiles-unreadable", `${(error as Error).message}: correct lwm2m.profiles in the configuration`);
  }
}

function readProfileFile(file: string): Quirks {
  try {
    return parseQuirks(JSON.parse(readFileSync(file, "utf8")));
  } catch (error) {
    const why = error instanceof ZodError ? prettifyError(error) : (error as Error).message;
    throw usageError("bad-profile", `${file}: ${why}\nconfig/profiles/README.md says what each key means.`);
  }
}

/** Microseconds that a client hears, by its name, or by the beginning of it before a `*`. */
export function awakeTimes(seconds: Readonly<Record<string, number>>): (endpoint: string) => number | undefined {
  const rules = Object.entries(seconds);
  return (endpoint) => {
    const rule = rules.find(([name]) =>
      name.endsWith("*") ? endpoint.startsWith(name.slice(0, -1)) : endpoint === name,
    );
    return rule && rule[1] * 1_000_000;
  };
}

/**
 * Our address as a peer can reach it, for a URI: what is configured; else the address that the peer
 * came to, or one of ours in its network.
 */
export function ownAddress(
  configured: string | undefined,
  listening: readonly string[],
  peer: PeerAddress,
): string | undefined {
  if (configured !== undefined) return configured;
  const v6 = peer.address.includes(":");
  const mine = listening.map((text) => parsePeer(text)!);
  const bound = peer.via === undefined ? mine.find(({ address }) => address.includes(":") === v6) : mine[peer.via];
  if (bound === undefined) return undefined;
  const all = /^[0:.]+$/.test(bound.address) && bound.address !== "::1";
  const address = all ? reachableFrom(peer.address, v6) : bound.address;
  if (address === undefined) return undefined;
  return v6 ? `[${address.split("%")[0]}]:${bound.port}` : `${address}:${bound.port}`;
}

function reachableFrom(address: string, v6: boolean): string | undefined {
  const [bare, zone] = address.split("%") as [string, string | undefined];
  const family = v6 ? "ipv6" : "ipv4";
  const own = Object.entries(networkInterfaces())
    .filter(([name]) => zone === undefined || name === zone)
    .flatMap(([, all]) => all ?? [])
    .filter((one) => one.family.toLowerCase() === family);
  const near = own.find(({ cidr }) => {
    const [network, length] = (cidr ?? "").split("/");
    if (network === undefined || length === undefined) return false;
    const list = new BlockList();
    list.addSubnet(network, Number(length), family);
    return list.check(bare, family);
  });
  return (near ?? own.find(({ internal }) => !internal))?.address;
}

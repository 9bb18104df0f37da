import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { originOf, parseUri } from "../coap/uri.ts";
import type { ProxyOrigin } from "../coap/proxy/forward-proxy.ts";
import type { ProxySettings } from "../gateway/proxying.ts";
import { parsePeer } from "../util/peer.ts";
import { parseNetwork, type Config } from "./config.ts";
import { environmentError } from "./errors.ts";

/** Answers that are remembered, so that a network is not matched for each datagram. */
const REMEMBERED = 16_384;

/** Whether an address lies in one of the networks of which sources cannot be forged. */
export function provenAddresses(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const text of networks) {
    const { address, length, family } = parseNetwork(text)!;
    list.addSubnet(address, length, family);
  }
  const known = new Map<string, boolean>();
  return (address) => {
    const answer = known.get(address);
    if (answer !== undefined) return answer;
    if (known.size >= REMEMBERED) known.clear();
    const bare = address.split("%")[0]!;
    const proven = list.check(bare, isIP(bare) === 6 ? "ipv6" : "ipv4");
    known.set(address, proven);
    return proven;
  };
}

/** The forward proxy, when the configuration allows it any origin. Names are resolved once, here. */
export async function proxySettings({ proxy, listen }: Config): Promise<{ proxy?: ProxySettings }> {
  if (proxy.origins.length === 0) return {};
  const origins: ProxyOrigin[] = [];
  for (const text of proxy.origins) {
    const uri = parseUri(text)!;
    const origin = originOf(uri);
    if (uri.scheme !== "coap") origins.push({ origin });
    else origins.push({ origin, address: { address: await resolveHost(uri.host), port: uri.port } });
  }
  const ports = new Set(listen.map((one) => parsePeer(one)!.port));
  // RFC 7252 section 5.10.2: whatever this endpoint may be called.
  const own = new Set([proxy.name.toLowerCase(), hostname().toLowerCase(), "localhost"]);
  const addresses = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
  for (const address of [...addresses, ...listen.map((one) => parsePeer(one)!.address)])
    own.add(address.includes(":") ? (parseUri(`coap://[${address.split("%")[0]}]`)?.host ?? address) : address);
  return { proxy: { origins, name: proxy.name, isSelf: (host, port) => ports.has(port) && own.has(host) } };
}

async function resolveHost(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (error) {
    throw environmentError(
      "origin-unknown",
      `cannot find the address of ${host}, an origin of the proxy: ${(error as Error).message}. Correct proxy.origins, or write its address.`,
    );
  }
}

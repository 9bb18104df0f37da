import { lookup } from "node:dns/promises";
import type { PeerAddress } from "../ports/datagram.ts";
import { ExitCode, UserError, usageError } from "./errors.ts";

export interface CoapTarget {
  readonly host: string;
  readonly port: number;
  readonly path: readonly string[];
  readonly query: readonly string[];
}

/** Takes a coap URI apart (RFC 7252 section 6.4). */
export function parseCoapUri(text: string): CoapTarget {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw usageError("bad-uri", `${text} is no URI; write coap://host[:port]/path`);
  }
  if (url.protocol !== "coap:" || url.hostname === "" || url.hash !== "") {
    throw usageError("bad-uri", `${text} is not a coap URI; write coap://host[:port]/path`);
  }
  const port = url.port === "" ? 5683 : Number(url.port);
  if (port === 0) throw usageError("bad-uri", `${text}: port 0 cannot be asked`);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const parts = (joined: string, separator: string): string[] =>
    joined === "" ? [] : joined.split(separator).map(decodeURIComponent);
  try {
    return { host, port, path: parts(url.pathname.slice(1), "/"), query: parts(url.search.slice(1), "&") };
  } catch {
    throw usageError("bad-uri", `${text}: its path or query is not percent-encoded UTF-8`);
  }
}

export async function resolvePeer({ host, port }: CoapTarget): Promise<PeerAddress> {
  try {
    return { address: (await lookup(host)).address, port };
  } catch (error) {
    throw new UserError(ExitCode.UNREACHABLE, "unknown-host", `cannot resolve ${host}: ${(error as Error).message}`);
  }
}

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
  const path =
    url.pathname === "" || url.pathname === "/" ? [] : url.pathname.slice(1).split("/").map(decodeURIComponent);
  const query = url.search === "" ? [] : url.search.slice(1).split("&").map(decodeURIComponent);
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 5683 : Number(url.port),
    path,
    query,
  };
}

export async function resolvePeer({ host, port }: CoapTarget): Promise<PeerAddress> {
  try {
    return { address: (await lookup(host)).address, port };
  } catch (error) {
    throw new UserError(ExitCode.UNREACHABLE, "unknown-host", `cannot resolve ${host}: ${(error as Error).message}`);
  }
}

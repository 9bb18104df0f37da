import type { PeerAddress } from "../ports/datagram.ts";

/** One text per (address, port): a map key, and how logs and tables show a peer. */
export function peerKey({ address, port, via }: PeerAddress): string {
  const key = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return via === undefined ? key : `${key}/${via}`;
}

/** The peer alone: what a socket gives has more in it, and is not to be kept. */
export function copyPeer({ address, port, via }: PeerAddress): PeerAddress {
  return via === undefined ? { address, port } : { address, port, via };
}

/** The inverse of `peerKey`; undefined when `text` is none. */
export function parsePeer(text: string): PeerAddress | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  return { address: (match[1] ?? match[2])!, port };
}

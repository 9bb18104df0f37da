import type { PeerAddress } from "../ports/datagram.ts";

/** One text per (address, port): a map key, and how logs and tables show a peer. */
export function peerKey(peer: PeerAddress): string {
  return peer.address.includes(":") ? `[${peer.address}]:${peer.port}` : `${peer.address}:${peer.port}`;
}

/** The inverse of `peerKey`; undefined when `text` is none. */
export function parsePeer(text: string): PeerAddress | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  return { address: (match[1] ?? match[2])!, port };
}

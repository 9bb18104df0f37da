import type { PeerAddress } from "../../src/ports/datagram.ts";

export const COAP_PORT = 5683;

/** A node's address from its short MAC address: link-local, or in the mesh's prefix fd00::/64. */
export const nodeAddress = (id: number, scope: "link" | "mesh" = "link"): PeerAddress => ({
  address: `${scope === "link" ? "fe80" : "fd00"}::ff:fe00:${id.toString(16)}`,
  port: COAP_PORT,
});

export const nodeOf = (peer: PeerAddress): number =>
  Number.parseInt(peer.address.slice(peer.address.lastIndexOf(":") + 1), 16);

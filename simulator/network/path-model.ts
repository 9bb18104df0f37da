import type { PathModel } from "../../src/transfer/block-size.ts";
import { MAC_MAX_PAYLOAD_BYTES, MAC_OVERHEAD_BYTES } from "../mac/link-layer.ts";
import { airtimeUs } from "../radio/phy.ts";
import { HOP_LIMIT, type Datagram } from "./datagram.ts";
import { toPackets } from "./sixlowpan.ts";

/** Frames and air time of datagrams over one hop: what a mote knows of its own link layer. */
export function pathModel(scope: "link" | "mesh", securityBytes: number): PathModel {
  const known = new Map<number, { readonly frames: number; readonly airUs: number }>();
  const of = (payloadBytes: number): { readonly frames: number; readonly airUs: number } => {
    let model = known.get(payloadBytes);
    if (model === undefined) {
      const payload = new Uint8Array(payloadBytes);
      const ports = { source: 5683, destination: 5683 };
      const datagram: Datagram = { from: 1, to: 0, scope, hopLimit: HOP_LIMIT, ports, payload };
      const packets = toPackets(datagram, 0, MAC_MAX_PAYLOAD_BYTES - securityBytes);
      const airUs = packets.reduce(
        (sum, { length }) => sum + airtimeUs(length + MAC_OVERHEAD_BYTES + securityBytes),
        0,
      );
      known.set(payloadBytes, (model = { frames: packets.length, airUs }));
    }
    return model;
  };
  return { frames: (bytes) => of(bytes).frames, airUs: (bytes) => of(bytes).airUs };
}

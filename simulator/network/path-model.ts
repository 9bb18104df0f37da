import type { PathModel, WakeModel } from "../../src/transfer/block-size.ts";
import { MAC_MAX_PAYLOAD_BYTES, MAC_OVERHEAD_BYTES, POLL_PSDU_BYTES } from "../mac/link-layer.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import type { MacSpec } from "../scenarios/case.ts";
import { HOP_LIMIT, type Datagram } from "./datagram.ts";
import { toPackets } from "./sixlowpan.ts";

/** Frames and air time of datagrams over one hop: what a mote knows of its own link layer. */
export function pathModel(scope: "link" | "mesh", securityBytes: number, wake?: WakeModel): PathModel {
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
  return { frames: (bytes) => of(bytes).frames, airUs: (bytes) => of(bytes).airUs, wake };
}

/** What a sleepy child knows of its wake-ups: each frame takes a poll, with its CCA and its acknowledgement. */
export function wakeModel({ kind, pollFastMs, framesPerChild }: MacSpec): WakeModel | undefined {
  if (kind !== "sleepy") return undefined;
  const askUs = PHY.ccaUs + airtimeUs(POLL_PSDU_BYTES) + 2 * PHY.turnaroundUs + airtimeUs(PHY.ackPsduBytes);
  return { periodUs: pollFastMs * 1_000, frames: framesPerChild, askUs };
}

import type { FleetDevice } from "./fleet.ts";

/** 250 kbit/s (IEEE 802.15.4 O-QPSK): microseconds for a byte on the air. */
const BYTE_US = 32;
/**
 * Bytes on the air for a byte of the image, in blocks of 64 bytes with their requests and acknowledgements: what the
 * simulator's s1-desk shows, some 2.5 (docs/simulator.md).
 */
const OVERHEAD = 2.5;

/** Seconds of the channel that an image takes to a device: reckoned before, so no more than likely. */
export function reckonAirtimeS(imageBytes: number, { hops = 1, loss = 0 }: Pick<FleetDevice, "hops" | "loss">): number {
  const perHop = (imageBytes * OVERHEAD * BYTE_US) / 1e6;
  return (perHop * Math.max(1, hops)) / (1 - Math.min(0.9, loss));
}

import { decodeTrust, encodeTrust, type DeviceTrust } from "../../src/suit/trust.ts";
import type { Flash } from "./flash.ts";
import type { Layout } from "./layout.ts";

const MAGIC = 0x54_52_53_54;
const HEAD_BYTES = 32;

/** The trust that a transfer left; undefined while that of the factory holds, which is not in this sector. */
export function readTrust(flash: Flash, layout: Layout): DeviceTrust | undefined {
  const head = new DataView(flash.read(layout.trustAddress, HEAD_BYTES).buffer);
  const length = head.getUint32(4);
  if (head.getUint32(0) !== MAGIC || length > flash.geometry.sectorBytes - HEAD_BYTES) return undefined;
  return decodeTrust(flash.read(layout.trustAddress + HEAD_BYTES, length));
}

/** Writes it; the magic goes in last. Returns the time in us, or undefined when it does not fit. */
export function writeTrust(flash: Flash, layout: Layout, trust: DeviceTrust): number | undefined {
  const { sectorBytes, writeUnitBytes } = flash.geometry;
  const bytes = encodeTrust(trust);
  if (HEAD_BYTES + bytes.length > sectorBytes) return undefined;
  const padded = new Uint8Array(Math.ceil(bytes.length / writeUnitBytes) * writeUnitBytes).fill(0xff);
  padded.set(bytes);
  const head = new Uint8Array(HEAD_BYTES).fill(0xff);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, bytes.length);
  const us = flash.erase(layout.trustAddress) + flash.programVerified(layout.trustAddress + HEAD_BYTES, padded);
  return us + flash.programVerified(layout.trustAddress, head);
}

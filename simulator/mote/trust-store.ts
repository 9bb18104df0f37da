import { decodeTrust, encodeTrust, type DeviceTrust } from "../../src/suit/trust.ts";
import type { Flash } from "./flash.ts";
import type { Layout } from "./layout.ts";

const MAGIC = 0x54_52_53_54;
const HEAD_BYTES = 32;

function readSector(flash: Flash, address: number): DeviceTrust | undefined {
  const head = new DataView(flash.read(address, HEAD_BYTES).buffer);
  const length = head.getUint32(4);
  if (head.getUint32(0) !== MAGIC || length > flash.geometry.sectorBytes - HEAD_BYTES) return undefined;
  return decodeTrust(flash.read(address + HEAD_BYTES, length));
}

/** The sector whose trust holds: that of the last transfer that was written whole. */
function current(flash: Flash, { trustAddress }: Layout): { trust: DeviceTrust; index: 0 | 1 } | undefined {
  const [first, second] = trustAddress.map((address) => readSector(flash, address));
  if (second !== undefined && (first === undefined || second.epoch > first.epoch)) return { trust: second, index: 1 };
  return first && { trust: first, index: 0 };
}

/** The trust that a transfer left; undefined while that of the factory holds, which is not in these sectors. */
export const readTrust = (flash: Flash, layout: Layout): DeviceTrust | undefined => current(flash, layout)?.trust;

/**
 * Writes it into the sector that does not hold what was believed so far; the magic goes in last, so that a power cut
 * leaves one or the other. Returns the time in us, or undefined when it does not fit.
 */
export function writeTrust(flash: Flash, layout: Layout, trust: DeviceTrust): number | undefined {
  const { sectorBytes, writeUnitBytes } = flash.geometry;
  const bytes = encodeTrust(trust);
  if (HEAD_BYTES + bytes.length > sectorBytes) return undefined;
  const address = layout.trustAddress[current(flash, layout)?.index === 0 ? 1 : 0];
  const padded = new Uint8Array(Math.ceil(bytes.length / writeUnitBytes) * writeUnitBytes).fill(0xff);
  padded.set(bytes);
  const head = new Uint8Array(HEAD_BYTES).fill(0xff);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, bytes.length);
  const us = flash.erase(address) + flash.programVerified(address + HEAD_BYTES, padded);
  return us + flash.programVerified(address, head);
}

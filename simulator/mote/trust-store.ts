import { decodeTrust, encodeTrust, type DeviceTrust } from "../../src/suit/trust.ts";
import type { Flash } from "./flash.ts";
import type { Layout } from "./layout.ts";
import { readPair, writePair, type RecordPair } from "./record-pair.ts";

/** The sector holds whose transfer is the later one. */
const pairOf = ({ trustAddress }: Layout): RecordPair<DeviceTrust> => ({
  addresses: trustAddress,
  magic: 0x54_52_53_54,
  decode: decodeTrust,
  rankOf: ({ epoch }) => epoch,
});

/** The trust that a transfer left; undefined while that of the factory holds, which is not in these sectors. */
export const readTrust = (flash: Flash, layout: Layout): DeviceTrust | undefined => readPair(flash, pairOf(layout));

/** Returns the time in us, or undefined when it does not fit. */
export const writeTrust = (flash: Flash, layout: Layout, trust: DeviceTrust): number | undefined =>
  writePair(flash, pairOf(layout), encodeTrust(trust));

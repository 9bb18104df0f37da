import type { ChipProfile } from "../mote/profile.ts";
import { PHY } from "../radio/phy.ts";
import type { Case } from "../scenarios/case.ts";

/** A whole IPv6 datagram, the least MTU. */
const DATAGRAM_BYTES = 1_280;

const LARGEST_BLOCK_BYTES = 1_024;
/** heatshrink's window and where a patch is being applied; what comes of it goes to flash through a block. */
const PATCH_BYTES = 320;

/** RAM that a mote of this scenario needs: what depends on it, and the chip's base. */
export function ramNeeded(
  { network, mac, blockBytes, imageBytes, changedBytes, adaptive }: Case,
  profile: ChipProfile,
): number {
  const reassembly = network.reassemblyBuffers * DATAGRAM_BYTES;
  const frames = mac.queueFrames * (PHY.maxPsduBytes + 1);
  // Whoever chooses its blocks may come to the largest.
  const blocks = 2 * (adaptive ? LARGEST_BLOCK_BYTES : blockBytes);
  const map = Math.ceil(imageBytes / blockBytes / 8);
  return (
    profile.ramBaseBytes.value + reassembly + frames + blocks + map + (changedBytes === undefined ? 0 : PATCH_BYTES)
  );
}

/** Why a mote does not fit; undefined when it does. */
export function ramError(run: Case, profile: ChipProfile): string | undefined {
  const needed = ramNeeded(run, profile);
  if (needed <= profile.ramBytes.value) return undefined;
  return `RAM: a mote needs ${needed} bytes, ${profile.name} has ${profile.ramBytes.value}`;
}

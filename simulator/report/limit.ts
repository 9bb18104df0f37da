import type { ChipProfile } from "../mote/profile.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import { MAC_MAX_PAYLOAD_BYTES } from "../mac/csma.ts";

/** The least that one receiver one hop away can need: every frame full, feedback free, lost ones sent again. */
export interface Limit {
  /** Air time per image byte without loss, in us. */
  readonly airUsPerByte: number;
  readonly timeUsPerByte: number;
  readonly energyUjPerByte: number;
  readonly timeS: number;
  readonly energyMj: number;
  readonly formula: string;
}

/**
 * time/byte >= u/(1-p) with u = 32 us x (6 + H + L)/L, H = 11 and L = 116 bytes; energy/byte >=
 * V x I_rx x time/byte. `per` is the error rate of the longest frame.
 */
export function oneHopLimit(profile: ChipProfile, per: number, imageBytes: number): Limit {
  const airUsPerByte = airtimeUs(PHY.maxPsduBytes) / MAC_MAX_PAYLOAD_BYTES;
  const timeUsPerByte = airUsPerByte / (1 - per);
  const milliwatts = profile.supplyV.value * profile.rxMa.value;
  const energyUjPerByte = (milliwatts * timeUsPerByte) / 1_000;
  return {
    airUsPerByte,
    timeUsPerByte,
    energyUjPerByte,
    timeS: (timeUsPerByte * imageBytes) / 1e6,
    energyMj: (energyUjPerByte * imageBytes) / 1e3,
    formula: "u = 32 us x (6 + 11 + 116)/116; time >= bytes x u/(1 - p); energy >= V x I_rx x time",
  };
}

/** Mean error rate of a case's links for the longest frame. */
export function meanPer(
  link:
    | { model: "iid"; per: number }
    | { model: "gilbert-elliott"; gilbertElliott: { perGood: number; perBad: number; fractionBad: number } },
): number {
  if (link.model === "iid") return link.per;
  const { perGood, perBad, fractionBad } = link.gilbertElliott;
  return perGood * (1 - fractionBad) + perBad * fractionBad;
}

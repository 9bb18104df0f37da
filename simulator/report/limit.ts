import { MAC_MAX_PAYLOAD_BYTES, POLL_PSDU_BYTES } from "../mac/link-layer.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { MIC32_BYTES } from "../radio/frame.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import { newBytesOf, type Case } from "../scenarios/case.ts";

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

/** What the bounds need to know of a network. */
export interface NetworkFacts {
  /** Hops of each mote that has a way. */
  readonly hops: readonly number[];
  /** Mean error rate of the longest frame on the links of the tree, downwards. */
  readonly meanPer: number;
  /** Most neighbours that any node has. */
  readonly maxDegree: number;
}

/** One closed form: a bound on time for all, on energy for a mote, on air for the channel. Absent where it says nothing. */
export interface Bound {
  readonly name: string;
  readonly timeS?: number;
  readonly energyMj?: number;
  readonly airS?: number;
  readonly formula: string;
}

export interface Bounds {
  readonly meanPer: number;
  readonly maxHops: number;
  readonly bounds: readonly Bound[];
}

/** The closed-form bounds of a case: one hop, several hops, multicast, sleepy, and what flash and CPU take anyway. */
export function boundsOf(run: Case, profile: ChipProfile, facts: NetworkFacts): Bounds {
  const { meanPer: per, hops } = facts;
  const limit = oneHopLimit(profile, per, newBytesOf(run));
  const maxHops = Math.max(1, ...hops);
  const bounds: Bound[] = [{ name: "one hop", timeS: limit.timeS, energyMj: limit.energyMj, formula: limit.formula }];
  const updating = run.only === undefined ? run.motes : 1;
  if (maxHops > 1 || updating > 1) bounds.push(unicast(limit, hops, maxHops, run.network.borderRouters));
  if (updating > 1) bounds.push(...multicast(run, limit, facts));
  if (run.mac.kind === "sleepy") bounds.push(sleepy(run, profile, limit));
  bounds.push(flashAndCpu(run, profile));
  return { meanPer: per, maxHops, bounds };
}

function unicast(limit: Limit, hops: readonly number[], maxHops: number, roots: number): Bound {
  const transmissions = hops.reduce((sum, count) => sum + count, 0);
  return {
    name: "unicast, all motes",
    // Every third hop may send at a time; all share the air around the border router.
    timeS: Math.max(hops.length / roots, Math.min(maxHops, 3)) * limit.timeS,
    airS: transmissions * limit.timeS,
    formula: "time >= max(motes/border routers, min(hops, 3)) x one hop; air >= sum of hops x one hop",
  };
}

function multicast(run: Case, limit: Limit, { meanPer: per, maxDegree }: NetworkFacts): Bound[] {
  const packets = Math.ceil(newBytesOf(run) / MAC_MAX_PAYLOAD_BYTES);
  const lossFreeS = limit.timeS * (1 - per);
  const senders = Math.ceil(run.motes / (maxDegree + 1));
  const coded = codedFactor(per, packets, run.motes) * lossFreeS;
  const uncoded = uncodedFactor(per, run.motes) * lossFreeS;
  return [
    {
      name: "multicast, erasure code",
      timeS: coded,
      airS: senders * (lossFreeS / (1 - per)),
      energyMj: limit.energyMj,
      formula: "sends/packet ~ 1/(1-p) + sqrt(2 K p ln N)/(K (1-p)); air >= N/(degree + 1) senders x K/(1-p)",
    },
    {
      name: "multicast, repeated until all have it",
      timeS: uncoded,
      formula: "sends/packet = sum over j of 1 - (1 - p^j)^N",
    },
  ];
}

/** Sends per packet of an ideal erasure code until all of `receivers` have K packets; an estimate that is good to a few per cent. */
export function codedFactor(per: number, packets: number, receivers: number): number {
  if (per === 0) return 1;
  return 1 / (1 - per) + Math.sqrt(2 * packets * per * Math.log(receivers)) / (packets * (1 - per));
}

/** Sends per packet until each of `receivers` has it, repeated to all. */
export function uncodedFactor(per: number, receivers: number): number {
  let sum = 0;
  for (let j = 0; j < 1_000; j++) {
    const term = 1 - (1 - per ** j) ** receivers;
    if (term < 1e-12) break;
    sum += term;
  }
  return sum;
}

/** A poller pays for each poll, and waits for the next one. */
function sleepy(run: Case, profile: ChipProfile, limit: Limit): Bound {
  const { supplyV, rxMa, txMa } = profile;
  const secured = run.mac.security === "mic-32" ? MIC32_BYTES : 0;
  // Whoever chooses blocks takes full frames, and as many for a wake-up as its parent holds.
  const bytesPerFrame = run.adaptive ? MAC_MAX_PAYLOAD_BYTES : Math.min(run.blockBytes, MAC_MAX_PAYLOAD_BYTES);
  const framesOfBlock = run.adaptive ? Infinity : Math.ceil(run.blockBytes / MAC_MAX_PAYLOAD_BYTES);
  const periodS = Math.min(run.mac.pollFastMs / 1_000, run.mac.pollIdleS);
  const framesPerPeriod = Math.min(run.mac.framesPerChild, framesOfBlock);
  const rxUs = PHY.ccaUs + airtimeUs(PHY.ackPsduBytes) + 2 * PHY.turnaroundUs;
  const pollUj = (supplyV.value * (rxMa.value * rxUs + txMa.value * airtimeUs(POLL_PSDU_BYTES + secured))) / 1_000;
  return {
    name: "sleepy, one frame for a poll",
    timeS: (newBytesOf(run) / (framesPerPeriod * bytesPerFrame)) * periodS,
    energyMj: ((pollUj / bytesPerFrame + limit.energyUjPerByte) * newBytesOf(run)) / 1_000,
    formula:
      "energy/byte >= V (I_rx (T_cca + T_ack + T_turn) + I_tx T_poll)/L + receive; time >= bytes/(m L) x period, m frames held for it",
  };
}

function flashAndCpu(run: Case, profile: ChipProfile): Bound {
  const { supplyV, cpuMa, flashMa, eraseSectorUs, programUnitUs, sectorBytes, writeUnitBytes } = profile;
  const flashUs =
    (run.spareSlot === "used" ? Math.ceil(run.imageBytes / sectorBytes.value) * eraseSectorUs.value : 0) +
    (run.imageBytes / writeUnitBytes.value) * programUnitUs.value;
  const cpuUs = run.imageBytes * profile.sha256UsPerByte.value + profile.verifySignatureUs.value;
  return {
    name: "flash and CPU",
    energyMj: (supplyV.value * (flashMa.value * flashUs + cpuMa.value * cpuUs)) / 1e6,
    timeS: (flashUs + cpuUs) / 1e6,
    formula: `${run.spareSlot === "used" ? "erase and program" : "program"} once, hash once, verify one signature: comes on top of the radio`,
  };
}

import { MAC_MAX_PAYLOAD_BYTES, MAC_OVERHEAD_BYTES } from "../mac/link-layer.ts";
import { HOP_LIMIT, type Datagram } from "../network/datagram.ts";
import { toPackets } from "../network/sixlowpan.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import type { ChipProfile } from "./profile.ts";

/** Time on air that a UDP datagram takes over one hop of 802.15.4, and that of the acknowledgements. */
export function datagramAirUs(payloadBytes: number): { frames: number; dataUs: number; ackUs: number } {
  const ports = { source: 5683, destination: 5683 };
  const payload = new Uint8Array(payloadBytes);
  const datagram: Datagram = { from: 0, to: 1, scope: "link", hopLimit: HOP_LIMIT, ports, payload };
  const packets = toPackets(datagram, 0, MAC_MAX_PAYLOAD_BYTES);
  const dataUs = packets.reduce((sum, packet) => sum + airtimeUs(packet.length + MAC_OVERHEAD_BYTES), 0);
  return { frames: packets.length, dataUs, ackUs: packets.length * airtimeUs(PHY.ackPsduBytes) };
}

/**
 * Energy that a mote's traffic and work would have cost on this chip: frames sent and received,
 * CPU and flash. Waiting with the receiver on is left out; the simulator counts it, where time is
 * that of the air and not of a loopback.
 */
export class WorkEstimate {
  readonly #profile: ChipProfile;
  #uj = 0;

  constructor(profile: ChipProfile) {
    this.#profile = profile;
  }

  get mj(): number {
    return this.#uj / 1_000;
  }

  sent(payloadBytes: number): void {
    const { dataUs, ackUs } = datagramAirUs(payloadBytes);
    this.#add(this.#profile.txMa.value, dataUs);
    this.#add(this.#profile.rxMa.value, ackUs);
  }

  received(payloadBytes: number): void {
    const { dataUs, ackUs } = datagramAirUs(payloadBytes);
    this.#add(this.#profile.rxMa.value, dataUs);
    this.#add(this.#profile.txMa.value, ackUs);
  }

  worked(state: "cpu" | "flash", us: number): void {
    this.#add((state === "cpu" ? this.#profile.cpuMa : this.#profile.flashMa).value, us);
  }

  #add(milliamps: number, us: number): void {
    this.#uj += (this.#profile.supplyV.value * milliamps * us) / 1_000;
  }
}

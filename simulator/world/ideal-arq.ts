import type { Engine } from "../engine/engine.ts";
import { MAC_MAX_PAYLOAD_BYTES, MAC_OVERHEAD_BYTES, NOTHING } from "../mac/link-layer.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import type { Frame } from "../radio/frame.ts";
import type { Medium, Station } from "../radio/medium.ts";

/**
 * Bare frames back to back, feedback for free: what the closed form of the limit describes. It runs
 * on the same radio, links and ledger as the real protocol, and so checks them.
 */
export class IdealArq implements Station {
  readonly id: number;
  readonly ledger: EnergyLedger;
  readonly #medium: Medium;
  readonly #engine: Engine;
  readonly #imageBytes: number;
  #left: number;
  #repeats: number;
  #sequence = 0;
  #got = false;
  finishedUs: number | undefined;

  /** The image is received `repeats` times, one after another, so that chance averages out. */
  constructor(id: number, engine: Engine, medium: Medium, ledger: EnergyLedger, imageBytes: number, repeats: number) {
    this.id = id;
    this.ledger = ledger;
    this.#engine = engine;
    this.#medium = medium;
    this.#imageBytes = imageBytes;
    this.#left = imageBytes;
    this.#repeats = repeats;
    medium.join(this);
  }

  onFrame(): void {
    this.#got = true;
  }

  /** Sends the next frame; behind its last symbol the sender knows whether it arrived. */
  sendNext(from: number): void {
    const payloadBytes = Math.min(this.#left, MAC_MAX_PAYLOAD_BYTES);
    const psduBytes = MAC_OVERHEAD_BYTES + payloadBytes;
    this.#sequence = (this.#sequence + 1) & 0xff;
    this.#got = false;
    const frame: Frame = {
      kind: "data",
      from,
      to: this.id,
      sequence: this.#sequence,
      psduBytes,
      payload: NOTHING,
      pending: false,
    };
    this.#medium.transmit(frame, () => this.#engine.after(0, () => this.#onSent(from, payloadBytes)));
  }

  #onSent(from: number, payloadBytes: number): void {
    if (this.#got) this.#left -= payloadBytes;
    if (this.#left === 0 && --this.#repeats > 0) this.#left = this.#imageBytes;
    if (this.#left > 0) {
      this.sendNext(from);
      return;
    }
    this.finishedUs = this.#engine.nowUs();
    this.#medium.setOn(this.id, false);
  }
}

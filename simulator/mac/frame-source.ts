import { uintBelow } from "../../src/util/random.ts";
import type { Frame } from "../radio/frame.ts";
import { PHY } from "../radio/phy.ts";
import { MAC_OVERHEAD_BYTES, NOTHING, type MacParts } from "./link-layer.ts";

/** What one node numbers its frames by, and by what it knows copies of others' frames. */
export class FrameSource {
  readonly #id: number;
  readonly #securityBytes: number;
  readonly #lastSequence = new Map<number, number>();
  #sequence: number;

  constructor({ id, random, parameters }: MacParts) {
    this.#id = id;
    this.#securityBytes = parameters.securityBytes;
    this.#sequence = uintBelow(random, 256);
  }

  /** Throws RangeError for a payload that no frame has room for. */
  make(kind: "data" | "poll", to: number, payload: Uint8Array, pending = false): Frame {
    this.#sequence = (this.#sequence + 1) & 0xff;
    const psduBytes = payload.length + MAC_OVERHEAD_BYTES + this.#securityBytes + (kind === "poll" ? 1 : 0);
    if (psduBytes > PHY.maxPsduBytes) throw new RangeError(`a frame of ${psduBytes} bytes does not exist`);
    return { kind, from: this.#id, to, sequence: this.#sequence, psduBytes, payload, pending };
  }

  acknowledgement(to: number, sequence: number, pending = false): Frame {
    return { kind: "ack", from: this.#id, to, sequence, psduBytes: PHY.ackPsduBytes, payload: NOTHING, pending };
  }

  /** Whether this is the frame of its sender that came last, once more. */
  isCopy({ from, sequence }: Frame): boolean {
    if (this.#lastSequence.get(from) === sequence) return true;
    this.#lastSequence.set(from, sequence);
    return false;
  }
}

import { IntervalSet } from "../util/interval-set.ts";
import { TRANSFER_LIMITS } from "./limits.ts";

/** How far one device has got with one image: what was served to it, block by block. */
export class Transfer {
  /** The peer's address and port, as `peerKey` writes them. */
  readonly device: string;
  readonly digest: string;
  readonly size: number;
  /** Blocks served, repeats included. */
  blocks = 0;
  /** Image bytes served, repeats included. */
  bytes = 0;
  /** Blocks served again though they had been served before: the retransmissions the link cost. */
  retransmissions = 0;
  /** Times that the device began or, after a pause or a restart of the gateway, went on. */
  attempts = 0;
  /** When a block was served last; of this run of the gateway only. */
  lastServedUs: number | undefined;
  /** It changed since its record was written. */
  changed = false;
  /** Its record says that it has ended. */
  endWritten = false;
  /** The address and the port in `device`, once the device has asked in this run. */
  address: string | undefined;
  port: number | undefined;
  /** Taken from the store, and nothing was asked for since: the last blocks before the restart may not have been noted. */
  #goesOn: boolean;
  #served: IntervalSet;
  /**
   * A run of blocks one behind the other that is not in `#served` yet, behind all that is: mostly a
   * block goes on with it, and then this object is all that need be touched.
   */
  #runStart = -1;
  #runEnd = -1;

  constructor(device: string, digest: string, size: number, bounds: readonly number[] = []) {
    this.device = device;
    this.digest = digest;
    this.size = size;
    this.#served = new IntervalSet(TRANSFER_LIMITS.maxIntervals, bounds);
    this.#goesOn = bounds.length > 0;
  }

  /** What was served, as ranges of bytes. */
  get served(): IntervalSet {
    if (this.#runEnd > this.#runStart) this.#served.add(this.#runStart, this.#runEnd);
    this.#runStart = this.#runEnd = -1;
    return this.#served;
  }

  get finished(): boolean {
    return this.served.covered >= this.size;
  }

  /** A block of the image was put on its way. False where it went on behind the one before, as mostly. */
  record(nowUs: number, offset: number, length: number): boolean {
    const paused = this.lastServedUs === undefined || nowUs - this.lastServedUs > TRANSFER_LIMITS.pauseUs;
    if (paused) this.attempts++;
    this.lastServedUs = nowUs;
    this.blocks++;
    this.bytes += length;
    if (this.#goesOn) this.#close(offset);
    if (offset === this.#runEnd) {
      this.#runEnd += length;
      return false;
    }
    this.#recordElsewhere(offset, length, paused);
    return true;
  }

  /** Who goes on further than was noted, by no more than what may have been served since, has what is between. */
  #close(offset: number): void {
    const noted = this.#served.bounds.at(-1)!;
    if (offset < noted) return;
    this.#goesOn = false;
    if (offset - noted <= TRANSFER_LIMITS.mostUnnotedBytes) this.#served.add(noted, offset);
  }

  #recordElsewhere(offset: number, length: number, paused: boolean): void {
    if (offset === 0 && this.finished) {
      this.#served = new IntervalSet(TRANSFER_LIMITS.maxIntervals);
      if (!paused) this.attempts++;
    }
    const { served } = this;
    if (served.has(offset, offset + length)) {
      this.retransmissions++;
      return;
    }
    if (offset >= (served.bounds.at(-1) ?? 0)) [this.#runStart, this.#runEnd] = [offset, offset + length];
    else served.add(offset, offset + length);
  }
}

const COUNTERS = 5;

/**
 * The record of a transfer as the store keeps it under a key that names digest and device: five
 * counters, then the bounds of what was served, as float64. Some thousand are written each second.
 */
export function encodeTransfer({ size, blocks, bytes, retransmissions, attempts, served }: Transfer): Uint8Array {
  return new Uint8Array(Float64Array.of(size, blocks, bytes, retransmissions, attempts, ...served.bounds).buffer);
}

/** Undefined when the record is none: it is dropped, since it only holds statistics. */
export function decodeTransfer(device: string, digest: string, record: Uint8Array): Transfer | undefined {
  if (record.length % 8 !== 0 || record.length < COUNTERS * 8) return undefined;
  const numbers = [...new Float64Array(record.slice().buffer)];
  if (numbers.length % 2 === 0 || !numbers.every((number) => Number.isSafeInteger(number) && number >= 0))
    return undefined;
  const [size, blocks, bytes, retransmissions, attempts, ...bounds] = numbers;
  const transfer = new Transfer(device, digest, size!, bounds);
  return Object.assign(transfer, { blocks, bytes, retransmissions, attempts });
}

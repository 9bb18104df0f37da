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
  served: IntervalSet;

  constructor(device: string, digest: string, size: number) {
    this.device = device;
    this.digest = digest;
    this.size = size;
    this.served = new IntervalSet(TRANSFER_LIMITS.maxIntervals);
  }

  get finished(): boolean {
    return this.served.covered >= this.size;
  }

  /** A block of the image was put on its way. */
  record(nowUs: number, offset: number, length: number): void {
    const paused = this.lastServedUs === undefined || nowUs - this.lastServedUs > TRANSFER_LIMITS.pauseUs;
    const again = offset === 0 && this.finished;
    if (again) this.served = new IntervalSet(TRANSFER_LIMITS.maxIntervals);
    if (paused || again) this.attempts++;
    this.lastServedUs = nowUs;
    this.blocks++;
    this.bytes += length;
    if (this.served.has(offset, offset + length)) this.retransmissions++;
    else this.served.add(offset, offset + length);
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
  const transfer = new Transfer(device, digest, size!);
  Object.assign(transfer, { blocks, bytes, retransmissions, attempts });
  transfer.served = new IntervalSet(TRANSFER_LIMITS.maxIntervals, bounds);
  return transfer;
}

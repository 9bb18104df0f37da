import { decodeCbor, encodeCbor, isArray, isBytes, isUint } from "../codec/cbor.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";
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

/** The record of a transfer as the store keeps it. */
export function encodeTransfer(transfer: Transfer): Uint8Array {
  const { device, digest, size, blocks, bytes, retransmissions, attempts, served } = transfer;
  const counters = [size, blocks, bytes, retransmissions, attempts];
  return encodeCbor([utf8(device), utf8(digest), counters, [...served.bounds]]);
}

/** Undefined when the record is none: it is dropped, since it only holds statistics. */
export function decodeTransfer(record: Uint8Array): Transfer | undefined {
  try {
    const fields = decodeCbor(record);
    if (!isArray(fields)) return undefined;
    const [device, digest, counters, bounds] = fields;
    if (!isBytes(device) || !isBytes(digest) || !isArray(counters) || !isArray(bounds)) return undefined;
    if (!counters.every(isUint) || !bounds.every(isUint)) return undefined;
    const [size, blocks, bytes, retransmissions, attempts] = counters as number[];
    const transfer = new Transfer(fromUtf8(device) ?? "", fromUtf8(digest) ?? "", size ?? 0);
    Object.assign(transfer, { blocks, bytes, retransmissions, attempts });
    transfer.served = new IntervalSet(TRANSFER_LIMITS.maxIntervals, bounds);
    return transfer;
  } catch {
    return undefined;
  }
}

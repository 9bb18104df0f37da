import type { PeerAddress } from "../ports/datagram.ts";
import type { StoreOp } from "../ports/store.ts";
import { peerKey } from "../util/peer.ts";
import { RecentByPort } from "../util/recent-by-port.ts";
import { TRANSFER_LIMITS } from "./limits.ts";
import { decodeTransfer, encodeTransfer, Transfer } from "./transfer.ts";

export const TRANSFER_PREFIX = "transfer/";

/** The transfers of all devices: recorded as blocks are served, written as checkpoints in batches. */
export class TransferTable {
  /** By digest, then by device. */
  readonly #byImage = new Map<string, Map<string, Transfer>>();
  /** The transfer that a peer asked for last: a block is mostly followed by the next one of the same device. */
  readonly #recent = new RecentByPort<Transfer>();
  /** Changed since they were written; in `#writing`, those of them whose turn has come. */
  #dirty = new Set<Transfer>();
  #writing = new Set<Transfer>();
  /** Those that begin, and those that have ended, of which nobody will ask again: a restart must not leave them almost done for ever. */
  readonly #urgent = new Set<Transfer>();
  #atOnce: number = TRANSFER_LIMITS.flushAtOnce;
  readonly #forgotten: Transfer[] = [];
  #size = 0;
  #dueUs: number | undefined;
  /** When the first of `#dirty` changed. */
  #dirtySinceUs = 0;

  /** Takes back a checkpoint after a restart. False when the record is damaged. */
  recover(key: string, record: Uint8Array): boolean {
    const names = KEY.exec(key);
    const transfer = names === null ? undefined : decodeTransfer(names[2]!, names[1]!, record);
    if (transfer === undefined) return false;
    this.#insert(transfer);
    return true;
  }

  record(
    nowUs: number,
    peer: PeerAddress,
    image: { digest: string; size: number },
    offset: number,
    length: number,
  ): Transfer {
    let transfer = this.#recent.get(peer.port);
    if (transfer?.address !== peer.address || transfer.digest !== image.digest) {
      transfer = this.#find(peer, image);
      transfer.address = peer.address;
      transfer.port = peer.port;
      this.#recent.set(peer.port, transfer);
    }
    this.#note(nowUs, transfer, offset, length);
    return transfer;
  }

  /**
   * As `record`, for a device that is known by another name than its address; true when it had these
   * bytes before. What it acknowledged is written at once, so that no crash has it sent again.
   */
  recordFor(
    nowUs: number,
    device: string,
    image: { digest: string; size: number },
    { offset, length, acknowledged }: { offset: number; length: number; acknowledged: boolean },
  ): boolean {
    const known = this.of(device, image.digest);
    const transfer = known ?? this.#insert(new Transfer(device, image.digest, image.size));
    const { retransmissions } = transfer;
    this.#note(nowUs, transfer, offset, length);
    if (acknowledged) this.#dueUs = nowUs;
    return transfer.retransmissions > retransmissions;
  }

  /** How far a device has got with an image. */
  of(device: string, digest: string): Transfer | undefined {
    return this.#byImage.get(digest)?.get(device);
  }

  /** A device begins anew with an image. */
  forget(device: string, digest: string): void {
    const transfer = this.of(device, digest);
    if (transfer === undefined) return;
    this.#remove(transfer);
    this.#dueUs = 0; // what it had does not come back
  }

  #note(nowUs: number, transfer: Transfer, offset: number, length: number): void {
    const isElsewhere = transfer.record(nowUs, offset, length);
    const mayEnd = (isElsewhere || offset + length >= transfer.size) && !transfer.endWritten;
    if (transfer.blocks === 1 || (mayEnd && transfer.finished)) this.#urgent.add(transfer);
    if (transfer.changed) return;
    transfer.changed = true;
    if (this.#dirty.size === 0) this.#dirtySinceUs = nowUs;
    this.#dirty.add(transfer);
    this.#dueUs ??= nowUs + TRANSFER_LIMITS.flushUs;
  }

  /** When changed checkpoints are to be written. */
  get nextFlushUs(): number | undefined {
    return this.#urgent.size > 0 ? 0 : this.#dueUs;
  }

  /** The next writes that bring the store up to date: some, the longest changed first, or all that there are. */
  takeWrites(nowUs: number, all = false): StoreOp[] {
    const gone = this.#forgotten.splice(0).filter(({ device, digest }) => this.of(device, digest) === undefined);
    const ops: StoreOp[] = gone.map((transfer) => ({ kind: "delete", key: keyOf(transfer) }));
    for (const transfer of this.#urgent) ops.push(this.#write(transfer));
    this.#urgent.clear();
    if (!all && this.#dueUs !== undefined && nowUs < this.#dueUs) return ops;
    const { flushAtOnce, flushBreathUs, flushGoes, flushUs } = TRANSFER_LIMITS;
    if (this.#writing.size === 0) {
      [this.#writing, this.#dirty] = [this.#dirty, this.#writing];
      const { size } = this.#writing;
      this.#atOnce = size <= flushAtOnce ? flushAtOnce : Math.ceil(size / flushGoes);
    }
    let left = all ? Infinity : this.#atOnce;
    for (const transfer of this.#writing) {
      if (left-- === 0) break;
      ops.push(this.#write(transfer));
    }
    if (this.#writing.size > 0) this.#dueUs = nowUs + flushBreathUs;
    else this.#dueUs = this.#dirty.size > 0 ? Math.max(nowUs, this.#dirtySinceUs + flushUs) : undefined;
    return ops;
  }

  #write(transfer: Transfer): StoreOp {
    this.#writing.delete(transfer);
    this.#dirty.delete(transfer);
    transfer.changed = false;
    transfer.endWritten = transfer.finished;
    return { kind: "put", key: keyOf(transfer), value: encodeTransfer(transfer) };
  }

  /** True while a device that still asks, or asked not too long ago, has not got all of the image. */
  hasUnfinished(nowUs: number, digest: string): boolean {
    for (const transfer of this.#byImage.get(digest)?.values() ?? []) {
      const silentUs = nowUs - (transfer.lastServedUs ?? 0);
      if (!transfer.finished && silentUs < TRANSFER_LIMITS.abandonedUs) return true;
    }
    return false;
  }

  *all(): Iterable<Transfer> {
    for (const devices of this.#byImage.values()) yield* devices.values();
  }

  #find(peer: PeerAddress, image: { digest: string; size: number }): Transfer {
    const device = peerKey(peer);
    return this.of(device, image.digest) ?? this.#insert(new Transfer(device, image.digest, image.size));
  }

  #insert(transfer: Transfer): Transfer {
    if (this.#size >= TRANSFER_LIMITS.maxTransfers) this.#forgetOne();
    let devices = this.#byImage.get(transfer.digest);
    if (devices === undefined) this.#byImage.set(transfer.digest, (devices = new Map()));
    if (!devices.has(transfer.device)) this.#size++;
    devices.set(transfer.device, transfer);
    return transfer;
  }

  /** Drops a finished one among the oldest, or the oldest of all: in constant time, whoever asks. */
  #forgetOne(): void {
    let victim: Transfer | undefined;
    let looked = 0;
    for (const transfer of this.all()) {
      if (victim === undefined || transfer.finished) victim = transfer;
      if (transfer.finished || ++looked === 64) break;
    }
    if (victim !== undefined) this.#remove(victim);
  }

  #remove(victim: Transfer): void {
    const devices = this.#byImage.get(victim.digest)!;
    devices.delete(victim.device);
    if (victim.port !== undefined) this.#recent.delete(victim.port, victim);
    if (devices.size === 0) this.#byImage.delete(victim.digest);
    this.#dirty.delete(victim);
    this.#writing.delete(victim);
    this.#urgent.delete(victim);
    this.#forgotten.push(victim);
    this.#size--;
  }
}

const KEY = /^transfer\/([0-9a-f]{64})\/(.+)$/;

function keyOf(transfer: Transfer): string {
  return `${TRANSFER_PREFIX}${transfer.digest}/${transfer.device}`;
}

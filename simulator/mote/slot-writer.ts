import { inWholeUnits, type Flash } from "./flash.ts";
import { Journal } from "./journal.ts";
import { eraseSlotInfo, type Layout, type SlotIndex } from "./layout.ts";

/** The slot that an image is written into, block by block, and the journal of what it holds. */
export class SlotWriter {
  readonly journal: Journal;
  readonly slot: SlotIndex;
  /** Time that it took to get ready. */
  readonly setUpUs: number;
  /** True when an earlier download of the same goes on. */
  readonly resumed: boolean;
  readonly #flash: Flash;
  readonly #address: number;
  readonly #layout: Layout;
  /** Where the next piece of a block goes that the server sends in smaller ones. */
  #pieceOffset: number | undefined;

  /** `key`, 32 bytes, tells downloads apart: an image's digest, where that is known. `base`: offset in the slot. */
  constructor(
    flash: Flash,
    layout: Layout,
    slot: SlotIndex,
    {
      key,
      size,
      blockBytes,
      base = 0,
    }: { key: Uint8Array; size: number; blockBytes: number; base?: number | undefined },
  ) {
    this.#address = layout.slotAddress[slot] + base;
    this.#flash = flash;
    this.#layout = layout;
    this.slot = slot;
    let us = eraseSlotInfo(flash, layout, slot);
    let journal = Journal.open(flash, layout, slot, key, size);
    this.resumed = journal !== undefined && journal.storedCount > 0;
    if (journal === undefined) {
      const created = Journal.create(flash, layout, slot, key, size, blockBytes);
      journal = created.journal;
      us += created.us;
    }
    this.journal = journal;
    this.setUpUs = us;
  }

  /** Offset of the next bytes that are missing; undefined when all are there. */
  get missing(): number | undefined {
    const block = this.journal.firstMissing();
    return block === undefined ? undefined : (this.#pieceOffset ?? block * this.journal.blockBytes);
  }

  /** Stores bytes at `missing`; the time that it takes. */
  store(offset: number, bytes: Uint8Array): number {
    const { journal } = this;
    const end = offset + bytes.length;
    let us = this.#program(offset, bytes);
    const complete = end % journal.blockBytes === 0 || end === journal.size;
    this.#pieceOffset = complete ? undefined : end;
    // Mostly one block; a server that ignores Block2 sends all of a small image at once.
    const first = Math.floor(offset / journal.blockBytes);
    const behind = complete ? Math.ceil(end / journal.blockBytes) : Math.floor(end / journal.blockBytes);
    for (let block = first; block < behind; block++) us += journal.markStored(block);
    return us;
  }

  /** The image as it is in the slot. */
  read(): Uint8Array {
    return this.#flash.read(this.#address, this.journal.size);
  }

  /** Bytes of the slot that were stored before. */
  readPart(offset: number, length: number): Uint8Array {
    return this.#flash.read(this.#address + offset, length);
  }

  /** A byte of it, as it is now; undefined behind its end. */
  byteAt(offset: number): number | undefined {
    return offset < this.journal.size ? this.#flash.read(this.#address + offset, 1)[0] : undefined;
  }

  /** Nothing in the slot can be trusted: the next download begins again. */
  discard(): void {
    this.#flash.erase(this.#layout.journalAddress);
  }

  /** Programs image bytes; a sector is erased when its first block comes. */
  #program(offset: number, bytes: Uint8Array): number {
    const flash = this.#flash;
    const { sectorBytes, writeUnitBytes } = flash.geometry;
    const base = this.#address;
    const padded = inWholeUnits(bytes, writeUnitBytes);
    let us = 0;
    const firstSector = Math.floor(offset / sectorBytes);
    const lastSector = Math.floor((offset + padded.length - 1) / sectorBytes);
    for (let sector = firstSector; sector <= lastSector; sector++) {
      const address = base + sector * sectorBytes;
      if (!this.#sectorInUse(sector)) us += flash.isErased(address, sectorBytes) ? 0 : flash.erase(address);
      else if (!flash.isProgrammable(base + offset, padded)) us += this.#clear(address, base + offset, padded.length);
    }
    return us + flash.programVerified(base + offset, padded);
  }

  /** A cut left other bytes here than those that come now: the sector is written anew around them. */
  #clear(sector: number, address: number, length: number): number {
    const flash = this.#flash;
    const kept = flash.read(sector, flash.geometry.sectorBytes);
    kept.fill(0xff, Math.max(0, address - sector), Math.max(0, address + length - sector));
    return flash.erase(sector) + flash.programVerified(sector, kept);
  }

  /** True when the sector holds a stored block, or the piece of one. */
  #sectorInUse(sector: number): boolean {
    const { journal } = this;
    const { sectorBytes } = this.#flash.geometry;
    const first = Math.floor((sector * sectorBytes) / journal.blockBytes);
    const last = Math.min(journal.blocks - 1, Math.floor(((sector + 1) * sectorBytes - 1) / journal.blockBytes));
    if (this.#pieceOffset !== undefined && Math.floor((this.#pieceOffset - 1) / sectorBytes) === sector) return true;
    for (let block = first; block <= last; block++) if (journal.isStored(block)) return true;
    return false;
  }
}

import { bytesEqual } from "../../src/util/bytes.ts";
import type { Flash } from "./flash.ts";
import { JOURNAL_HEADER_BYTES, type Layout, type SlotIndex } from "./layout.ts";

const MAGIC = 0x4a_52_4e_4c;

/**
 * Which blocks of which image are in the slot: a header, then one write unit per block, programmed
 * to zero after the block's bytes. A block that is not marked is fetched again; programming the
 * same bytes over what a cut left behind only clears bits that have to be clear.
 */
export class Journal {
  readonly #flash: Flash;
  readonly #layout: Layout;
  readonly blockBytes: number;
  readonly size: number;
  readonly #stored: Uint8Array;
  #storedCount = 0;
  #cursor = 0;

  private constructor(flash: Flash, layout: Layout, size: number, blockBytes: number) {
    this.#flash = flash;
    this.#layout = layout;
    this.size = size;
    this.blockBytes = blockBytes;
    this.#stored = new Uint8Array(Math.ceil(size / blockBytes));
  }

  /** The journal of an earlier, unfinished download of the same image into the same slot; undefined when there is none. */
  static open(flash: Flash, layout: Layout, slot: SlotIndex, digest: Uint8Array, size: number): Journal | undefined {
    const header = flash.read(layout.journalAddress, JOURNAL_HEADER_BYTES);
    const view = new DataView(header.buffer);
    const blockBytes = view.getUint32(8);
    const isSame = view.getUint32(4) === size && view.getUint32(12) === slot;
    if (view.getUint32(0) !== MAGIC || !isSame || !bytesEqual(header.subarray(16, 48), digest)) return undefined;
    const journal = new Journal(flash, layout, size, blockBytes);
    for (let i = 0; i < journal.#stored.length; i++) {
      if (flash.read(journal.#mark(i), 1)[0] === 0) journal.#note(i);
    }
    return journal;
  }

  /** A new journal, in place of whatever was there. `us` is the time it takes. */
  static create(
    flash: Flash,
    layout: Layout,
    slot: SlotIndex,
    digest: Uint8Array,
    size: number,
    blockBytes: number,
  ): { journal: Journal; us: number } {
    let us = 0;
    for (let at = 0; at < layout.journalBytes; at += flash.geometry.sectorBytes)
      us += flash.erase(layout.journalAddress + at);
    const header = new Uint8Array(JOURNAL_HEADER_BYTES);
    const view = new DataView(header.buffer);
    view.setUint32(0, MAGIC);
    view.setUint32(4, size);
    view.setUint32(8, blockBytes);
    view.setUint32(12, slot);
    header.set(digest, 16);
    us += flash.programVerified(layout.journalAddress, header);
    return { journal: new Journal(flash, layout, size, blockBytes), us };
  }

  get blocks(): number {
    return this.#stored.length;
  }

  get storedCount(): number {
    return this.#storedCount;
  }

  isStored(block: number): boolean {
    return this.#stored[block] === 1;
  }

  /** The first block that is not stored; undefined when all are. */
  firstMissing(): number | undefined {
    while (this.#cursor < this.#stored.length && this.#stored[this.#cursor] === 1) this.#cursor++;
    return this.#cursor < this.#stored.length ? this.#cursor : undefined;
  }

  /** Marks a block whose bytes are in the slot; returns the time in us. */
  markStored(block: number): number {
    if (this.isStored(block)) return 0;
    this.#note(block);
    return this.#flash.programVerified(this.#mark(block), new Uint8Array(this.#flash.geometry.writeUnitBytes));
  }

  #note(block: number): void {
    this.#stored[block] = 1;
    this.#storedCount++;
  }

  #mark(block: number): number {
    return this.#layout.journalAddress + JOURNAL_HEADER_BYTES + block * this.#flash.geometry.writeUnitBytes;
  }
}

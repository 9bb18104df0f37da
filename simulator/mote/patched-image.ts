import { PatchReader } from "../../src/delta/patch.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { inWholeUnits, type Flash } from "./flash.ts";
import type { Journal } from "./journal.ts";
import { inWholeSectors, type Layout, type SlotIndex } from "./layout.ts";
import type { SlotWriter } from "./slot-writer.ts";

/** What a slot holds after a download: an image as it came, or one that was made of a patch. */
export interface Written {
  readonly slot: SlotIndex;
  readonly journal: Journal;
  read(): Uint8Array;
  /** Nothing in the slot can be trusted: the next download begins again. */
  discard(): void;
}

/** Where a patch is kept while it is applied: at the end of the slot, behind the image that comes of it. */
export function patchBase(
  slotBytes: number,
  sectorBytes: number,
  imageSize: number,
  patchSize: number,
): number | undefined {
  const base = slotBytes - inWholeSectors(patchSize, sectorBytes);
  return base >= inWholeSectors(imageSize, sectorBytes) ? base : undefined;
}

/**
 * Makes an image of the one that runs and a patch, sector by sector. Neither of them is written to, so that a power cut
 * costs no more than to begin again: the patch stays, with its journal.
 */
export class PatchedImage implements Written {
  readonly #flash: Flash;
  readonly #address: number;
  readonly #patch: SlotWriter;
  readonly #reader: PatchReader;
  #at = 0;

  /** Throws a PatchError, as `step` does. */
  constructor(flash: Flash, layout: Layout, patch: SlotWriter, old: Uint8Array, size: number) {
    this.#flash = flash;
    this.#address = layout.slotAddress[patch.slot];
    this.#patch = patch;
    // Read as it is needed, as from flash that the CPU sees as memory.
    this.#reader = new PatchReader((i) => patch.byteAt(i), old, size);
  }

  get slot(): SlotIndex {
    return this.#patch.slot;
  }

  get journal(): Journal {
    return this.#patch.journal;
  }

  /** Makes the next sector: its bytes, and the time that flash takes; undefined where all is done. */
  step(): { readonly bytes: number; readonly us: number } | undefined {
    const flash = this.#flash;
    const { sectorBytes, writeUnitBytes } = flash.geometry;
    const piece = this.#reader.next(sectorBytes);
    if (piece.length === 0) return undefined;
    const address = this.#address + this.#at;
    this.#at += piece.length;
    const padded = inWholeUnits(piece, writeUnitBytes);
    // It may be there from before a power cut.
    if (bytesEqual(flash.read(address, padded.length), padded)) return { bytes: piece.length, us: 0 };
    const erased = flash.isErased(address, sectorBytes) ? 0 : flash.erase(address);
    return { bytes: piece.length, us: erased + flash.programVerified(address, padded) };
  }

  read(): Uint8Array {
    return this.#flash.read(this.#address, this.#reader.size);
  }

  discard(): void {
    this.#patch.discard();
  }
}

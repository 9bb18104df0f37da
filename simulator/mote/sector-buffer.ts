import type { Crypto } from "../../src/ports/crypto.ts";
import { isSector, sectorRange, type SectorTable } from "../../src/suit/sector-table.ts";
import type { SlotWriter } from "./slot-writer.ts";

export type SectorStep =
  /** More is needed before the sector can be judged. */
  | { readonly kind: "waiting" }
  /** It is the image's: these bytes may be stored. */
  | { readonly kind: "good"; readonly offset: number; readonly bytes: Uint8Array; readonly hashed: number }
  /** `resumed`: its first part was in flash, and may be what is wrong. */
  | { readonly kind: "bad"; readonly hashed: number; readonly resumed: boolean };

/** Holds what comes until a sector is whole, and judges it by the signed table before anything is written. */
export class SectorBuffer {
  readonly #crypto: Crypto;
  readonly #table: SectorTable;
  readonly #writer: SlotWriter;
  #start = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #filled = 0;
  /** Where the new bytes begin: what is before them was stored earlier. */
  #from = 0;

  constructor(crypto: Crypto, table: SectorTable, writer: SlotWriter) {
    this.#crypto = crypto;
    this.#table = table;
    this.#writer = writer;
  }

  /** Offset of the next bytes; undefined when all are stored. */
  get missing(): number | undefined {
    return this.#filled > 0 ? this.#start + this.#filled : this.#writer.missing;
  }

  add(offset: number, bytes: Uint8Array): SectorStep {
    if (this.#filled === 0) this.#begin(offset);
    if (offset !== this.#start + this.#filled || this.#filled + bytes.length > this.#bytes.length) return this.#bad();
    this.#bytes.set(bytes, this.#filled);
    this.#filled += bytes.length;
    if (this.#filled < this.#bytes.length) return { kind: "waiting" };
    const index = Math.floor(this.#start / this.#table.sectorBytes);
    if (!isSector(this.#crypto, this.#table, index, this.#bytes)) return this.#bad();
    const good = {
      kind: "good",
      offset: this.#from,
      bytes: this.#bytes.subarray(this.#from - this.#start),
      hashed: this.#filled,
    } as const;
    this.#filled = 0;
    return good;
  }

  #bad(): SectorStep {
    const hashed = this.#filled;
    this.#filled = 0;
    return { kind: "bad", hashed, resumed: this.#from > this.#start };
  }

  /** A download that went on in the middle of a sector has the first part in flash. */
  #begin(offset: number): void {
    const { sectorBytes } = this.#table;
    const { start, end } = sectorRange(this.#table, Math.floor(offset / sectorBytes));
    this.#start = start;
    this.#from = offset;
    this.#bytes = new Uint8Array(end - start);
    this.#bytes.set(this.#writer.readPart(start, offset - start));
    this.#filled = offset - start;
  }
}

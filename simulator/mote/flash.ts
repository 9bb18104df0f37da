import { bytesEqual } from "../../src/util/bytes.ts";

export interface FlashGeometry {
  readonly sectorBytes: number;
  /** Smallest unit that is programmed at once. */
  readonly writeUnitBytes: number;
  readonly sectors: number;
}

export interface FlashTiming {
  readonly eraseSectorUs: number;
  readonly programUnitUs: number;
}

/** How often a program that did not take is tried. */
const PROGRAM_ATTEMPTS = 8;

/** What a program or erase must not do; a mote that tries has a defect. */
export class FlashFault extends Error {}

/** A cell takes nothing any more: the mote cannot go on, and what it ran before stays. */
export class FlashWornOut extends Error {}

/** NOR flash: programming only clears bits, erasing sets a whole sector to ones. Content outlives reboots. */
export class Flash {
  readonly geometry: FlashGeometry;
  readonly #timing: FlashTiming;
  /** Sectors that hold anything; the others are erased. */
  readonly #sectors: (Uint8Array | undefined)[];
  readonly #erases: Uint32Array;
  /** Told how long each operation takes. */
  onBusy: (us: number) => void = () => {};
  /** Asked at each program: true leaves the last byte as it was. */
  programFails: () => boolean = () => false;
  /** Programs that failed. */
  faults = 0;
  /** What all operations took, in us. */
  busyUs = 0;

  constructor(geometry: FlashGeometry, timing: FlashTiming) {
    this.geometry = geometry;
    this.#timing = timing;
    this.#sectors = Array.from({ length: geometry.sectors }, () => undefined);
    this.#erases = new Uint32Array(geometry.sectors);
  }

  read(address: number, length: number): Uint8Array {
    this.#check(address, length);
    const out = new Uint8Array(length).fill(0xff);
    this.#eachSector(address, length, (sector, at, from, count) => {
      const cells = this.#sectors[sector];
      if (cells !== undefined) out.set(cells.subarray(from, from + count), at);
    });
    return out;
  }

  /** Programs whole write units; a bit that would have to go from 0 to 1 is a fault. Returns the time in us. */
  program(address: number, bytes: Uint8Array): number {
    this.#check(address, bytes.length);
    const unit = this.geometry.writeUnitBytes;
    if (address % unit !== 0 || bytes.length % unit !== 0) throw new FlashFault(`unaligned program at ${address}`);
    const fails = this.programFails();
    if (fails) this.faults++;
    this.#eachSector(address, bytes.length, (sector, at, from, count) => {
      const cells = (this.#sectors[sector] ??= new Uint8Array(this.geometry.sectorBytes).fill(0xff));
      for (let i = 0; i < count; i++) {
        const byte = bytes[at + i]!;
        if ((cells[from + i]! & byte) !== byte) throw new FlashFault(`program at ${address + at + i} would set bits`);
        if (!fails || at + i < bytes.length - 1) cells[from + i] = byte;
      }
    });
    return this.#spend((bytes.length / unit) * this.#timing.programUnitUs);
  }

  /** Whether bytes can go over what is there without an erase. */
  isProgrammable(address: number, bytes: Uint8Array): boolean {
    return this.read(address, bytes.length).every((cell, i) => (cell & bytes[i]!) === bytes[i]);
  }

  /** Programs, reads back, and programs again what did not take; a cell that never takes it is a fault. Returns the time in us. */
  programVerified(address: number, bytes: Uint8Array): number {
    let us = 0;
    for (let attempt = 0; attempt < PROGRAM_ATTEMPTS; attempt++) {
      us += this.program(address, bytes);
      if (bytesEqual(this.read(address, bytes.length), bytes)) return us;
    }
    throw new FlashWornOut(`program at ${address} did not take in ${PROGRAM_ATTEMPTS} attempts`);
  }

  /** Erases the sector that holds `address`. Returns the time in us. */
  erase(address: number): number {
    this.#check(address, 1);
    const sector = Math.floor(address / this.geometry.sectorBytes);
    this.#sectors[sector] = undefined;
    this.#erases[sector]!++;
    return this.#spend(this.#timing.eraseSectorUs);
  }

  isErased(address: number, length: number): boolean {
    let erased = true;
    this.#eachSector(address, length, (sector, _at, from, count) => {
      const cells = this.#sectors[sector];
      if (cells?.subarray(from, from + count).some((byte) => byte !== 0xff) === true) erased = false;
    });
    return erased;
  }

  /** Erases of the sector that was erased most. */
  get maxWear(): number {
    return Math.max(...this.#erases);
  }

  /** Calls for each sector of a range: its number, where its part is in the range, in the sector, and how long it is. */
  #eachSector(
    address: number,
    length: number,
    visit: (sector: number, at: number, from: number, count: number) => void,
  ): void {
    const { sectorBytes } = this.geometry;
    for (let at = 0; at < length;) {
      const sector = Math.floor((address + at) / sectorBytes);
      const from = (address + at) % sectorBytes;
      const count = Math.min(length - at, sectorBytes - from);
      visit(sector, at, from, count);
      at += count;
    }
  }

  #spend(us: number): number {
    this.busyUs += Math.round(us);
    this.onBusy(us);
    return us;
  }

  #check(address: number, length: number): void {
    if (address < 0 || length < 0 || address + length > this.geometry.sectors * this.geometry.sectorBytes) {
      throw new FlashFault(`address ${address}+${length} is outside the flash`);
    }
  }
}

/** Bytes and, behind them, what erased flash has, up to the end of a write unit. */
export function inWholeUnits(bytes: Uint8Array, writeUnitBytes: number): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / writeUnitBytes) * writeUnitBytes).fill(0xff);
  padded.set(bytes);
  return padded;
}

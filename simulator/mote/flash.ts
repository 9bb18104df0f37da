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

/** What a program or erase must not do; a mote that tries has a defect. */
export class FlashFault extends Error {}

/** NOR flash: programming only clears bits, erasing sets a whole sector to ones. Content outlives reboots. */
export class Flash {
  readonly geometry: FlashGeometry;
  readonly #timing: FlashTiming;
  readonly #cells: Uint8Array;
  readonly #erases: Uint32Array;
  /** Told how long each operation takes. */
  onBusy: (us: number) => void = () => {};

  constructor(geometry: FlashGeometry, timing: FlashTiming) {
    this.geometry = geometry;
    this.#timing = timing;
    this.#cells = new Uint8Array(geometry.sectors * geometry.sectorBytes).fill(0xff);
    this.#erases = new Uint32Array(geometry.sectors);
  }

  read(address: number, length: number): Uint8Array {
    this.#check(address, length);
    return this.#cells.slice(address, address + length);
  }

  /** Programs whole write units; a bit that would have to go from 0 to 1 is a fault. Returns the time in us. */
  program(address: number, bytes: Uint8Array): number {
    this.#check(address, bytes.length);
    const unit = this.geometry.writeUnitBytes;
    if (address % unit !== 0 || bytes.length % unit !== 0) throw new FlashFault(`unaligned program at ${address}`);
    for (const [i, byte] of bytes.entries()) {
      const before = this.#cells[address + i]!;
      if ((before & byte) !== byte) throw new FlashFault(`program at ${address + i} would set bits`);
      this.#cells[address + i] = byte;
    }
    return this.#spend((bytes.length / unit) * this.#timing.programUnitUs);
  }

  /** Erases the sector that holds `address`. Returns the time in us. */
  erase(address: number): number {
    this.#check(address, 1);
    const sector = Math.floor(address / this.geometry.sectorBytes);
    this.#cells.fill(0xff, sector * this.geometry.sectorBytes, (sector + 1) * this.geometry.sectorBytes);
    this.#erases[sector]!++;
    return this.#spend(this.#timing.eraseSectorUs);
  }

  isErased(address: number, length: number): boolean {
    return this.read(address, length).every((byte) => byte === 0xff);
  }

  /** Erases of the sector that was erased most. */
  get maxWear(): number {
    return Math.max(...this.#erases);
  }

  #spend(us: number): number {
    this.onBusy(us);
    return us;
  }

  #check(address: number, length: number): void {
    if (address < 0 || length < 0 || address + length > this.#cells.length) {
      throw new FlashFault(`address ${address}+${length} is outside the flash`);
    }
  }
}

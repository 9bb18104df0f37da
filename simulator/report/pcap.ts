import { frameBytes, type Frame } from "../radio/frame.ts";

/** IEEE 802.15.4 with FCS. */
const LINK_TYPE = 195;
const FLUSH_BYTES = 65_536;

/** A capture of all frames in the order in which they went on air, times in microseconds from the start of the run. */
export class PcapWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #buffer = Buffer.alloc(FLUSH_BYTES);
  #used = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
    const header = Buffer.alloc(24);
    header.writeUInt32LE(0xa1b2c3d4, 0);
    header.writeUInt16LE(2, 4);
    header.writeUInt16LE(4, 6);
    header.writeUInt32LE(65_535, 16);
    header.writeUInt32LE(LINK_TYPE, 20);
    write(header);
  }

  frame(nowUs: number, frame: Frame): void {
    const bytes = frameBytes(frame);
    if (this.#used + 16 + bytes.length > FLUSH_BYTES) this.end();
    const buffer = this.#buffer;
    const at = this.#used;
    buffer.writeUInt32LE(Math.floor(nowUs / 1e6), at);
    buffer.writeUInt32LE(Math.floor(nowUs % 1e6), at + 4);
    buffer.writeUInt32LE(bytes.length, at + 8);
    buffer.writeUInt32LE(bytes.length, at + 12);
    buffer.set(bytes, at + 16);
    this.#used += 16 + bytes.length;
  }

  /** Writes what is still held back. */
  end(): void {
    if (this.#used > 0) this.#write(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }
}

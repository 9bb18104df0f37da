import { concatBytes } from "../util/bytes.ts";
import { diff } from "./diff.ts";
import { compress, Expander, type ByteAt } from "./heatshrink.ts";
import { PatchError } from "./patch-error.ts";

/** "bfd" and the format's number, then the sizes of both images: 4 bytes each, most significant first. */
const MAGIC = Uint8Array.of(0x62, 0x66, 0x64, 1);
const HEADER_BYTES = 12;
/** Of a number in seven bits each. */
const MAX_NUMBER_BYTES = 5;

/**
 * A patch by which `wanted` is made from `old`. Packed by heatshrink there are steps: how many bytes are alike, how many
 * are new, and where the old image goes on, from where it was (zigzag); then the differences of the first, in which a zero
 * is followed by how many more come; then the new ones as they are.
 */
export function makePatch(old: Uint8Array, wanted: Uint8Array): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(MAGIC);
  const view = new DataView(header.buffer);
  view.setUint32(4, old.length);
  view.setUint32(8, wanted.length);
  const body: number[] = [];
  let [oldAt, newAt] = [0, 0];
  for (const { oldOffset, alike, extra } of diff(old, wanted)) {
    writeNumber(body, alike);
    writeNumber(body, extra);
    const seek = oldOffset - oldAt;
    writeNumber(body, seek < 0 ? -2 * seek - 1 : 2 * seek);
    writeDifferences(body, old, oldOffset, wanted.subarray(newAt, newAt + alike));
    for (let i = newAt + alike; i < newAt + alike + extra; i++) body.push(wanted[i]!);
    oldAt = oldOffset + alike;
    newAt += alike + extra;
  }
  return concatBytes(header, compress(Uint8Array.from(body)));
}

function writeDifferences(out: number[], old: Uint8Array, oldOffset: number, wanted: Uint8Array): void {
  const difference = (i: number): number => (wanted[i]! - old[oldOffset + i]!) & 0xff;
  for (let i = 0; i < wanted.length; i++) {
    out.push(difference(i));
    if (difference(i) !== 0) continue;
    const first = i;
    while (i + 1 < wanted.length && difference(i + 1) === 0) i++;
    writeNumber(out, i - first);
  }
}

function writeNumber(out: number[], value: number): void {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  out.push(rest);
}

/** Applies a patch piece by piece, so that a mote writes each to flash and needs no more than that of RAM. */
export class PatchReader {
  /** Bytes of the image that comes of it. */
  readonly size: number;
  readonly #old: Uint8Array;
  readonly #source: Expander;
  #oldAt = 0;
  #newAt = 0;
  #alike = 0;
  #extra = 0;
  #zeros = 0;

  /** Throws a PatchError where it is none for these images. */
  constructor(patch: ByteAt, old: Uint8Array, size: number) {
    const header = Uint8Array.from({ length: HEADER_BYTES }, (_, i) => patch(i) ?? 0);
    if (MAGIC.some((byte, i) => header[i] !== byte)) throw new PatchError("patch-unknown");
    const view = new DataView(header.buffer);
    if (view.getUint32(4) !== old.length || view.getUint32(8) !== size) throw new PatchError("patch-of-other-size");
    this.size = size;
    this.#old = old;
    this.#source = new Expander(patch, HEADER_BYTES);
  }

  /** The next bytes of the new image, `most` at a time; none at its end. Throws a PatchError. */
  next(most: number): Uint8Array {
    const piece = new Uint8Array(Math.min(most, this.size - this.#newAt));
    for (let i = 0; i < piece.length; i++) piece[i] = this.#byte();
    this.#newAt += piece.length;
    return piece;
  }

  #byte(): number {
    // Each step takes bytes of the patch, so there is an end to those that yield none.
    while (this.#alike + this.#extra === 0) this.#step();
    if (this.#alike === 0) {
      this.#extra--;
      return this.#source.next();
    }
    const old = this.#old[this.#oldAt++];
    if (old === undefined) throw new PatchError("patch-out-of-range");
    this.#alike--;
    return (old + this.#difference()) & 0xff;
  }

  #difference(): number {
    if (this.#zeros > 0) {
      this.#zeros--;
      return 0;
    }
    const difference = this.#source.next();
    if (difference === 0) this.#zeros = this.#number();
    return difference;
  }

  #step(): void {
    [this.#alike, this.#extra] = [this.#number(), this.#number()];
    const seek = this.#number();
    this.#oldAt += seek % 2 === 1 ? -(seek + 1) / 2 : seek / 2;
    this.#zeros = 0;
    if (this.#oldAt < 0) throw new PatchError("patch-out-of-range");
  }

  #number(): number {
    let value = 0;
    for (let i = 0, scale = 1; i < MAX_NUMBER_BYTES; i++, scale *= 128) {
      const byte = this.#source.next();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new PatchError("patch-malformed");
  }
}

/** The whole image at once. Throws a PatchError. */
export function applyPatch(patch: Uint8Array, old: Uint8Array, size: number): Uint8Array {
  return new PatchReader((i) => patch[i], old, size).next(size);
}

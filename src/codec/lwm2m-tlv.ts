/** What a TLV stands for (LwM2M 1.1 Core, section 7.4.3, table 7.4.3-1). */
export type TlvKind = "object-instance" | "resource-instance" | "multiple-resource" | "resource";

export interface Tlv {
  readonly kind: TlvKind;
  readonly id: number;
  /** Of a resource or a resource instance. */
  readonly value?: Uint8Array;
  /** Of an object instance or a multiple resource. */
  readonly children?: readonly Tlv[];
}

export class TlvError extends Error {
  readonly fault: "truncated" | "out-of-place" | "too-many" | "too-long";

  constructor(fault: TlvError["fault"], offset: number) {
    super(`TLV: ${fault} at byte ${offset}`);
    this.fault = fault;
  }
}

const KINDS: readonly TlvKind[] = ["object-instance", "resource-instance", "multiple-resource", "resource"];
/** What may stand inside what; at the top anything but a resource instance whose resource is not said elsewhere. */
const INSIDE: Readonly<Record<TlvKind, ReadonlySet<TlvKind>>> = {
  "object-instance": new Set(["multiple-resource", "resource"]),
  "multiple-resource": new Set(["resource-instance"]),
  resource: new Set(),
  "resource-instance": new Set(),
};
const TOP: ReadonlySet<TlvKind> = new Set(KINDS);
/** Entries in one message, a bound on what a small one can make of itself. */
const MAX_ENTRIES = 4_096;

/** Decodes a sequence of TLVs; values are views of `bytes`. A fault throws TlvError. */
export function decodeTlv(bytes: Uint8Array): Tlv[] {
  return new Reader(bytes).sequence(0, bytes.length, TOP);
}

class Reader {
  readonly #bytes: Uint8Array;
  #entries = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  sequence(start: number, end: number, allowed: ReadonlySet<TlvKind>): Tlv[] {
    const out: Tlv[] = [];
    for (let at = start; at < end;) {
      if (++this.#entries > MAX_ENTRIES) throw new TlvError("too-many", at);
      const type = this.#bytes[at]!;
      const kind = KINDS[type >> 6]!;
      if (!allowed.has(kind)) throw new TlvError("out-of-place", at);
      const idLength = (type & 0x20) === 0 ? 1 : 2;
      const lengthLength = (type >> 3) & 3;
      const content = at + 1 + idLength + lengthLength;
      if (content > end) throw new TlvError("truncated", at);
      const id = this.#uint(at + 1, idLength);
      const length = lengthLength === 0 ? type & 7 : this.#uint(at + 1 + idLength, lengthLength);
      if (length > end - content) throw new TlvError("truncated", at);
      at = content + length;
      const nested = kind === "object-instance" || kind === "multiple-resource";
      if (nested) out.push({ kind, id, children: this.sequence(content, at, INSIDE[kind]) });
      else out.push({ kind, id, value: this.#bytes.subarray(content, at) });
    }
    return out;
  }

  #uint(at: number, length: number): number {
    let value = 0;
    for (let i = 0; i < length; i++) value = value * 256 + this.#bytes[at + i]!;
    return value;
  }
}

/** Encodes TLVs with the shortest lengths; throws TlvError for one of 16 MiB or more. */
export function encodeTlv(entries: readonly Tlv[]): Uint8Array {
  const out: number[] = [];
  for (const { kind, id, value, children } of entries) {
    const content = value ?? encodeTlv(children ?? []);
    const { length } = content;
    if (length > 0xff_ffff) throw new TlvError("too-long", 0);
    const lengthLength = length < 8 ? 0 : length < 0x100 ? 1 : length < 0x1_0000 ? 2 : 3;
    const wideId = id > 0xff;
    out.push(
      (KINDS.indexOf(kind) << 6) | (wideId ? 0x20 : 0) | (lengthLength << 3) | (lengthLength === 0 ? length : 0),
    );
    if (wideId) out.push(id >> 8);
    out.push(id & 0xff);
    for (let shift = (lengthLength - 1) * 8; shift >= 0; shift -= 8) out.push((length >> shift) & 0xff);
    for (const byte of content) out.push(byte);
  }
  return Uint8Array.from(out);
}

/** Kinds of trace records. */
export const Trace = { SEND: 1, RECEIVE: 2, LOSE: 3, DROP: 4, STATE: 5, FAULT: 6 } as const;

/**
 * A rolling hash over everything that happens: two FNV-1a lanes of 32 bits. Two runs with the same
 * hash took the same course; what differs anywhere differs here.
 */
export class TraceHash {
  #a = 0x811c9dc5;
  #b = 0x01000193;
  records = 0;

  /** What happens to a frame: the most frequent record. */
  frame(kind: number, nowUs: number, from: number, to: number, psduBytes: number, sequence: number): void {
    this.records++;
    this.#mix(kind ^ (sequence << 8) ^ (psduBytes << 16));
    this.#mix(nowUs % 0x1_0000_0000);
    this.#mix((from << 16) ^ to);
  }

  note(kind: number, nowUs: number, ...values: readonly number[]): void {
    this.records++;
    this.#mix(kind);
    this.#mix(nowUs % 0x1_0000_0000);
    this.#mix(Math.floor(nowUs / 0x1_0000_0000));
    for (const value of values) this.#mix(value);
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.#mix(byte);
  }

  digest(): string {
    return [this.#a, this.#b].map((lane) => lane.toString(16).padStart(8, "0")).join("");
  }

  #mix(value: number): void {
    this.#a = Math.imul(this.#a ^ (value | 0), 0x01000193) >>> 0;
    this.#b = (Math.imul(this.#b ^ (value | 0), 0x85ebca6b) + 0x9e3779b9) >>> 0;
  }
}

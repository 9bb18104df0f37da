import { keepRecent } from "../util/recent.ts";

/** Peers that are remembered as silent. */
const MAX_SILENT = 4_096;

/**
 * PROBING_RATE (RFC 7252 section 4.7): to a peer that does not respond, non-confirmable requests go
 * out at no more than so many bytes per second.
 */
export class Probing {
  readonly #bytesPerSecond: number;
  /** When the next message may go to a peer of which nothing was heard since the last one. */
  readonly #nextUs = new Map<string, number>();

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** When `length` bytes may be sent; the time is taken. */
  take(nowUs: number, peerKey: string, length: number): number {
    const atUs = Math.max(nowUs, this.#nextUs.get(peerKey) ?? 0);
    const nextUs = atUs + Math.round((length * 1_000_000) / this.#bytesPerSecond);
    keepRecent(this.#nextUs, peerKey, nextUs, MAX_SILENT);
    return atUs;
  }

  heard(peerKey: string): void {
    this.#nextUs.delete(peerKey);
  }
}

import { Tally } from "../../util/tally.ts";
import { COAP_LIMITS } from "../limits.ts";

/** One body of those that share a table's room. */
export interface Held {
  /** Address without port: another port is soon had. */
  readonly address: string;
  /** Bytes that it takes. */
  readonly kept: number;
}

export interface Room {
  readonly entries: number;
  readonly bytes: number;
}

/** Of the bytes, one address may have half: a large body takes much of them by itself. */
const BYTE_SHARE = 0.5;

/**
 * Which body makes room for another one of `address`. Who has his share makes it himself; else the first body of
 * somebody who has more than his; else the first that `isIdle`. Undefined: there is no room.
 */
export function whoMakesRoom<T extends Held>(
  held: Iterable<T>,
  address: string,
  room: Room,
  isIdle: (body: T) => boolean,
): T | undefined {
  const bodies = [...held];
  const [entries, bytes] = [new Tally(), new Tally()];
  for (const body of bodies) {
    entries.add(body.address, 1);
    bytes.add(body.address, body.kept);
  }
  const hasShare = (of: string): boolean =>
    entries.of(of) >= room.entries * COAP_LIMITS.addressShare || bytes.of(of) > room.bytes * BYTE_SHARE;
  if (hasShare(address)) return bodies.find((body) => body.address === address && isIdle(body));
  return bodies.find((body) => hasShare(body.address)) ?? bodies.find(isIdle);
}

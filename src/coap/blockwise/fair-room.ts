import { Tally } from "../../util/tally.ts";
import { COAP_LIMITS } from "../limits.ts";
import type { IncomingRequest } from "../request.ts";

/** One body of those that share a table's room. */
export interface Held {
  /** Address without port: another port is soon had. */
  readonly address: string;
  /** Whether it is known to be its own address (RFC 9175 section 2.4). */
  readonly proven: boolean;
  /** Bytes that it takes. */
  readonly kept: number;
}

type Owner = Pick<Held, "address" | "proven">;

export const ownerOf = ({ peer, proven }: Pick<IncomingRequest, "peer" | "proven">): Owner => ({
  address: peer.address,
  proven: proven !== false,
});

export interface Room {
  readonly entries: number;
  readonly bytes: number;
}

/** Of the bytes, one address may have half: a large body takes much of them by itself. */
const BYTE_SHARE = 0.5;

/**
 * Which body makes room for another one. Who has his share makes it himself; else the first body of somebody who has
 * more than his; else the first that `isIdle`. What belongs to a proven address never makes room for one that anybody
 * may have written. Undefined: there is no room.
 */
export function whoMakesRoom<T extends Held>(
  held: Iterable<T>,
  { address, proven }: Owner,
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
  const unproven = bodies.filter((body) => !body.proven);
  return (
    unproven.find((body) => hasShare(body.address)) ??
    unproven.find(isIdle) ??
    (proven ? (bodies.find((body) => hasShare(body.address)) ?? bodies.find(isIdle)) : undefined)
  );
}

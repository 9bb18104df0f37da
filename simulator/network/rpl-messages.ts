import { HOP_LIMIT, sealIcmp, type Datagram } from "./datagram.ts";
import { BROADCAST } from "../radio/frame.ts";

/** RPL control messages with their real bytes (RFC 6550 sections 6.2 to 6.7), for storing mode. */
export type RplMessage =
  | { readonly kind: "dis" }
  | { readonly kind: "dio"; readonly rank: number; readonly root: number; readonly version: number }
  | { readonly kind: "dao"; readonly targets: readonly number[]; readonly sequence: number; readonly lifetime: number };

const ICMP_RPL = 155;
const CODE = { DIS: 0, DIO: 1, DAO: 2 } as const;
const INSTANCE = 0;
/** Grounded, storing mode without multicast. */
const DIO_FLAGS = 0x90;
const DAO_BASE_BYTES = 8;
const TARGET_BYTES = 20;
const TRANSIT_BYTES = 6;
/** Targets of one DAO: it has to fit a frame. */
export const MAX_TARGETS = 4;
export const INFINITE_RANK = 0xffff;

/** The datagram of a message; multicast ones go to ff02::1a. */
export function rplDatagram(message: RplMessage, from: number, to: number): Datagram {
  const payload = Uint8Array.from([ICMP_RPL, ...body(message)]);
  const datagram: Datagram = { from, to, scope: "link", hopLimit: HOP_LIMIT, ports: undefined, payload };
  sealIcmp(datagram);
  return datagram;
}

function body(message: RplMessage): number[] {
  if (message.kind === "dis") return [CODE.DIS, 0, 0, 0, 0];
  if (message.kind === "dio") {
    const { rank, root, version } = message;
    const base = [INSTANCE, version, rank >> 8, rank & 0xff, DIO_FLAGS, 0, 0, 0, ...meshAddress(root)];
    return [CODE.DIO, 0, 0, ...base];
  }
  const { targets, sequence, lifetime } = message;
  // The transit information is for all targets before it (section 6.7.8).
  const out = [CODE.DAO, 0, 0, INSTANCE, 0, 0, sequence];
  for (const id of targets) out.push(5, 18, 0, 128, ...meshAddress(id));
  return [...out, 6, 4, 0, 0, sequence, lifetime];
}

/** Reads a control message; undefined when it is none. */
export function readRpl(payload: Uint8Array): RplMessage | undefined {
  if (payload[0] !== ICMP_RPL) return undefined;
  const word = (at: number): number => (payload[at]! << 8) | payload[at + 1]!;
  if (payload[1] === CODE.DIS) return { kind: "dis" };
  if (payload[1] === CODE.DIO && payload.length === 28)
    return { kind: "dio", version: payload[5]!, rank: word(6), root: word(26) };
  const count = (payload.length - DAO_BASE_BYTES - TRANSIT_BYTES) / TARGET_BYTES;
  if (payload[1] === CODE.DAO && Number.isInteger(count) && count >= 1) {
    const targets = Array.from({ length: count }, (_, i) => word(DAO_BASE_BYTES + (i + 1) * TARGET_BYTES - 2));
    return { kind: "dao", targets, sequence: payload.at(-2)!, lifetime: payload.at(-1)! };
  }
  return undefined;
}

/** fd00::ff:fe00:<short>. */
function meshAddress(id: number): number[] {
  return [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, id >> 8, id & 0xff];
}

export const ALL_NODES: number = BROADCAST;

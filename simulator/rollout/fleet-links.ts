import type { Random } from "../../src/ports/random.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";

/** What is known of where a device is, and how it is reached. */
interface Reached {
  readonly hops: number;
  /** Loss of the longest frame on each hop. */
  readonly per: number;
  /** It sleeps, unless undefined. */
  readonly queue: object | undefined;
}

/** Where a node is, in ranges: of how many hops it is, is measured, and where there, is drawn. */
interface Place {
  readonly id: number;
  readonly x: number;
  readonly y: number;
  readonly forwards: boolean;
}

/** A ring's breadth: less than a range, or the next ring would be out of it. */
const RING = 0.9;
/** To hear more of them than this takes time and changes nothing: one of them is on air when anything is. */
const MAX_HEARD = 48;

/**
 * The links of a fleet, whose ranges are discs: each device in the ring of its hops, its parent a device within its range
 * one ring nearer. Those within its range hear it, and do not talk into what it says, though they get no word of it; those
 * that are not do (hidden terminals).
 */
export function edgesOf(devices: readonly Reached[], random: Random): string {
  const links = new Map<string, number>();
  const link = (a: number, b: number, per: number): unknown => links.set(`${a},${b}`, per).set(`${b},${a}`, per);
  const rings: Place[][] = [[{ id: 0, x: 0, y: 0, forwards: true }]];
  const order = devices.map((device, i) => ({ device, id: i + 1 })).toSorted((a, b) => a.device.hops - b.device.hops);
  for (const { device, id } of order) {
    // One that sleeps forwards for nobody; where all do, a device is nearer than was said.
    let depth = Math.min(device.hops, rings.length);
    while (depth > 1 && rings[depth - 1]!.every(({ forwards }) => !forwards)) depth--;
    const place = { id, ...placeIn(depth, random), forwards: device.queue === undefined };
    link(parentOf(place, rings[depth - 1]!, random), id, device.per);
    (rings[depth] ??= []).push(place);
  }
  const places = rings.slice(1).flat();
  for (const [i, a] of places.entries()) {
    const near = places.slice(i + 1).filter((b) => distance(a, b) <= 1 && !links.has(`${a.id},${b.id}`));
    for (const { id } of near) if (unitFloat(random) * near.length < MAX_HEARD) link(a.id, id, 1);
  }
  return ["from,to,per", ...[...links].map(([edge, per]) => `${edge},${per}`)].join("\n");
}

/** Anywhere in a ring, each part of which is as likely as its area. */
function placeIn(depth: number, random: Random): { readonly x: number; readonly y: number } {
  const [inner, outer] = [(depth - 1) * RING, depth * RING];
  const radius = Math.sqrt(inner ** 2 + unitFloat(random) * (outer ** 2 - inner ** 2));
  const angle = 2 * Math.PI * unitFloat(random);
  return { x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
}

/** One within range; where none is, the nearest. */
function parentOf(place: Place, ring: readonly Place[], random: Random): number {
  const able = ring.filter(({ forwards }) => forwards);
  const near = able.filter((one) => distance(one, place) <= 1);
  if (near.length > 0) return near[uintBelow(random, near.length)]!.id;
  return able.toSorted((a, b) => distance(a, place) - distance(b, place))[0]!.id;
}

const distance = (a: Place, b: Place): number => Math.hypot(a.x - b.x, a.y - b.y);

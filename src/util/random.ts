import type { Random } from "../ports/random.ts";

/** A uniform number in [0, 1) with 53 random bits. */
export function unitFloat(random: Random): number {
  const high = random.uint32() >>> 5;
  const low = random.uint32() >>> 6;
  return (high * 67108864 + low) / 9007199254740992;
}

/** A uniform integer in [0, bound). */
export function uintBelow(random: Random, bound: number): number {
  return Math.floor(unitFloat(random) * bound);
}

export function randomBytes(random: Random, length: number): Uint8Array {
  const out = new Uint8Array(length);
  for (let i = 0; i < length; i++) out[i] = random.uint32() & 0xff;
  return out;
}

/** `us` microseconds times a factor drawn from 1 to `factor`, whole. */
export function dithered(random: Random, us: number, factor: number): number {
  return Math.round(us * (1 + unitFloat(random) * (factor - 1)));
}

/** So many digits and lower-case letters. */
export function randomId(random: Random, digits: number): string {
  let id = "";
  for (let i = 0; i < digits; i++) id += (random.uint32() % 36).toString(36);
  return id;
}

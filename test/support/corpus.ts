import { readFileSync } from "node:fs";

const folder = new URL("../property/corpus/", import.meta.url);
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));

/** The datagrams of each finding of test/property/corpus, in the order in which they came. */
export function findings(): Uint8Array[][] {
  const all = JSON.parse(readFileSync(new URL("findings.json", folder), "utf8")) as { datagrams: string[] }[];
  return all.map(({ datagrams }) => datagrams.map(bytesOf));
}

/** Every datagram of the corpus, to be replayed or mutated. */
export function corpus(): Uint8Array[] {
  const lines = readFileSync(new URL("seeds.hex", folder), "utf8").split("\n").filter(Boolean);
  return [...lines.map(bytesOf), ...findings().flat()];
}

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

/** Where the standards and their vectors are; CI has them beside the checkout. */
export const SHARED: string = resolve(process.env["BLOCKFERRY_SHARED"] ?? "../shared");

const present = existsSync(SHARED);
if (!present && process.env["CI"] !== undefined) {
  throw new Error(`CI needs the standards' vectors: no folder ${SHARED}`);
}
if (!present) console.warn(`SKIPPED: tests that read official vectors, since there is no folder ${SHARED}`);

/** True where tests that read official vectors have to say that they skip. */
export const noShared: boolean = !present;

export const vectorPath = (name: string): string => `${SHARED}/standards/suit/vectors/${name}`;

/** Bytes of a hex file; blanks and line ends are ignored. */
export function readHex(name: string): Uint8Array {
  return new Uint8Array(Buffer.from(readFileSync(vectorPath(name), "utf8").replaceAll(/\s/g, ""), "hex"));
}

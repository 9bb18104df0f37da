import { resolve } from "node:path";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { applyPatch, makePatch } from "../../delta/patch.ts";
import { imagePath } from "../../gateway/catalogue.ts";
import type { Image, Payload } from "../../suit/build.ts";
import { bytesEqual, toHex } from "../../util/bytes.ts";
import { usageError } from "../errors.ts";
import { readInput } from "./input.ts";
import type { PayloadFile } from "./schema.ts";

/** A patch that is larger is not worth the flash and the CPU that it takes to apply. */
const MOST_OF_IMAGE = 0.6;

export const imageOf = (bytes: Uint8Array): Image => ({ digest: nodeCrypto.sha256(bytes), size: bytes.length });

/** A file that devices fetch; with its bytes where it is to be written yet. */
export interface FetchedFile extends Image {
  readonly file: string;
  readonly bytes?: Uint8Array;
}

/** Patches that lead to an image, each for a file beside it, and tried; `warn` is told of one that is not worth its while. */
export function patchesOf(
  payload: PayloadFile,
  folder: string,
  wanted: Uint8Array,
  warn: (text: string) => void,
): {
  readonly patches: NonNullable<Payload["patches"]>;
  readonly files: readonly FetchedFile[];
} {
  const { delta, image, encrypt, integrated } = payload;
  if (delta === undefined) return { patches: [], files: [] };
  if (encrypt !== undefined || integrated === true)
    throw usageError("bad-update-file", `${image}: delta goes with images that are fetched, and not encrypted`);
  const patches: NonNullable<Payload["patches"]>[number][] = [];
  const files: FetchedFile[] = [];
  for (const name of delta.from) {
    const old = readInput(resolve(folder, name));
    const from = imageOf(old);
    if (bytesEqual(old, wanted)) throw usageError("bad-update-file", `${name} is the image ${image} already`);
    if (patches.some((other) => bytesEqual(other.from.digest, from.digest)))
      throw usageError("bad-update-file", `delta of ${image} names one image twice: ${name}`);
    const bytes = makePatch(old, wanted);
    if (!bytesEqual(applyPatch(bytes, old, wanted.length), wanted)) throw new Error(`the patch from ${name} is wrong`);
    if (bytes.length > wanted.length * MOST_OF_IMAGE) {
      const percent = Math.round((100 * bytes.length) / wanted.length);
      warn(`no patch from ${name}: it would be ${percent} % of ${image}, and its devices fetch that instead`);
      continue;
    }
    const patch = imageOf(bytes);
    const file = `${resolve(folder, image)}.from-${toHex(from.digest).slice(0, 8)}.patch`;
    files.push({ file, bytes, ...patch });
    patches.push({ from, patch, uri: `/${imagePath(patch.digest).join("/")}` });
  }
  return { patches, files };
}

import { encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import { bytesEqual, toHex, utf8 } from "../util/bytes.ts";
import { EnvelopeError } from "./envelope.ts";
import { componentName, decodeItem, type ComponentId } from "./manifest.ts";

/**
 * An image that is made by a patch from the one that a device has. The drafts have no parameter for that: a branch of a
 * try-each asks whether the component `<id>/installed`, what `<id>` held before, is the old image, and has the patch
 * fetched into `<id>` with fetch-arguments (draft -37 section 8.4.8, theirs are the implementation's) that say so. The
 * last branch fetches the whole image, so that each device gets it.
 */

/** What is fetched instead of an image: the bytes of a patch, which has a digest of its own. */
export interface PatchArguments {
  readonly digest: Uint8Array;
  readonly size: number;
}

/** Format of the patch, and of these arguments: src/delta/patch.ts. */
const FORMAT = "bfd1";
const INSTALLED = utf8("installed");

export const encodePatchArguments = ({ digest, size }: PatchArguments): Uint8Array =>
  encodeCbor([FORMAT, digest, size]);

/** Undefined for arguments of another kind. */
export function readPatchArguments(args: Uint8Array): PatchArguments | undefined {
  let items: CborValue;
  try {
    items = decodeItem(args);
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
  if (!isArray(items) || items.length !== 3 || items[0] !== FORMAT) return undefined;
  const [, digest, size] = items;
  return isBytes(digest) && digest.length === 32 && isUint(size) && size > 0 ? { digest, size } : undefined;
}

/** The component that stands for what another one held before an update. */
export const installedId = (id: ComponentId): ComponentId => [...id, INSTALLED];

/** The component of which `id` is what it held before; undefined where it is another kind of component. */
export function beforeWhich(id: ComponentId): ComponentId | undefined {
  return id.length > 1 && bytesEqual(id.at(-1)!, INSTALLED) ? id.slice(0, -1) : undefined;
}

/** Whether a component of this name stands for what another one held before. */
export const isInstalledName = (name: string): boolean => name.endsWith(`.${toHex(INSTALLED)}`);

export const installedName = (id: ComponentId): string => componentName(installedId(id));

import { encodeCbor, isArray, isBytes, type CborValue } from "../../codec/cbor.ts";
import { EnvelopeError } from "../envelope.ts";
import { decodeItem } from "../manifest.ts";
import { abort } from "./failure.ts";

export interface Command {
  readonly code: number;
  readonly argument: CborValue;
}

/** SUIT_Command_Sequence: pairs of command and argument (draft -37 section 8.4.6). */
export function readSequence(bytes: CborValue | undefined): Command[] {
  if (!isBytes(bytes)) throw abort("cbor-parse", "a command sequence must be a byte string");
  const items = decodeOrAbort(bytes);
  if (!isArray(items) || items.length === 0 || items.length % 2 !== 0)
    throw abort("cbor-parse", "a command sequence is a list of pairs");
  const commands: Command[] = [];
  for (let i = 0; i < items.length; i += 2) {
    const code = items[i];
    if (typeof code !== "number") throw abort("cbor-parse", "a command must be a number");
    commands.push({ code, argument: items[i + 1]! });
  }
  return commands;
}

function decodeOrAbort(bytes: Uint8Array): CborValue {
  try {
    return decodeItem(bytes);
  } catch (error) {
    if (error instanceof EnvelopeError) throw abort("cbor-parse", error.message);
    throw error;
  }
}

/** Where the n-th command stands in its sequence: the encoding is deterministic, so lengths can be told from values. */
export function offsetOf(commands: readonly Command[], index: number): number {
  const heads = encodeCbor(commands.length * 2).length;
  return commands
    .slice(0, index)
    .reduce((sum, { code, argument }) => sum + encodeCbor(code).length + encodeCbor(argument).length, heads);
}

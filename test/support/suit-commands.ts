import type { CborValue } from "../../src/codec/cbor.ts";
import type { ModelDevice } from "../../src/suit/model-device.ts";
import { Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { identity, newDevice, override, run, suitDigest, type Sketch } from "./suit-build.ts";

export const a: Uint8Array = utf8("what is there");
export const b: Uint8Array = utf8("what is not");
export const uri = (text: string): CborValue[] => override([P.URI, text]);
export const content = (bytes: Uint8Array): CborValue[] => override([P.CONTENT, bytes]);
export const write = (text: string): CborValue[] => [...content(utf8(text)), D.WRITE, 15];
export const is = (bytes: Uint8Array): CborValue[] => override([P.IMAGE_DIGEST, suitDigest(bytes)]);
export const select = (index: CborValue): CborValue[] => [D.SET_COMPONENT_INDEX, index];
export const two: readonly (readonly string[])[] = [["a"], ["b"]];

/** "ok", or the reason and the words of a failure of these commands, in the install section. */
export function fate(commands: CborValue[], more: Partial<Sketch> = {}, device: ModelDevice = newDevice()): string {
  const shared = more.components === undefined ? identity() : [...select(0), ...identity()];
  const outcome = run({ shared, sections: { 20: commands }, ...more }, device);
  return outcome.ok ? "ok" : `${outcome.reason}: ${outcome.detail}`;
}

import { fromUtf8, utf8 } from "../../../src/util/bytes.ts";
import type { Flash } from "../flash.ts";
import type { Layout } from "../layout.ts";

/** What a client has to know after a restart. */
export interface Settings {
  state: number;
  result: number;
  /** Where a pull comes from, how large it is, and the ETag (hex) of what is stored of it. */
  uri?: string | undefined;
  size?: number | undefined;
  etag?: string | undefined;
  /** Of a push: the size that the first block gave. */
  pushSize?: number | undefined;
  /** Sequence number that ran when Update was executed. */
  before?: number | undefined;
  /** What the image in the slot calls itself, and the one that runs. */
  version?: string | undefined;
  running?: string | undefined;
}

const MAGIC = 0x5e_77_1b_65;
const HEADER_BYTES = 8;

export function readSettings(flash: Flash, { settingsAddress }: Layout): Settings {
  const view = new DataView(flash.read(settingsAddress, HEADER_BYTES).buffer);
  const length = view.getUint32(4);
  if (view.getUint32(0) !== MAGIC || length > flash.geometry.sectorBytes - HEADER_BYTES) return { state: 0, result: 0 };
  return JSON.parse(fromUtf8(flash.read(settingsAddress + HEADER_BYTES, length)) ?? "null") as Settings;
}

/** The magic goes in last: a cut on the way leaves a client that knows nothing. Returns the time in us. */
export function writeSettings(flash: Flash, { settingsAddress }: Layout, settings: Settings): number {
  const text = utf8(JSON.stringify(settings));
  const unit = Math.max(HEADER_BYTES, flash.geometry.writeUnitBytes);
  const body = new Uint8Array(Math.ceil(text.length / unit) * unit).fill(0xff);
  body.set(text);
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, MAGIC);
  view.setUint32(4, text.length);
  const us = flash.erase(settingsAddress) + flash.programVerified(settingsAddress + HEADER_BYTES, body);
  return us + flash.programVerified(settingsAddress, header);
}

import { join } from "node:path";
import { z } from "zod";
import { nodeCrypto } from "../adapters/node-crypto.ts";
import { isSealed, type StageOne, type StageTwo } from "../lifecycle/factory.ts";
import { decodeTrust, encodeTrust } from "../suit/trust.ts";
import { fromHex, toHex } from "../util/bytes.ts";
import { usageError } from "./errors.ts";
import { readJsonLines } from "./files.ts";

const hex = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));

/** What stage one writes for each device: secret, mode 0600, one JSON object on each line. */
const DeviceLine = z.strictObject({ kid: hex(8), key: hex(32) });
/** What stage two writes: what is in a device's flash from then on. */
const FlashLine = DeviceLine.extend({
  vendor: hex(16),
  class: hex(16),
  anchors: z.string().regex(/^([0-9a-f]{2})+$/),
  seal: hex(32),
});

export const deviceLine = ({ kid, key }: StageOne): string =>
  JSON.stringify({ kid: toHex(kid), key: toHex(key) } satisfies z.infer<typeof DeviceLine>);

export function flashLine({ kid, key, vendorId, classId, trust, seal }: StageTwo): string {
  const line: z.infer<typeof FlashLine> = {
    kid: toHex(kid),
    key: toHex(key),
    vendor: toHex(vendorId),
    class: toHex(classId),
    anchors: toHex(encodeTrust(trust)),
    seal: toHex(seal),
  };
  return JSON.stringify(line);
}

export function readDevices(folder: string): StageOne[] {
  return readJsonLines(join(folder, "devices.jsonl"), DeviceLine).map(({ kid, key }) => ({
    kid: fromHex(kid)!,
    key: fromHex(key)!,
  }));
}

/** Devices whose seals hold: anchors that somebody changed behind stage two are no anchors. */
export function readFlash(file: string): StageTwo[] {
  return readJsonLines(file, FlashLine).map(({ kid, key, vendor, class: classId, anchors, seal }, i) => {
    const trust = decodeTrust(fromHex(anchors)!);
    const device = trust && {
      kid: fromHex(kid)!,
      key: fromHex(key)!,
      vendorId: fromHex(vendor)!,
      classId: fromHex(classId)!,
      trust,
      seal: fromHex(seal)!,
    };
    if (device === undefined || !isSealed(nodeCrypto, device))
      throw usageError("seal-broken", `${file}, line ${i + 1}: these are not the anchors that stage two sealed`);
    return device;
  });
}

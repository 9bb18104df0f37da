import type { Path } from "./path.ts";
import type { Registration } from "./registration.ts";
import type { Reading } from "./reading.ts";

/** Resources of object 5 Firmware Update, and of 33629 Advanced Firmware Update, which has more of them. */
export const Firmware = {
  PACKAGE: 0,
  PACKAGE_URI: 1,
  UPDATE: 2,
  STATE: 3,
  RESULT: 5,
  PKG_VERSION: 7,
  PROTOCOLS: 8,
  DELIVERY: 9,
  CANCEL: 10,
  SEVERITY: 11,
  MAX_DEFER: 13,
  CURRENT_VERSION: 15,
} as const;

export const FIRMWARE_OBJECT = 5;
export const ADVANCED_FIRMWARE_OBJECT = 33_629;

/** Package URI is a string of at most so many bytes; some clients have room for no more. */
export const MAX_URI_BYTES = 127;

export const State = { IDLE: 0, DOWNLOADING: 1, DOWNLOADED: 2, UPDATING: 3 } as const;
export const STATE_NAMES: readonly string[] = ["Idle", "Downloading", "Downloaded", "Updating"];

export const RESULT_SUCCESS = 1;
export const RESULT_CONNECTION_LOST = 4;
export const RESULT_UPDATE_FAILED = 8;
export const RESULT_DEFERRED = 11;

export interface ResultMeaning {
  readonly name: string;
  /** What an operator should do next. */
  readonly advice: string;
  /** Another way of delivery may do better. */
  readonly otherMethod: boolean;
}

const meaning = (name: string, advice: string, otherMethod = false): ResultMeaning => ({ name, advice, otherMethod });

/** Update Result: 0 to 9 of object version 1.0, 10 and 11 of 1.1, 12 and 13 of 33629. */
const RESULTS: readonly ResultMeaning[] = [
  meaning("initial", "nothing has been reported yet: read the device's timeline"),
  meaning("success", "nothing: the device says it has updated; whether it runs the version is read from it"),
  meaning("not enough flash", "publish a smaller image or a delta, or free space on the device"),
  meaning("out of RAM", "let the device restart and try again; where it stays, use smaller blocks"),
  meaning("connection lost", "try again: what has arrived is kept where the device keeps it", true),
  meaning(
    "integrity failure",
    "where the device reads manifests: its image is older than what it runs, or nobody that it believes has signed it; else compare the image's digest with the author's, and try again",
    true,
  ),
  meaning("unsupported package type", "publish the image in the format that this device's bootloader takes"),
  meaning(
    "invalid URI",
    "check lwm2m.address in the configuration: the device cannot use the URI; push is tried instead",
    true,
  ),
  meaning("update failed", "read the device's own log: it has the image and could not install it"),
  meaning("unsupported protocol", "deliver by push: the device does not speak the URI's protocol", true),
  meaning("cancelled", "start again when the device may be updated"),
  meaning("deferred", "wait: the device's user has put the update off; it is tried again after the defer period"),
  meaning("conflicting state", "update the conflicting component first, or together with this one"),
  meaning("dependency error", "update the component that this one depends on in the same run"),
];

export function resultMeaning(result: number): ResultMeaning {
  return RESULTS[result] ?? meaning(`unknown result ${result}`, "read the vendor's documentation of this number");
}

/** What a client said of its firmware object; each is a hint only. */
export interface FirmwareFacts {
  state?: number;
  result?: number;
  protocols?: readonly number[];
  delivery?: number;
}

/** Delivery Method (resource 9), by its numbers. */
export const DELIVERIES = ["pull", "push", "both"] as const;

/** By which ways a package gets in: by what a profile says, else by resources 8 and 9; by both where nothing is said. */
export function waysIn(
  { protocols, delivery: said = 2 }: FirmwareFacts,
  known: (typeof DELIVERIES)[number] | undefined,
): { readonly pull: boolean; readonly push: boolean } {
  const delivery = known ?? DELIVERIES[said] ?? "both";
  const coap = protocols === undefined || protocols.includes(0);
  return { pull: delivery !== "push" && coap, push: delivery !== "pull" };
}

/** Whether a client has registered an object. */
export function hasObject(registration: Registration | undefined, [object]: Path): boolean {
  return registration?.objects.some(({ path }) => path[0] === object) === true;
}

/** Takes over what readings of the firmware object at `object` say; the number of them that did. */
export function learnFacts(facts: FirmwareFacts, object: Path, readings: readonly Reading[]): number {
  const protocols: number[] = [];
  let learnt = 0;
  for (const { path, value } of readings) {
    if (path[0] !== object[0] || path[1] !== object[1] || path.length < 3) continue;
    const number = typeof value === "number" || typeof value === "bigint" ? Number(value) : undefined;
    if (number === undefined) continue;
    learnt++;
    if (path[2] === Firmware.STATE) facts.state = number;
    else if (path[2] === Firmware.RESULT) facts.result = number;
    else if (path[2] === Firmware.DELIVERY) facts.delivery = number;
    else if (path[2] === Firmware.PROTOCOLS) protocols.push(number);
    else learnt--;
  }
  if (protocols.length > 0) facts.protocols = protocols;
  return learnt;
}

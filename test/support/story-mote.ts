import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { keyRecord, type Feature } from "../../src/lifecycle/classes.ts";
import { toHex } from "../../src/util/bytes.ts";
import { Mote, type MoteParts } from "../../simulator/mote/mote.ts";
import { GATEWAY, type StorySite } from "../../simulator/story/site.ts";
import { AUTHOR, CLASS, VENDOR } from "./suit-build.ts";
import { nrf52840 } from "./simulation.ts";

/** The class CLASS of VENDOR, with AUTHOR as its authority. */
export function defineClass(story: StorySite, features?: readonly Feature[]): void {
  const authorities = [{ ...keyRecord(AUTHOR.publicKey), name: "author" }];
  const hardware = { rng: true, rtc: false, slots: 2, recoveryImage: false, ramBytes: 65_536, features };
  const named = { id: toHex(CLASS), name: "c", vendorId: toHex(VENDOR), hardware };
  const definition = { ...named, authorities, escrow: [], operators: [], epoch: 0 };
  story.onDesk((desk, nowUs, done) => desk.submit(nowUs, "t", { kind: "class-defined", definition }, done));
}

/** A mote of that class; `boot` starts it beside the gateway, as often as it is called. */
export function storyMote(
  story: StorySite,
  parts: Pick<MoteParts, "maxImageBytes" | "factoryImage"> & Partial<MoteParts>,
): { mote: Mote; boot: () => void } {
  const mote = new Mote({
    profile: nrf52840,
    crypto: nobleCrypto,
    random: story.random.fork("mote"),
    vendorId: VENDOR,
    classId: CLASS,
    anchors: [AUTHOR.publicKey],
    gateway: GATEWAY,
    blockBytes: 64,
    szx: 2,
    parameters: DEFAULT_PARAMETERS,
    policy: { backoffUs: 5e6, maxBackoffUs: 6e7, maxFailures: 3 },
    ...parts,
  });
  return { mote, boot: () => story.attach("fd00::9", mote).call((nowUs) => mote.reboot(nowUs)) };
}

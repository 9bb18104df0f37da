import type { Hardware } from "../lifecycle/classes.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { Crypto } from "../ports/crypto.ts";
import { ModelDevice } from "../suit/model-device.ts";
import { openEnvelope } from "../suit/open.ts";
import { openingOnce, planProcedure } from "../suit/plan.ts";
import type { OpenManifest } from "../suit/processor/state.ts";
import type { OpenEnvelope, TrustPolicy } from "../suit/opened.ts";
import { processManifest } from "../suit/processor/procedure.ts";
import type { Release } from "../suit/release.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";

/** What is taken of a class that nobody has defined. */
const UNKNOWN: Hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 65_536 };

export interface DryRunParts {
  readonly crypto: Crypto;
  readonly trust: TrustPolicy;
  readonly unixMs: number;
  readonly hardwareOf: (classId: string) => Hardware | undefined;
}

/**
 * Runs a release, whose images were verified, on a model of each class that it is for and each slot that such a device has:
 * before any real one hears of it (RFC 9124, REQ.SEC.MFST.CHECK). What is encrypted stays so.
 */
export function dryRun(release: Release, parts: DryRunParts): Refusal | undefined {
  const { crypto, trust, hardwareOf } = parts;
  const open = openEnvelope(crypto, release.envelope, trust);
  const dependency = openingOnce(crypto, (envelope) => openEnvelope(crypto, envelope, trust));
  // RIOT tells slots apart by where they lie in flash, which is in the manifest only.
  const slots = release.dialect === "riot-09" ? slotsIn(crypto, open) : undefined;
  for (const classId of release.classIds) {
    const hardware = hardwareOf(toHex(classId)) ?? UNKNOWN;
    if (slots !== undefined && slots.length > hardware.slots)
      return {
        reason: "dry-run-failed",
        detail: `it is for ${slots.length} slots, and devices of class ${toHex(classId)} have ${hardware.slots}`,
      };
    for (const slot of slots ?? Array.from({ length: hardware.slots }, (_, i) => i)) {
      const refusal = onDevice(release, { open, dependency }, { classId, hardware, slot }, parts);
      if (refusal !== undefined) return refusal;
    }
  }
  return undefined;
}

/** The slots that a manifest asks for, or one that it does not. */
function slotsIn(crypto: Crypto, open: OpenEnvelope): number[] {
  const steps = planProcedure(crypto, open, "update").flatMap((way) => way.steps);
  const slots = new Set(steps.flatMap((step) => (step.kind === "slot" ? [step.slot] : [])));
  return slots.size === 0 ? [0] : [...slots];
}

/**
 * A device is tried that has nothing installed, and where that does not get through, one that has what is asked for; both
 * where some devices get a patch.
 */
function onDevice(release: Release, opened: Opened, tried: Tried, parts: DryRunParts): Refusal | undefined {
  const empty = onOne(release, opened, tried, parts);
  // What it brings itself is not there before.
  const mayBeInstalled = (digest: Uint8Array): boolean =>
    !release.images.some((image) => bytesEqual(image.digest, digest));
  const withImage = (): Refusal | undefined => onOne(release, opened, { ...tried, mayBeInstalled }, parts);
  if (empty === undefined) return release.images.some(({ isPatch }) => isPatch) ? withImage() : undefined;
  return withImage();
}

interface Opened {
  readonly open: OpenEnvelope;
  readonly dependency: (envelope: Uint8Array) => OpenManifest;
}

interface Tried {
  readonly classId: Uint8Array;
  readonly hardware: Hardware;
  readonly slot: number;
  readonly mayBeInstalled?: (digest: Uint8Array) => boolean;
}

function onOne(
  release: Release,
  { open, dependency }: Opened,
  { classId, hardware, slot, mayBeInstalled }: Tried,
  { crypto, unixMs }: DryRunParts,
): Refusal | undefined {
  const device = new ModelDevice(crypto, undefined, {
    vendorIds: [release.vendorId],
    // A release for certain devices is tried as one of them.
    deviceId: release.deviceOf.get(toHex(classId)),
    classIds: [classId],
    slot,
    mayBeInstalled,
    anyVersion: true,
    unixS: hardware.rtc ? () => unixMs / 1_000 : undefined,
    batteryMwh: () => Infinity,
    authorises: () => true,
    fetch: (uri, digest) =>
      release.images.find((image) => image.uri === uri && digest !== undefined && bytesEqual(image.digest, digest)),
  });
  // What is installed has to boot as well.
  for (const procedure of ["update", "invocation"] as const) {
    const outcome = processManifest(open, procedure, device, { crypto, open: dependency });
    if (outcome.ok) continue;
    const where = `a device of class ${toHex(classId)} that writes slot ${slot}`;
    return { reason: "dry-run-failed", detail: `${where} would stop in ${outcome.section}: ${outcome.detail}` };
  }
  return undefined;
}

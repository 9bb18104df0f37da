import type { Hardware } from "../lifecycle/classes.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { Crypto } from "../ports/crypto.ts";
import { beforeWhich, isInstalledName } from "../suit/delta.ts";
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
  const isPatching = release.images.some(({ isPatch }) => isPatch);
  const patched = isPatching ? patchedBy(crypto, open, dependency) : [];
  for (const classId of release.classIds) {
    const hardware = hardwareOf(toHex(classId)) ?? UNKNOWN;
    if (slots !== undefined && slots.length > hardware.slots)
      return {
        reason: "dry-run-failed",
        detail: `it is for ${slots.length} slots, and devices of class ${toHex(classId)} have ${hardware.slots}`,
      };
    for (const slot of slots ?? Array.from({ length: hardware.slots }, (_, i) => i)) {
      const refusal = onDevice(release, { open, dependency, patched }, { classId, hardware, slot }, parts);
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
 * A device is tried that has nothing installed, and where that does not get through, one that has what is asked for; and
 * one that has it for each image that a patch is for. Those without have to get through by themselves.
 */
function onDevice(release: Release, opened: Opened, tried: Tried, parts: DryRunParts): Refusal | undefined {
  // What it brings itself is not there before.
  const isOther = (digest: Uint8Array): boolean => !release.images.some((image) => bytesEqual(image.digest, digest));
  const having = (old?: Uint8Array): Refusal | undefined => {
    const mayBeInstalled = (digest: Uint8Array, component: string): boolean =>
      isInstalledName(component) ? old !== undefined && bytesEqual(digest, old) : isOther(digest);
    return onOne(release, opened, { ...tried, mayBeInstalled }, parts);
  };
  const refusal = onOne(release, opened, tried, parts) && having();
  if (refusal !== undefined) return refusal;
  for (const old of opened.patched) {
    const ofPatched = having(old);
    if (ofPatched !== undefined) return ofPatched;
  }
  return undefined;
}

/** Digests of the images for which there are patches. */
function patchedBy(crypto: Crypto, open: OpenEnvelope, dependency: Opened["dependency"]): Uint8Array[] {
  const ways = planProcedure(crypto, open, "update", { open: dependency });
  const asked = new Map<string, Uint8Array>();
  for (const step of ways.flatMap(({ steps }) => steps))
    if (step.kind === "digest" && beforeWhich(step.component) !== undefined) asked.set(toHex(step.digest), step.digest);
  return [...asked.values()];
}

interface Opened {
  readonly open: OpenEnvelope;
  readonly patched: readonly Uint8Array[];
  readonly dependency: (envelope: Uint8Array) => OpenManifest;
}

interface Tried {
  readonly classId: Uint8Array;
  readonly hardware: Hardware;
  readonly slot: number;
  readonly mayBeInstalled?: (digest: Uint8Array, component: string) => boolean;
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

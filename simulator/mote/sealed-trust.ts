import type { Crypto } from "../../src/ports/crypto.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import { openingOnce, planProcedure, type PlannedWay } from "../../src/suit/plan.ts";
import { DONE, type Device } from "../../src/suit/processor/effects.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { anchorsOf, applyTransfer, isTrustComponent, permits, type DeviceTrust } from "../../src/suit/trust.ts";
import { bytesEqual } from "../../src/util/bytes.ts";

/** What a factory's stage two sealed in a device. */
export interface SealedTrust {
  readonly vendorId: Uint8Array;
  readonly trust: DeviceTrust;
  /** Writes what a hand-over has left; false where it does not fit. */
  readonly keep: (trust: DeviceTrust) => boolean;
}

/** The trust behind a hand-over to new authorities; undefined where it is none that this device takes. */
export function handedOver(
  crypto: Crypto,
  envelope: Uint8Array,
  trust: DeviceTrust,
  own: { readonly vendorId: Uint8Array; readonly classId: Uint8Array },
): DeviceTrust | undefined {
  const open = opened(crypto, envelope, trust);
  if (open === undefined) return undefined;
  let next: DeviceTrust | undefined;
  const device: Device = {
    ask: (question) => {
      if (question.kind !== "identifier") return "unsupported";
      const mine = { vendor: own.vendorId, class: own.classId, device: new Uint8Array(0) }[question.which];
      return bytesEqual(question.value, mine) ? "yes" : "no";
    },
    act: (action) => {
      next = action.kind === "store" ? applyTransfer(trust, action.content) : undefined;
      return next === undefined ? { ok: false, detail: "it is not the next hand-over" } : DONE;
    },
    envelope: () => undefined,
  };
  const outcome = processManifest(open, "update", device, {
    crypto,
    hasComponent: isTrustComponent,
    permits: (signers, component, code) => permits(trust, signers, component, code, open.signers),
  });
  return outcome.ok ? next : undefined;
}

/** Whether who signed a release may do all that it does on devices of a class. */
export function isPermitted(crypto: Crypto, envelope: Uint8Array, trust: DeviceTrust, classId: Uint8Array): boolean {
  const anchors = anchorsOf(trust);
  const open = openEnvelope(crypto, envelope, { anchors });
  const dependency = openingOnce(crypto, (bytes) => openEnvelope(crypto, bytes, { anchors }));
  const isOurs = ({ steps }: PlannedWay): boolean =>
    steps.every((step) => step.kind !== "identifier" || step.which !== "class" || bytesEqual(step.value, classId));
  const ways = planProcedure(crypto, open, "update", { open: dependency }).filter(isOurs);
  return ways
    .flatMap(({ deeds }) => deeds)
    .every(({ component, code, signers = open.signers }) => permits(trust, signers, component, code, open.signers));
}

function opened(crypto: Crypto, envelope: Uint8Array, trust: DeviceTrust): OpenEnvelope | undefined {
  try {
    return openEnvelope(crypto, envelope, { anchors: anchorsOf(trust) });
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
}

import type { Crypto } from "../../src/ports/crypto.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import { beforeWhich } from "../../src/suit/delta.ts";
import { DONE, type Answer, type Device, type Done, type Question } from "../../src/suit/processor/effects.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { anchorsOf, applyTransfer, isTrustComponent, permits, type DeviceTrust } from "../../src/suit/trust.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { isImage, isSigned } from "./update-run.ts";

/** What a factory's stage two sealed in a device. */
export interface SealedTrust {
  readonly vendorId: Uint8Array;
  readonly trust: DeviceTrust;
  readonly unixS?: (() => number) | undefined;
  /** Writes what a hand-over has left; false where it does not fit. */
  readonly keep: (trust: DeviceTrust) => boolean;
}

interface Identity {
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
}

/** The trust behind a hand-over to new authorities; undefined where it is none that this device takes. */
export function handedOver(
  crypto: Crypto,
  envelope: Uint8Array,
  trust: DeviceTrust,
  own: Identity,
): DeviceTrust | undefined {
  const open = openBy(crypto, envelope, trust);
  if (open === undefined) return undefined;
  let next: DeviceTrust | undefined;
  const device: Device = {
    ask: (question) => {
      if (question.kind !== "identifier") return "unsupported";
      return yes(identifies(question, own));
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

/** What a device is that looks whether an image at hand is the one that a manifest has it install. */
export interface Candidate extends Identity {
  /** The slot that it is in. */
  readonly slot: number;
  /** SHA-256 of what runs. */
  readonly running: Uint8Array;
  /** SHA-256 of what is at hand, and how much it is. */
  readonly digest: Uint8Array;
  readonly size: number;
  /** A clock that can be trusted; what expires is refused without one. */
  readonly unixS?: (() => number) | undefined;
}

/**
 * Runs a manifest over an image that is there already, in the place of what it would fetch: as motes do that fetch by it,
 * with one component, and by the rights of whoever signed it.
 */
export function installs(crypto: Crypto, envelope: Uint8Array, trust: DeviceTrust, own: Candidate): boolean {
  const open = openBy(crypto, envelope, trust);
  if (open === undefined) return false;
  let fetched = false;
  const take = (digest: Uint8Array | undefined, size: number | undefined): Done => {
    fetched = digest !== undefined && bytesEqual(digest, own.digest) && size === own.size;
    return fetched ? DONE : { ok: false, detail: "it is another image" };
  };
  const device: Device = {
    ask: (question) => {
      if (question.kind === "identifier") return yes(identifies(question, own));
      if (question.kind === "slot") return yes(question.slot === own.slot);
      // The image at hand is a whole one.
      if (question.kind === "digest" && beforeWhich(question.component) !== undefined) return "no";
      if (question.kind === "digest") return yes(bytesEqual(question.digest, fetched ? own.digest : own.running));
      if (question.kind === "before")
        return own.unixS === undefined ? "unsupported" : yes(own.unixS() < question.unixS);
      return question.kind === "authorised" ? "yes" : "unsupported";
    },
    act: (action) => {
      if ("component" in action && beforeWhich(action.component) !== undefined)
        return { ok: false, detail: "what was there before cannot be written to" };
      if ("encryption" in action && action.encryption !== undefined)
        return { ok: false, detail: "this mote decrypts nothing" };
      if (action.kind === "fetch") return take(action.digest, action.size);
      if (action.kind === "store") {
        const digest = crypto.sha256(action.content);
        return take(isSigned(action, digest) ? digest : undefined, action.content.length);
      }
      return action.kind === "invoke" ? DONE : { ok: false, detail: `this mote cannot ${action.kind}` };
    },
    envelope: () => undefined,
  };
  const outcome = processManifest(open, "update", device, {
    crypto,
    hasComponent: isImage,
    permits: (signers, component, code) => permits(trust, signers, component, code, open.signers),
  });
  return outcome.ok && fetched;
}

const NOBODY = new Uint8Array(0);

const yes = (is: boolean): Answer => (is ? "yes" : "no");

function identifies({ which, value }: Extract<Question, { kind: "identifier" }>, own: Identity): boolean {
  return bytesEqual(value, { vendor: own.vendorId, class: own.classId, device: NOBODY }[which]);
}

/** Undefined where nobody whom it believes has signed it. */
export function openBy(crypto: Crypto, envelope: Uint8Array, trust: DeviceTrust): OpenEnvelope | undefined {
  try {
    return openEnvelope(crypto, envelope, { anchors: anchorsOf(trust) });
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
}

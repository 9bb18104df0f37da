import { Directive, nameOf } from "../suit/keys.ts";
import { toHex } from "../util/bytes.ts";
import { isoTime } from "../util/iso-time.ts";
import { componentName } from "../suit/manifest.ts";
import { bytesBehind } from "../suit/payloads.ts";
import { useBeforeOf } from "../suit/release.ts";
import { mayDo } from "../suit/rights.ts";
import { isTrustComponent, TRUST_IN_RELEASE } from "../suit/trust.ts";
import { labelOf } from "../suit/text.ts";
import type { Deed, PlannedWay } from "../suit/plan.ts";
import {
  hardwareRefusals,
  isSameKey,
  keyRecord,
  rightOf,
  supportState,
  type Authority,
  type DeviceClass,
  type Feature,
  type KeyRecord,
  type Leave,
} from "./classes.ts";

/** What is known of a release that wants to be offered to a class. */
export interface Candidate {
  readonly ways: readonly PlannedWay[];
  /** The same of what the device does later: load, invoke, uninstall. */
  readonly others: readonly PlannedWay[];
  /** Ways that no device takes, or only one of several classes: who may not do what is on them may not do it. */
  readonly odd: readonly PlannedWay[];
  readonly envelopeBytes: number;
  readonly encrypted: boolean;
}

export interface Refusal {
  readonly reason: string;
  readonly detail: string;
}

/** Who signed a release, as far as their keys were not revoked; revoked ones count as no signature at all. */
export interface Signing {
  readonly signers: readonly KeyRecord[];
  readonly isRevoked: (key: KeyRecord) => boolean;
}

/** Why nobody who may sign for a class has signed; this is known before anybody looks at what the release does. */
export function signersRefusal(definition: DeviceClass, { signers, isRevoked }: Signing): Refusal | undefined {
  const { operators, name } = definition;
  const wasRevoked = signers.some(isRevoked);
  if (authoritiesOf(definition, { signers, isRevoked }).length === 0)
    return wasRevoked
      ? { reason: "key-revoked", detail: "it is signed with a key that was revoked" }
      : { reason: "not-an-authority", detail: `none of its signers is an authority for ${name} now` };
  const isApproved = signers.some((key) => !isRevoked(key) && operators.some((operator) => isSameKey(operator, key)));
  if (operators.length === 0 || isApproved) return undefined;
  return wasRevoked
    ? { reason: "key-revoked", detail: "its operator's key was revoked" }
    : { reason: "no-countersignature", detail: `the operator of ${name} has not countersigned it` };
}

const authoritiesOf = ({ authorities }: DeviceClass, { signers, isRevoked }: Signing): Authority[] =>
  authorities.filter((authority) => signers.some((key) => isSameKey(key, authority) && !isRevoked(key)));

/** Why those who signed may not do what is done on one of the ways. */
export function rightsRefusal(definition: DeviceClass, signing: Signing, deeds: Deeds): Refusal | undefined {
  const right = missingRight(definition, signing, deeds);
  if (right !== undefined && signing.signers.some(signing.isRevoked))
    return { reason: "key-revoked", detail: `without the signature that was revoked, ${right.detail}` };
  return right;
}

/** Why a class does not take a release that its authorities have signed; undefined when it does. */
export function refusalOf(
  definition: DeviceClass,
  candidate: Candidate,
  signing: Signing,
  unixMs: number,
): Refusal | undefined {
  return (
    vendorRefusal(definition, candidate) ??
    rightsRefusal(definition, signing, deedsOf(candidate)) ??
    hardwareRefusal(definition, candidate) ??
    supportRefusal(definition, candidate, unixMs) ??
    leaveRefusal(definition, candidate, unixMs)
  );
}

/** The class belongs to one vendor, whatever keys sign for several. */
function vendorRefusal({ vendorId, name }: DeviceClass, { ways }: Candidate): Refusal | undefined {
  const isOther = ways.some(({ steps }) =>
    steps.some((step) => step.kind === "identifier" && step.which === "vendor" && toHex(step.value) !== vendorId),
  );
  return isOther ? { reason: "other-vendor", detail: `it is not for the vendor of ${name}` } : undefined;
}

/** Each once, by its name: the same in any release. */
export type Deeds = ReadonlyMap<string, Deed>;

export function deedsOf({ ways, others, odd }: Pick<Candidate, "ways" | "others" | "odd">): Deeds {
  const deeds = new Map<string, Deed>();
  for (const deed of [...ways, ...others, ...odd].flatMap((way) => way.deeds)) {
    const by = deed.signers === undefined ? "" : ` ${deed.signers.map(({ bytes }) => toHex(bytes)).join(" ")}`;
    deeds.set(`${deed.code} ${componentName(deed.component)}${by}`, deed);
  }
  return deeds;
}

/** A dependency does what its own signers may (draft -37 section 9); whoever depends on it lends it no rights. */
function missingRight(definition: DeviceClass, signing: Signing, deeds: Deeds): Refusal | undefined {
  if ([...deeds.values()].some(({ component }) => isTrustComponent(component))) return TRUST_IN_RELEASE;
  const own = authoritiesOf(definition, signing);
  for (const { component, code, signers } of deeds.values()) {
    const authorities =
      signers === undefined ? own : authoritiesOf(definition, { ...signing, signers: signers.map(keyRecord) });
    if (authorities.some(({ rights }) => mayDo(rights?.map(rightOf), component, code))) continue;
    const who = signers === undefined ? "its signer" : "the signer of a manifest that it depends on";
    return { reason: "no-right", detail: `${who} may not ${nameOf(Directive, code)} ${labelOf(component)}` };
  }
  return undefined;
}

const FEATURES: Readonly<Record<string, Feature>> = {
  version: "version",
  battery: "battery",
  authorised: "leave",
  wait: "wait",
};

function featuresOf({ ways, others, encrypted }: Candidate): Feature[] {
  const kinds = new Set([...ways, ...others].flatMap(({ steps }) => steps.map(({ kind }) => kind)));
  const asked = [...kinds].flatMap((kind) => FEATURES[kind] ?? []);
  const steps = [...ways, ...others].flatMap((way) => way.steps);
  const patched = steps.some((step) => step.kind === "fetch" && bytesBehind(step).isPatch);
  return [...asked, ...(encrypted ? (["decryption"] as const) : []), ...(patched ? (["delta"] as const) : [])];
}

const expiryOf = ({ ways, others }: Candidate): number | undefined => useBeforeOf([...ways, ...others]);

function hardwareRefusal({ hardware }: DeviceClass, candidate: Candidate): Refusal | undefined {
  const { encrypted, envelopeBytes } = candidate;
  const expires = expiryOf(candidate) !== undefined;
  const features = featuresOf(candidate);
  return hardwareRefusals(hardware, { expires, encrypted, envelopeBytes, features, unattended: true })[0];
}

/** The last image of a class never expires: nobody would bring another one (RFC 9124 section 4.3.3). */
function supportRefusal({ support, name }: DeviceClass, candidate: Candidate, unixMs: number): Refusal | undefined {
  const state = supportState(support, unixMs);
  const expiresS = expiryOf(candidate);
  if (expiresS !== undefined && expiresS * 1_000 <= unixMs)
    return { reason: "expired", detail: "it was to be used before now" };
  if (state !== "ended") return undefined;
  if (support!.afterwards === "no-new-releases")
    return { reason: "support-ended", detail: `support of ${name} has ended, and no new release is taken` };
  return expiresS === undefined
    ? undefined
    : { reason: "last-image-expires", detail: `support of ${name} has ended: what is offered now must not expire` };
}

/** Below 0 is what cannot wait (update-management section 4.3). */
export const isSecurityFix = ({ ways }: Pick<Candidate, "ways">): boolean =>
  ways.every(({ steps }) => {
    const asked = steps.filter((step) => step.kind === "authorised");
    return asked.length > 0 && asked.every(({ priority }) => priority < 0);
  });

function leaveRefusal({ policy, name }: DeviceClass, candidate: Candidate, unixMs: number): Refusal | undefined {
  if (policy === undefined) return undefined;
  const kind = isSecurityFix(candidate) ? "security" : "features";
  const leave: Leave = policy[kind];
  if (leave === "refuse") return { reason: "refused-by-operator", detail: `the operator of ${name} takes no ${kind}` };
  if (leave === "allow" || unixMs >= leave.deferUntilMs) return undefined;
  const until = isoTime(leave.deferUntilMs / 1_000);
  return { reason: "deferred-by-operator", detail: `the operator of ${name} takes no ${kind} before ${until}` };
}

import type { Verifier } from "../codec/cose.ts";
import type { Dialect } from "../suit/dialect.ts";
import { Directive } from "../suit/keys.ts";
import type { DeviceAuthority, Right as DeviceRight } from "../suit/rights.ts";
import type { DeviceTrust } from "../suit/trust.ts";
import { fromHex, toHex, utf8 } from "../util/bytes.ts";

/** A key as records and files have it. */
export interface KeyRecord {
  readonly algorithm: Verifier["algorithm"];
  /** Hexadecimal: a point, an Ed25519 key or an HSS key; never a secret. */
  readonly key: string;
}

export const keyRecord = ({ algorithm, bytes }: Verifier): KeyRecord => ({ algorithm, key: toHex(bytes) });
export const verifierOf = ({ algorithm, key }: KeyRecord): Verifier => ({ algorithm, bytes: fromHex(key)! });
export const isSameKey = (a: KeyRecord, b: KeyRecord): boolean => a.algorithm === b.algorithm && a.key === b.key;

/** What an authority may do: to components whose name begins so, by these commands; all of them where it is absent. */
export interface Right {
  readonly component?: string | undefined;
  readonly actions?: readonly string[] | undefined;
}

/** As a device has it; `0x` before a segment means bytes. */
export function rightOf({ component, actions }: Right): DeviceRight {
  const segment = (part: string): Uint8Array =>
    (part.startsWith("0x") ? fromHex(part.slice(2)) : undefined) ?? utf8(part);
  return {
    component: component?.split("/").map(segment),
    actions: actions?.map((name) => Directive[name.toUpperCase() as keyof typeof Directive]),
  };
}

export interface Authority extends KeyRecord {
  readonly name: string;
  readonly rights?: readonly Right[] | undefined;
}

const deviceAuthority = ({ rights, ...key }: Authority): DeviceAuthority => ({
  ...verifierOf(key),
  ...(rights === undefined ? {} : { rights: rights.map(rightOf) }),
});

/** What hardware a class has (RFC 8240 section 3): what it lacks decides what may be asked of it. */
export interface Hardware {
  readonly rng: boolean;
  readonly rtc: boolean;
  /** Images that it has room for; one means that a failed update leaves nothing to run, unless there is a recovery image. */
  readonly slots: number;
  readonly recoveryImage: boolean;
  readonly ramBytes: number;
  /** Largest envelope that its devices read; a quarter of their RAM unless given. */
  readonly envelopeBytes?: number | undefined;
  /** What of all that a manifest may ask for its devices can do; unless given all of it, but for what no draft has (`delta`). */
  readonly features?: readonly Feature[] | undefined;
}

/** What not every device knows: versions, a battery gauge, an operator's leave, waiting, decryption, patches. */
export type Feature = (typeof FEATURES)[number];
export const FEATURES = ["version", "battery", "leave", "wait", "decryption", "delta"] as const;

export const envelopeLimit = ({ ramBytes, envelopeBytes }: Hardware): number =>
  Math.min(envelopeBytes ?? Infinity, ramBytes / 4);

/** A class of devices, as its owner defines it. */
export interface DeviceClass {
  /** UUID in hex. */
  readonly id: string;
  readonly name: string;
  readonly vendorId: string;
  readonly hardware: Hardware;
  /** The encoding of manifests that its devices read; draft -37 unless given. */
  readonly dialect?: Dialect | undefined;
  /** Who may sign its software now. */
  readonly authorities: readonly Authority[];
  readonly escrow: readonly KeyRecord[];
  readonly quorum?: { readonly keys: readonly KeyRecord[]; readonly atLeast: number } | undefined;
  /** Who has to countersign; nobody where it is empty. */
  readonly operators: readonly KeyRecord[];
  /** Transfers so far. */
  readonly epoch: number;
  readonly support?: Support | undefined;
  readonly policy?: OperatorPolicy | undefined;
}

/** What a device of a class believes, by the transfers so far. */
export function trustOfClass({ epoch, authorities, escrow, quorum, operators }: DeviceClass): DeviceTrust {
  return {
    epoch,
    authorities: authorities.map(deviceAuthority),
    escrow: escrow.map(verifierOf),
    quorum: quorum && { keys: quorum.keys.map(verifierOf), atLeast: quorum.atLeast },
    operators: operators.map(verifierOf),
  };
}

export interface Support {
  /** Milliseconds since 1970. */
  readonly endsMs: number;
  readonly warnDays: number;
  /** Afterwards: warn only, or take no more releases. What is offered stays offered. */
  readonly afterwards: "warn" | "no-new-releases";
}

/** What the operator lets through; security fixes (priority below 0) apart from features. */
export interface OperatorPolicy {
  readonly features: Leave;
  readonly security: Leave;
}

export type Leave = "allow" | "refuse" | { readonly deferUntilMs: number };

export type SupportState = "supported" | "ending" | "ended" | "unknown";

const DAY_MS = 86_400_000;

export function supportState(support: Support | undefined, unixMs: number): SupportState {
  if (support === undefined) return "unknown";
  if (unixMs >= support.endsMs) return "ended";
  return unixMs >= support.endsMs - support.warnDays * DAY_MS ? "ending" : "supported";
}

/** What a class without some hardware may not do, with the reason; empty for one that has all it needs. */
export function hardwareRefusals(
  hardware: Hardware,
  wants: {
    readonly expires: boolean;
    readonly encrypted: boolean;
    readonly unattended: boolean;
    readonly envelopeBytes: number;
    readonly features: readonly Feature[];
  },
): { readonly reason: string; readonly detail: string }[] {
  const refusals: { reason: string; detail: string }[] = [];
  const refuse = (reason: string, detail: string): void => void refusals.push({ reason, detail });
  if (wants.expires && !hardware.rtc)
    refuse(
      "no-rtc",
      "the class has no clock that can be trusted, so a manifest that expires would be refused by each device",
    );
  if (wants.encrypted && !hardware.rng)
    refuse("no-rng", "the class cannot make keys of its own, so nothing is encrypted to it");
  if (wants.unattended && hardware.slots < 2 && !hardware.recoveryImage)
    refuse("one-slot", "the class has one slot and no recovery image, so a failed update needs a person");
  for (const feature of wants.features)
    if (!(hardware.features?.includes(feature) ?? feature !== "delta"))
      refuse(`no-${feature}`, "each of its devices would refuse it, since the class does not have that");
  // The manifest has to stay where nobody can change it between check and use (RFC 9124, REQ.SEC.MFST.CONST).
  const most = envelopeLimit(hardware);
  if (wants.envelopeBytes > most)
    refuse("manifest-too-large", `${wants.envelopeBytes} bytes, and its devices read at most ${most}`);
  return refusals;
}

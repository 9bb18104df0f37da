import type { Verifier } from "../codec/cose.ts";
import type { Crypto, PublicKey } from "../ports/crypto.ts";
import type { OpenEnvelope, TrustPolicy } from "../suit/opened.ts";
import { planProcedure, type PlannedWay } from "../suit/plan.ts";
import { identifiersOf } from "../suit/release.ts";
import { buildEnvelope } from "../suit/build.ts";
import { decodeEnvelope } from "../suit/envelope.ts";
import {
  anchorsOf,
  decodeTransfer,
  permits,
  transferUpdate,
  TRUST_COMPONENT,
  type AuthorityTransfer,
} from "../suit/trust.ts";
import { Directive } from "../suit/keys.ts";
import { bytesEqual, fromHex, toHex } from "../util/bytes.ts";
import { refusalOf, rightsRefusal, signersRefusal, type Refusal, type Signing } from "./admission.ts";
import { looseEvent, nextEntry, verifyChain, type AuditEntry } from "./audit-log.ts";
import {
  envelopeLimit,
  isSameKey,
  keyRecord,
  supportState,
  trustOfClass,
  verifierOf,
  type DeviceClass,
  type KeyRecord,
} from "./classes.ts";
import type { Device, LifecycleEvent } from "./events.ts";
import { openBy, ReleasePlans, type Counting } from "./release-plans.ts";
import { isOvertaken, LifecycleState } from "./state.ts";

export type CommandResult = { readonly ok: true; readonly entry: AuditEntry } | ({ readonly ok: false } & Refusal);

/** What is believed even where the log was tampered with: leaving it out would set somebody free. */
const RESTRICTIVE: ReadonlySet<string> = new Set([
  "class-defined",
  "device-provisioned",
  "key-revoked",
  "device-quarantined",
  "device-decommissioned",
] satisfies LifecycleEvent["kind"][]);

/** Keys that would be believed from then on. */
function keysIn(event: LifecycleEvent): readonly KeyRecord[] {
  if (event.kind === "authority-transferred") return event.authorities;
  if (event.kind !== "class-defined") return [];
  const { authorities, escrow, quorum, operators } = event.definition;
  return [...authorities, ...escrow, ...(quorum?.keys ?? []), ...operators];
}

const publicKeyOf = ({ algorithm, key }: KeyRecord): PublicKey => ({
  algorithm: algorithm as PublicKey["algorithm"],
  bytes: fromHex(key) ?? new Uint8Array(0),
});

const refuse = (reason: string, detail: string): CommandResult & { ok: false } => ({ ok: false, reason, detail });

/** What is known of images for devices of a class. */
export interface ImagesOfClass {
  readonly isCurrent: (classId: string, digest: string) => boolean;
  /** Whether some release has both for them. */
  readonly comesWith: (classId: string, digest: string, other: string) => boolean;
}

/** Why it takes more than who signed a hand-over. */
function handOverDetail({ authorities }: DeviceClass, signers: readonly Verifier[]): string {
  const limited = authorities.filter((one) => signers.some((key) => isSameKey(keyRecord(key), one)));
  if (limited.length === 0) return "neither the authority, escrow nor enough of the quorum signed it";
  const names = limited.map(({ name }) => name).join(", ");
  return `${names} may sign for some components only, and hands nothing over: an authority without such limits does, escrow, or the quorum`;
}

/** Software in a dependency is the authorities' too; escrow and operators sign none. */
const countingFor = ({ authorities, dialect }: DeviceClass, isRevoked: (key: KeyRecord) => boolean): Counting => ({
  dialect: dialect ?? "draft-37",
  keys: authorities.filter((key) => !isRevoked(key)),
});

/**
 * Who may do what to which devices, from factory to scrapyard. Everything that changes is an entry of a hash-chained log;
 * the state is what the entries add up to, so what was acknowledged (and is on disk) is never lost, nor changed unseen.
 */
export class Lifecycle {
  readonly #crypto: Crypto;
  readonly state: LifecycleState = new LifecycleState();
  #last: AuditEntry | undefined;
  /** What releases do, on all their ways. */
  readonly plans: ReleasePlans;

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
    this.plans = new ReleasePlans(crypto);
  }

  /**
   * Takes the log as it is on disk; a text says where it was tampered with. Behind that place nothing is believed that
   * would set anybody free: keys stay revoked there, and devices held.
   */
  recover(lines: readonly string[]): string | undefined {
    const chain = verifyChain(this.#crypto, lines);
    for (const entry of chain.entries) this.take(entry);
    if (chain.ok) return undefined;
    for (const line of lines.slice(chain.entries.length)) {
      const event = looseEvent(line);
      if (event === undefined || !RESTRICTIVE.has(event.kind)) continue;
      const { classes, devices } = this.state;
      const isKnown =
        (event.kind === "class-defined" && classes.has(event.definition.id)) ||
        (event.kind === "device-provisioned" && devices.has(event.device));
      if (!isKnown) this.state.apply(event);
    }
    return `line ${chain.line}: ${chain.detail}`;
  }

  /** Hash of the last entry: noted elsewhere, it shows later that nothing was cut off. */
  get head(): string | undefined {
    return this.#last?.hash;
  }

  /** Checks a command against the state; its entry is to be stored before it is taken. */
  propose(unixMs: number, actor: string, event: LifecycleEvent): CommandResult {
    const refusal = this.#refusal(event);
    if (refusal !== undefined) return refuse(refusal.reason, refusal.detail);
    const entry = nextEntry(this.#crypto, this.#last, unixMs, actor, event as unknown as AuditEntry["event"]);
    return { ok: true, entry };
  }

  take(entry: AuditEntry): void {
    this.#last = entry;
    this.state.apply(entry.event as unknown as LifecycleEvent);
  }

  #refusal(event: LifecycleEvent): Refusal | undefined {
    const { classes, devices } = this.state;
    if (event.kind === "class-defined" && isOvertaken(event.definition, classes.get(event.definition.id))) {
      const { epoch } = classes.get(event.definition.id)!;
      const detail = `the class was handed over (epoch ${epoch}): its authorities change by \`blockferry authority transfer\``;
      return { reason: "authorities-handed-over", detail };
    }
    const dead = keysIn(event).find(
      (key) => key.algorithm !== "HSS-LMS" && !this.#crypto.isPublicKey(publicKeyOf(key)),
    );
    if (dead !== undefined)
      return {
        reason: "bad-key",
        detail: `${dead.key.slice(0, 16)}… is no ${dead.algorithm} key: it could verify nothing`,
      };
    if ("classId" in event && event.kind !== "release-refused" && !classes.has(event.classId))
      return { reason: "no-such-class", detail: `there is no class ${event.classId}; define it first` };
    if (event.kind === "authority-transferred" && event.epoch !== classes.get(event.classId)!.epoch + 1)
      return { reason: "older-transfer", detail: `transfer ${event.epoch} is not the next one of its class` };
    if (!("device" in event)) return undefined;
    const device = devices.get(event.device);
    if (event.kind === "device-provisioned") {
      const again = device !== undefined && (device.state === "decommissioned" || device.stage >= event.stage);
      if (again) return { reason: "already-provisioned", detail: `${event.device} has been provisioned before` };
      const other = event.endpoint === undefined ? undefined : this.state.byEndpoint(event.endpoint);
      return other !== undefined && other.id !== event.device && other.state !== "decommissioned"
        ? { reason: "endpoint-in-use", detail: `${event.endpoint} is device ${other.id}` }
        : undefined;
    }
    if (device === undefined)
      return {
        reason: "no-such-device",
        detail: `there is no device ${event.device}: factory import tells of those that a factory made, adopt of other clients`,
      };
    if (device.state === "decommissioned")
      return { reason: "decommissioned", detail: `${event.device} was decommissioned` };
    if (event.kind === "device-released" && device.state !== "quarantined")
      return { reason: "not-quarantined", detail: `${event.device} is not in quarantine` };
    return undefined;
  }

  /** Whether a class takes a release; its classes are those that the manifest asks for. */
  admit(envelope: Uint8Array, classId: string, unixMs: number): Refusal | undefined {
    const definition = this.state.classes.get(classId);
    if (definition === undefined) return { reason: "no-such-class", detail: `class ${classId} is not defined here` };
    const isRevoked = (key: KeyRecord): boolean => this.state.isRevoked(key);
    const signed = this.#signed(envelope, definition, isRevoked);
    if ("reason" in signed) return signed;
    const candidate = this.plans.plan(signed.open, envelope, countingFor(definition, isRevoked));
    return "reason" in candidate ? candidate : refusalOf(definition, candidate, signed.signing, unixMs);
  }

  /**
   * Why nobody stands for a release that is on offer, by signatures and rights alone. Whoever handed the class over stands
   * for what was taken from him: the last image does not go with its vendor.
   */
  standing(envelope: Uint8Array, classId: string): Refusal | undefined {
    const defined = this.state.classes.get(classId)!;
    // Who counts today has the rights of today.
    const isToday = (key: KeyRecord): boolean => defined.authorities.some((one) => isSameKey(one, key));
    const former = (this.state.former.get(classId) ?? []).filter((key) => !isToday(key));
    const definition = { ...defined, authorities: [...defined.authorities, ...former] };
    const now = this.#unbacked(envelope, definition, (key) => this.state.isRevoked(key));
    if (now === undefined || this.#unbacked(envelope, definition, () => false) !== undefined) return now;
    return { reason: "key-revoked", detail: now.detail };
  }

  /** Why nobody who counts for a class today may do what a release does, be it for that class or not. */
  replacingRefusal(envelope: Uint8Array, classId: string): Refusal | undefined {
    return this.#unbacked(envelope, this.state.classes.get(classId)!, (key) => this.state.isRevoked(key));
  }

  #unbacked(
    envelope: Uint8Array,
    definition: DeviceClass,
    isRevoked: (key: KeyRecord) => boolean,
  ): Refusal | undefined {
    const signed = this.#signed(envelope, definition, isRevoked);
    if ("reason" in signed) return signed;
    const deeds = this.plans.deeds(signed.open, envelope, countingFor(definition, isRevoked));
    return "reason" in deeds ? deeds : rightsRefusal(definition, signed.signing, deeds);
  }

  /** Who signed a release: somebody who may. */
  #signed(
    envelope: Uint8Array,
    definition: DeviceClass,
    isRevoked: (key: KeyRecord) => boolean,
  ): { readonly open: OpenEnvelope; readonly signing: Signing } | Refusal {
    const open = this.#open(envelope, definition);
    if (!("manifest" in open)) return open;
    const signing = { signers: open.signers.map(keyRecord), isRevoked };
    return signersRefusal(definition, signing) ?? { open, signing };
  }

  /** Checks an authority transfer as each device of the class will; what it changes, and on whose word. */
  readTransfer(
    envelope: Uint8Array,
    classId: string,
  ): { readonly transfer: AuthorityTransfer; readonly by: "authority" | "escrow" | "quorum" } | Refusal {
    const definition = this.state.classes.get(classId);
    if (definition === undefined) return { reason: "no-such-class", detail: `class ${classId} is not defined here` };
    const open = this.#open(envelope, definition);
    if (!("manifest" in open)) return open;
    const ways = planProcedure(this.#crypto, open, "update");
    const classes = identifiersOf(ways, "class").map(toHex);
    if (classes.length > 0 && !classes.includes(classId))
      return { reason: "other-class", detail: `it is for class ${classes.join(", ")}` };
    const transfer = this.#transferIn(open, definition, ways);
    if (transfer === undefined)
      return { reason: "not-a-transfer", detail: "it is not the manifest that names new authorities, and no more" };
    // One after the other, so that a device that slept through some can follow.
    if (transfer.epoch !== definition.epoch + 1) {
      const reason = transfer.epoch <= definition.epoch ? "older-transfer" : "not-the-next-transfer";
      return { reason, detail: `transfer ${transfer.epoch}; the class is at ${definition.epoch}` };
    }
    if (envelope.length > envelopeLimit(definition.hardware))
      return { reason: "envelope-too-large", detail: `${envelope.length} bytes are more than its devices can read` };
    if (transfer.authorities.some((key) => this.state.isRevoked(keyRecord(key))))
      return { reason: "key-revoked", detail: "it names a key that was revoked" };
    const valid = open.signers.filter((key) => !this.state.isRevoked(keyRecord(key)));
    if (!permits(trustOfClass(definition), valid, TRUST_COMPONENT, Directive.WRITE))
      return { reason: "no-right", detail: handOverDetail(definition, valid) };
    const isBy = (keys: readonly KeyRecord[]): boolean =>
      valid.some((key) => keys.some((other) => isSameKey(keyRecord(key), other)));
    const by = isBy(definition.authorities.filter(({ rights }) => rights === undefined))
      ? "authority"
      : isBy(definition.escrow)
        ? "escrow"
        : "quorum";
    return { transfer, by };
  }

  /** Byte for byte the one manifest that a transfer has: whatever else it might do nobody has to think about. */
  #transferIn(
    open: OpenEnvelope,
    definition: DeviceClass,
    [way]: readonly PlannedWay[],
  ): AuthorityTransfer | undefined {
    for (const step of way?.steps ?? []) {
      const transfer = step.kind === "store" ? decodeTransfer(step.content) : undefined;
      if (transfer === undefined) continue;
      const update = transferUpdate(fromHex(definition.vendorId)!, [fromHex(definition.id)!], transfer);
      const { manifestBytes } = decodeEnvelope(buildEnvelope(this.#crypto, update));
      return bytesEqual(manifestBytes, open.envelope.manifestBytes) ? transfer : undefined;
    }
    return undefined;
  }

  #policy(definition: DeviceClass): TrustPolicy {
    // Revoked keys are looked at too, so that a refusal can say that it is one of them.
    const revoked = this.state.revoked.map(({ key }) => verifierOf(key));
    return { anchors: [...anchorsOf(trustOfClass(definition)), ...revoked], dialect: definition.dialect };
  }

  #open(envelope: Uint8Array, definition: DeviceClass): OpenEnvelope | Refusal {
    return openBy(this.#crypto, envelope, this.#policy(definition));
  }

  /** Devices whose class has no authority that is left: nobody can sign software for them. */
  orphans(): Device[] {
    return this.#living().filter(({ classId }) => {
      const authorities = this.state.classes.get(classId)?.authorities ?? [];
      return authorities.every((key) => this.state.isRevoked(key));
    });
  }

  /** Devices that believe a key, whatever for. */
  trusting(key: KeyRecord): Device[] {
    return this.#living().filter(({ classId }) => {
      const definition = this.state.classes.get(classId);
      if (definition === undefined) return false;
      const { authorities, escrow, quorum, operators } = definition;
      return [...authorities, ...escrow, ...(quorum?.keys ?? []), ...operators].some((other) => isSameKey(other, key));
    });
  }

  #living(): Device[] {
    return [...this.state.devices.values()].filter(({ state }) => state !== "decommissioned");
  }

  /** Whether a device may have an image: one in quarantine only what is current, or the recovery image. */
  mayHave(device: Device, digest: string, images: ImagesOfClass): boolean {
    const { classId, state } = device;
    if (state === "decommissioned") return false;
    if (state !== "quarantined") return true;
    const recovery = this.state.recovery.get(classId);
    if (recovery === digest || images.isCurrent(classId, digest)) return true;
    // What comes with it by one manifest is the same recovery.
    return recovery !== undefined && images.comesWith(classId, digest, recovery);
  }

  /** Classes whose support ends soon or has ended: told, and nothing stops by itself. */
  warnings(
    unixMs: number,
  ): { readonly classId: string; readonly name: string; readonly state: string; readonly endsMs: number }[] {
    return [...this.state.classes.values()].flatMap(({ id, name, support }) => {
      const state = supportState(support, unixMs);
      return state === "ending" || state === "ended" ? [{ classId: id, name, state, endsMs: support!.endsMs }] : [];
    });
  }
}

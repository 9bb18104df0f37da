import type { Verifier } from "../codec/cose.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import type { Router } from "../coap/router.ts";
import type { AuditEntry } from "../lifecycle/audit-log.ts";
import type { CensusRow, Seen } from "../lifecycle/census.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import { isSameKey, keyRecord, verifierOf, type Authority } from "../lifecycle/classes.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import { Lifecycle, type ImagesOfClass } from "../lifecycle/lifecycle.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import type { Dialect } from "../suit/dialect.ts";
import { fromHex, fromUtf8 } from "../util/bytes.ts";
import { Tally } from "../util/tally.ts";
import { SEEN_PREFIX, Sightings } from "./sightings.ts";
import { AuditWriter, type DeskResult, type Turn, type TurnResult } from "./audit-writer.ts";
import { transferPath } from "./catalogue.ts";
import { addDeviceResources } from "./device-resources.ts";
import { ADDRESS_PREFIX, DeviceAddresses } from "./device-addresses.ts";

export { AUDIT_PREFIX, type DeskResult } from "./audit-writer.ts";
export const CREDENTIAL_PREFIX = "credential/";
export const TRANSFER_PREFIX = "handover/";

interface DeskParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly router: Router;
  readonly unixMs: (nowUs: number) => number;
  readonly store: (ops: readonly StoreOp[]) => number;
  readonly storeLazily: (ops: readonly StoreOp[]) => void;
  /** Whether a release on offer names this image for devices of a class. */
  readonly isCurrent: ImagesOfClass["isCurrent"];
  readonly comesWith: ImagesOfClass["comesWith"];
  /** Told that the state has changed, and is on disk. */
  readonly changed: (nowUs: number, event: LifecycleEvent) => unknown;
  readonly hasImage: (digest: string) => boolean;
  /** Why an image is not for devices of a class. */
  readonly withheld: (digest: string, classId: string) => Refusal | undefined;
}

/** An IPv6 or IPv4 address, with its zone if it has one. */
const ADDRESS = /^[0-9a-fA-F.:]{2,45}(?:%[\w.-]+)?$/;
/** Changes by these paths are entries of the log themselves. */
const OWN_ENTRIES = /^\/v1\/(?:lifecycle|credentials)\//;

/** The lifecycle in a gateway: its log in the store, the credentials beside it, and what devices ask of it by CoAP. */
export class LifecycleDesk {
  readonly lifecycle: Lifecycle;
  readonly #parts: DeskParts;
  readonly #credentials = new Map<string, Uint8Array>();
  readonly #writer: AuditWriter;
  /** What was refused last for each class: the same again is no news. */
  readonly #refused = new Map<string, string>();
  readonly #addresses: DeviceAddresses;
  /** Images that are being named as recovery images: they stay until that is on the disk. */
  readonly #naming = new Tally();
  readonly #sightings: Sightings;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.lifecycle = new Lifecycle(parts.crypto);
    const { state } = this.lifecycle;
    this.#sightings = new Sightings({ state, unixMs: parts.unixMs, store: parts.storeLazily });
    const isHeld = (device: string): boolean => this.lifecycle.state.held.has(device);
    this.#addresses = new DeviceAddresses(isHeld, parts.storeLazily);
    this.#writer = new AuditWriter({
      lifecycle: this.lifecycle,
      store: parts.store,
      written: (nowUs, entry) => this.#written(nowUs, entry),
    });
    addDeviceResources(parts.router, {
      ...parts,
      keyOf: (device) => this.#credentials.get(device),
      heardAt: (request, device) => this.#addresses.heardAt(request, device),
      seen: (nowUs, device, version) => this.seen(nowUs, device, version),
    });
  }

  /** Keys of records that are damaged. */
  recover(entries: Iterable<readonly [key: string, value: Uint8Array]>): string[] {
    const damaged: string[] = [];
    const records = [...entries];
    this.#writer.recover(records);
    for (const [key, value] of records) {
      const name = key.slice(key.indexOf("/") + 1);
      if (key.startsWith(CREDENTIAL_PREFIX)) this.#recoverCredential(name, value);
      else if (key.startsWith(SEEN_PREFIX)) this.#sightings.recover(name, value);
      else if (key.startsWith(ADDRESS_PREFIX) && !this.#recoverAddress(name, fromUtf8(value))) damaged.push(key);
      else if (key.startsWith(TRANSFER_PREFIX)) this.#serveTransfer(name, value.slice());
    }
    if (this.tampered === undefined) return damaged;
    this.#parts.log.event("error", "audit-log-tampered", { reason: this.tampered });
    this.#parts.metrics.count("audit_log_tampered");
    return damaged;
  }

  /** One that a stop has left behind is erased now. */
  #recoverCredential(device: string, value: Uint8Array): void {
    const known = this.lifecycle.state.devices.get(device);
    if (known?.state === "decommissioned")
      this.#parts.storeLazily([{ kind: "delete", key: CREDENTIAL_PREFIX + device }]);
    else if (known !== undefined) this.#credentials.set(device, value.slice());
  }

  /** Whoever is at the address of a device that is held no longer, or is none any more, is another one. */
  #recoverAddress(device: string, address: string | undefined): boolean {
    const isHeld = this.lifecycle.state.devices.get(device)?.state === "quarantined";
    if (isHeld && address !== undefined && ADDRESS.test(address)) this.#addresses.recover(address, device);
    else if (!isHeld && this.tampered === undefined) this.#addresses.release(device);
    return !isHeld || this.#addresses.at(address ?? "") === device;
  }

  /** A device was heard of. */
  seen(nowUs: number, device: string, version: string | undefined): void {
    this.#sightings.seen(nowUs, device, version);
  }

  /** A LwM2M client has registered, or says that it is still there. */
  heard(nowUs: number, endpoint: string, version: string | undefined): void {
    const device = this.lifecycle.state.byEndpoint(endpoint);
    if (device !== undefined) this.seen(nowUs, device.id, version);
  }

  /** The log, line by line, as it is on disk. */
  get lines(): readonly string[] {
    return this.#writer.lines;
  }

  /** What is known of living devices, without their names. */
  census(unixMs: number, notSeenDays: number, others: Iterable<Seen> = []): CensusRow[] {
    return this.#sightings.census(unixMs, notSeenDays, others);
  }

  /** Whether there are devices that may not have whatever they like: each block asks, and who it is for matters only then. */
  get holdsAnybody(): boolean {
    return this.lifecycle.state.held.size > 0;
  }

  /** Whether who is at an address, or registered by a name, may have an image; anybody who is not known here may. */
  mayHave(address: string, endpoint: string | undefined, digest: string): boolean {
    const { state } = this.lifecycle;
    const id = this.#addresses.at(address);
    const device =
      (endpoint === undefined ? undefined : state.byEndpoint(endpoint)) ??
      (id === undefined ? undefined : state.devices.get(id));
    return device === undefined || this.lifecycle.mayHave(device, digest, this.#parts);
  }

  unixMs(nowUs: number): number {
    return this.#parts.unixMs(nowUs);
  }

  /** Where the log on disk stops making sense; nothing is written behind it. */
  get tampered(): string | undefined {
    return this.#writer.tampered;
  }

  /** Makes an event so; `done` is called when it is on disk, or why it is not so. */
  submit(
    nowUs: number,
    actor: string,
    event: LifecycleEvent,
    done: (result: DeskResult) => void,
    extra: readonly StoreOp[] = [],
    check?: () => Refusal | undefined,
  ): void {
    const named = event.kind === "recovery-set" ? event.digest : "";
    this.#naming.add(named, 1);
    const plan = (): Turn | Refusal =>
      check?.() ?? this.#imageRefusal(event) ?? { event, ops: [...extra, ...this.#heldOps(event)] };
    // A turn with an event has an entry.
    this.#writer.submit({
      unixMs: this.#parts.unixMs(nowUs),
      actor,
      plan,
      done: (result) => {
        this.#naming.add(named, -1);
        done(result as DeskResult);
      },
    });
  }

  /** Somebody changed something by the API; the lifecycle's own changes are entries already. Then it is on disk, or lost. */
  noteOperator(
    nowUs: number,
    actor: string,
    {
      path,
      ...about
    }: { readonly method: string; readonly path: string; readonly role: string; readonly status: number },
    then: () => void,
  ): void {
    // 504: it was done, or begun, and the device has not answered.
    if ((about.status >= 400 && about.status !== 504) || OWN_ENTRIES.test(path)) return then();
    const event = { kind: "operator-action", path: path.slice(0, 256), ...about } as const;
    const orLost = this.#orLost(actor, { ...about, path: event.path });
    const finish = (result: DeskResult): void => {
      orLost(result);
      then();
    };
    this.submit(nowUs, actor, event, finish);
    return undefined;
  }

  /** What was done is done: that it is missing in the log must be seen elsewhere. */
  #orLost(actor: string, about: Readonly<Record<string, string | number>>): (result: DeskResult) => void {
    return (result) => {
      if (result.ok) return;
      const { reason, detail } = result;
      this.#parts.log.event("error", "audit-entry-lost", { reason, detail, actor, ...about });
      this.#parts.metrics.count("audit_entries_lost", reason);
    };
  }

  /** A device that the factory made, or one that has been given another secret, with the key that answers it. */
  keepCredential(
    nowUs: number,
    actor: string,
    event: LifecycleEvent & { kind: "device-provisioned" | "credential-replaced" },
    key: Uint8Array,
    done: (result: DeskResult) => void,
  ): void {
    const finish = (result: DeskResult): void => {
      if (result.ok) this.#credentials.set(event.device, key);
      done(result);
    };
    this.submit(nowUs, actor, event, finish, [{ kind: "put", key: CREDENTIAL_PREFIX + event.device, value: key }]);
  }

  hasCredential(device: string): boolean {
    return this.#credentials.has(device);
  }

  /** Its credentials are gone with the same write that records it. */
  decommission(nowUs: number, actor: string, device: string, done: (result: DeskResult) => void): void {
    const known = this.lifecycle.state.devices.get(device);
    const erased = this.#credentials.has(device) ? ["confirmation-key"] : [];
    const event: LifecycleEvent = { kind: "device-decommissioned", device, erased };
    const finish = (result: DeskResult): void => {
      if (result.ok) {
        this.#credentials.delete(device);
        this.#sightings.forget(device);
      }
      done(result);
    };
    const ops: StoreOp[] =
      known === undefined
        ? []
        : [CREDENTIAL_PREFIX, SEEN_PREFIX].map((prefix) => ({ kind: "delete", key: prefix + device }));
    this.submit(nowUs, actor, event, finish, ops);
  }

  /** Hands the devices of a class over to new authorities: offered to them, and believed here from now on. */
  transfer(
    nowUs: number,
    actor: string,
    classId: string,
    envelope: Uint8Array,
    names: readonly string[],
    done: (result: DeskResult) => void,
  ): void {
    const read = this.lifecycle.readTransfer(envelope, classId);
    if ("reason" in read) return done({ ok: false, ...read });
    const { transfer, by } = read;
    const before = this.lifecycle.state.classes.get(classId)?.authorities ?? [];
    const authorities = transfer.authorities.map((verifier, i): Authority => {
      const key = keyRecord(verifier);
      const known = before.find((one) => isSameKey(one, key));
      return { ...key, name: names[i] ?? known?.name ?? `authority ${i + 1}`, rights: known?.rights };
    });
    const event: LifecycleEvent = { kind: "authority-transferred", classId, epoch: transfer.epoch, authorities, by };
    const finish = (result: DeskResult): void => {
      if (result.ok) this.#serveTransfer(name, envelope);
      done(result);
    };
    const name = `${classId}/${transfer.epoch}`;
    const again = (): Refusal | undefined => {
      const still = this.lifecycle.readTransfer(envelope, classId);
      return "reason" in still ? still : undefined;
    };
    this.submit(nowUs, actor, event, finish, [{ kind: "put", key: TRANSFER_PREFIX + name, value: envelope }], again);
  }

  stored(nowUs: number, id: number, failure: Refusal | undefined): void {
    this.#writer.stored(nowUs, id, failure);
  }

  #written(nowUs: number, { event: { kind, ...fields }, number }: AuditEntry): void {
    this.#parts.log.event("info", "lifecycle", { kind, number });
    this.#parts.metrics.count("lifecycle", kind);
    const event = { kind, ...fields } as unknown as LifecycleEvent;
    if (event.kind === "device-decommissioned") this.#addresses.forget(event.device);
    // It may have moved while that was written.
    if (event.kind === "device-quarantined" || event.kind === "device-released") this.#addresses.changed(event.device);
    this.#parts.changed(nowUs, event);
  }

  /** Keys by which a release may be signed here besides the anchors of the configuration, or might be once. */
  anchors(): Verifier[] {
    const { signers, revoked } = this.lifecycle.state;
    return [...revoked.map(({ key }) => key), ...signers.values()].map(verifierOf);
  }

  /** Why no class of a release takes it; "not-governed" where none of them is defined here. */
  admit(
    nowUs: number,
    envelope: Uint8Array,
    classIds: readonly string[],
    dialect: Dialect,
  ): Refusal | "not-governed" | undefined {
    const governed = classIds.filter((id) => this.lifecycle.state.classes.has(id));
    if (governed.length === 0) return "not-governed";
    for (const classId of classIds) {
      const spoken = this.lifecycle.state.classes.get(classId)?.dialect ?? "draft-37";
      if (spoken !== dialect)
        return { reason: "other-dialect", detail: `devices of class ${classId} read ${spoken}; say --dialect` };
      const refusal = this.lifecycle.admit(envelope, classId, this.#parts.unixMs(nowUs));
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  /** Whether an image is a class's recovery image, or is being made one. */
  isRecovery(digest: string): boolean {
    return this.#naming.of(digest) > 0 || [...this.lifecycle.state.recovery.values()].includes(digest);
  }

  /** A recovery image has to be here, for that class, when it is named; and stays from then on. */
  #imageRefusal(event: LifecycleEvent): Refusal | undefined {
    if (event.kind !== "recovery-set") return undefined;
    const { digest, classId } = event;
    return this.#parts.hasImage(digest)
      ? this.#parts.withheld(digest, classId)
      : { reason: "no-such-image", detail: `there is no image ${digest} here: publish it first` };
  }

  /** Where a device is that is put in quarantine, or set free: on disk with the entry. */
  #heldOps(event: LifecycleEvent): readonly StoreOp[] {
    if (event.kind === "device-quarantined") return this.#addresses.keepOps(event.device);
    const isFree = event.kind === "device-released" || event.kind === "device-decommissioned";
    return isFree ? this.#addresses.releaseOps(event.device) : [];
  }

  /**
   * Puts a release on record when its turn has come, its writes and the entry of its first class that is governed by
   * then in one; quarantine knows what is current from then on.
   */
  recordRelease(
    nowUs: number,
    classIds: readonly string[],
    about: { readonly sequenceNumber: number; readonly digest: string },
    plan: () => readonly StoreOp[] | Refusal,
    done: (result: TurnResult) => void,
  ): void {
    const unixMs = this.#parts.unixMs(nowUs);
    const admitted = (classId: string): LifecycleEvent => ({ kind: "release-admitted", classId, ...about });
    let governed: string[] = [];
    const turn = (): Turn | Refusal => {
      const ops = plan();
      if ("reason" in ops) return ops;
      governed = classIds.filter((id) => this.lifecycle.state.classes.has(id));
      return { event: governed.length > 0 ? admitted(governed[0]!) : undefined, ops };
    };
    const finish = (result: TurnResult): void => {
      done(result);
      if (!result.ok) return;
      for (const [i, classId] of governed.entries()) {
        this.#refused.set(classId, "");
        if (i > 0) this.submit(nowUs, "gateway", admitted(classId), this.#orLost("gateway", { classId, ...about }));
      }
    };
    this.#writer.submit({ unixMs, actor: "gateway", plan: turn, done: finish });
  }

  /** A release of governed classes was refused. */
  noteRefusal(nowUs: number, classIds: readonly string[], sequenceNumber: number, reason: string): void {
    for (const classId of classIds) {
      if (!this.lifecycle.state.classes.has(classId)) continue;
      const refused = `${sequenceNumber}/${reason}`;
      if (this.#refused.get(classId) === refused) continue;
      this.#refused.set(classId, refused);
      const about = { classId, sequenceNumber, reason };
      this.submit(nowUs, "gateway", { kind: "release-refused", ...about }, this.#orLost("gateway", about));
    }
  }

  /** `name`: class and epoch. All of them stay on offer: a device may have slept through several. */
  #serveTransfer(name: string, envelope: Uint8Array): void {
    const [classId = "", epoch] = name.split("/");
    const id = fromHex(classId);
    if (id === undefined || Number(epoch) > (this.lifecycle.state.classes.get(classId)?.epoch ?? 0)) return;
    const etag = this.#parts.crypto.sha256(envelope).subarray(0, 8);
    const body = { bytes: envelope, etag, contentFormat: ContentFormat.OCTET_STREAM };
    this.#parts.router.add(transferPath(id, Number(epoch)), { get: () => ({ code: Code.CONTENT, body }) });
  }
}

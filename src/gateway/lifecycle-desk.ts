import type { Verifier } from "../codec/cose.ts";
import { Code, ContentFormat } from "../coap/numbers.ts";
import type { ResourceHandler, Router } from "../coap/router.ts";
import { LRUCache } from "lru-cache";
import { entryLine, type AuditEntry } from "../lifecycle/audit-log.ts";
import { censusOf, type CensusRow } from "../lifecycle/census.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import { verifierOf, type KeyRecord } from "../lifecycle/classes.ts";
import type { LifecycleEvent } from "../lifecycle/events.ts";
import { Lifecycle } from "../lifecycle/lifecycle.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import { openReport, REPORT_LIMITS, REPORT_PATH } from "../suit/report.ts";
import { CONFIRMATION, confirmationAnswer, decodeConfirmation } from "../suit/confirmation.ts";
import type { Dialect } from "../suit/dialect.ts";
import { fromHex, fromUtf8, toHex, utf8 } from "../util/bytes.ts";
import { transferPath } from "./catalogue.ts";

export const AUDIT_PREFIX = "audit/";
const CREDENTIAL_PREFIX = "credential/";
const TRANSFER_PREFIX = "handover/";
const SEEN_PREFIX = "seen/";

interface DeskParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly router: Router;
  readonly unixMs: (nowUs: number) => number;
  readonly store: (ops: readonly StoreOp[]) => number;
  readonly storeLazily: (ops: readonly StoreOp[]) => void;
  /** Told that the state has changed, and is on disk. */
  readonly changed: (nowUs: number, event: LifecycleEvent) => unknown;
}

export type DeskResult = { readonly ok: true; readonly entry: AuditEntry } | ({ readonly ok: false } & Refusal);

export const DESK_LIMITS = { maxAddresses: 10_000 } as const;
const DAY_MS = 86_400_000;

interface Waiting {
  readonly entry: AuditEntry;
  readonly done: (result: DeskResult) => void;
}

/** The lifecycle in a gateway: its log in the store, the credentials beside it, and what devices ask of it by CoAP. */
export class LifecycleDesk {
  readonly lifecycle: Lifecycle;
  readonly #parts: DeskParts;
  readonly #credentials = new Map<string, Uint8Array>();
  readonly #lines: string[] = [];
  readonly #waiting = new Map<number, Waiting>();
  /** Devices by the address from which they asked last; what is behind an address is never more than likely. */
  readonly #addresses = new LRUCache<string, string>({ max: DESK_LIMITS.maxAddresses });
  readonly #seen = new Map<string, { lastSeenMs: number; version: string | undefined }>();
  /** Where the log on disk stops making sense; nothing is written behind it. */
  #tampered: string | undefined;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.lifecycle = new Lifecycle(parts.crypto);
    parts.router.add([...CONFIRMATION.path], this.#confirmations());
    parts.router.add([...REPORT_PATH], this.#reports());
  }

  recover(entries: Iterable<readonly [key: string, value: Uint8Array]>): void {
    const lines: [string, string][] = [];
    for (const [key, value] of entries) {
      if (key.startsWith(AUDIT_PREFIX)) lines.push([key, fromUtf8(value) ?? ""]);
      else if (key.startsWith(CREDENTIAL_PREFIX))
        this.#credentials.set(key.slice(CREDENTIAL_PREFIX.length), value.slice());
      else if (key.startsWith(SEEN_PREFIX)) this.#recoverSeen(key.slice(SEEN_PREFIX.length), value);
      else if (key.startsWith(TRANSFER_PREFIX)) this.#serveTransfer(key.slice(TRANSFER_PREFIX.length), value.slice());
    }
    lines.sort(([a], [b]) => (a < b ? -1 : 1));
    this.#lines.push(...lines.map(([, line]) => line));
    this.#tampered = this.lifecycle.recover(this.#lines);
    if (this.#tampered === undefined) return;
    this.#parts.log.event("error", "audit-log-tampered", { reason: this.#tampered });
    this.#parts.metrics.count("audit_log_tampered");
  }

  #recoverSeen(device: string, value: Uint8Array): void {
    const [lastSeenMs, version] = (fromUtf8(value) ?? "").split(" ", 2);
    if (Number.isFinite(Number(lastSeenMs))) this.#seen.set(device, { lastSeenMs: Number(lastSeenMs), version });
  }

  /** A device was heard of; written at most once a day, unless it runs something else. */
  seen(nowUs: number, device: string, version: string | undefined): void {
    if (!this.lifecycle.state.devices.has(device)) return;
    const before = this.#seen.get(device);
    const lastSeenMs = Math.floor(this.#parts.unixMs(nowUs));
    const entry = { lastSeenMs, version: version ?? before?.version };
    const isNews = before === undefined || lastSeenMs - before.lastSeenMs >= DAY_MS || entry.version !== before.version;
    this.#seen.set(device, isNews ? entry : before);
    if (!isNews) return;
    const value = utf8(`${lastSeenMs} ${entry.version ?? ""}`.trim());
    this.#parts.storeLazily([{ kind: "put", key: SEEN_PREFIX + device, value }]);
  }

  /** A LwM2M client has registered, or says that it is still there. */
  heard(nowUs: number, endpoint: string, version: string | undefined): void {
    const device = this.lifecycle.state.byEndpoint(endpoint);
    if (device !== undefined) this.seen(nowUs, device.id, version);
  }

  /** The log, line by line, as it is on disk. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** What is known of living devices, without their names. */
  census(unixMs: number, notSeenDays: number): CensusRow[] {
    const seen = [...this.lifecycle.state.devices.values()]
      .filter(({ state }) => state !== "decommissioned")
      .map(({ id, classId }) => {
        const { lastSeenMs = 0, version } = this.#seen.get(id) ?? {};
        return { classId, lastSeenMs, version };
      });
    return censusOf(seen, unixMs, notSeenDays);
  }

  /** Whether who is at an address, or registered by a name, may have an image; anybody who is not known here may. */
  mayHave(address: string, endpoint: string | undefined, digest: string): boolean {
    const { state } = this.lifecycle;
    if (state.held.size === 0) return true; // each block asks
    const id = this.#addresses.get(address);
    const device =
      (endpoint === undefined ? undefined : state.byEndpoint(endpoint)) ??
      (id === undefined ? undefined : state.devices.get(id));
    return device === undefined || this.lifecycle.mayHave(device, digest);
  }

  unixMs(nowUs: number): number {
    return this.#parts.unixMs(nowUs);
  }

  get tampered(): string | undefined {
    return this.#tampered;
  }

  /** Makes an event so; `done` is called when it is on disk, or why it is not so. */
  submit(
    nowUs: number,
    actor: string,
    event: LifecycleEvent,
    done: (result: DeskResult) => void,
    extra: readonly StoreOp[] = [],
  ): void {
    if (this.#tampered !== undefined)
      return done({
        ok: false,
        reason: "audit-log-tampered",
        detail: `${this.#tampered}; restore the log before anything is added`,
      });
    const result = this.lifecycle.record(this.#parts.unixMs(nowUs), actor, event);
    if (!result.ok) return done(result);
    const { entry } = result;
    const key = `${AUDIT_PREFIX}${String(entry.number).padStart(10, "0")}`;
    const id = this.#parts.store([{ kind: "put", key, value: utf8(entryLine(entry)) }, ...extra]);
    this.#waiting.set(id, { entry, done });
  }

  /** A device that the factory made, with the key that answers it. */
  provision(
    nowUs: number,
    actor: string,
    event: LifecycleEvent & { kind: "device-provisioned" },
    key: Uint8Array,
    done: (result: DeskResult) => void,
  ): void {
    this.#credentials.set(event.device, key);
    this.submit(nowUs, actor, event, done, [{ kind: "put", key: CREDENTIAL_PREFIX + event.device, value: key }]);
  }

  /** Its credentials are gone with the same write that records it. */
  decommission(nowUs: number, actor: string, device: string, done: (result: DeskResult) => void): void {
    const known = this.lifecycle.state.devices.get(device);
    const erased = this.#credentials.has(device) ? ["confirmation-key"] : [];
    const event: LifecycleEvent = { kind: "device-decommissioned", device, erased };
    const finish = (result: DeskResult): void => {
      if (result.ok) {
        this.#credentials.delete(device);
        this.#seen.delete(device);
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
    const authorities = transfer.authorities.map(({ algorithm, bytes }, i) => ({
      algorithm,
      key: toHex(bytes),
      name: names[i] ?? `authority ${i + 1}`,
    }));
    const event: LifecycleEvent = { kind: "authority-transferred", classId, epoch: transfer.epoch, authorities, by };
    const finish = (result: DeskResult): void => {
      if (result.ok) this.#serveTransfer(classId, envelope);
      done(result);
    };
    this.submit(nowUs, actor, event, finish, [{ kind: "put", key: TRANSFER_PREFIX + classId, value: envelope }]);
  }

  stored(nowUs: number, id: number, ok: boolean, detail: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    const { entry, done } = waiting;
    if (!ok) {
      // What is in memory is ahead of the disk: nothing more is acknowledged until a restart has read what is there.
      this.#tampered = `entry ${entry.number} could not be stored: ${detail}`;
      return done({ ok: false, reason: "store-write-failed", detail: this.#tampered });
    }
    this.#lines.push(entryLine(entry));
    const event = entry.event as unknown as LifecycleEvent;
    this.#parts.log.event("info", "lifecycle", { kind: event.kind, number: entry.number });
    this.#parts.metrics.count("lifecycle", event.kind);
    this.#parts.changed(nowUs, event);
    done({ ok: true, entry });
  }

  /** Keys by which a release may be signed here besides the anchors of the configuration. */
  anchors(): Verifier[] {
    const { classes, revoked } = this.lifecycle.state;
    const keys: KeyRecord[] = revoked.map(({ key }) => key);
    for (const { authorities, operators } of classes.values()) keys.push(...authorities, ...operators);
    return keys.map(verifierOf);
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

  /** A release of a governed class was offered, or refused: the log has it, and quarantine knows what is current. */
  note(
    nowUs: number,
    classIds: readonly string[],
    about: { readonly sequenceNumber: number; readonly digest: string; readonly reason?: string | undefined },
  ): void {
    const { sequenceNumber, digest, reason } = about;
    for (const classId of classIds) {
      if (!this.lifecycle.state.classes.has(classId)) continue;
      const event: LifecycleEvent =
        reason === undefined
          ? { kind: "release-admitted", classId, sequenceNumber, digest }
          : { kind: "release-refused", classId, sequenceNumber, reason };
      this.submit(nowUs, "gateway", event, () => {});
    }
  }

  #serveTransfer(classId: string, envelope: Uint8Array): void {
    const id = fromHex(classId);
    if (id === undefined) return;
    const etag = this.#parts.crypto.sha256(envelope).subarray(0, 8);
    const body = { bytes: envelope, etag, contentFormat: ContentFormat.OCTET_STREAM };
    this.#parts.router.add(transferPath(id), { get: () => ({ code: Code.CONTENT, body }) });
  }

  /** Shows a device that the gateway knows it: its new image has proved itself by that. */
  #confirmations(): ResourceHandler {
    const { crypto, metrics } = this.#parts;
    return {
      post: (nowUs, { payload, peer }) => {
        const asked = decodeConfirmation(payload);
        if (asked === undefined) return { code: Code.BAD_REQUEST };
        const device = toHex(asked.kid);
        const key = this.#credentials.get(device);
        if (key === undefined) {
          metrics.count("confirmation_refused", "unknown-device");
          return { code: Code.UNAUTHORIZED };
        }
        metrics.count("confirmations");
        this.#addresses.set(peer.address, device);
        this.seen(nowUs, device, `number ${asked.sequenceNumber}`);
        return { code: Code.CHANGED, payload: confirmationAnswer(crypto, key, asked) };
      },
    };
  }

  /** How manifests went on devices, in their own words: believed by the device's key, logged and counted (RFC 9124, REQ.SEC.REPORTING). */
  #reports(): ResourceHandler {
    const { crypto, metrics, log } = this.#parts;
    return {
      maxBodyBytes: REPORT_LIMITS.maxBytes,
      post: (nowUs, { payload }) => {
        const keysOf = (kid: Uint8Array | undefined): Verifier[] => {
          const key = kid === undefined ? undefined : this.#credentials.get(toHex(kid));
          return key === undefined ? [] : [{ algorithm: "HMAC-256", bytes: key }];
        };
        const opened = openReport(crypto, payload, keysOf);
        if (!opened.ok) {
          metrics.count("suit_report_refused", opened.reason);
          return { code: opened.reason === "not-authentic" ? Code.UNAUTHORIZED : Code.BAD_REQUEST };
        }
        const { result, manifestDigest } = opened.report;
        const what = result.ok ? "ok" : result.reason;
        metrics.count("suit_reports", what);
        const record = result.ok ? undefined : result.record;
        const place = record && { section: record.section, offset: record.offset, component: record.componentIndex };
        log.event(result.ok ? "info" : "warn", "suit-report", {
          manifest: toHex(manifestDigest),
          result: what,
          ...place,
        });
        this.seen(nowUs, toHex(opened.kid!), undefined);
        return { code: Code.CHANGED };
      },
    };
  }
}

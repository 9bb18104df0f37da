import type { Crypto } from "../ports/crypto.ts";
import type { Authority, DeviceClass, Hardware, KeyRecord, Right } from "./classes.ts";
import type { LifecycleEvent } from "./events.ts";
import { toHex, utf8 } from "../util/bytes.ts";

export type AuditValue =
  | string
  | number
  | boolean
  | null
  | readonly AuditValue[]
  | { readonly [key: string]: AuditValue };

/** One thing that happened, and who did it. */
export interface AuditEntry {
  readonly number: number;
  /** Milliseconds since 1970, by the clock of who wrote it. */
  readonly unixMs: number;
  readonly actor: string;
  readonly event: { readonly kind: string; readonly [key: string]: AuditValue };
  /** Hash of the entry before, in hex; 64 zeros before the first. */
  readonly previous: string;
  /** SHA-256 over all the above, in hex. */
  readonly hash: string;
}

export const NO_ENTRY: string = "0".repeat(64);

/** JSON with sorted keys: the same bytes for the same value, whoever writes it. */
function canonical(value: AuditValue): string {
  if (Array.isArray(value)) return `[${(value as AuditValue[]).map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value as Record<string, AuditValue | undefined>)
    .filter((entry): entry is [string, AuditValue] => entry[1] !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(",")}}`;
}

function hashOf(crypto: Crypto, { number, unixMs, actor, event, previous }: Omit<AuditEntry, "hash">): string {
  return toHex(crypto.sha256(utf8(canonical({ number, unixMs, actor, event, previous }))));
}

/** The entry that follows `last`, chained to it. */
export function nextEntry(
  crypto: Crypto,
  last: AuditEntry | undefined,
  unixMs: number,
  actor: string,
  event: AuditEntry["event"],
): AuditEntry {
  const entry = { number: (last?.number ?? 0) + 1, unixMs, actor, event, previous: last?.hash ?? NO_ENTRY };
  return { ...entry, hash: hashOf(crypto, entry) };
}

export const entryLine = (entry: AuditEntry): string => JSON.stringify(entry);

export type ChainResult =
  | { readonly ok: true; readonly entries: readonly AuditEntry[] }
  | { readonly ok: false; readonly line: number; readonly detail: string; readonly entries: readonly AuditEntry[] };

/**
 * Checks a log line by line. What was changed, left out, put in or moved is found; entries that were cut off at the end
 * are not, unless `expected` says how the log once ended (a hash that was noted elsewhere): it may have grown since.
 */
export function verifyChain(crypto: Crypto, lines: Iterable<string>, expected?: string): ChainResult {
  const entries: AuditEntry[] = [];
  let line = 0;
  for (const text of lines) {
    line++;
    const entry = parseEntry(text);
    const last = entries.at(-1);
    const fault = entry === undefined ? "it is no entry" : faultOf(crypto, entry, last);
    if (fault !== undefined) return { ok: false, line, detail: fault, entries };
    entries.push(entry!);
  }
  if (expected !== undefined && expected !== NO_ENTRY && !entries.some(({ hash }) => hash === expected))
    return { ok: false, line: line + 1, detail: "entries at the end are missing", entries };
  return { ok: true, entries };
}

/** The event of a line that may be none of the chain, when it looks like one. */
export function looseEvent(text: string): LifecycleEvent | undefined {
  const event = parseEntry(text)?.event;
  if (event === undefined) return undefined;
  const fields: Record<string, unknown> = event;
  switch (event.kind) {
    case "class-defined": {
      const definition = looseDefinition(fields["definition"]);
      return definition && { kind: "class-defined", definition };
    }
    case "key-revoked":
      return isKey(fields["key"])
        ? { kind: "key-revoked", key: fields["key"], reason: String(fields["reason"]) }
        : undefined;
    case "device-provisioned":
      return typeof fields["device"] === "string" && typeof fields["classId"] === "string"
        ? (event as unknown as LifecycleEvent)
        : undefined;
    case "device-quarantined":
    case "device-decommissioned":
      return typeof fields["device"] === "string" ? (event as unknown as LifecycleEvent) : undefined;
    default:
      return undefined;
  }
}

const isKey = (value: unknown): value is KeyRecord => {
  const { algorithm, key } = (value ?? {}) as Partial<KeyRecord>;
  return KEY_ALGORITHMS.has(String(algorithm)) && typeof key === "string" && /^(?:[0-9a-f]{2})+$/.test(key);
};
const hasOnly = (value: object, ...names: readonly string[]): boolean =>
  Object.keys(value).every((name) => names.includes(name));
/** A right that cannot be read must not be taken for every right. */
const isRight = (value: unknown): value is Right => {
  if (typeof value !== "object" || value === null || !hasOnly(value, "component", "actions")) return false;
  const { component, actions } = value as Right;
  return (
    (component === undefined || typeof component === "string") &&
    (actions === undefined || (Array.isArray(actions) && actions.every((one) => typeof one === "string")))
  );
};
const isAuthority = (value: unknown): value is Authority => {
  if (!isKey(value) || !hasOnly(value, "algorithm", "key", "name", "rights")) return false;
  const { rights } = value as Authority;
  return rights === undefined || (Array.isArray(rights) && rights.every(isRight));
};
const KEY_ALGORITHMS: ReadonlySet<string> = new Set(["ES256", "Ed25519", "HSS-LMS"]);

/** What is sound of it: a class that lost its keys is one for which nobody signs, which sets nobody free. */
function looseDefinition(value: unknown): DeviceClass | undefined {
  const { id, name, vendorId, hardware, dialect, authorities, operators, epoch } = (value ??
    {}) as Partial<DeviceClass>;
  if (typeof id !== "string" || !/^[0-9a-f]{32}$/.test(id)) return undefined;
  const { rng, rtc, slots, recoveryImage, ramBytes } = (hardware ?? {}) as Partial<Hardware>;
  const list = (some: unknown): unknown[] => (Array.isArray(some) ? some : []);
  return {
    id,
    name: typeof name === "string" ? name : id,
    vendorId: typeof vendorId === "string" ? vendorId : "",
    hardware: {
      rng: rng === true,
      rtc: rtc === true,
      slots: typeof slots === "number" ? slots : 1,
      recoveryImage: recoveryImage === true,
      ramBytes: typeof ramBytes === "number" ? ramBytes : 0,
    },
    ...(dialect === "riot-09" ? { dialect } : {}),
    // Where its operator cannot be read, nobody's countersignature is there.
    authorities: Array.isArray(operators) ? list(authorities).filter(isAuthority) : [],
    operators: list(operators).filter(isKey),
    escrow: [],
    epoch: typeof epoch === "number" ? epoch : 0,
  };
}

function faultOf(crypto: Crypto, entry: AuditEntry, last: AuditEntry | undefined): string | undefined {
  if (entry.number !== (last?.number ?? 0) + 1) return `it has number ${entry.number}, not ${(last?.number ?? 0) + 1}`;
  if (entry.previous !== (last?.hash ?? NO_ENTRY)) return "it does not follow the entry before";
  return hashOf(crypto, entry) === entry.hash ? undefined : "its content is not what was hashed";
}

/** An entry as it was written: no member more, none twice. */
export function parseEntry(text: string): AuditEntry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const entry = value as Partial<AuditEntry> | null;
  const isEntry =
    typeof entry === "object" &&
    entry !== null &&
    typeof entry.number === "number" &&
    typeof entry.unixMs === "number" &&
    typeof entry.actor === "string" &&
    typeof entry.event === "object" &&
    entry.event !== null &&
    typeof entry.event.kind === "string" &&
    typeof entry.previous === "string" &&
    typeof entry.hash === "string";
  if (!isEntry) return undefined;
  const { number, unixMs, actor, event, previous, hash } = entry as AuditEntry;
  const exact = { number, unixMs, actor, event, previous, hash };
  return entryLine(exact) === text ? exact : undefined;
}

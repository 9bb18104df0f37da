import { Tag } from "cbor-x";
import {
  decodeCbor,
  encodeCbor,
  isArray,
  isBytes,
  isMap,
  isUint,
  type CborMap,
  type CborValue,
} from "../codec/cbor.ts";
import { CoseTag, keyIdOf, protectPayload, verifyAttached, type Verifier } from "../codec/cose.ts";
import type { Crypto, PrivateKey } from "../ports/crypto.ts";
import { DigestAlgorithm, ReportKey, ReportReason, type SuitReason } from "./keys.ts";
import type { Outcome } from "./processor/procedure.ts";
import type { SuitRecord } from "./processor/record.ts";

/** What a device can do (draft-ietf-suit-report section 5). */
export interface Capabilities {
  readonly components: readonly (readonly Uint8Array[])[];
  readonly commands: readonly number[];
  readonly parameters: readonly number[];
  readonly algorithms: readonly number[];
}

/** SUIT_Report: how a manifest went on one device (draft-ietf-suit-report section 4). */
export interface SuitReport {
  readonly manifestUri: string;
  /** SHA-256 of the manifest, as its authentication wrapper has it. */
  readonly manifestDigest: Uint8Array;
  /** What the gateway asked with: a report is of this run and no other. */
  readonly nonce: Uint8Array | undefined;
  readonly records: readonly SuitRecord[];
  readonly result:
    | { readonly ok: true }
    | { readonly ok: false; readonly code: number; readonly reason: SuitReason; readonly record: SuitRecord };
  readonly capabilities?: Capabilities | undefined;
}

export const REPORT_LIMITS = { maxBytes: 8_192 } as const;
/** Where a gateway takes reports. */
export const REPORT_PATH: readonly string[] = ["r"];

const NOWHERE: SuitRecord = { manifestId: [], section: 0, offset: 0, componentIndex: 0, properties: new Map() };

/** The report of a procedure's outcome. */
export function reportOf(
  outcome: Outcome,
  manifest: { readonly uri: string; readonly digest: Uint8Array; readonly nonce?: Uint8Array | undefined },
): SuitReport {
  const { uri: manifestUri, digest: manifestDigest, nonce } = manifest;
  const { records } = outcome;
  const result: SuitReport["result"] = outcome.ok
    ? { ok: true }
    : { ok: false, code: -1, reason: outcome.reason, record: outcome.record ?? NOWHERE };
  return { manifestUri, manifestDigest, nonce, records, result };
}

export function encodeReport(report: SuitReport): Uint8Array {
  const { manifestUri, manifestDigest, nonce, records, result, capabilities } = report;
  const members = new Map<CborValue, CborValue>([
    [ReportKey.REFERENCE, [manifestUri, [DigestAlgorithm.SHA_256, manifestDigest]]],
    [ReportKey.RECORDS, records.map(encodeRecord)],
    [ReportKey.RESULT, result.ok ? true : encodeFailure(result)],
  ]);
  if (nonce !== undefined) members.set(ReportKey.NONCE, nonce);
  if (capabilities !== undefined) {
    const { components, commands, parameters, algorithms } = capabilities;
    members.set(
      ReportKey.CAPABILITIES,
      new Map<CborValue, CborValue>([
        [1, components],
        [2, commands],
        [3, parameters],
        [4, algorithms],
      ]),
    );
  }
  return encodeCbor(members);
}

const encodeRecord = ({ manifestId, section, offset, componentIndex, properties }: SuitRecord): CborValue => [
  manifestId,
  section,
  offset,
  componentIndex,
  properties,
];

function encodeFailure({ code, reason, record }: SuitReport["result"] & { ok: false }): CborMap {
  return new Map<CborValue, CborValue>([
    [ReportKey.RESULT_CODE, code],
    [ReportKey.RESULT_RECORD, encodeRecord(record)],
    [ReportKey.RESULT_REASON, ReportReason[reason]],
  ]);
}

/** A report that was authenticated with the device's own key. */
export type ReportResult =
  | { readonly ok: true; readonly report: SuitReport; readonly kid: Uint8Array | undefined }
  | { readonly ok: false; readonly reason: "malformed" | "too-large" | "not-authentic" };

/** A report in COSE, by the device's key. */
export function signReport(
  crypto: Crypto,
  key: PrivateKey | (Verifier & { readonly algorithm: "HMAC-256" }),
  report: SuitReport,
  kid?: Uint8Array,
): Uint8Array {
  return protectPayload(crypto, key, encodeReport(report), kid);
}

/** Reads a protected report; nothing of it is parsed before a key of the device that it names says that it is its own. */
export function openReport(
  crypto: Crypto,
  bytes: Uint8Array,
  keysOf: (kid: Uint8Array | undefined) => readonly Verifier[],
): ReportResult {
  if (bytes.length > REPORT_LIMITS.maxBytes) return { ok: false, reason: "too-large" };
  let block: CborValue;
  try {
    block = decodeCbor(bytes, new Set<number>([CoseTag.SIGN1, CoseTag.MAC0]), "any");
  } catch {
    return { ok: false, reason: "malformed" };
  }
  if (!(block instanceof Tag)) return { ok: false, reason: "malformed" };
  const kid = keyIdOf(block.value as CborValue);
  const payload = verifyAttached(crypto, block.tag, block.value as CborValue, keysOf(kid));
  if (payload === undefined) return { ok: false, reason: "not-authentic" };
  const report = decodeReport(payload);
  return report === undefined ? { ok: false, reason: "malformed" } : { ok: true, report, kid };
}

/** SUIT_Report without its protection; undefined when it is malformed. */
export function decodeReport(bytes: Uint8Array): SuitReport | undefined {
  let members: CborValue;
  try {
    members = decodeCbor(bytes, undefined, "any");
  } catch {
    return undefined;
  }
  if (!isMap(members)) return undefined;
  const [uri, digest] = listOf(members.get(ReportKey.REFERENCE));
  const [algorithm, hash] = listOf(digest);
  const nonce = members.get(ReportKey.NONCE);
  const records = listOf(members.get(ReportKey.RECORDS)).map(decodeRecord);
  const result = decodeResult(members.get(ReportKey.RESULT));
  if (typeof uri !== "string" || algorithm !== DigestAlgorithm.SHA_256 || !isBytes(hash) || result === undefined)
    return undefined;
  if (nonce !== undefined && !isBytes(nonce)) return undefined;
  return {
    manifestUri: uri,
    manifestDigest: hash,
    nonce,
    // Claims about the system stand among the records; they are not read here.
    records: records.filter((record) => record !== undefined),
    result,
    capabilities: decodeCapabilities(members.get(ReportKey.CAPABILITIES)),
  };
}

const listOf = (value: CborValue | undefined): readonly CborValue[] => (isArray(value) ? value : []);

function decodeRecord(value: CborValue | undefined): SuitRecord | undefined {
  const [manifestId, section, offset, componentIndex, properties] = listOf(value);
  if (!isArray(manifestId) || !manifestId.every(isUint)) return undefined;
  if (typeof section !== "number" || !isUint(offset) || !isUint(componentIndex) || !isMap(properties)) return undefined;
  return { manifestId, section, offset, componentIndex, properties };
}

function decodeResult(value: CborValue | undefined): SuitReport["result"] | undefined {
  if (value === true) return { ok: true };
  if (!isMap(value)) return undefined;
  const code = value.get(ReportKey.RESULT_CODE);
  const record = decodeRecord(value.get(ReportKey.RESULT_RECORD));
  const reason = Object.entries(ReportReason).find(([, number]) => number === value.get(ReportKey.RESULT_REASON));
  if (typeof code !== "number" || record === undefined || reason === undefined) return undefined;
  return { ok: false, code, record, reason: reason[0] as SuitReason };
}

function decodeCapabilities(value: CborValue | undefined): Capabilities | undefined {
  if (!isMap(value)) return undefined;
  const numbers = (key: number): number[] =>
    listOf(value.get(key)).filter((item): item is number => typeof item === "number");
  const components = listOf(value.get(1)).flatMap((id) => (isArray(id) ? [id.filter(isBytes)] : []));
  return { components, commands: numbers(2), parameters: numbers(3), algorithms: numbers(4) };
}

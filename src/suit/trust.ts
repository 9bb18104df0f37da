import { decodeCbor, encodeCbor, isArray, isBytes, isMap, isUint, type CborValue } from "../codec/cbor.ts";
import { isSameKey, type Verifier } from "../codec/cose.ts";
import { utf8 } from "../util/bytes.ts";
import type { UpdateDescription } from "./build.ts";
import { Directive } from "./keys.ts";
import { componentName, type ComponentId } from "./manifest.ts";
import { decodeRights, encodeRights, mayDo, type DeviceAuthority, type Right } from "./rights.ts";

/** The keys that a device believes, as its factory sealed them and as later transfers have moved them. */
export interface DeviceTrust {
  /** Counts transfers: an older one is never taken again. */
  readonly epoch: number;
  /** Each of them may sign software, as far as it has the right. */
  readonly authorities: readonly DeviceAuthority[];
  /** May hand over to new authorities, when the old ones are gone; never sign software. */
  readonly escrow: readonly Verifier[];
  /** So many of these keys together may hand over too. */
  readonly quorum: { readonly keys: readonly Verifier[]; readonly atLeast: number } | undefined;
  /** The device's operator, who has to countersign software; absent where nobody has to. */
  readonly operators: readonly Verifier[];
}

export const trustOf = (authorities: readonly DeviceAuthority[]): DeviceTrust => ({
  epoch: 0,
  authorities,
  escrow: [],
  quorum: undefined,
  operators: [],
});

/** The component that holds them; standard commands write it. */
export const TRUST_COMPONENT: ComponentId = [utf8("blockferry"), utf8("trust")];
const TRUST_NAME = componentName(TRUST_COMPONENT);

export const isTrustComponent = (component: ComponentId): boolean => componentName(component) === TRUST_NAME;

/** Of whatever else changes it than a hand-over, which is no release. */
export const TRUST_IN_RELEASE = {
  reason: "trust-in-release",
  detail: "a release may not change who is trusted; that is a transfer",
} as const;

/** All keys whose signatures a device looks at. */
export function anchorsOf({ authorities, escrow, quorum, operators }: DeviceTrust): Verifier[] {
  return [...authorities, ...escrow, ...(quorum?.keys ?? []), ...operators];
}

const isAmong = (keys: readonly Verifier[], key: Verifier): boolean => keys.some((other) => isSameKey(other, key));

/**
 * Whether who signed may change this component (draft -37 section 9): software is the authorities', trust also escrow's and
 * the quorum's. `approvers`: who signed the manifest that depends on this one; an operator looks at all of it at once.
 */
export function permits(
  trust: DeviceTrust,
  signers: readonly Verifier[],
  component: ComponentId,
  code: number,
  approvers: readonly Verifier[] = signers,
): boolean {
  const { authorities, escrow, quorum, operators } = trust;
  const signing = authorities.filter((key) => isAmong(signers, key));
  if (isTrustComponent(component)) {
    if (code !== Directive.WRITE) return false;
    const ofQuorum = (quorum?.keys ?? []).filter(
      (key, i, all) => isAmong(signers, key) && !isAmong(all.slice(0, i), key),
    ).length;
    // Who may not do everything cannot give away everything.
    return (
      signing.some(({ rights }) => rights === undefined) ||
      signers.some((key) => isAmong(escrow, key)) ||
      (quorum !== undefined && ofQuorum >= quorum.atLeast)
    );
  }
  const approved = operators.length === 0 || approvers.some((key) => isAmong(operators, key));
  return approved && signing.some(({ rights }) => mayDo(rights, component, code));
}

/** New authorities in place of the old ones; escrow, quorum and operators stay as the factory sealed them. */
export interface AuthorityTransfer {
  readonly epoch: number;
  readonly authorities: readonly Verifier[];
}

/** Of each kind that a device keeps. */
export const TRUST_LIMITS = { maxKeys: 8 } as const;
/** What cannot be a key would be believed, and verify nothing. */
const FORMS: readonly (readonly [Verifier["algorithm"], (bytes: Uint8Array) => boolean])[] = [
  ["ES256", (bytes) => bytes.length === 65 && bytes[0] === 4],
  ["Ed25519", (bytes) => bytes.length === 32],
  ["HSS-LMS", (bytes) => bytes.length === 60],
];

const encodeKeys = (keys: readonly DeviceAuthority[]): CborValue =>
  keys.map(({ algorithm, bytes, rights }) => [
    algorithm,
    bytes,
    ...(rights === undefined ? [] : [encodeRights(rights)]),
  ]);

export function encodeTransfer({ epoch, authorities }: AuthorityTransfer): Uint8Array {
  return encodeCbor([1, epoch, encodeKeys(authorities.map(({ algorithm, bytes }) => ({ algorithm, bytes })))]);
}

export function decodeTransfer(bytes: Uint8Array): AuthorityTransfer | undefined {
  const item = decoded(bytes);
  if (!isArray(item) || item.length !== 3 || item[0] !== 1 || !isUint(item[1])) return undefined;
  const authorities = decodeKeys(item[2]);
  return authorities === undefined || authorities.length === 0 ? undefined : { epoch: item[1], authorities };
}

/** The trust after a transfer that the processor let through; undefined for one that is malformed, or was overtaken. */
export function applyTransfer(trust: DeviceTrust, content: Uint8Array): DeviceTrust | undefined {
  const transfer = decodeTransfer(content);
  // One after the other: whoever could jump ahead would lock all others out for good.
  if (transfer === undefined || transfer.epoch !== trust.epoch + 1) return undefined;
  // One that stays keeps the rights that it had.
  const known = (key: Verifier): DeviceAuthority => trust.authorities.find((other) => isSameKey(other, key)) ?? key;
  return { ...trust, epoch: transfer.epoch, authorities: transfer.authorities.map(known) };
}

/** The most bytes that a device's trust may come to, whatever it is handed: keys that stay keep their rights. */
export function mostTrustBytes(trust: DeviceTrust): number {
  const plain: DeviceAuthority = { algorithm: "ES256", bytes: new Uint8Array(65) };
  const bytesOf = (authorities: readonly DeviceAuthority[]): number =>
    encodeTrust({ ...trust, epoch: 0xffff_ffff, authorities }).length;
  const candidates = [...trust.authorities, ...Array.from({ length: TRUST_LIMITS.maxKeys }, () => plain)];
  return bytesOf(candidates.toSorted((a, b) => bytesOf([b]) - bytesOf([a])).slice(0, TRUST_LIMITS.maxKeys));
}

/** The update that hands devices of a class over: it writes the trust component, and nothing else. */
export function transferUpdate(
  vendorId: Uint8Array,
  classIds: readonly Uint8Array[],
  transfer: AuthorityTransfer,
): UpdateDescription {
  const write = { component: TRUST_COMPONENT, content: encodeTransfer(transfer) };
  return { sequenceNumber: transfer.epoch, vendorId, classIds, components: [], write, invoke: false };
}

/** The trust as a device keeps it in flash, and a factory writes it. */
export function encodeTrust({ epoch, authorities, escrow, quorum, operators }: DeviceTrust): Uint8Array {
  const members = new Map<CborValue, CborValue>([
    [1, epoch],
    [2, encodeKeys(authorities)],
    [3, encodeKeys(escrow)],
    [5, encodeKeys(operators)],
  ]);
  if (quorum !== undefined) members.set(4, [quorum.atLeast, encodeKeys(quorum.keys)]);
  return encodeCbor(members);
}

export function decodeTrust(bytes: Uint8Array): DeviceTrust | undefined {
  const members = decoded(bytes);
  if (!isMap(members)) return undefined;
  const epoch = members.get(1);
  const authorities = decodeKeys(members.get(2), decodeRights);
  const [escrow, operators] = [3, 5].map((key) => decodeKeys(members.get(key)));
  const quorum = members.get(4);
  if (!isUint(epoch) || authorities === undefined || escrow === undefined || operators === undefined) return undefined;
  if (quorum === undefined) return { epoch, authorities, escrow, quorum: undefined, operators };
  const [atLeast, list] = isArray(quorum) ? quorum : [];
  const keys = decodeKeys(list);
  if (!isUint(atLeast) || atLeast < 1 || keys === undefined) return undefined;
  return { epoch, authorities, escrow, quorum: { keys, atLeast }, operators };
}

function decodeKeys(
  value: CborValue | undefined,
  rightsOf: (value: CborValue) => readonly Right[] | undefined = () => undefined,
): DeviceAuthority[] | undefined {
  if (!isArray(value) || value.length > TRUST_LIMITS.maxKeys) return undefined;
  const keys: DeviceAuthority[] = [];
  for (const entry of value) {
    const [name, bytes, list, ...more] = isArray(entry) ? entry : [];
    const rights = list === undefined ? undefined : rightsOf(list);
    // What is there and cannot be read must not be taken for every right.
    if ((list !== undefined && rights === undefined) || more.length > 0) return undefined;
    const [algorithm, isOfForm] = FORMS.find(([known]) => known === name) ?? [];
    if (algorithm === undefined || !isBytes(bytes) || isOfForm?.(bytes) !== true) return undefined;
    // Once is enough; and a list that is full of one key has no room for what its rights take.
    if (keys.some((other) => isSameKey(other, { algorithm, bytes }))) return undefined;
    keys.push(rights === undefined ? { algorithm, bytes } : { algorithm, bytes, rights });
  }
  return keys;
}

function decoded(bytes: Uint8Array): CborValue | undefined {
  try {
    return decodeCbor(bytes);
  } catch {
    return undefined;
  }
}

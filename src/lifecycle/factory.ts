import type { Crypto } from "../ports/crypto.ts";
import type { Random } from "../ports/random.ts";
import { encodeTrust, type DeviceTrust } from "../suit/trust.ts";
import { toHex } from "../util/bytes.ts";
import { randomBytes } from "../util/random.ts";
import { CONFIRMATION } from "../suit/confirmation.ts";

/** What the first stage gives a device: an identity of its own, before anybody knows whose product it will be. */
export interface StageOne {
  /** Name of its key, and of the device from then on. */
  readonly kid: Uint8Array;
  /** 32 bytes that only this device and its operator's servers have. */
  readonly key: Uint8Array;
}

/** What the second stage adds, and seals. */
export interface StageTwo extends StageOne {
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
  readonly trust: DeviceTrust;
  /** MAC over class and anchors under the device's key: a later change on the line shows. */
  readonly seal: Uint8Array;
}

/** Stage one, at who makes the board: a key for each device by itself, none derived from another. */
export function stageOne(random: Random): StageOne {
  return { kid: randomBytes(random, CONFIRMATION.kidBytes), key: randomBytes(random, 32) };
}

/** Stage two, at who makes the product: anchors go in once, and are sealed. Only public keys are on the line. */
export function stageTwo(
  crypto: Crypto,
  one: StageOne,
  { vendorId, classId, trust }: Pick<StageTwo, "vendorId" | "classId" | "trust">,
): StageTwo {
  return { ...one, vendorId, classId, trust, seal: sealOf(crypto, one.key, classId, trust) };
}

function sealOf(crypto: Crypto, key: Uint8Array, classId: Uint8Array, trust: DeviceTrust): Uint8Array {
  const bytes = encodeTrust(trust);
  const message = new Uint8Array(classId.length + bytes.length);
  message.set(classId);
  message.set(bytes, classId.length);
  return crypto.hmacSha256(key, message);
}

/** Whether the anchors are those that stage two sealed. */
export function isSealed(crypto: Crypto, { key, classId, trust, seal }: StageTwo): boolean {
  return toHex(sealOf(crypto, key, classId, trust)) === toHex(seal);
}

/** What the servers of the operator are given for each device; secret, and never in a log. */
export interface ExportedCredential {
  readonly device: string;
  /** LwM2M Security object (0): PSK identity and key for the bootstrap server and for DTLS. */
  readonly lwm2m: { readonly pskIdentity: string; readonly pskKey: string };
  /** OSCORE (RFC 8613 section 3.2): master secret and the device's sender ID, of their own. */
  readonly oscore: { readonly masterSecret: string; readonly senderId: string };
  /** Answers a new image that has to prove itself. */
  readonly confirmation: { readonly kid: string; readonly key: string };
}

/** The longest sender ID that AES-CCM-16-64-128 has room for (RFC 8613 section 5.2): two devices have one hardly ever. */
const SENDER_ID_DIGITS = 14;

/** One key for each use, so that what one store loses opens no other door. */
export function exportCredential(crypto: Crypto, { kid, key }: StageOne): ExportedCredential {
  const derive = (use: string, length: number): string =>
    toHex(crypto.hmacSha256(key, new TextEncoder().encode(`blockferry ${use}`)).subarray(0, length));
  const device = toHex(kid);
  return {
    device,
    lwm2m: { pskIdentity: device, pskKey: derive("lwm2m psk", 16) },
    oscore: { masterSecret: derive("oscore master secret", 16), senderId: device.slice(0, SENDER_ID_DIGITS) },
    confirmation: { kid: device, key: derive("confirm", 32) },
  };
}

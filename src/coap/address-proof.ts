import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { bytesEqual, utf8 } from "../util/bytes.ts";
import { randomBytes } from "../util/random.ts";
import { keepRecent } from "../util/recent.ts";
import { RecentByPort } from "../util/recent-by-port.ts";
import { COAP_LIMITS } from "./limits.ts";

/** What may be sent to an address for each byte that came from it, until it is proven (RFC 9175 section 2.4). */
const AMPLIFICATION = 3;
/** An Echo value is the second that it was made in and a MAC over that and its address (RFC 9175 appendix A item 2). */
const TIME_BYTES = 4;
const MAC_BYTES = 8;
const SECOND_US = 1_000_000;

export interface AddressProofOptions {
  readonly random: Random;
  /** True of addresses that nobody outside can claim, such as those of a mesh whose border router filters. */
  readonly isTrusted: (address: string) => boolean;
}

/**
 * Which addresses are known to hear what is sent to them (RFC 9175 section 2.4): those that gave an
 * Echo value back. All others have a budget, so that a forged address is not flooded.
 */
export class AddressProof {
  /** HMAC-SHA-256 under a key that lives as long as this object: no forged address costs an entry of a table. */
  readonly #mac: ReturnType<typeof hmac.create>;
  readonly #isTrusted: (address: string) => boolean;
  readonly #proven = new Map<string, number>();
  readonly #credit = new Map<string, number>();
  /** Who was proven last. */
  readonly #recent = new RecentByPort<{ readonly address: string; readonly untilUs: number }>();

  constructor({ random, isTrusted }: AddressProofOptions) {
    this.#mac = hmac.create(sha256, randomBytes(random, 32));
    this.#isTrusted = isTrusted;
  }

  /** As `isProven`, quicker for who asks again. */
  isProvenPeer(nowUs: number, { address, port }: PeerAddress): boolean {
    const recent = this.#recent.get(port);
    if (recent?.address === address && nowUs < recent.untilUs) return true;
    if (!this.isProven(nowUs, address)) return false;
    const provenUs = this.#proven.get(address) ?? nowUs;
    this.#recent.set(port, { address, untilUs: provenUs + COAP_LIMITS.addressProofUs });
    return true;
  }

  isProven(nowUs: number, address: string): boolean {
    if (this.#isTrusted(address)) return true;
    const provenUs = this.#proven.get(address);
    return provenUs !== undefined && nowUs - provenUs < COAP_LIMITS.addressProofUs;
  }

  /** `length` bytes came from `address`. */
  heard(nowUs: number, address: string, length: number): void {
    if (this.isProven(nowUs, address)) return;
    keepRecent(
      this.#credit,
      address,
      (this.#credit.get(address) ?? 0) + length * AMPLIFICATION,
      COAP_LIMITS.maxAddresses,
    );
  }

  /** Whether so many bytes may go to `address`. */
  allows(nowUs: number, address: string, length: number): boolean {
    return this.isProven(nowUs, address) || (this.#credit.get(address) ?? 0) >= length;
  }

  spent(address: string, length: number): void {
    const credit = this.#credit.get(address);
    if (credit !== undefined) this.#credit.set(address, Math.max(0, credit - length));
  }

  /** An Echo value for `address`. */
  challenge(nowUs: number, address: string): Uint8Array {
    return this.#echoOf(Math.floor(nowUs / SECOND_US), address);
  }

  /** Whether `echo` shows that the request is fresh (section 2.3); it proves the address as well. */
  verify(nowUs: number, address: string, echo: Uint8Array): boolean {
    if (echo.length !== TIME_BYTES + MAC_BYTES) return false;
    const seconds = new DataView(echo.buffer, echo.byteOffset).getUint32(0);
    const ageUs = nowUs - seconds * SECOND_US;
    if (ageUs < 0 || ageUs >= COAP_LIMITS.echoFreshUs || !bytesEqual(this.#echoOf(seconds, address), echo))
      return false;
    this.prove(nowUs, address);
    return true;
  }

  /** The address answered something that it could not have guessed, such as a token. */
  prove(nowUs: number, address: string): void {
    keepRecent(this.#proven, address, nowUs, COAP_LIMITS.maxAddresses);
    this.#credit.delete(address);
  }

  #echoOf(seconds: number, address: string): Uint8Array {
    const echo = new Uint8Array(TIME_BYTES + MAC_BYTES);
    new DataView(echo.buffer).setUint32(0, seconds);
    const mac = this.#mac.clone().update(echo.subarray(0, TIME_BYTES)).update(utf8(address)).digest();
    echo.set(mac.subarray(0, MAC_BYTES), TIME_BYTES);
    return echo;
  }
}

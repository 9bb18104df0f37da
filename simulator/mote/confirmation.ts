import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import type { Random } from "../../src/ports/random.ts";
import { randomBytes } from "../../src/util/random.ts";
import {
  CONFIRMATION,
  encodeConfirmation,
  isConfirmation,
  type ConfirmationRequest,
} from "../../src/suit/confirmation.ts";
import type { RetryPolicy } from "../../src/transfer/block-fetch.ts";

/** What a factory gave a device to show who it is: a key of its own, and the name of that key. */
export interface DeviceCredential {
  readonly kid: Uint8Array;
  readonly key: Uint8Array;
}

export interface ConfirmationParts {
  readonly endpoint: CoapEndpoint;
  readonly peer: PeerAddress;
  readonly crypto: Crypto;
  readonly random: Random;
  readonly credential: DeviceCredential;
  readonly policy: RetryPolicy;
  /** What runs, and is to be confirmed. */
  readonly sequenceNumber: number;
}

/** Asks the gateway, with a fresh nonce, to show that it knows this device: until it did, or the trial is over. */
export class Confirmation {
  readonly #parts: ConfirmationParts;
  #asked: ConfirmationRequest | undefined;
  #request: number | undefined;
  #retryUs: number | undefined;
  #failures = 0;

  constructor(parts: ConfirmationParts) {
    this.#parts = parts;
  }

  start(nowUs: number): void {
    const { endpoint, peer, crypto, random, credential, sequenceNumber } = this.#parts;
    this.#retryUs = undefined;
    this.#asked = { kid: credential.kid, nonce: randomBytes(random, CONFIRMATION.nonceBytes), sequenceNumber };
    const payload = encodeConfirmation(crypto, credential.key, this.#asked);
    const options = textOptions(Option.URI_PATH, CONFIRMATION.path);
    this.#request = endpoint.request(nowUs, peer, { code: Code.POST, options, payload });
    if (this.#request === undefined) this.#later(nowUs);
  }

  /** True once the gateway has shown it. */
  handleEvent(nowUs: number, event: ClientEvent): boolean {
    if (this.#request === undefined || event.request !== this.#request) return false;
    if (event.kind === "response") {
      const { crypto, credential } = this.#parts;
      const { code, payload } = event.response;
      if (code === Code.CHANGED && isConfirmation(crypto, credential.key, this.#asked!, payload)) return true;
    } else if (event.kind !== "failed") return false;
    this.#later(nowUs);
    return false;
  }

  handleTimeout(nowUs: number): void {
    if (this.#retryUs !== undefined && this.#retryUs <= nowUs) this.start(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#retryUs;
  }

  #later(nowUs: number): void {
    const { backoffUs, maxBackoffUs } = this.#parts.policy;
    this.#request = undefined;
    this.#retryUs = nowUs + Math.min(backoffUs * 2 ** this.#failures++, maxBackoffUs);
  }
}

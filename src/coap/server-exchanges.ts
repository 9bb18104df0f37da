import type { PeerAddress } from "../ports/datagram.ts";
import { bytesEqual } from "../util/bytes.ts";
import { copyPeer, peerKey } from "../util/peer.ts";
import type { Timer } from "../util/timer-queue.ts";
import { COAP_LIMITS } from "./limits.ts";
import type { CoapMessage } from "./message.ts";
import { MessageType } from "./numbers.ts";
import { exchangeLifetimeUs, nonLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import type { CoapTimers } from "./reliability.ts";
import type { IncomingRequest } from "./request.ts";
import { SERVER_EXCHANGE, type ServerExchangeState } from "./states.ts";

/** One request of a peer that is being answered, or was. */
export interface ServerExchange {
  readonly id: number;
  readonly key: string;
  readonly peer: PeerAddress;
  readonly peerKey: string;
  readonly request: CoapMessage;
  /** The request as handlers see it, once its options are checked. */
  incoming: IncomingRequest | undefined;
  multicast: boolean;
  /** What a repetition of the request is answered with: nothing yet, an empty ACK, the response. */
  reply: Uint8Array | undefined;
  state: ServerExchangeState;
  ackTimer: Timer | undefined;
  expiryTimer: Timer | undefined;
}

/**
 * Requests whose duplicates must not run their handler again (RFC 7252 section 4.5): all that are
 * deferred, and the answered ones that are not idempotent, for EXCHANGE_LIFETIME or NON_LIFETIME.
 */
export class ServerExchanges {
  readonly #parameters: TransmissionParameters;
  readonly #timers: CoapTimers;
  readonly #byKey = new Map<string, ServerExchange>();
  readonly #byId = new Map<number, ServerExchange>();
  readonly #perPeer = new Map<string, number>();
  #nextId = 1;

  constructor(parameters: TransmissionParameters, timers: CoapTimers) {
    this.#parameters = parameters;
    this.#timers = timers;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * The exchange that stands in the way of `message`: one that it repeats, or one with its message
   * ID that is still worked on. A message ID that comes back with another token or code is a new
   * request, of a peer that rebooted and started its counter again; it replaces an answered one.
   */
  find(fromKey: string, message: CoapMessage): ServerExchange | undefined {
    const found = this.#byKey.get(`${fromKey}/${message.messageId}`);
    if (found === undefined || isRepetition(found, message) || !this.end(found, "evict")) return found;
    return undefined;
  }

  /** Opens an exchange; undefined when all that are kept are still unanswered. */
  open(nowUs: number, peer: PeerAddress, message: CoapMessage): ServerExchange | undefined {
    const key = peerKey(peer);
    const ofPeer = this.#perPeer.get(key) ?? 0;
    if (ofPeer >= COAP_LIMITS.maxServerExchangesPerPeer && !this.#evict((x) => x.peerKey === key)) return undefined;
    if (this.#byKey.size >= COAP_LIMITS.maxServerExchanges && !this.#evict(() => true)) return undefined;
    const exchange: ServerExchange = {
      id: this.#nextId++,
      key: `${key}/${message.messageId}`,
      peer: copyPeer(peer),
      peerKey: key,
      request: message,
      incoming: undefined,
      multicast: false,
      reply: undefined,
      state: SERVER_EXCHANGE.initial,
      ackTimer: undefined,
      expiryTimer: undefined,
    };
    this.#byKey.set(exchange.key, exchange);
    this.#byId.set(exchange.id, exchange);
    this.#perPeer.set(key, (this.#perPeer.get(key) ?? 0) + 1);
    const confirmable = message.type === MessageType.CON;
    const lifetimeUs = confirmable ? exchangeLifetimeUs(this.#parameters) : nonLifetimeUs(this.#parameters);
    exchange.expiryTimer = this.#timers.schedule(nowUs + lifetimeUs, () => this.end(exchange, "expire"));
    return exchange;
  }

  byId(id: number): ServerExchange | undefined {
    return this.#byId.get(id);
  }

  /** False when `event` does not end an exchange in this state. */
  end(exchange: ServerExchange, event: "evict" | "expire" | "idempotent" | "reject"): boolean {
    if (!SERVER_EXCHANGE.step(exchange, event)) return false;
    this.#byId.delete(exchange.id);
    exchange.ackTimer?.cancel();
    exchange.expiryTimer?.cancel();
    this.#byKey.delete(exchange.key);
    const left = (this.#perPeer.get(exchange.peerKey) ?? 1) - 1;
    if (left > 0) this.#perPeer.set(exchange.peerKey, left);
    else this.#perPeer.delete(exchange.peerKey);
    return true;
  }

  /** Ends the oldest answered exchange that `matches`; an unanswered one is never taken. */
  #evict(matches: (exchange: ServerExchange) => boolean): boolean {
    for (const exchange of this.#byKey.values()) {
      if (matches(exchange) && this.end(exchange, "evict")) return true;
    }
    return false;
  }
}

export function isRepetition({ request }: ServerExchange, message: CoapMessage): boolean {
  return request.code === message.code && bytesEqual(request.token, message.token);
}

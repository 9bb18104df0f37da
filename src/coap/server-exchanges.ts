import type { PeerAddress } from "../ports/datagram.ts";
import { bytesEqual } from "../util/bytes.ts";
import { copyPeer, peerKey } from "../util/peer.ts";
import type { Timer } from "../util/timer-queue.ts";
import { COAP_LIMITS, isOverShare } from "./limits.ts";
import type { CoapMessage } from "./message.ts";
import { MessageType } from "./numbers.ts";
import { exchangeLifetimeUs, nonLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import type { CoapTimers } from "./reliability.ts";
import type { IncomingRequest } from "./request.ts";
import { SERVER_EXCHANGE, type ServerExchangeState } from "./states.ts";

/** Exchanges that one newcomer may cost a look, in a full table. */
const MAX_LOOKED_AT = 64;

/**
 * For how long the same message is a repetition, where that is less than EXCHANGE_LIFETIME: what a peer sends first
 * after a restart may look like what it sent first before.
 */
export type KeptUs = (message: CoapMessage) => number | undefined;

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

/** Exchanges, the oldest first. */
type Line = Set<ServerExchange>;

/**
 * Requests whose duplicates must not run their handler again (RFC 7252 section 4.5): all that are
 * deferred, and the answered ones that are not idempotent, for EXCHANGE_LIFETIME or NON_LIFETIME.
 */
export class ServerExchanges {
  readonly #parameters: TransmissionParameters;
  readonly #timers: CoapTimers;
  readonly #byKey = new Map<string, ServerExchange>();
  readonly #byId = new Map<number, ServerExchange>();
  readonly #all: Line = new Set();
  /** Those of addresses that anybody may have written: they make room before all others, and only for each other. */
  readonly #unproven: Line = new Set();
  readonly #ofPeer = new Map<string, Line>();
  readonly #ofAddress = new Map<string, Line>();
  readonly #keptUs: KeptUs;
  #nextId = 1;

  constructor(parameters: TransmissionParameters, timers: CoapTimers, keptUs: KeptUs = () => undefined) {
    this.#parameters = parameters;
    this.#timers = timers;
    this.#keptUs = keptUs;
  }

  get size(): number {
    return this.#byKey.size;
  }

  has(fromKey: string, messageId: number): boolean {
    return this.#byKey.has(`${fromKey}/${messageId}`);
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

  /** Opens an exchange; undefined when there is none that may make room for it. */
  open(nowUs: number, peer: PeerAddress, message: CoapMessage, proven: boolean): ServerExchange | undefined {
    const key = peerKey(peer);
    const { maxServerExchanges, maxServerExchangesPerPeer } = COAP_LIMITS;
    const ofPeer = this.#ofPeer.get(key) ?? new Set();
    const ofAddress = this.#ofAddress.get(peer.address) ?? new Set();
    if (ofPeer.size >= maxServerExchangesPerPeer && !this.#evictOf(ofPeer)) return undefined;
    const isOver = isOverShare(maxServerExchanges, this.#all.size, ofAddress.size);
    if (isOver && !this.#evictOf(ofAddress)) return undefined;
    if (this.#all.size >= maxServerExchanges && !this.#evictOf(this.#unproven) && !(proven && this.#evictOf(this.#all)))
      return undefined;
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
    this.#all.add(exchange);
    if (!proven) this.#unproven.add(exchange);
    this.#ofPeer.set(key, ofPeer.add(exchange));
    this.#ofAddress.set(peer.address, ofAddress.add(exchange));
    const confirmable = message.type === MessageType.CON;
    const longestUs = confirmable ? exchangeLifetimeUs(this.#parameters) : nonLifetimeUs(this.#parameters);
    const lifetimeUs = Math.min(longestUs, this.#keptUs(message) ?? longestUs);
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
    this.#all.delete(exchange);
    this.#unproven.delete(exchange);
    leave(this.#ofPeer, exchange.peerKey, exchange);
    leave(this.#ofAddress, exchange.peer.address, exchange);
    return true;
  }

  /**
   * Ends the oldest answered exchange; an unanswered one is never taken. Few are looked at for one newcomer; those
   * still worked on go to the end of the line.
   */
  #evictOf(line: Line): boolean {
    let looked = 0;
    for (const exchange of line) {
      if (this.end(exchange, "evict")) return true;
      if (++looked > MAX_LOOKED_AT) return false;
      line.delete(exchange);
      line.add(exchange);
    }
    return false;
  }
}

function leave(lines: Map<string, Line>, key: string, exchange: ServerExchange): void {
  const line = lines.get(key);
  line?.delete(exchange);
  if (line?.size === 0) lines.delete(key);
}

/** A copy is the same in all its parts; what has the message ID of another is of a peer that began to count again. */
export function isRepetition({ request }: ServerExchange, message: CoapMessage): boolean {
  return (
    request.code === message.code &&
    bytesEqual(request.token, message.token) &&
    bytesEqual(request.payload, message.payload) &&
    request.options.length === message.options.length &&
    request.options.every(({ number, value }, i) => {
      const other = message.options[i]!;
      return other.number === number && bytesEqual(other.value, value);
    })
  );
}

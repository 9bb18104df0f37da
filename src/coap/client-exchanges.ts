import type { PeerAddress } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { randomBytes } from "../util/random.ts";
import { toHex } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";
import type { Timer } from "../util/timer-queue.ts";
import { encodeMessage } from "./encode.ts";
import { COAP_LIMITS } from "./limits.ts";
import { EMPTY_BYTES, type CoapMessage } from "./message.ts";
import type { MessageIds } from "./message-ids.ts";
import { MessageType } from "./numbers.ts";
import { unrecognisedCritical, withoutUnrecognised } from "./options.ts";
import { exchangeLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import type { CoapTimers, Outcome, Reliability } from "./reliability.ts";
import type { ClientEvent, OutgoingRequest, RequestFailure } from "./request.ts";

interface ClientExchange {
  readonly id: number;
  readonly key: string;
  readonly peerKey: string;
  readonly messageId: number;
  readonly responseTimeoutUs: number;
  timer: Timer | undefined;
}

/** What an arriving response calls for on the message layer. */
export type ResponseVerdict = "accepted" | "repeated" | "unknown" | "rejected";

const UNDERSTOOD = (): boolean => true;

/** Requests that this endpoint sent and their responses, matched by peer and token (RFC 7252 section 5.3.2). */
export class ClientExchanges {
  readonly #parameters: TransmissionParameters;
  readonly #random: Random;
  readonly #timers: CoapTimers;
  readonly #reliability: Reliability;
  readonly #messageIds: MessageIds;
  readonly #send: (peer: PeerAddress, bytes: Uint8Array) => void;
  readonly #tokenLength: number;
  readonly #byToken = new Map<string, ClientExchange>();
  readonly #byId = new Map<number, ClientExchange>();
  /** NON requests, which only a RST answers on the message layer. */
  readonly #nonByMessageId = new Map<string, ClientExchange>();
  readonly #finished = new Set<string>();
  readonly #events: ClientEvent[] = [];
  #nextId = 1;

  constructor(parts: {
    parameters: TransmissionParameters;
    random: Random;
    timers: CoapTimers;
    reliability: Reliability;
    messageIds: MessageIds;
    send: (peer: PeerAddress, bytes: Uint8Array) => void;
    tokenLength: number;
  }) {
    this.#parameters = parts.parameters;
    this.#random = parts.random;
    this.#timers = parts.timers;
    this.#reliability = parts.reliability;
    this.#messageIds = parts.messageIds;
    this.#send = parts.send;
    this.#tokenLength = parts.tokenLength;
  }

  /** Sends a request; undefined when a bound of COAP_LIMITS forbids it. */
  start(nowUs: number, peer: PeerAddress, request: OutgoingRequest): number | undefined {
    if (this.#byToken.size >= COAP_LIMITS.maxClientExchanges) return undefined;
    const to = { peer, peerKey: peerKey(peer) };
    const messageId = this.#messageIds.take(nowUs, to.peerKey);
    if (messageId === undefined) return undefined;
    const token = this.#freshToken(to.peerKey);
    const confirmable = request.confirmable ?? true;
    const exchange: ClientExchange = {
      id: this.#nextId++,
      key: `${to.peerKey}/${toHex(token)}`,
      peerKey: to.peerKey,
      messageId,
      responseTimeoutUs: request.responseTimeoutUs ?? exchangeLifetimeUs(this.#parameters),
      timer: undefined,
    };
    const message: CoapMessage = {
      type: confirmable ? MessageType.CON : MessageType.NON,
      code: request.code,
      messageId: exchange.messageId,
      token,
      options: request.options,
      payload: request.payload ?? EMPTY_BYTES,
    };
    const bytes = encodeMessage(message);
    this.#byToken.set(exchange.key, exchange);
    this.#byId.set(exchange.id, exchange);
    if (!confirmable) {
      this.#nonByMessageId.set(`${to.peerKey}/${messageId}`, exchange);
      this.#send(peer, bytes);
      this.#awaitResponse(nowUs, exchange);
      return exchange.id;
    }
    const sent = this.#reliability.send(nowUs, to, { bytes, messageId }, (now, outcome) =>
      this.#onOutcome(now, exchange, outcome),
    );
    if (sent) return exchange.id;
    this.#forget(exchange);
    return undefined;
  }

  /** Gives up on a request; no event follows. */
  cancel(nowUs: number, id: number): void {
    const exchange = this.#byId.get(id);
    if (exchange === undefined) return;
    this.#reliability.cancel(nowUs, exchange.peerKey, exchange.messageId);
    this.#forget(exchange);
  }

  handleResponse(nowUs: number, fromKey: string, message: CoapMessage): ResponseVerdict {
    const key = `${fromKey}/${toHex(message.token)}`;
    const exchange = this.#byToken.get(key);
    if (exchange === undefined) return this.#finished.has(key) ? "repeated" : "unknown";
    // An ACK carries the message ID of its request (section 5.3.2); another one is a stray.
    if (message.type === MessageType.ACK && message.messageId !== exchange.messageId) return "unknown";
    this.#reliability.cancel(nowUs, exchange.peerKey, exchange.messageId);
    this.#forget(exchange);
    if (unrecognisedCritical(message.options, UNDERSTOOD) !== undefined) {
      this.#events.push({ kind: "failed", request: exchange.id, reason: "bad-option" });
      return "rejected";
    }
    this.#remember(key);
    const { code, payload } = message;
    // Section 5.4.3: an elective option of a wrong length is as good as none.
    const response = { code, options: withoutUnrecognised(message.options), payload };
    this.#events.push({ kind: "response", request: exchange.id, response });
    return "accepted";
  }

  /** The peer reset a NON request of ours. */
  handleReset(fromKey: string, messageId: number): void {
    const exchange = this.#nonByMessageId.get(`${fromKey}/${messageId}`);
    if (exchange !== undefined) this.#fail(exchange, "reset");
  }

  poll(): ClientEvent | undefined {
    return this.#events.shift();
  }

  #onOutcome(nowUs: number, exchange: ClientExchange, outcome: Outcome): void {
    if (!this.#byId.has(exchange.id)) return;
    if (outcome === "acknowledged") this.#awaitResponse(nowUs, exchange);
    else this.#fail(exchange, outcome);
  }

  #awaitResponse(nowUs: number, exchange: ClientExchange): void {
    exchange.timer = this.#timers.schedule(nowUs + exchange.responseTimeoutUs, () => this.#fail(exchange, "timeout"));
  }

  #fail(exchange: ClientExchange, reason: RequestFailure): void {
    this.#forget(exchange);
    this.#events.push({ kind: "failed", request: exchange.id, reason });
  }

  #forget(exchange: ClientExchange): void {
    exchange.timer?.cancel();
    this.#byToken.delete(exchange.key);
    this.#byId.delete(exchange.id);
    this.#nonByMessageId.delete(`${exchange.peerKey}/${exchange.messageId}`);
  }

  #remember(key: string): void {
    this.#finished.add(key);
    if (this.#finished.size > COAP_LIMITS.maxFinishedClientExchanges) {
      this.#finished.delete(this.#finished.values().next().value!);
    }
  }

  #freshToken(peer: string): Uint8Array {
    for (;;) {
      const token = randomBytes(this.#random, this.#tokenLength);
      const key = `${peer}/${toHex(token)}`;
      if (!this.#byToken.has(key) && !this.#finished.has(key)) return token;
    }
  }
}

import type { PeerAddress } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";
import { keepRecent } from "../util/recent.ts";
import { randomBytes, unitFloat } from "../util/random.ts";
import type { Timer } from "../util/timer-queue.ts";
import { encodeMessage } from "./encode.ts";
import { checkOutgoing } from "./outgoing-check.ts";
import { COAP_LIMITS } from "./limits.ts";
import { EMPTY_BYTES, encodeUint, optionValue, uintOption, type CoapMessage, type CoapOption } from "./message.ts";
import { GROUP, type MessageIds } from "./message-ids.ts";
import { Code, codeClass, hasPayload, isNoCacheKey, MessageType, Option } from "./numbers.ts";
import { isNewer, type Notified } from "./observe/freshness.ts";
import { maxAgeS, unforwardable, unrecognisedCritical, withoutUnrecognised } from "./options.ts";
import { exchangeLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import { Probing } from "./probing.ts";
import type { CoapTimers, Outcome, Reliability } from "./reliability.ts";
import { CLIENT_EXCHANGE, type ClientExchangeState } from "./states.ts";
import type { ClientEvent, IncomingResponse, OutgoingRequest, RequestFailure } from "./request.ts";

interface ClientExchange {
  readonly id: number;
  readonly peer: PeerAddress;
  readonly peerKey: string;
  readonly request: OutgoingRequest;
  readonly responseTimeoutUs: number;
  token: Uint8Array;
  key: string;
  messageId: number;
  /** The Echo value that the peer asked for (RFC 9175 section 2.3). */
  echo: Uint8Array | undefined;
  state: ClientExchangeState;
  /** The newest notification, once there was one. */
  notified: Notified | undefined;
  /** Asked for anew since: the answer is the newest state, even of a server that counts from the beginning. */
  renewed: boolean;
  newest: IncomingResponse | undefined;
  /** Retransmissions of its request. */
  copies: number;
  /** Callers beyond the first that share an observation. */
  joined: number;
  timer: Timer | undefined;
}

/** What an arriving response calls for on the message layer. */
export type ResponseVerdict = "accepted" | "repeated" | "unknown" | "rejected";

/** After Max-Age a client waits 5 to 15 seconds before it registers anew (RFC 7641 section 3.3.1). */
const REREGISTER_AFTER_US = 5_000_000;
const REREGISTER_SPREAD_US = 10_000_000;
/** A Max-Age of more than a day does not keep a client from asking whether it is still on the list. */
const MAX_REREGISTER_S = 86_400;

const UNDERSTOOD = (): boolean => true;
/** Of an answer that came on an ACK. */
const NO_MESSAGE_ID = -1;
/** Answers under one token, of which copies may yet come: of an upload, as many as blocks go in the time of a retransmission. */
const MAX_ANSWERS = 16;

export interface ClientParts {
  readonly parameters: TransmissionParameters;
  readonly random: Random;
  readonly timers: CoapTimers;
  readonly reliability: Reliability;
  readonly messageIds: MessageIds;
  readonly send: (peer: PeerAddress, bytes: Uint8Array) => void;
  readonly tokenLength: number;
}

/** Requests that this endpoint sent and their responses, matched by peer and token (RFC 7252 section 5.3.2). */
export class ClientExchanges {
  readonly #parts: ClientParts;
  readonly #probing: Probing;
  readonly #byToken = new Map<string, ClientExchange>();
  readonly #byId = new Map<number, ClientExchange>();
  /** NON requests, which only a RST answers on the message layer. */
  readonly #nonByMessageId = new Map<string, ClientExchange>();
  /** Tokens that were answered, and the message IDs of those answers that were no ACK. */
  readonly #finished = new Map<string, readonly number[]>();
  /** Echo values that came with other answers than a challenge: the next request to that peer has them. */
  readonly #echoes = new Map<string, Uint8Array>();
  readonly #events: ClientEvent[] = [];
  #nextId = 1;

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#probing = new Probing(parts.parameters.probingRate);
  }

  get size(): number {
    return this.#byId.size;
  }

  /**
   * Sends a request; undefined when a bound of COAP_LIMITS forbids it. Who observes what is observed
   * already joins that observation (RFC 7641 section 3.1): the number is the same, the newest state
   * comes once more, and it ends when as many have left as joined.
   */
  start(nowUs: number, peer: PeerAddress, request: OutgoingRequest): number | undefined {
    if (request.forwarded !== true) checkOutgoing(request); // what is forwarded was checked as it came
    const observing = request.observe === true ? this.#observing(peerKey(peer), request) : undefined;
    if (observing !== undefined) return this.#join(observing);
    if (this.#byToken.size >= COAP_LIMITS.maxClientExchanges) return undefined;
    const exchange: ClientExchange = {
      id: this.#nextId++,
      peer,
      peerKey: request.toGroup === true ? GROUP : peerKey(peer),
      request,
      responseTimeoutUs: request.responseTimeoutUs ?? exchangeLifetimeUs(this.#parts.parameters),
      token: EMPTY_BYTES,
      key: "",
      messageId: 0,
      echo: undefined,
      state: CLIENT_EXCHANGE.initial,
      notified: undefined,
      renewed: false,
      newest: undefined,
      copies: 0,
      joined: 0,
      timer: undefined,
    };
    this.#giveToken(exchange);
    this.#byId.set(exchange.id, exchange);
    if (this.#transmit(nowUs, exchange, request.observe === true ? 0 : undefined)) return exchange.id;
    this.#forget(exchange);
    return undefined;
  }

  /** Gives up on a request; no event follows. An observation ends when its next notification is rejected. */
  cancel(nowUs: number, id: number): void {
    const exchange = this.#byId.get(id);
    if (exchange === undefined || this.#leave(exchange) || !CLIENT_EXCHANGE.step(exchange, "cancel")) return;
    this.#parts.reliability.cancel(nowUs, exchange.peerKey, exchange.messageId);
    this.#forget(exchange);
  }

  /**
   * Ends an observation by asking for it (RFC 7641 section 3.6); the answer is the last event, or
   * `failed` where there was no room to ask. False when there is nothing to end.
   */
  unobserve(nowUs: number, id: number): boolean {
    const exchange = this.#byId.get(id);
    if (exchange === undefined) return false;
    if (this.#leave(exchange)) return true;
    if (!CLIENT_EXCHANGE.step(exchange, "leave")) return false;
    exchange.notified = undefined;
    exchange.timer?.cancel();
    // Where there is no room, the server finds out when it tells of the next change.
    if (!this.#transmit(nowUs, exchange, 1)) this.#fail(exchange, "timeout");
    return true;
  }

  handleResponse(nowUs: number, from: PeerAddress, message: CoapMessage): ResponseVerdict {
    const fromKey = peerKey(from);
    const token = toHex(message.token);
    const exchange = this.#byToken.get(`${fromKey}/${token}`) ?? this.#byToken.get(`${GROUP}/${token}`);
    const answeredBy = this.#finished.get(`${fromKey}/${token}`);
    if (exchange === undefined) return answeredBy === undefined ? "unknown" : "repeated";
    // Of a token that is used again: an answer to a request before once more.
    if (message.type !== MessageType.ACK && answeredBy?.includes(message.messageId) === true) return "repeated";
    // An ACK carries the message ID of its request (section 5.3.2); another one is a stray.
    if (message.type === MessageType.ACK && message.messageId !== exchange.messageId) return "unknown";
    // A notification that crossed the deregistration says nothing of it.
    if (exchange.state === "leaving" && optionValue(message.options, Option.OBSERVE) !== undefined) return "accepted";
    const judge = exchange.request.forwarded === true ? unforwardable : unrecognisedCritical;
    const rejected = judge(message, UNDERSTOOD) !== undefined;
    // One member of a group does not answer for the others.
    if (rejected && exchange.request.toGroup === true) return "rejected";
    exchange.copies += this.#parts.reliability.answered(nowUs, exchange.peerKey, exchange.messageId);
    this.#probing.heard(fromKey);
    if (rejected) {
      this.#fail(exchange, "bad-option");
      return "rejected";
    }
    // Section 5.4.3: an elective option of a wrong length is as good as none; section 5.5: so is a stray payload.
    const options = withoutUnrecognised(message);
    const payload = hasPayload(message.code) ? message.payload : EMPTY_BYTES;
    const response = { code: message.code, options, payload, from, token: message.token };
    if (message.type === MessageType.ACK && exchange.notified !== undefined && exchange.renewed) {
      exchange.notified = { ...exchange.notified, atUs: Number.NEGATIVE_INFINITY };
      exchange.renewed = false;
    }
    const answer = message.type === MessageType.ACK ? NO_MESSAGE_ID : message.messageId;
    if (!this.#repeatWithEcho(nowUs, exchange, response)) this.#deliver(nowUs, exchange, response, answer);
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

  #join(exchange: ClientExchange): number {
    exchange.joined++;
    const { id, newest } = exchange;
    if (newest !== undefined) this.#events.push({ kind: "notification", request: id, response: newest });
    return id;
  }

  /** True when others still want what one caller no longer does. */
  #leave(exchange: ClientExchange): boolean {
    if (exchange.joined === 0) return false;
    exchange.joined--;
    return true;
  }

  #observing(key: string, request: OutgoingRequest): ClientExchange | undefined {
    for (const exchange of this.#byId.values()) {
      if (exchange.request.observe === true && exchange.peerKey === key && exchange.state !== "leaving")
        if (sameTarget(exchange.request, request)) return exchange;
    }
    return undefined;
  }

  #transmit(nowUs: number, exchange: ClientExchange, observe: number | undefined): boolean {
    const { messageIds, reliability, send, timers } = this.#parts;
    const { request, peer } = exchange;
    const messageId = messageIds.take(nowUs, exchange.peerKey);
    if (messageId === undefined) return false;
    this.#nonByMessageId.delete(`${exchange.peerKey}/${exchange.messageId}`);
    exchange.messageId = messageId;
    const extra: CoapOption[] = [];
    if (observe !== undefined) extra.push({ number: Option.OBSERVE, value: encodeUint(observe) });
    const echo = exchange.echo ?? this.#takeEcho(exchange);
    if (echo !== undefined) extra.push({ number: Option.ECHO, value: echo });
    const confirmable = request.toGroup !== true && (request.confirmable ?? true);
    const bytes = encodeMessage({
      type: confirmable ? MessageType.CON : MessageType.NON,
      code: request.code,
      messageId,
      token: exchange.token,
      options: extra.length === 0 ? request.options : [...request.options, ...extra],
      payload: request.payload ?? EMPTY_BYTES,
    });
    if (confirmable) {
      const to = { peer, peerKey: exchange.peerKey };
      this.#awaitResponse(nowUs, exchange); // a request that waits for NSTART has a deadline too
      return reliability.send(nowUs, to, { bytes, messageId, kind: "request" }, (now, outcome, retransmissions) => {
        exchange.copies += retransmissions;
        this.#onOutcome(now, exchange, messageId, outcome);
      });
    }
    this.#nonByMessageId.set(`${exchange.peerKey}/${messageId}`, exchange);
    const atUs = request.paced === true ? nowUs : this.#probing.take(nowUs, exchange.peerKey, bytes.length);
    const sendNow = (now: number): void => {
      send(peer, bytes);
      this.#awaitResponse(now, exchange);
    };
    if (atUs <= nowUs) sendNow(nowUs);
    else exchange.timer = timers.schedule(atUs, sendNow);
    return true;
  }

  /** RFC 9175 section 2.3: the same request once more, with the value that the server wants to see. */
  #repeatWithEcho(nowUs: number, exchange: ClientExchange, { code, options }: IncomingResponse): boolean {
    const echo = optionValue(options, Option.ECHO);
    const { toGroup, forwarded } = exchange.request;
    if (code !== Code.UNAUTHORIZED || echo === undefined || toGroup === true || forwarded === true) return false;
    // The same value again is no new question; another one may come from whom a proxy asked.
    if (exchange.echo !== undefined && bytesEqual(exchange.echo, echo)) return false;
    if (!CLIENT_EXCHANGE.step(exchange, "challenge")) return false;
    exchange.echo = echo;
    exchange.timer?.cancel();
    this.#byToken.delete(exchange.key);
    this.#remember(exchange.key, NO_MESSAGE_ID);
    this.#giveToken(exchange);
    if (this.#transmit(nowUs, exchange, exchange.request.observe === true ? 0 : undefined)) return true;
    this.#fail(exchange, "timeout");
    return true;
  }

  /** RFC 9175 section 2.3: what the server will want to see, so that it need not ask for it. */
  #keepEcho({ peerKey: key, request }: ClientExchange, { code, options }: IncomingResponse): void {
    const echo = optionValue(options, Option.ECHO);
    if (echo === undefined || code === Code.UNAUTHORIZED || request.toGroup === true || request.forwarded === true)
      return;
    keepRecent(this.#echoes, key, echo, COAP_LIMITS.maxAddresses);
  }

  #takeEcho({ peerKey: key, request }: ClientExchange): Uint8Array | undefined {
    if (this.#echoes.size === 0 || request.forwarded === true) return undefined;
    const echo = this.#echoes.get(key);
    this.#echoes.delete(key);
    return echo;
  }

  #deliver(nowUs: number, exchange: ClientExchange, response: IncomingResponse, messageId: number): void {
    const { request, id } = exchange;
    const sequence = uintOption(response.options, Option.OBSERVE);
    this.#keepEcho(exchange, response);
    if (request.observe === true && sequence !== undefined && codeClass(response.code) === 2) {
      this.#deliverNotification(nowUs, exchange, { sequence, atUs: nowUs }, response);
      return;
    }
    const copies = exchange.copies > 0 ? { retransmissions: exchange.copies } : {};
    this.#events.push({ kind: "response", request: id, response, ...copies });
    const many = request.many === true || request.toGroup === true; // its deadline ends it
    if (!CLIENT_EXCHANGE.step(exchange, many ? "one of many" : "respond") || many) return;
    this.#forget(exchange);
    this.#remember(exchange.key, messageId);
  }

  #deliverNotification(nowUs: number, exchange: ClientExchange, now: Notified, response: IncomingResponse): void {
    const { random, timers } = this.#parts;
    const first = exchange.notified === undefined;
    if (!first && !isNewer(exchange.notified!, now)) return; // overtaken, or a copy
    exchange.notified = now;
    exchange.newest = response;
    CLIENT_EXCHANGE.step(exchange, "register");
    this.#events.push({ kind: first ? "response" : "notification", request: exchange.id, response });
    exchange.timer?.cancel();
    if (exchange.request.renew === false) return;
    const ageS = Math.min(maxAgeS(response.options), MAX_REREGISTER_S);
    const waitUs = ageS * 1_000_000 + REREGISTER_AFTER_US + Math.floor(unitFloat(random) * REREGISTER_SPREAD_US);
    exchange.timer = timers.schedule(nowUs + waitUs, (later) => {
      exchange.renewed = true;
      // Section 3.3.1: under the same token, so that the server does not list the client twice.
      if (!this.#transmit(later, exchange, 0)) this.#fail(exchange, "timeout");
    });
  }

  #onOutcome(nowUs: number, exchange: ClientExchange, messageId: number, outcome: Outcome): void {
    if (!this.#byId.has(exchange.id) || exchange.messageId !== messageId) return;
    if (outcome !== "timeout") this.#probing.heard(exchange.peerKey);
    if (outcome === "acknowledged" && CLIENT_EXCHANGE.step(exchange, "acknowledge")) {
      if (exchange.request.many === true) this.#events.push({ kind: "acknowledged", request: exchange.id });
      this.#awaitResponse(nowUs, exchange);
    } else if (outcome !== "acknowledged") this.#fail(exchange, outcome);
  }

  #awaitResponse(nowUs: number, exchange: ClientExchange): void {
    const { timers } = this.#parts;
    exchange.timer?.cancel();
    exchange.timer = timers.schedule(nowUs + exchange.responseTimeoutUs, (now) => {
      this.#parts.reliability.cancel(now, exchange.peerKey, exchange.messageId);
      this.#fail(exchange, "timeout");
    });
  }

  #fail(exchange: ClientExchange, reason: RequestFailure): void {
    if (!CLIENT_EXCHANGE.step(exchange, "fail")) return;
    this.#forget(exchange);
    this.#events.push({ kind: "failed", request: exchange.id, reason });
  }

  #forget(exchange: ClientExchange): void {
    exchange.timer?.cancel();
    this.#byToken.delete(exchange.key);
    this.#byId.delete(exchange.id);
    this.#nonByMessageId.delete(`${exchange.peerKey}/${exchange.messageId}`);
  }

  #remember(key: string, messageId: number): void {
    const before = this.#finished.get(key) ?? [];
    const all = messageId === NO_MESSAGE_ID ? before : [...before, messageId].slice(-MAX_ANSWERS);
    keepRecent(this.#finished, key, all, COAP_LIMITS.maxFinishedClientExchanges);
  }

  #giveToken(exchange: ClientExchange): void {
    const { token } = exchange.request;
    const key = token && `${exchange.peerKey}/${toHex(token)}`;
    if (token !== undefined && key !== undefined && exchange.echo === undefined && !this.#byToken.has(key)) {
      Object.assign(exchange, { token, key });
      this.#byToken.set(key, exchange);
      return;
    }
    do {
      exchange.token = randomBytes(this.#parts.random, this.#parts.tokenLength);
      exchange.key = `${exchange.peerKey}/${toHex(exchange.token)}`;
    } while (this.#byToken.has(exchange.key) || this.#finished.has(exchange.key));
    this.#byToken.set(exchange.key, exchange);
  }
}

/** Whether one observation can serve both: same method, options that tell resources apart, and payload. */
function sameTarget(a: OutgoingRequest, b: OutgoingRequest): boolean {
  const keys = ({ options }: OutgoingRequest): readonly CoapOption[] =>
    options.filter(({ number }) => !isNoCacheKey(number)).toSorted((x, y) => x.number - y.number);
  const [left, right] = [keys(a), keys(b)];
  const equal = (one: CoapOption, i: number): boolean =>
    one.number === right[i]!.number && bytesEqual(one.value, right[i]!.value);
  if (a.code !== b.code || left.length !== right.length || !left.every(equal)) return false;
  return bytesEqual(a.payload ?? EMPTY_BYTES, b.payload ?? EMPTY_BYTES);
}

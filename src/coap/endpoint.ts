import { noMetrics, type Metrics } from "../ports/metrics.ts";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { utf8 } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";
import { TimerQueue } from "../util/timer-queue.ts";
import type { BlockPath } from "./blockwise/block-path.ts";
import { ClientExchanges } from "./client-exchanges.ts";
import { decodeMessage, type MessageFormatError } from "./decode.ts";
import { encodeMessage } from "./encode.ts";
import { EMPTY_BYTES, optionValue, type CoapMessage } from "./message.ts";
import { MessageIds } from "./message-ids.ts";
import { Code, codeText, isRequestCode, MessageType, Option } from "./numbers.ts";
import { unrecognisedCritical, uriPath, uriQuery, withoutUnrecognised } from "./options.ts";
import { DEFAULT_PARAMETERS, exchangeLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import { Reliability, type CoapTimers } from "./reliability.ts";
import type {
  ClientEvent,
  CoapResponse,
  HandlerResult,
  IncomingRequest,
  OutgoingRequest,
  RequestHandler,
} from "./request.ts";
import { isRepetition, ServerExchanges, type ServerExchange } from "./server-exchanges.ts";
import { TransmitQueue } from "./transmit-queue.ts";

export interface EndpointOptions {
  readonly random: Random;
  readonly handler?: RequestHandler;
  readonly blockPath?: BlockPath;
  readonly parameters?: TransmissionParameters;
  readonly metrics?: Metrics;
  /** Bytes of the tokens of this endpoint's requests, 2 to 8 (RFC 7252 section 5.3.1). */
  readonly tokenLength?: number;
}

/** Request options that a server here acts on; other critical ones are answered 4.02. */
const SERVER_OPTIONS: ReadonlySet<number> = new Set([
  Option.URI_HOST,
  Option.URI_PORT,
  Option.URI_PATH,
  Option.URI_QUERY,
  Option.ACCEPT,
  Option.BLOCK2,
  Option.PROXY_URI,
  Option.PROXY_SCHEME,
]);

/**
 * Server and client on one address: messages in, messages out, nothing else (RFC 7252 sections 4
 * and 5). After each `handle*`, `request` or `respond` the host drains `pollTransmit` and
 * `pollEvent`, and asks `pollTimeout` when to call `handleTimeout`. A datagram given to
 * `handleDatagram` must not be changed afterwards.
 */
export class CoapEndpoint {
  readonly #handler: RequestHandler | undefined;
  readonly #blockPath: BlockPath | undefined;
  readonly #parameters: TransmissionParameters;
  readonly #metrics: Metrics;
  readonly #timers: CoapTimers = new TimerQueue();
  readonly #out = new TransmitQueue();
  readonly #messageIds: MessageIds;
  readonly #reliability: Reliability;
  readonly #clients: ClientExchanges;
  readonly #servers: ServerExchanges;

  constructor(options: EndpointOptions) {
    const tokenLength = options.tokenLength ?? 4;
    if (tokenLength < 2 || tokenLength > 8) throw new RangeError(`tokenLength is 2 to 8, not ${tokenLength}`);
    this.#handler = options.handler;
    this.#blockPath = options.blockPath;
    this.#parameters = options.parameters ?? DEFAULT_PARAMETERS;
    this.#metrics = options.metrics ?? noMetrics;
    const send = (peer: PeerAddress, bytes: Uint8Array): void => this.#out.push(peer, bytes);
    const parameters = this.#parameters;
    const timers = this.#timers;
    this.#messageIds = new MessageIds(options.random.fork("message-id"), exchangeLifetimeUs(parameters));
    this.#reliability = new Reliability(parameters, options.random.fork("retransmission"), timers, send);
    this.#servers = new ServerExchanges(parameters, timers);
    const random = options.random.fork("token");
    this.#clients = new ClientExchanges({
      parameters,
      random,
      timers,
      send,
      tokenLength,
      reliability: this.#reliability,
      messageIds: this.#messageIds,
    });
  }

  get stats(): { retransmitted: number; dropped: number; openExchanges: number } {
    return {
      retransmitted: this.#reliability.retransmitted,
      dropped: this.#out.dropped,
      openExchanges: this.#servers.size,
    };
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    if (this.#blockPath?.tryServe(nowUs, bytes, peer, this.#out) === true) return;
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) this.#rejectMalformed(decoded.error, peer);
    else if (decoded.message.code === Code.EMPTY) this.#handleEmpty(nowUs, decoded.message, peer);
    else if (isRequestCode(decoded.message.code)) this.#handleRequestMessage(nowUs, decoded.message, peer);
    else this.#handleResponseMessage(nowUs, decoded.message, peer);
  }

  handleTimeout(nowUs: number): void {
    for (let due = this.#timers.popDue(nowUs); due !== undefined; due = this.#timers.popDue(nowUs)) due(nowUs);
  }

  /** Sends a request; the answer comes as an event. Undefined when too many are under way. */
  request(nowUs: number, peer: PeerAddress, request: OutgoingRequest): number | undefined {
    return this.#clients.start(nowUs, peer, request);
  }

  cancel(nowUs: number, request: number): void {
    this.#clients.cancel(nowUs, request);
  }

  /** Answers a request whose handler said `deferred`; false when its exchange has ended. */
  respond(nowUs: number, exchangeId: number, response: CoapResponse): boolean {
    const exchange = this.#servers.byId(exchangeId);
    if (exchange === undefined || exchange.answered) return false;
    if (this.#sendResponse(nowUs, exchange, response)) return true;
    this.#metrics.count("coap_refused", "too-many-separate-responses");
    this.#servers.end(exchange);
    return false;
  }

  pollTransmit(): Transmit | undefined {
    return this.#out.poll();
  }

  pollEvent(): ClientEvent | undefined {
    return this.#clients.poll();
  }

  pollTimeout(): number | undefined {
    return this.#timers.nextUs();
  }

  /** Section 4.2 and 4.3: a malformed CON is rejected by RST, anything else is ignored. */
  #rejectMalformed(error: MessageFormatError, peer: PeerAddress): void {
    this.#metrics.count("coap_refused", error.reason);
    if (error.header?.type === MessageType.CON) this.#sendEmpty(MessageType.RST, error.header.messageId, peer);
  }

  #handleEmpty(nowUs: number, message: CoapMessage, peer: PeerAddress): void {
    if (message.type === MessageType.ACK || message.type === MessageType.RST) {
      const outcome = message.type === MessageType.ACK ? "acknowledged" : "reset";
      const key = peerKey(peer);
      const settled = this.#reliability.settle(nowUs, key, message.messageId, outcome);
      if (!settled && outcome === "reset") this.#clients.handleReset(key, message.messageId);
    } else if (message.type === MessageType.CON) {
      this.#sendEmpty(MessageType.RST, message.messageId, peer); // CoAP ping, section 4.3
    }
  }

  #handleRequestMessage(nowUs: number, message: CoapMessage, peer: PeerAddress): void {
    if (message.type === MessageType.ACK || message.type === MessageType.RST) {
      this.#metrics.count("coap_refused", "request-in-ack-or-rst"); // section 4.2: silently ignored
      return;
    }
    const earlier = this.#servers.size > 0 ? this.#servers.find(peerKey(peer), message) : undefined;
    if (earlier !== undefined) {
      this.#handleDuplicate(earlier, message, peer);
      return;
    }
    const exchange = this.#servers.open(nowUs, peer, message);
    if (exchange === undefined) {
      this.#metrics.count("coap_refused", "too-many-exchanges");
      return;
    }
    const result = this.#dispatch(nowUs, message, exchange);
    if (result === "rejected") {
      this.#servers.end(exchange);
      this.#sendEmpty(MessageType.RST, message.messageId, peer);
    } else if (result !== "deferred") {
      this.#sendResponse(nowUs, exchange, result);
      // Section 4.5: a repeated GET may as well be answered afresh.
      if (message.code === Code.GET) this.#servers.end(exchange);
    } else if (message.type === MessageType.CON) {
      exchange.ackTimer = this.#timers.schedule(nowUs + this.#parameters.piggybackUs, () =>
        this.#acknowledge(exchange),
      );
    }
  }

  /** Section 4.5: the reply is repeated. A newcomer under a message ID in use has to come again. */
  #handleDuplicate(earlier: ServerExchange, message: CoapMessage, peer: PeerAddress): void {
    if (!isRepetition(earlier, message)) this.#metrics.count("coap_refused", "message-id-in-use");
    else {
      this.#metrics.count("coap_duplicates");
      if (message.type === MessageType.CON && earlier.reply !== undefined) this.#out.push(peer, earlier.reply);
    }
  }

  /** Sections 5.4.1, 5.7.2 and 5.10.2: what must be refused before a handler sees it. */
  #dispatch(nowUs: number, message: CoapMessage, exchange: ServerExchange): HandlerResult | "rejected" {
    const refused = unrecognisedCritical(message.options, (option) => SERVER_OPTIONS.has(option));
    if (refused !== undefined) {
      this.#metrics.count("coap_refused", "critical-option");
      if (message.type === MessageType.NON) return "rejected"; // section 5.4.1, by way of 4.3
      return { code: Code.BAD_OPTION, payload: utf8(`option ${refused} is not understood`) };
    }
    if ([Option.PROXY_URI, Option.PROXY_SCHEME].some((option) => optionValue(message.options, option) !== undefined)) {
      return { code: Code.PROXYING_NOT_SUPPORTED };
    }
    const options = withoutUnrecognised(message.options);
    const path = uriPath(options);
    const query = uriQuery(options);
    if (path === undefined || query === undefined) {
      this.#metrics.count("coap_refused", "uri-not-utf8");
      return { code: Code.BAD_OPTION, payload: utf8("Uri-Path and Uri-Query are UTF-8") };
    }
    if (this.#handler === undefined) return { code: Code.NOT_FOUND };
    const confirmable = message.type === MessageType.CON;
    const { peer, id } = exchange;
    const request: IncomingRequest = {
      peer,
      confirmable,
      path,
      query,
      options,
      method: message.code,
      payload: message.payload,
      exchange: id,
    };
    return this.#handler.handleRequest(nowUs, request);
  }

  #handleResponseMessage(nowUs: number, message: CoapMessage, peer: PeerAddress): void {
    if (message.type === MessageType.RST) return;
    const verdict = this.#clients.handleResponse(nowUs, peerKey(peer), message);
    if (verdict === "repeated") this.#metrics.count("coap_repeated_responses");
    else if (verdict !== "accepted") this.#metrics.count("coap_refused", `response-${verdict}`);
    if (message.type === MessageType.CON) {
      const known = verdict === "accepted" || verdict === "repeated";
      this.#sendEmpty(known ? MessageType.ACK : MessageType.RST, message.messageId, peer);
    } else if (message.type === MessageType.NON && verdict === "unknown") {
      this.#sendEmpty(MessageType.RST, message.messageId, peer); // section 4.3 allows it: it stops a stray sender
    }
  }

  #acknowledge(exchange: ServerExchange): void {
    exchange.acknowledged = true;
    const { messageId } = exchange.request;
    exchange.reply = encodeEmpty(MessageType.ACK, messageId);
    this.#out.push(exchange.peer, exchange.reply);
  }

  /** Piggybacked while the request is not acknowledged yet, else a CON of its own (section 5.2). */
  #sendResponse(nowUs: number, exchange: ServerExchange, response: CoapResponse): boolean {
    exchange.ackTimer?.cancel();
    exchange.answered = true;
    this.#metrics.count("coap_responses", codeText(response.code));
    const { request, peer, peerKey: key } = exchange;
    const piggybacked = request.type === MessageType.CON && !exchange.acknowledged;
    const message: CoapMessage = {
      type: piggybacked ? MessageType.ACK : request.type,
      code: response.code,
      messageId: piggybacked ? request.messageId : this.#messageIds.next(key),
      token: request.token,
      options: response.options ?? [],
      payload: response.payload ?? EMPTY_BYTES,
    };
    const bytes = encodeMessage(message);
    if (request.type === MessageType.CON && exchange.acknowledged) {
      const { messageId } = message;
      return this.#reliability.send(nowUs, { peer, peerKey: key }, { bytes, messageId }, () => {});
    }
    exchange.reply = piggybacked ? bytes : undefined;
    this.#out.push(peer, bytes);
    return true;
  }

  #sendEmpty(type: MessageType, messageId: number, peer: PeerAddress): void {
    this.#out.push(peer, encodeEmpty(type, messageId));
  }
}

function encodeEmpty(type: MessageType, messageId: number): Uint8Array {
  return Uint8Array.of(0x40 | (type << 4), Code.EMPTY, messageId >> 8, messageId & 0xff);
}

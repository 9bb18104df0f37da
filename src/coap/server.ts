import type { Metrics } from "../ports/metrics.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { peerKey } from "../util/peer.ts";
import type { AddressProof } from "./address-proof.ts";
import type { Szx } from "./blockwise/block.ts";
import { isAcceptable } from "./blockwise/block2-server.ts";
import { QBlock2Server } from "./blockwise/q-block2-server.ts";
import { ResponseBodies } from "./blockwise/response-bodies.ts";
import { encodeEmpty } from "./encode.ts";
import { Leisure } from "./leisure.ts";
import { EMPTY_BYTES, optionValue, type CoapMessage, type CoapOption } from "./message.ts";
import type { MessageIds } from "./message-ids.ts";
import { Code, codeClass, codeText, hasPayload, isSafe, MessageType, Option } from "./numbers.ts";
import { Notifier } from "./observe/notifier.ts";
import { exchangeLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import type { CoapTimers, Outcome, Reliability } from "./reliability.ts";
import { asBody, encodeResponse, isSentInSets, isSuppressed, shapeResponse } from "./reply.ts";
import { checkRequest } from "./request-check.ts";
import type { Body, CoapResponse, HandlerResult, IncomingRequest, RequestHandler } from "./request.ts";
import { SERVER_EXCHANGE } from "./states.ts";
import { isRepetition, ServerExchanges, type ServerExchange, type KeptUs } from "./server-exchanges.ts";

export interface ServerParts {
  readonly handler: RequestHandler | undefined;
  readonly proxy: RequestHandler | undefined;
  readonly preferredSzx: Szx;
  readonly parameters: TransmissionParameters;
  readonly random: Random;
  readonly timers: CoapTimers;
  readonly reliability: Reliability;
  readonly messageIds: MessageIds;
  readonly metrics: Metrics;
  readonly proof: AddressProof;
  readonly send: (peer: PeerAddress, bytes: Uint8Array) => void;
  readonly keptUs?: KeptUs | undefined;
}

/** Requests that come in, and what is sent in answer to them (RFC 7252 sections 4 and 5). */
export class CoapServer {
  readonly #parts: ServerParts;
  readonly #handlers: readonly RequestHandler[];
  readonly #exchanges: ServerExchanges;
  readonly #qBlock2: QBlock2Server;
  readonly #notifier: Notifier;
  readonly #bodies: ResponseBodies;
  readonly #leisure: Leisure;

  constructor(parts: ServerParts) {
    this.#parts = parts;
    this.#handlers = [parts.handler, parts.proxy].filter((one) => one !== undefined);
    const { parameters, timers } = parts;
    this.#leisure = new Leisure(timers, parts.random);
    this.#exchanges = new ServerExchanges(parameters, timers, parts.keptUs);
    const sendOne = (nowUs: number, request: IncomingRequest, response: CoapResponse): boolean =>
      this.#sendMore(nowUs, request, response);
    this.#qBlock2 = new QBlock2Server(parameters, parts.random.fork("q-block2"), timers, sendOne);
    const ask = (nowUs: number, request: IncomingRequest): HandlerResult => this.#handler(nowUs, request);
    this.#bodies = new ResponseBodies(exchangeLifetimeUs(parameters), timers);
    this.#notifier = new Notifier({
      ...parts,
      ask,
      keep: (nowUs, request, response) => this.#bodies.keep(nowUs, request, response),
      sendInSets: (nowUs, request, response) => void this.#qBlock2.respond(nowUs, request, response),
    });
  }

  get openExchanges(): number {
    return this.#exchanges.size;
  }

  isKnown(peer: PeerAddress, messageId: number): boolean {
    return this.#exchanges.has(peerKey(peer), messageId);
  }

  get observations(): number {
    return this.#notifier.size;
  }

  handleRequest(nowUs: number, message: CoapMessage, peer: PeerAddress, multicast: boolean): void {
    const { metrics } = this.#parts;
    if (message.type === MessageType.ACK || message.type === MessageType.RST) {
      metrics.count("coap_refused", "request-in-ack-or-rst"); // section 4.2: silently ignored
      return;
    }
    // Section 8.1: what comes to a group is non-confirmable; RFC 9177 section 4.8: and without Q-Block.
    const isOfSets = [Option.Q_BLOCK1, Option.Q_BLOCK2].some((number) => optionValue(message.options, number));
    if (multicast && (message.type === MessageType.CON || isOfSets)) {
      metrics.count("coap_refused", "multicast");
      return;
    }
    const earlier = this.#exchanges.size > 0 ? this.#exchanges.find(peerKey(peer), message) : undefined;
    if (earlier !== undefined) {
      this.#handleDuplicate(nowUs, earlier, message, peer);
      return;
    }
    const exchange = this.#exchanges.open(nowUs, peer, message, this.#parts.proof.isProven(nowUs, peer.address));
    if (exchange === undefined) {
      metrics.count("coap_refused", "too-many-exchanges");
      return;
    }
    exchange.multicast = multicast;
    this.#settle(nowUs, exchange, this.#dispatch(nowUs, exchange));
    this.drainHandler(nowUs);
  }

  /** Answers a request whose handler said `deferred`; false when its exchange has ended. */
  respond(nowUs: number, exchangeId: number, response: CoapResponse): boolean {
    const exchange = this.#exchanges.byId(exchangeId);
    if (exchange === undefined || !isOpen(exchange)) return false;
    if (this.#answer(nowUs, exchange, response)) return true;
    this.#parts.metrics.count("coap_refused", "too-many-separate-responses");
    this.#exchanges.end(exchange, "evict");
    return false;
  }

  notify(nowUs: number, resource: string): void {
    this.#notifier.notify(nowUs, resource);
  }

  handleReset(peer: string, messageId: number): void {
    this.#notifier.handleReset(peer, messageId);
    const request = this.#qBlock2.reset(`${peer}/${messageId}`);
    if (request === undefined) return;
    for (const handler of this.#handlers) handler.rejected?.(request);
  }

  /** Responses that handlers give on their own time. */
  drainHandler(nowUs: number): void {
    for (const handler of this.#handlers) {
      for (let later = handler.pollResponse?.(); later !== undefined; later = handler.pollResponse?.()) {
        const exchange = this.#exchanges.byId(later.exchange);
        if (exchange === undefined || !isOpen(exchange)) continue;
        if (later.response === "silent") this.#staySilent(exchange);
        else if (later.more === true) this.#sendMore(nowUs, exchange.incoming!, later.response);
        else this.respond(nowUs, later.exchange, later.response);
      }
    }
  }

  /** Section 4.5: the reply is repeated. A newcomer under a message ID in use has to come again. */
  #handleDuplicate(nowUs: number, earlier: ServerExchange, message: CoapMessage, peer: PeerAddress): void {
    const { metrics } = this.#parts;
    if (!isRepetition(earlier, message)) metrics.count("coap_refused", "message-id-in-use");
    else {
      metrics.count("coap_duplicates");
      const { reply } = earlier;
      if (message.type !== MessageType.CON || reply === undefined) return;
      // A short message that looks like a repetition must not draw a long reply to a forged address.
      if (reply.length <= 4 || this.#parts.proof.allows(nowUs, peer.address, reply.length))
        this.#sendWithin(peer, reply);
      else metrics.count("coap_refused", "unproven-address");
    }
  }

  #dispatch(nowUs: number, exchange: ServerExchange): HandlerResult | "rejected" {
    const { request: message, peer } = exchange;
    const { metrics, proof, proxy, handler } = this.#parts;
    const checked = checkRequest(message, handler, proxy);
    if ("refused" in checked) {
      metrics.count("coap_refused", checked.refused);
      return checked.response ?? "rejected";
    }
    const echo = optionValue(checked.options, Option.ECHO);
    exchange.incoming = {
      peer,
      confirmable: message.type === MessageType.CON,
      path: checked.path,
      query: checked.query,
      options: checked.options,
      method: message.code,
      payload: hasPayload(message.code) ? message.payload : EMPTY_BYTES, // section 5.5
      token: message.token,
      multicast: exchange.multicast,
      fresh: echo !== undefined && proof.verify(nowUs, peer.address, echo),
      proven: proof.isProven(nowUs, peer.address),
      exchange: exchange.id,
    };
    // What changes something is not carried out before it is known where its many blocks go, and not
    // sent on for an address that anybody may have written (RFC 9175 section 2.4 item 3).
    const proven = isSafe(message.code) || exchange.incoming.proven;
    // Nor is room kept for a body of many blocks, which would be others' room.
    if (!exchange.incoming.proven && optionValue(checked.options, Option.Q_BLOCK1) !== undefined)
      return { code: Code.UNAUTHORIZED, challenge: true };
    if (!proven && (checked.proxied || optionValue(checked.options, Option.Q_BLOCK2) !== undefined))
      return { code: Code.UNAUTHORIZED, challenge: true };
    const rest = this.#bodies.respond(exchange.incoming, checked.proxied);
    if (rest !== undefined) return rest;
    if (checked.proxied) return proxy!.handleRequest(nowUs, exchange.incoming);
    return this.#handler(nowUs, exchange.incoming);
  }

  #handler(nowUs: number, request: IncomingRequest): HandlerResult {
    return this.#parts.handler?.handleRequest(nowUs, request) ?? { code: Code.NOT_FOUND };
  }

  #settle(nowUs: number, exchange: ServerExchange, result: HandlerResult | "rejected"): void {
    const { request: message, peer } = exchange;
    if (result === "rejected") {
      this.#exchanges.end(exchange, "reject");
      if (!exchange.multicast) this.#sendWithin(peer, encodeEmpty(MessageType.RST, message.messageId));
    } else if (result === "silent") this.#staySilent(exchange);
    else if (result !== "deferred") {
      this.#answer(nowUs, exchange, result);
      // Section 4.5: a repeated GET may as well be answered afresh.
      if (message.code === Code.GET) this.#exchanges.end(exchange, "idempotent");
    } else if (message.type === MessageType.CON) {
      const { timers, parameters } = this.#parts;
      exchange.ackTimer = timers.schedule(nowUs + parameters.piggybackUs, () => this.#acknowledge(exchange));
    }
  }

  #acknowledge(exchange: ServerExchange): void {
    SERVER_EXCHANGE.step(exchange, "slow");
    exchange.reply = encodeEmpty(MessageType.ACK, exchange.request.messageId);
    this.#sendWithin(exchange.peer, exchange.reply);
  }

  /** Nothing to say: a CON is acknowledged all the same (RFC 7967 section 2). */
  #staySilent(exchange: ServerExchange): void {
    exchange.ackTimer?.cancel();
    if (exchange.request.type === MessageType.CON && exchange.state === "working") this.#acknowledge(exchange);
    SERVER_EXCHANGE.step(exchange, "silence");
  }

  #answer(nowUs: number, exchange: ServerExchange, given: CoapResponse): boolean {
    const { preferredSzx } = this.#parts;
    const { incoming } = exchange;
    const response = incoming === undefined ? given : asBody(incoming, given, preferredSzx);
    if (incoming !== undefined && optionValue(incoming.options, Option.Q_BLOCK1) !== undefined)
      for (const handler of this.#handlers) handler.answered?.(incoming, response);
    if (exchange.multicast && incoming === undefined) {
      this.#staySilent(exchange); // section 8.2: a group does not answer with errors
      return true;
    }
    if (incoming === undefined) return this.#sendResponse(nowUs, exchange, response);
    if (codeClass(response.code) !== 2 && this.#suppress(exchange, incoming, response.code)) return true;
    if (response.challenge === true) return this.#challenge(nowUs, exchange);
    const observed = this.#notifier.register(nowUs, incoming, response);
    if (observed === "unproven") return this.#challenge(nowUs, exchange);
    const observe = observed === undefined ? [] : [observed];
    const { body } = response;
    if (body !== undefined && isSentInSets(incoming, body))
      return this.#answerInSets(nowUs, exchange, incoming, { ...response, body }, observe);
    const { shaped, sent } = shapeResponse(incoming, response, observe, preferredSzx);
    if (this.#suppress(exchange, incoming, shaped.code)) return true;
    if (exchange.multicast) return this.#answerLeisurely(nowUs, exchange, shaped);
    this.#bodies.keep(nowUs, incoming, response);
    // What goes out in its place, such as a challenge, is no block that was served.
    const onSent = sent && ((): void => body?.sent?.(nowUs, sent.offset, sent.length));
    return this.#sendResponse(nowUs, exchange, shaped, onSent);
  }

  /** RFC 9177 section 4.4: many responses, which only go to a proven address. */
  #answerInSets(
    nowUs: number,
    exchange: ServerExchange,
    incoming: IncomingRequest,
    response: CoapResponse & { readonly body: Body },
    observe: readonly CoapOption[],
  ): boolean {
    const { code, body } = response;
    if (!this.#parts.proof.isProven(nowUs, exchange.peer.address)) return this.#challenge(nowUs, exchange);
    if (!isAcceptable(incoming, body)) return this.#sendResponse(nowUs, exchange, { code: Code.NOT_ACCEPTABLE });
    if (this.#suppress(exchange, incoming, code)) return true;
    this.#bodies.keep(nowUs, incoming, response);
    const options = [...observe, ...(response.options ?? [])];
    const refusal = this.#qBlock2.respond(nowUs, incoming, { code, body, options });
    if (refusal !== undefined) {
      this.#notifier.unregister(incoming);
      return this.#sendResponse(nowUs, exchange, refusal);
    }
    // The blocks went out, or could not; either way the handler has done its part.
    if (isOpen(exchange)) this.#staySilent(exchange);
    return true;
  }

  /** True when the client does not want to hear this; the exchange is over then. */
  #suppress(exchange: ServerExchange, incoming: IncomingRequest, code: number): boolean {
    if (!isSuppressed(incoming, code)) return false;
    this.#parts.metrics.count("coap_suppressed");
    this.#staySilent(exchange);
    return true;
  }

  /** Section 8.2. */
  #answerLeisurely(nowUs: number, exchange: ServerExchange, response: CoapResponse): boolean {
    const waits = this.#leisure.wait(nowUs, exchange.peer.address, (now) => {
      this.#sendResponse(now, exchange, response);
      if (exchange.request.code === Code.GET) this.#exchanges.end(exchange, "idempotent");
    });
    if (waits) SERVER_EXCHANGE.step(exchange, "spread");
    else {
      this.#parts.metrics.count("coap_refused", "too-many-multicast");
      this.#staySilent(exchange);
    }
    return true;
  }

  /** RFC 9175 section 2.3: 4.01 with the value that the request is to come back with. */
  #challenge(nowUs: number, exchange: ServerExchange): boolean {
    const { proof, metrics } = this.#parts;
    metrics.count("coap_challenged");
    const value = proof.challenge(nowUs, exchange.peer.address);
    return this.#sendResponse(nowUs, exchange, { code: Code.UNAUTHORIZED, options: [{ number: Option.ECHO, value }] });
  }

  /** Piggybacked while the request is not acknowledged yet, else a message of its own (section 5.2). */
  #sendResponse(nowUs: number, exchange: ServerExchange, response: CoapResponse, onSent?: () => void): boolean {
    const { request, peer, peerKey: key } = exchange;
    const { metrics, proof, reliability, parameters } = this.#parts;
    exchange.ackTimer?.cancel();
    const piggybacked = request.type === MessageType.CON && exchange.state === "working";
    const messageId = piggybacked ? request.messageId : this.#takeMessageId(nowUs, key);
    if (messageId === undefined) {
      this.#staySilent(exchange);
      return true;
    }
    // RFC 9175 section 2.4: a challenge is never a CON of its own, which would be repeated.
    const challenge =
      response.code === Code.UNAUTHORIZED && optionValue(response.options ?? [], Option.ECHO) !== undefined;
    const separate = request.type === MessageType.CON && exchange.state === "acknowledged" && !challenge;
    const type = piggybacked ? MessageType.ACK : separate ? MessageType.CON : MessageType.NON;
    const bytes = encodeResponse(request.token, type, messageId, response);
    const copies = separate ? 1 + parameters.maxRetransmit : 1;
    if (!proof.allows(nowUs, peer.address, bytes.length * copies)) return this.#sendLess(nowUs, exchange, response);
    SERVER_EXCHANGE.step(exchange, "respond");
    metrics.count("coap_responses", codeText(response.code));
    proof.spent(peer.address, bytes.length * copies);
    onSent?.();
    if (separate)
      return reliability.send(nowUs, { peer, peerKey: key }, { bytes, messageId, kind: "response" }, () => {});
    if (piggybacked) exchange.reply = bytes;
    this.#parts.send(peer, bytes);
    return true;
  }

  /** To an unproven address goes a challenge in place of data, and an answer without its payload. */
  #sendLess(nowUs: number, exchange: ServerExchange, response: CoapResponse): boolean {
    const { metrics } = this.#parts;
    const challenged = response.code === Code.UNAUTHORIZED;
    if (isSafe(exchange.request.code) && !challenged && response.payload !== undefined)
      return this.#challenge(nowUs, exchange);
    metrics.count("coap_refused", "unproven-address");
    if (!challenged && response.payload !== undefined && response.payload.length > 0)
      return this.#sendResponse(nowUs, exchange, { code: response.code });
    this.#staySilent(exchange);
    return true;
  }

  /** One response of several to one request: the first may be piggybacked, the others stand alone. */
  #sendMore(nowUs: number, request: IncomingRequest, response: CoapResponse): boolean {
    const exchange = this.#exchanges.byId(request.exchange);
    const { reliability, send, proof } = this.#parts;
    const { peer, token } = request;
    if (request.confirmable && exchange !== undefined && isOpen(exchange))
      return this.#sendResponse(nowUs, exchange, response);
    const key = peerKey(peer);
    const messageId = this.#takeMessageId(nowUs, key);
    if (messageId === undefined) return false;
    const type = request.confirmable ? MessageType.CON : MessageType.NON;
    const bytes = encodeResponse(token, type, messageId, response);
    if (!proof.allows(nowUs, peer.address, bytes.length)) return false;
    proof.spent(peer.address, bytes.length);
    const options = { bytes, messageId, kind: "response" } as const;
    // RFC 9177 section 4.4: a CON that fails ends the transfer; so does a RST.
    const onOutcome = (_now: number, outcome: Outcome): void => {
      if (outcome !== "acknowledged") this.#qBlock2.stop(request);
    };
    if (request.confirmable) return reliability.send(nowUs, { peer, peerKey: key }, options, onOutcome);
    this.#notifier.sent(key, token, messageId);
    this.#qBlock2.sent(nowUs, `${key}/${messageId}`, request);
    send(peer, bytes);
    return true;
  }

  /** Section 4.4: a peer that asks so fast that IDs come round within EXCHANGE_LIFETIME is not answered. */
  #takeMessageId(nowUs: number, peer: string): number | undefined {
    const messageId = this.#parts.messageIds.take(nowUs, peer);
    if (messageId === undefined) this.#parts.metrics.count("coap_refused", "no-message-id");
    return messageId;
  }

  /** Four bytes never go out for less than four that came in, but they count. */
  #sendWithin(peer: PeerAddress, bytes: Uint8Array): void {
    this.#parts.proof.spent(peer.address, bytes.length);
    this.#parts.send(peer, bytes);
  }
}

/** Whether its handler still has to answer. */
function isOpen({ state }: ServerExchange): boolean {
  return state === "working" || state === "acknowledged";
}

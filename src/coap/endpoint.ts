import { noMetrics, type Metrics } from "../ports/metrics.ts";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { earlier } from "../util/deadline.ts";
import { peerKey } from "../util/peer.ts";
import { runDue, TimerQueue } from "../util/timer-queue.ts";
import { AddressProof } from "./address-proof.ts";
import type { Szx } from "./blockwise/block.ts";
import type { BlockPath } from "./blockwise/block-path.ts";
import { ClientExchanges } from "./client-exchanges.ts";
import { decodeMessage, type MessageFormatError } from "./decode.ts";
import { encodeEmpty } from "./encode.ts";
import type { CoapMessage } from "./message.ts";
import { MessageIds } from "./message-ids.ts";
import { Code, isRequestCode, MessageType } from "./numbers.ts";
import { checkParameters, DEFAULT_PARAMETERS, exchangeLifetimeUs, type TransmissionParameters } from "./parameters.ts";
import type { KeptUs } from "./server-exchanges.ts";
import { Reliability, type CoapTimers } from "./reliability.ts";
import type { TimerChoice } from "./retransmission.ts";
import type { ClientEvent, CoapResponse, OutgoingRequest, RequestHandler } from "./request.ts";
import { CoapServer } from "./server.ts";
import { TransmitQueue } from "./transmit-queue.ts";

export interface EndpointOptions {
  readonly random: Random;
  readonly handler?: RequestHandler;
  /** Handles requests with Proxy-Uri or Proxy-Scheme; without it they are answered 5.05. */
  readonly proxy?: RequestHandler;
  readonly blockPath?: BlockPath;
  /** Largest block that is sent to a client that names no size (RFC 7959 section 2.3); 6 when absent. */
  readonly preferredSzx?: Szx;
  readonly parameters?: TransmissionParameters;
  /** Which peers have a retransmission timer of their own; the others have RFC 7252's. */
  readonly retransmission?: TimerChoice;
  /** Told of each message that is sent once more. */
  readonly onRetransmission?: (nowUs: number, peer: PeerAddress) => void;
  readonly metrics?: Metrics;
  readonly keptUs?: KeptUs;
  /** Bytes of the tokens of this endpoint's requests, 2 to 64 (RFC 7252 section 5.3.1, RFC 8974). */
  readonly tokenLength?: number;
  /** Addresses that nobody can forge; all when absent (RFC 9175 section 2.4). */
  readonly isTrusted?: (address: string) => boolean;
}

/**
 * Server and client on one address: messages in, messages out, nothing else (RFC 7252 sections 4
 * and 5). After each `handle*`, `request` or `respond` the host drains `pollTransmit` and
 * `pollEvent`, and asks `pollTimeout` when to call `handleTimeout`. A datagram given to
 * `handleDatagram` must not be changed afterwards.
 */
export class CoapEndpoint {
  readonly #handlers: readonly RequestHandler[];
  readonly #blockPath: BlockPath | undefined;
  readonly #metrics: Metrics;
  readonly #timers: CoapTimers = new TimerQueue();
  readonly #out = new TransmitQueue();
  readonly #proof: AddressProof;
  readonly #reliability: Reliability;
  readonly #client: ClientExchanges;
  readonly #server: CoapServer;

  constructor(options: EndpointOptions) {
    const tokenLength = options.tokenLength ?? 4;
    if (tokenLength < 2 || tokenLength > 64) throw new RangeError(`tokenLength is 2 to 64, not ${tokenLength}`);
    const { handler, proxy, random } = options;
    this.#handlers = [handler, proxy].filter((one) => one !== undefined);
    this.#blockPath = options.blockPath;
    this.#metrics = options.metrics ?? noMetrics;
    const parameters = options.parameters ?? DEFAULT_PARAMETERS;
    checkParameters(parameters);
    const send = (peer: PeerAddress, bytes: Uint8Array): void => this.#out.push(peer, bytes);
    const timers = this.#timers;
    const messageIds = new MessageIds(random.fork("message-id"), exchangeLifetimeUs(parameters));
    const { retransmission: choice, onRetransmission } = options;
    const reliable = { parameters, random: random.fork("retransmission"), timers, send, choice, onRetransmission };
    this.#reliability = new Reliability(reliable);
    this.#proof = new AddressProof({ random: random.fork("echo"), isTrusted: options.isTrusted ?? (() => true) });
    const parts = { parameters, timers, send, messageIds, reliability: this.#reliability };
    this.#server = new CoapServer({
      ...parts,
      handler,
      proxy,
      random: random.fork("server"),
      preferredSzx: options.preferredSzx ?? 6,
      metrics: this.#metrics,
      proof: this.#proof,
      keptUs: options.keptUs,
    });
    this.#client = new ClientExchanges({ ...parts, random: random.fork("token"), tokenLength });
  }

  get stats(): {
    retransmitted: number;
    dropped: number;
    openExchanges: number;
    observations: number;
    requests: number;
  } {
    return {
      retransmitted: this.#reliability.retransmitted,
      dropped: this.#out.dropped,
      openExchanges: this.#server.openExchanges,
      observations: this.#server.observations,
      requests: this.#client.size,
    };
  }

  /**
   * `toGroup`: the datagram was sent to a multicast address (RFC 7252 section 8). True when it asked
   * for a block of an image, which leaves no trace in this endpoint: a datagram is all that comes of it.
   */
  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress, toGroup = false): boolean {
    if (!toGroup && !this.#isKnown(bytes, peer) && this.#serveBlock(nowUs, bytes, peer)) return true;
    this.#proof.heard(nowUs, peer.address, bytes.length);
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) this.#rejectMalformed(decoded.error, peer, toGroup);
    else if (isRequestCode(decoded.message.code)) this.#server.handleRequest(nowUs, decoded.message, peer, toGroup);
    else if (toGroup) this.#metrics.count("coap_refused", "multicast");
    else if (decoded.message.code === Code.EMPTY) this.#handleEmpty(nowUs, decoded.message, peer);
    else this.#handleResponseMessage(nowUs, decoded.message, peer);
    return false;
  }

  /** A copy of a request that is being answered already, which the short path does not know of (section 4.5). */
  #isKnown(bytes: Uint8Array, peer: PeerAddress): boolean {
    if (this.#blockPath === undefined || this.#server.openExchanges === 0 || bytes.length < 4) return false;
    return this.#server.isKnown(peer, bytes[2]! * 256 + bytes[3]!);
  }

  /** False when it is anything else than a request for a block, or the address is not proven. */
  #serveBlock(nowUs: number, bytes: Uint8Array, peer: PeerAddress): boolean {
    if (this.#blockPath === undefined || !this.#proof.isProvenPeer(nowUs, peer)) return false;
    return this.#blockPath.tryServe(nowUs, bytes, peer, this.#out);
  }

  handleTimeout(nowUs: number): void {
    runDue(this.#timers, nowUs);
    for (const handler of this.#handlers) {
      const dueUs = handler.pollTimeout?.();
      if (dueUs !== undefined && dueUs <= nowUs) handler.handleTimeout?.(nowUs);
    }
    this.#server.drainHandler(nowUs);
  }

  /** Sends a request; the answer comes as an event. Undefined when too many are under way. */
  request(nowUs: number, peer: PeerAddress, request: OutgoingRequest): number | undefined {
    return this.#client.start(nowUs, peer, request);
  }

  cancel(nowUs: number, request: number): void {
    this.#client.cancel(nowUs, request);
  }

  /** Ends an observation by telling the server; false when there is none. */
  unobserve(nowUs: number, request: number): boolean {
    return this.#client.unobserve(nowUs, request);
  }

  /** Answers a request whose handler said `deferred`; false when its exchange has ended. */
  respond(nowUs: number, exchangeId: number, response: CoapResponse): boolean {
    return this.#server.respond(nowUs, exchangeId, response);
  }

  /** Sends what handlers have to say on their own time; after what is not a datagram or a time-out. */
  drainHandlers(nowUs: number): void {
    this.#server.drainHandler(nowUs);
  }

  /** The state behind `observable` of earlier responses changed: its observers are told (RFC 7641 section 4.2). */
  notify(nowUs: number, observable: string): void {
    this.#server.notify(nowUs, observable);
  }

  pollTransmit(): Transmit | undefined {
    return this.#out.poll();
  }

  pollEvent(): ClientEvent | undefined {
    return this.#client.poll();
  }

  pollTimeout(): number | undefined {
    let next = this.#timers.nextUs();
    for (const handler of this.#handlers) next = earlier(next, handler.pollTimeout?.());
    return next;
  }

  /** Section 4.2 and 4.3: a malformed CON is rejected by RST, anything else is ignored. */
  #rejectMalformed(error: MessageFormatError, peer: PeerAddress, toGroup: boolean): void {
    this.#metrics.count("coap_refused", error.reason);
    if (error.header?.type === MessageType.CON && !toGroup)
      this.#sendEmpty(MessageType.RST, error.header.messageId, peer);
  }

  #handleEmpty(nowUs: number, message: CoapMessage, peer: PeerAddress): void {
    if (message.type === MessageType.ACK || message.type === MessageType.RST) {
      const outcome = message.type === MessageType.ACK ? "acknowledged" : "reset";
      const key = peerKey(peer);
      if (this.#reliability.settle(nowUs, key, message.messageId, outcome) || outcome !== "reset") return;
      this.#client.handleReset(key, message.messageId);
      this.#server.handleReset(key, message.messageId);
    } else if (message.type === MessageType.CON) {
      this.#sendEmpty(MessageType.RST, message.messageId, peer); // CoAP ping, section 4.3
    }
  }

  #handleResponseMessage(nowUs: number, message: CoapMessage, peer: PeerAddress): void {
    if (message.type === MessageType.RST) return;
    if (message.type === MessageType.ACK && this.#reliability.awaitsAck(peerKey(peer), message.messageId)) {
      // Section 5.2.2: whatever an ACK carries, our separate response has arrived.
      this.#reliability.settle(nowUs, peerKey(peer), message.messageId, "acknowledged");
      return;
    }
    const verdict = this.#client.handleResponse(nowUs, peer, message);
    if (verdict === "repeated") this.#metrics.count("coap_repeated_responses");
    else if (verdict !== "accepted") this.#metrics.count("coap_refused", `response-${verdict}`);
    const known = verdict === "accepted" || verdict === "repeated";
    if (known) this.#proof.prove(nowUs, peer.address);
    if (message.type === MessageType.CON) {
      this.#sendEmpty(known ? MessageType.ACK : MessageType.RST, message.messageId, peer);
    } else if (message.type === MessageType.NON && verdict === "unknown") {
      this.#sendEmpty(MessageType.RST, message.messageId, peer); // section 4.3 allows it: it stops a stray sender
    }
  }

  #sendEmpty(type: MessageType, messageId: number, peer: PeerAddress): void {
    this.#proof.spent(peer.address, 4);
    this.#out.push(peer, encodeEmpty(type, messageId));
  }
}

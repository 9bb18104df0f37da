import type { Metrics } from "../../ports/metrics.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import { peerKey } from "../../util/peer.ts";
import { keepRecent } from "../../util/recent.ts";
import type { AddressProof } from "../address-proof.ts";
import { blockOption, type Szx } from "../blockwise/block.ts";
import { encodeMessage } from "../encode.ts";
import { COAP_LIMITS } from "../limits.ts";
import { EMPTY_BYTES, encodeUint, uintOption, type CoapMessage, type CoapOption } from "../message.ts";
import type { MessageIds } from "../message-ids.ts";
import { Code, codeClass, isSafe, MessageType, Option } from "../numbers.ts";
import { shapeResponse } from "../reply.ts";
import type { CoapTimers, Outcome, Reliability } from "../reliability.ts";
import type { CoapResponse, HandlerResult, IncomingRequest } from "../request.ts";
import { OBSERVATION } from "../states.ts";
import { nextSequence, Observations, type Observation } from "./observations.ts";

/** The least time between two non-confirmable notifications where no round trip was measured (RFC 7641 section 4.5.1). */
const NON_GAP_US = 3_000_000;
/** At least once a day a client must confirm that it is still there (section 4.5). */
const CONFIRM_EVERY_US = 86_400_000_000;

type Notification = Omit<CoapMessage, "messageId">;

export interface NotifierParts {
  readonly preferredSzx: Szx;
  readonly timers: CoapTimers;
  readonly reliability: Reliability;
  readonly messageIds: MessageIds;
  readonly metrics: Metrics;
  readonly proof: AddressProof;
  readonly send: (peer: PeerAddress, bytes: Uint8Array) => void;
  /** Has the handler answer the registered request anew. */
  readonly ask: (nowUs: number, request: IncomingRequest) => HandlerResult;
}

/**
 * Tells observers of changes (RFC 7641 section 4): one notification per observer is on its way at a
 * time, and the next one carries the newest state, not each one in between.
 */
export class Notifier {
  readonly #parts: NotifierParts;
  readonly #observations = new Observations();
  /** When a client may be sent the next non-confirmable notification. */
  readonly #nextNonUs = new Map<string, number>();

  constructor(parts: NotifierParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#observations.size;
  }

  /**
   * Follows the Observe option of a request. Returns the option for its response when the client is
   * on the list now; "unproven" when its address must be proven first, since much would go there.
   */
  register(nowUs: number, request: IncomingRequest, response: CoapResponse): CoapOption | "unproven" | undefined {
    if (!isSafe(request.method)) return undefined;
    const observe = uintOption(request.options, Option.OBSERVE);
    if (observe === undefined || request.multicast) return undefined;
    const key = peerKey(request.peer);
    const before = this.#observations.get(key, request.token);
    const later = (blockOption(request.options, Option.BLOCK2)?.num ?? 0) > 0;
    if (observe !== 0 || codeClass(response.code) !== 2 || response.observable === undefined || later) {
      if (observe === 1 && before !== undefined) this.#observations.remove(before);
      return undefined;
    }
    if (!this.#parts.proof.isProven(nowUs, request.peer.address)) return "unproven";
    const { shaped } = shapeResponse(request, response, [], this.#parts.preferredSzx);
    if (codeClass(shaped.code) !== 2) return undefined;
    const observation = this.#observations.register(nowUs, key, response.observable, response.whole ?? request);
    if (observation === undefined) {
      this.#parts.metrics.count("coap_refused", "too-many-observations");
      return undefined;
    }
    observation.contentFormat = formatOf(shaped);
    return observeOption(nowUs, observation);
  }

  /** The state of `resource` changed. */
  notify(nowUs: number, resource: string): void {
    for (const observation of this.#observations.of(resource)) {
      const before = observation.state;
      OBSERVATION.step(observation, "change");
      if (before === "idle") this.#send(nowUs, observation);
    }
  }

  /** Section 3.6: a client that rejects a notification is off the list. */
  handleReset(peer: string, messageId: number): void {
    const observation = this.#observations.byMessageId(peer, messageId);
    if (observation !== undefined) this.#observations.remove(observation);
  }

  /** Sends what is due, now or when the client may be told. */
  #send(nowUs: number, observation: Observation): void {
    const { messageIds, reliability, send, timers, metrics } = this.#parts;
    const { peerKey: key, request } = observation;
    const waitUs = (this.#nextNonUs.get(key) ?? 0) - nowUs;
    if (!this.#isConfirmable(nowUs, observation) && waitUs > 0) {
      // Section 4.5.1: the pace holds for the client, whatever it observes.
      timers.schedule(nowUs + waitUs, (now) => observation.state === "due" && this.#send(now, observation));
      return;
    }
    const made = this.#make(nowUs, observation);
    if (made === undefined) return;
    const messageId = messageIds.take(nowUs, key);
    if (messageId === undefined) return this.#drop(observation, "no-message-id");
    const { peer } = request;
    metrics.count("coap_notifications");
    if (made.type === MessageType.NON) {
      observation.messageId = messageId;
      OBSERVATION.step(observation, "sent");
      send(peer, encodeMessage({ ...made, messageId }));
      keepRecent(this.#nextNonUs, key, nowUs + NON_GAP_US, COAP_LIMITS.maxObservations);
      timers.schedule(nowUs + NON_GAP_US, (now) => this.#next(now, observation));
      return;
    }
    // What waits for NSTART shows the state at the moment that it leaves (section 4.4).
    const bytes = (now: number): Uint8Array | undefined => {
      const newest = now === nowUs ? made : this.#newest(now, observation, made);
      if (newest === undefined) return undefined;
      OBSERVATION.step(observation, "sent");
      return encodeMessage({ ...newest, type: MessageType.CON, messageId });
    };
    const settle = (now: number, outcome: Outcome): void => this.#onOutcome(now, observation, outcome);
    if (!reliability.send(nowUs, { peer, peerKey: key }, { bytes, messageId, kind: "response" }, settle))
      this.#drop(observation, "too-many-separate-responses");
  }

  /** What to send in place of `made`, which has waited; nothing when the client has gone meanwhile. */
  #newest(nowUs: number, observation: Observation, made: Notification): Notification | undefined {
    if (observation.state !== "gone") return this.#make(nowUs, observation);
    return codeClass(made.code) === 2 ? undefined : made;
  }

  /** The notification of the state as it is; undefined when the handler has none to give. */
  #make(nowUs: number, observation: Observation): Notification | undefined {
    const { request } = observation;
    const result = this.#parts.ask(nowUs, request);
    if (result === "deferred" || result === "silent") {
      OBSERVATION.step(observation, "settled");
      return undefined;
    }
    const alive = codeClass(result.code) === 2;
    const extra = alive ? [observeOption(nowUs, observation)] : [];
    let { shaped } = shapeResponse(request, result, extra, this.#parts.preferredSzx);
    // Section 4.2: a client that got one format does not get another one under the same registration.
    if (codeClass(shaped.code) === 2 && formatOf(shaped) !== observation.contentFormat)
      shaped = { code: Code.NOT_ACCEPTABLE };
    const type = this.#isConfirmable(nowUs, observation) ? MessageType.CON : MessageType.NON;
    const message = { code: shaped.code, token: request.token, payload: shaped.payload ?? EMPTY_BYTES };
    if (codeClass(shaped.code) === 2) return { ...message, type, options: shaped.options ?? [] };
    // An error ends the observation, and says so without the option.
    this.#observations.remove(observation);
    const options = (shaped.options ?? []).filter(({ number }) => number !== Option.OBSERVE);
    return { ...message, type: MessageType.CON, options };
  }

  #isConfirmable(nowUs: number, { request, confirmedUs }: Observation): boolean {
    return request.confirmable || nowUs - confirmedUs >= CONFIRM_EVERY_US;
  }

  #drop(observation: Observation, reason: string): void {
    this.#parts.metrics.count("coap_refused", reason);
    this.#observations.remove(observation);
  }

  #onOutcome(nowUs: number, observation: Observation, outcome: Outcome): void {
    if (outcome !== "acknowledged") {
      this.#observations.remove(observation); // section 4.5: reset, or no longer there
      return;
    }
    observation.confirmedUs = nowUs;
    this.#next(nowUs, observation);
  }

  #next(nowUs: number, observation: Observation): void {
    if (OBSERVATION.step(observation, "settled") && observation.state === "due") this.#send(nowUs, observation);
  }
}

function formatOf({ options = [] }: CoapResponse): number | undefined {
  return uintOption(options, Option.CONTENT_FORMAT);
}

function observeOption(nowUs: number, observation: Observation): CoapOption {
  return { number: Option.OBSERVE, value: encodeUint(nextSequence(nowUs, observation)) };
}

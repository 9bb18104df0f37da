import type { Metrics } from "../../ports/metrics.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import { peerKey } from "../../util/peer.ts";
import type { AddressProof } from "../address-proof.ts";
import { blockOption, type Szx } from "../blockwise/block.ts";
import { encodeMessage } from "../encode.ts";
import { EMPTY_BYTES, encodeUint, uintOption, type CoapOption } from "../message.ts";
import type { MessageIds } from "../message-ids.ts";
import { codeClass, isSafe, MessageType, Option } from "../numbers.ts";
import { shapeResponse } from "../reply.ts";
import type { CoapTimers, Outcome, Reliability } from "../reliability.ts";
import type { CoapResponse, HandlerResult, IncomingRequest } from "../request.ts";
import { nextSequence, Observations, type Observation } from "./observations.ts";

/** The least time between two non-confirmable notifications where no round trip was measured (RFC 7641 section 4.5.1). */
const NON_GAP_US = 3_000_000;
/** At least once a day a client must confirm that it is still there (section 4.5). */
const CONFIRM_EVERY_US = 86_400_000_000;

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
    const observation = this.#observations.register(nowUs, key, response.observable, request);
    if (observation === undefined) {
      this.#parts.metrics.count("coap_refused", "too-many-observations");
      return undefined;
    }
    return observeOption(nowUs, observation);
  }

  /** The state of `resource` changed. */
  notify(nowUs: number, resource: string): void {
    for (const observation of this.#observations.of(resource)) {
      if (observation.inFlight) observation.stale = true;
      else this.#send(nowUs, observation);
    }
  }

  /** Section 3.6: a client that rejects a notification is off the list. */
  handleReset(peer: string, messageId: number): void {
    const observation = this.#observations.byMessageId(peer, messageId);
    if (observation !== undefined) this.#observations.remove(observation);
  }

  #send(nowUs: number, observation: Observation): void {
    const { ask, messageIds, reliability, send, timers, preferredSzx, metrics } = this.#parts;
    const { peerKey: key, request } = observation;
    const { peer } = request;
    const result = ask(nowUs, request);
    if (result === "deferred" || result === "silent") return;
    const alive = codeClass(result.code) === 2;
    // Section 4.2: an error ends the observation, and says so without the option.
    if (!alive) this.#observations.remove(observation);
    observation.stale = false;
    observation.inFlight = true;
    metrics.count("coap_notifications");
    const { shaped } = shapeResponse(request, result, alive ? [observeOption(nowUs, observation)] : [], preferredSzx);
    const messageId = messageIds.next(key);
    const confirmable = request.confirmable || nowUs - observation.confirmedUs >= CONFIRM_EVERY_US || !alive;
    const bytes = encodeMessage({
      type: confirmable ? MessageType.CON : MessageType.NON,
      code: shaped.code,
      messageId,
      token: request.token,
      options: shaped.options ?? [],
      payload: shaped.payload ?? EMPTY_BYTES,
    });
    if (confirmable) {
      const settle = (now: number, outcome: Outcome): void => this.#onOutcome(now, observation, outcome);
      if (reliability.send(nowUs, { peer, peerKey: key }, { bytes, messageId }, settle)) return;
      metrics.count("coap_refused", "too-many-separate-responses");
      this.#observations.remove(observation);
      return;
    }
    observation.messageId = messageId;
    send(peer, bytes);
    timers.schedule(nowUs + NON_GAP_US, (now) => this.#next(now, observation));
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
    observation.inFlight = false;
    if (observation.stale && this.#observations.has(observation)) this.#send(nowUs, observation);
  }
}

function observeOption(nowUs: number, observation: Observation): CoapOption {
  return { number: Option.OBSERVE, value: encodeUint(nextSequence(nowUs, observation)) };
}

import type { Metrics } from "../../ports/metrics.ts";
import type { PeerAddress } from "../../ports/datagram.ts";
import { peerKey } from "../../util/peer.ts";
import type { AddressProof } from "../address-proof.ts";
import { blockOption, blockSize, encodeBlock, type Szx } from "../blockwise/block.ts";
import { encodeMessage } from "../encode.ts";
import { EMPTY_BYTES, encodeUint, uintOption, type CoapMessage, type CoapOption } from "../message.ts";
import type { MessageIds } from "../message-ids.ts";
import { Code, codeClass, isSafe, MessageType, Option } from "../numbers.ts";
import { asBody, shapeResponse } from "../reply.ts";
import type { CoapTimers, Outcome, Reliability } from "../reliability.ts";
import type { Body, CoapResponse, HandlerResult, IncomingRequest } from "../request.ts";
import { OBSERVATION } from "../states.ts";
import { Pace, type Told } from "./pace.ts";
import { nextSequence, Observations, type Observation } from "./observations.ts";

/** At least once a day a client must confirm that it is still there (section 4.5). */
const CONFIRM_EVERY_US = 86_400_000_000;

/** Messages of notifications that a late RST may name: some sets of blocks, or a minute of changes. */
const MAX_REMEMBERED = 64;

interface Notification extends Omit<CoapMessage, "messageId"> {
  /** In place of the payload: what goes out by Q-Block2, in sets. */
  readonly sets: { readonly body: Body; readonly options: readonly CoapOption[] } | undefined;
}

export interface SetsResponse {
  readonly code: number;
  readonly body: Body;
  readonly options: readonly CoapOption[];
}

export interface NotifierParts {
  readonly preferredSzx: Szx;
  readonly timers: CoapTimers;
  readonly reliability: Reliability;
  readonly messageIds: MessageIds;
  readonly metrics: Metrics;
  readonly proof: AddressProof;
  readonly send: (peer: PeerAddress, bytes: Uint8Array) => void;
  /** Keeps an answer whose later blocks may be asked for. */
  readonly keep: (nowUs: number, request: IncomingRequest, response: CoapResponse) => void;
  /** Sends a body in sets, as responses to `request` (RFC 9177 section 4.4). */
  readonly sendInSets: (nowUs: number, request: IncomingRequest, response: SetsResponse) => void;
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
  readonly #pace: Pace;

  constructor(parts: NotifierParts) {
    this.#parts = parts;
    this.#pace = new Pace(parts.timers, {
      send: (nowUs, observation) => this.#tell(nowUs, observation),
      settled: (nowUs, observation) => this.#next(nowUs, observation),
    });
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
    // A 2.03 has no format; the one of what it stands for counts.
    const withoutEtag = { ...request, options: request.options.filter(({ number }) => number !== Option.ETAG) };
    observation.contentFormat = formatOf(shapeResponse(withoutEtag, response, [], this.#parts.preferredSzx).shaped);
    return observeOption(nowUs, observation);
  }

  /** What it was to be told could not be given after all. */
  unregister({ peer, token }: IncomingRequest): void {
    const observation = this.#observations.get(peerKey(peer), token);
    if (observation !== undefined) this.#observations.remove(observation);
  }

  /** A message of a notification went out: a RST may name it. */
  sent(key: string, token: Uint8Array, messageId: number): void {
    const observation = this.#observations.get(key, token);
    if (observation !== undefined) remember(observation, messageId);
  }

  /** The state of `resource` changed. */
  notify(nowUs: number, resource: string): void {
    for (const observation of this.#observations.of(resource)) {
      const before = observation.state;
      OBSERVATION.step(observation, "change");
      if (before === "idle") this.#pace.enter(nowUs, observation);
    }
  }

  /** Section 3.6: a client that rejects a notification is off the list. */
  handleReset(peer: string, messageId: number): void {
    const observation = this.#observations.byMessageId(peer, messageId);
    if (observation !== undefined) this.#observations.remove(observation);
  }

  #tell(nowUs: number, observation: Observation): Told {
    if (observation.state !== "due") return "nothing";
    try {
      return this.#tellNow(nowUs, observation);
    } catch (error) {
      if (observation.state === "due") OBSERVATION.step(observation, "settled"); // told of the next change
      throw error;
    }
  }

  #tellNow(nowUs: number, observation: Observation): Told {
    const made = this.#make(nowUs, observation);
    if (made === undefined) return "nothing";
    const messageId = this.#parts.messageIds.take(nowUs, observation.peerKey);
    if (messageId === undefined) return this.#drop(observation, "no-message-id");
    this.#parts.metrics.count("coap_notifications");
    if (made.type === MessageType.CON) return this.#sendCon(nowUs, observation, made, messageId);
    const { request } = observation;
    remember(observation, messageId);
    OBSERVATION.step(observation, "sent");
    if (made.sets === undefined) this.#parts.send(request.peer, encodeMessage({ ...made, messageId }));
    // All blocks of a body are NON, however the client registered (RFC 9177 section 7).
    else this.#parts.sendInSets(nowUs, fromTheStart(request), { code: made.code, ...made.sets });
    return "non";
  }

  #sendCon(nowUs: number, observation: Observation, made: Notification, messageId: number): Told {
    const { peerKey: key, request } = observation;
    let atOnce = true;
    // What waits for NSTART shows the state at the moment that it leaves (section 4.4).
    const bytes = (now: number): Uint8Array | undefined => {
      const newest = atOnce ? made : this.#newest(now, observation, made);
      if (newest === undefined) {
        this.#pace.over(now, key);
        return undefined;
      }
      OBSERVATION.step(observation, "sent");
      return encodeMessage({ ...newest, type: MessageType.CON, messageId });
    };
    const settle = (now: number, outcome: Outcome): void => {
      this.#onOutcome(now, observation, outcome);
      this.#pace.over(now, key);
    };
    const message = { bytes, messageId, kind: "response" } as const;
    const taken = this.#parts.reliability.send(nowUs, { peer: request.peer, peerKey: key }, message, settle);
    atOnce = false;
    return taken ? "con" : this.#drop(observation, "too-many-separate-responses");
  }

  /** What to send in place of `made`, which has waited; nothing when the client has gone meanwhile. */
  #newest(nowUs: number, observation: Observation, made: Notification): Notification | undefined {
    if (observation.state !== "gone") return this.#make(nowUs, observation);
    return codeClass(made.code) === 2 ? undefined : made;
  }

  /** The notification of the state as it is; undefined when the handler has none to give. */
  #make(nowUs: number, observation: Observation): Notification | undefined {
    const { request } = observation;
    const given = this.#parts.ask(nowUs, request);
    if (given === "deferred" || given === "silent") {
      OBSERVATION.step(observation, "settled");
      return undefined;
    }
    const { preferredSzx, keep } = this.#parts;
    const result = asBody(request, given, preferredSzx);
    const alive = codeClass(result.code) === 2;
    const extra = alive ? [observeOption(nowUs, observation)] : [];
    let { shaped } = shapeResponse(request, result, extra, preferredSzx);
    // Section 4.2: a client that got one format does not get another one under the same registration.
    if (shaped.code === Code.CONTENT && formatOf(shaped) !== (observation.contentFormat ??= formatOf(shaped)))
      shaped = { code: Code.NOT_ACCEPTABLE };
    const message = {
      code: shaped.code,
      token: request.token,
      payload: shaped.payload ?? EMPTY_BYTES,
      sets: undefined,
    };
    if (codeClass(shaped.code) !== 2) {
      // An error ends the observation, and says so without the option.
      this.#observations.remove(observation);
      const options = (shaped.options ?? []).filter(({ number }) => number !== Option.OBSERVE);
      return { ...message, type: MessageType.CON, options };
    }
    keep(nowUs, request, result);
    const type = this.#isConfirmable(nowUs, observation) ? MessageType.CON : MessageType.NON;
    const { body } = result;
    const asked = blockOption(request.options, Option.Q_BLOCK2);
    const large = body !== undefined && asked !== undefined && body.bytes.length > blockSize(asked.szx);
    if (large && shaped.code === Code.CONTENT && type === MessageType.NON)
      return { ...message, type, options: [], sets: { body, options: [...extra, ...(result.options ?? [])] } };
    return { ...message, type, options: shaped.options ?? [] };
  }

  #isConfirmable(nowUs: number, { request, confirmedUs }: Observation): boolean {
    // What may take several sets is not confirmed one by one (RFC 9177 section 7).
    const oneByOne = request.confirmable && blockOption(request.options, Option.Q_BLOCK2) === undefined;
    return oneByOne || nowUs - confirmedUs >= CONFIRM_EVERY_US;
  }

  #drop(observation: Observation, reason: string): Told {
    this.#parts.metrics.count("coap_refused", reason);
    this.#observations.remove(observation);
    return "nothing";
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
    if (OBSERVATION.step(observation, "settled") && observation.state === "due") this.#pace.enter(nowUs, observation);
  }
}

/** As if the client had asked for the whole body just now. */
function fromTheStart(request: IncomingRequest): IncomingRequest {
  const whole = encodeBlock({ num: 0, more: true, szx: blockOption(request.options, Option.Q_BLOCK2)!.szx });
  const options = request.options.filter(({ number }) => number !== Option.Q_BLOCK2);
  return { ...request, confirmable: false, options: [...options, { number: Option.Q_BLOCK2, value: whole }] };
}

function formatOf({ options = [] }: CoapResponse): number | undefined {
  return uintOption(options, Option.CONTENT_FORMAT);
}

function observeOption(nowUs: number, observation: Observation): CoapOption {
  return { number: Option.OBSERVE, value: encodeUint(nextSequence(nowUs, observation)) };
}

function remember({ messageIds }: Observation, messageId: number): void {
  messageIds.push(messageId);
  if (messageIds.length > MAX_REMEMBERED) messageIds.shift();
}

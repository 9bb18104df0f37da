import type { CoapResponse, HandlerResult, IncomingRequest } from "../coap/request.ts";
import { Code, ContentFormat, Option } from "../coap/numbers.ts";
import { uintOption } from "../coap/message.ts";
import { textOptions } from "../coap/options.ts";
import type { ResourceHandler, Router } from "../coap/router.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Random } from "../ports/random.ts";
import type { StoreOp } from "../ports/store.ts";
import { utf8 } from "../util/bytes.ts";
import { copyPeer, peerKey } from "../util/peer.ts";
import { randomId } from "../util/random.ts";
import { runDue, TimerQueue, type Timer } from "../util/timer-queue.ts";
import {
  decodeRegistration,
  encodeRegistration,
  readObjects,
  readRegister,
  readUpdate,
  REGISTRATION_LIMITS,
  RegistrationError,
  type Registration,
} from "./registration.ts";

export const REGISTRATION_PREFIX = "registration/";
/** Clients that are registered at once. */
const MAX_REGISTRATIONS = 20_000;
/** What a client may be late with its Update before it counts as gone. */
const GRACE_US = 30_000_000;
/** A client whose last answer is no older is in the middle of something. */
const ANSWERING_US = 30_000_000;
/** Short, and at most 8 characters: some clients have little room for it. */
const ID_DIGITS = 7;

export type RegistryEvent = {
  readonly kind: "registered" | "updated" | "deregistered" | "expired";
  readonly registration: Registration;
};

export interface RegistryParts {
  readonly random: Random;
  readonly metrics: Metrics;
  /** Has the records written durably; `stored` is told what became of it, under the same number. */
  readonly store: (ops: readonly StoreOp[]) => number;
  readonly respond: (nowUs: number, exchange: number, response: CoapResponse) => boolean;
  /** When a client last answered something; undefined where it did not. */
  readonly answeredUs?: (endpoint: string) => number | undefined;
}

interface Entry {
  registration: Registration;
  seenUs: number;
  /** None where the lifetime is 0, which never ends. */
  timer: Timer | undefined;
}

const unavailable = (why: string): CoapResponse => ({ code: Code.SERVICE_UNAVAILABLE, payload: utf8(why) });

interface Pending {
  readonly exchange: number;
  readonly response: CoapResponse;
  readonly event: RegistryEvent;
}

/**
 * The Registration interface of LwM2M (1.1 Core, section 6.2): `/rd` and the locations below it. A
 * client hears 2.01 or 2.04 once its record is on the disk, so that no restart makes it register anew.
 */
export class Registry {
  readonly #parts: RegistryParts;
  readonly #router: Router;
  readonly #byEndpoint = new Map<string, Entry>();
  readonly #byPeer = new Map<string, string>();
  readonly #timers = new TimerQueue<(nowUs: number) => void>();
  readonly #pending = new Map<number, Pending>();
  readonly #events: RegistryEvent[] = [];

  constructor(parts: RegistryParts, router: Router) {
    this.#parts = parts;
    this.#router = router;
    const maxBodyBytes = REGISTRATION_LIMITS.maxLinksBytes;
    router.add(["rd"], { post: (nowUs, request) => this.#guarded(() => this.#register(nowUs, request)), maxBodyBytes });
  }

  get size(): number {
    return this.#byEndpoint.size;
  }

  get(endpoint: string): Registration | undefined {
    return this.#byEndpoint.get(endpoint)?.registration;
  }

  /** Who registered from this address, or updated last from there. */
  at(peer: PeerAddress): string | undefined {
    return this.#byPeer.get(peerKey(peer));
  }

  *all(): Iterable<{ readonly registration: Registration; readonly seenUs: number }> {
    yield* this.#byEndpoint.values();
  }

  /**
   * Takes a registration back after a restart; undefined when the record is damaged. Nobody knows how
   * long the gateway was away, so its lifetime begins anew.
   */
  recover(nowUs: number, record: Uint8Array): Registration | undefined {
    const registration = decodeRegistration(record);
    if (registration === undefined || this.#byEndpoint.size >= MAX_REGISTRATIONS) return undefined;
    this.#put(nowUs, registration);
    return registration;
  }

  /** What became of a write; false when it is not one of this registry's. */
  stored(nowUs: number, write: number, done: boolean): boolean {
    const pending = this.#pending.get(write);
    if (pending === undefined) return false;
    this.#pending.delete(write);
    const { exchange, response, event } = pending;
    if (done) this.#events.push(event);
    this.#parts.respond(nowUs, exchange, done ? response : unavailable("not written"));
    return true;
  }

  pollEvent(): RegistryEvent | undefined {
    return this.#events.shift();
  }

  pollTimeout(): number | undefined {
    return this.#timers.nextUs();
  }

  handleTimeout(nowUs: number): void {
    runDue(this.#timers, nowUs);
  }

  /** Section 6.2.1. A client that registers again has lost its location: the old one ends. */
  #register(nowUs: number, request: IncomingRequest): HandlerResult {
    const format = uintOption(request.options, Option.CONTENT_FORMAT);
    if (format !== undefined && format !== ContentFormat.LINK_FORMAT) return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    const parameters = readRegister(request.query);
    const objects = readObjects(request.payload);
    const before = this.#byEndpoint.get(parameters.endpoint)?.registration;
    if (before === undefined && this.#byEndpoint.size >= MAX_REGISTRATIONS) {
      this.#parts.metrics.count("lwm2m_refused", "too-many-registrations");
      return unavailable("too many clients");
    }
    const registration: Registration = { ...parameters, ...objects, id: this.#newId(), peer: copyPeer(request.peer) };
    if (before !== undefined) this.#router.remove(["rd", before.id]);
    this.#put(nowUs, registration);
    const options = textOptions(Option.LOCATION_PATH, ["rd", registration.id]);
    return this.#acknowledge(request, { code: Code.CREATED, options }, { kind: "registered", registration });
  }

  /** Section 6.2.2: the lifetime begins anew, and what the client says has changed. */
  #update(nowUs: number, endpoint: string, request: IncomingRequest): HandlerResult {
    const before = this.#byEndpoint.get(endpoint)!.registration;
    const objects = request.payload.length === 0 ? {} : readObjects(request.payload);
    const peer = copyPeer(request.peer);
    const registration: Registration = { ...before, ...readUpdate(request.query), ...objects, peer };
    this.#put(nowUs, registration);
    const event: RegistryEvent = { kind: "updated", registration };
    // Mostly nothing has changed but the time, which is not kept.
    const same = JSON.stringify(before) === JSON.stringify(registration);
    if (!same) {
      if (peerKey(before.peer) !== peerKey(peer)) this.#parts.metrics.count("lwm2m_rebound");
      return this.#acknowledge(request, { code: Code.CHANGED }, event);
    }
    this.#events.push(event);
    return { code: Code.CHANGED };
  }

  /** Section 6.2.3. */
  #deregister(endpoint: string, request: IncomingRequest): HandlerResult {
    const { registration } = this.#byEndpoint.get(endpoint)!;
    this.#remove(registration);
    return this.#acknowledge(request, { code: Code.DELETED }, { kind: "deregistered", registration });
  }

  #acknowledge({ exchange }: IncomingRequest, response: CoapResponse, event: RegistryEvent): HandlerResult {
    const { registration } = event;
    const key = REGISTRATION_PREFIX + registration.endpoint;
    const gone = event.kind === "deregistered";
    const op: StoreOp = gone ? { kind: "delete", key } : { kind: "put", key, value: encodeRegistration(registration) };
    this.#pending.set(this.#parts.store([op]), { exchange, response, event });
    return "deferred";
  }

  #put(nowUs: number, registration: Registration): void {
    const { endpoint, id, lifetimeS } = registration;
    this.#release(endpoint);
    const endUs = nowUs + lifetimeS * 1_000_000 + GRACE_US;
    const timer = lifetimeS === 0 ? undefined : this.#timers.schedule(endUs, (now) => this.#lapse(now, registration));
    this.#byEndpoint.set(endpoint, { registration, seenUs: nowUs, timer });
    this.#byPeer.set(peerKey(registration.peer), endpoint);
    this.#router.add(["rd", id], this.#location(endpoint));
  }

  #location(endpoint: string): ResourceHandler {
    const update = (nowUs: number, request: IncomingRequest): HandlerResult =>
      this.#guarded(() => this.#update(nowUs, endpoint, request));
    return {
      post: update,
      put: update, // some clients of 1.0 do
      delete: (_nowUs, request) => this.#deregister(endpoint, request),
      maxBodyBytes: REGISTRATION_LIMITS.maxLinksBytes,
    };
  }

  /**
   * Its lifetime is over. One that is in the middle of answering us is there all the same: Anjay sends no Update while
   * it is given a package.
   */
  #lapse(nowUs: number, registration: Registration): void {
    const answeredUs = this.#parts.answeredUs?.(registration.endpoint);
    const entry = this.#byEndpoint.get(registration.endpoint);
    if (answeredUs === undefined || nowUs - answeredUs >= ANSWERING_US || entry === undefined)
      return this.#expire(registration);
    entry.timer = this.#timers.schedule(answeredUs + ANSWERING_US, (now) => this.#lapse(now, registration));
  }

  #expire(registration: Registration): void {
    this.#remove(registration);
    this.#parts.metrics.count("lwm2m_expired");
    this.#parts.store([{ kind: "delete", key: REGISTRATION_PREFIX + registration.endpoint }]);
    this.#events.push({ kind: "expired", registration });
  }

  #remove({ endpoint, id }: Registration): void {
    this.#release(endpoint);
    this.#byEndpoint.delete(endpoint);
    this.#router.remove(["rd", id]);
  }

  /** Lets go of the timer and the address of what is to be replaced or removed. */
  #release(endpoint: string): void {
    const entry = this.#byEndpoint.get(endpoint);
    if (entry === undefined) return;
    entry.timer?.cancel();
    const key = peerKey(entry.registration.peer);
    if (this.#byPeer.get(key) === endpoint) this.#byPeer.delete(key);
  }

  #guarded(action: () => HandlerResult): HandlerResult {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof RegistrationError)) throw error;
      this.#parts.metrics.count("lwm2m_refused", error.kind);
      const code = error.kind === "version" ? Code.PRECONDITION_FAILED : Code.BAD_REQUEST;
      return { code, payload: utf8(error.message) };
    }
  }

  #newId(): string {
    let id: string;
    do id = randomId(this.#parts.random, ID_DIGITS);
    while (this.#router.has(["rd", id]));
    return id;
  }
}

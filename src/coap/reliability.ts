import type { PeerAddress } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { dithered } from "../util/random.ts";
import { keepRecent } from "../util/recent.ts";
import type { Timer, TimerQueue } from "../util/timer-queue.ts";
import { COAP_LIMITS } from "./limits.ts";
import type { TransmissionParameters } from "./parameters.ts";
import { CONFIRMABLE, type ConfirmableState } from "./states.ts";
import { FixedTimer, type RetransmissionPlan, type RetransmissionTimer, type TimerChoice } from "./retransmission.ts";

export type Outcome = "acknowledged" | "reset" | "timeout";
/** A CON: its bytes, or what makes them when its turn has come; then undefined withdraws it. */
export interface ConfirmableMessage {
  readonly bytes: Uint8Array | ((nowUs: number) => Uint8Array | undefined);
  readonly messageId: number;
  readonly kind: "request" | "response";
}

export type CoapTimers = TimerQueue<(nowUs: number) => void>;

interface Confirmable {
  readonly peer: PeerAddress;
  readonly peerKey: string;
  readonly messageId: number;
  readonly kind: ConfirmableMessage["kind"];
  bytes: ConfirmableMessage["bytes"];
  readonly onOutcome: (nowUs: number, outcome: Outcome, retransmissions: number) => void;
  state: ConfirmableState;
  plan: RetransmissionPlan | undefined;
  startedUs: number;
  timeoutUs: number;
  retransmissions: number;
  timer: Timer | undefined;
}

export interface ReliabilityParts {
  readonly parameters: TransmissionParameters;
  readonly random: Random;
  readonly timers: CoapTimers;
  readonly send: (peer: PeerAddress, bytes: Uint8Array) => void;
  readonly choice?: TimerChoice | undefined;
  readonly onRetransmission?: ((nowUs: number, peer: PeerAddress) => void) | undefined;
}

interface PeerQueue {
  outstanding: number;
  readonly waiting: Confirmable[];
}

/**
 * Confirmable messages on their way: retransmission with exponential back-off (RFC 7252 section
 * 4.2), and at most NSTART of them at once per peer (section 4.7).
 */
export class Reliability {
  readonly #parameters: TransmissionParameters;
  readonly #random: Random;
  readonly #timers: CoapTimers;
  readonly #send: (peer: PeerAddress, bytes: Uint8Array) => void;
  readonly #outstanding = new Map<string, Confirmable>();
  readonly #peers = new Map<string, PeerQueue>();
  readonly #choice: TimerChoice | undefined;
  readonly #onRetransmission: ReliabilityParts["onRetransmission"];
  readonly #fixed: RetransmissionTimer;
  /** What these have measured survives between messages. */
  readonly #timersOf = new Map<string, RetransmissionTimer>();
  retransmitted = 0;

  constructor({ parameters, random, timers, send, choice, onRetransmission }: ReliabilityParts) {
    this.#choice = choice;
    this.#onRetransmission = onRetransmission;
    this.#fixed = new FixedTimer(parameters);
    this.#parameters = parameters;
    this.#random = random;
    this.#timers = timers;
    this.#send = send;
  }

  /** Sends `bytes`, a CON, now or when NSTART allows; false when too many wait already. */
  send(
    nowUs: number,
    to: { peer: PeerAddress; peerKey: string },
    message: ConfirmableMessage,
    onOutcome: Confirmable["onOutcome"],
  ): boolean {
    const queue = this.#peers.get(to.peerKey) ?? { outstanding: 0, waiting: [] };
    if (queue.waiting.length >= COAP_LIMITS.maxQueuedPerPeer) return false;
    this.#peers.set(to.peerKey, queue);
    const entry: Confirmable = {
      ...to,
      ...message,
      onOutcome,
      state: CONFIRMABLE.initial,
      plan: undefined,
      startedUs: 0,
      timeoutUs: 0,
      retransmissions: 0,
      timer: undefined,
    };
    if (queue.outstanding < this.#parameters.nstart) this.#start(nowUs, queue, entry);
    else queue.waiting.push(entry);
    return true;
  }

  /** Whether a response of ours under this ID waits for its ACK. */
  awaitsAck(peerKey: string, messageId: number): boolean {
    return this.#outstanding.get(`${peerKey}/${messageId}`)?.kind === "response";
  }

  /** An ACK or RST arrived; false when nothing of ours was meant. */
  settle(nowUs: number, peerKey: string, messageId: number, outcome: Outcome): boolean {
    const entry = this.#outstanding.get(`${peerKey}/${messageId}`);
    if (entry === undefined) return false;
    this.#measure(nowUs, entry);
    this.#end(nowUs, entry, "settled", outcome);
    return true;
  }

  /** The response came before the ACK, or in place of it: nothing is sent again. How often it had been. */
  answered(nowUs: number, peerKey: string, messageId: number): number {
    const entry = this.#outstanding.get(`${peerKey}/${messageId}`);
    if (entry === undefined) {
      this.cancel(nowUs, peerKey, messageId);
      return 0;
    }
    this.#measure(nowUs, entry);
    this.#end(nowUs, entry, "settled", undefined);
    return entry.retransmissions;
  }

  /** Stops sending a message without an outcome, whether it has been sent or still waits. */
  cancel(nowUs: number, peerKey: string, messageId: number): void {
    const entry = this.#outstanding.get(`${peerKey}/${messageId}`);
    if (entry !== undefined) {
      this.#end(nowUs, entry, "cancelled", undefined);
      return;
    }
    const waiting = this.#peers.get(peerKey)?.waiting;
    const at = waiting?.findIndex((candidate) => candidate.messageId === messageId) ?? -1;
    if (at >= 0) CONFIRMABLE.step(waiting!.splice(at, 1)[0]!, "cancelled");
  }

  #timerOf({ peer, peerKey }: Confirmable): RetransmissionTimer {
    const known = this.#timersOf.get(peerKey) ?? this.#choice?.(peer);
    if (known === undefined) return this.#fixed;
    keepRecent(this.#timersOf, peerKey, known, COAP_LIMITS.maxPeers);
    return known;
  }

  #measure(nowUs: number, entry: Confirmable): void {
    this.#timerOf(entry).measured(nowUs, nowUs - entry.startedUs, entry.retransmissions);
  }

  #start(nowUs: number, queue: PeerQueue, entry: Confirmable): void {
    queue.outstanding++;
    const bytes = this.#bytesOf(nowUs, entry);
    if (bytes === undefined) return this.#drop(nowUs, entry);
    entry.bytes = bytes;
    CONFIRMABLE.step(entry, "turn");
    this.#outstanding.set(`${entry.peerKey}/${entry.messageId}`, entry);
    const plan = this.#timerOf(entry).plan(nowUs);
    entry.plan = plan;
    entry.startedUs = nowUs;
    entry.timeoutUs = dithered(this.#random, plan.timeoutUs, plan.randomFactor);
    this.#transmit(nowUs, entry);
  }

  #bytesOf(nowUs: number, entry: Confirmable): Uint8Array | undefined {
    if (typeof entry.bytes !== "function") return entry.bytes;
    try {
      return entry.bytes(nowUs);
    } catch (error) {
      // A handler's defect must not keep what else waits for this peer: that goes on once this has been told.
      this.#timers.schedule(nowUs, (now) => {
        this.#drop(now, entry);
        entry.onOutcome(now, "timeout", 0);
      });
      throw error;
    }
  }

  /** There is nothing to send after all. */
  #drop(nowUs: number, entry: Confirmable): void {
    CONFIRMABLE.step(entry, "cancelled");
    this.#goOn(nowUs, entry.peerKey);
  }

  #transmit(nowUs: number, entry: Confirmable): void {
    this.#send(entry.peer, entry.bytes as Uint8Array);
    entry.timer = this.#timers.schedule(nowUs + entry.timeoutUs, (now) => this.#onTimer(now, entry));
  }

  #onTimer(nowUs: number, entry: Confirmable): void {
    const { maxRetransmit, spanUs } = entry.plan!;
    // Section 4.2: all copies leave within MAX_TRANSMIT_SPAN, however late the host is.
    if (entry.retransmissions >= maxRetransmit || nowUs - entry.startedUs > spanUs) {
      this.#end(nowUs, entry, "exhausted", "timeout");
      return;
    }
    if (!CONFIRMABLE.step(entry, "time-out")) return;
    entry.retransmissions++;
    entry.timeoutUs = Math.round(entry.plan!.backoff(entry.timeoutUs));
    this.retransmitted++;
    this.#onRetransmission?.(nowUs, entry.peer);
    this.#transmit(nowUs, entry);
  }

  #end(
    nowUs: number,
    entry: Confirmable,
    event: "settled" | "exhausted" | "cancelled",
    outcome: Outcome | undefined,
  ): void {
    if (!CONFIRMABLE.step(entry, event)) return;
    entry.timer?.cancel();
    this.#outstanding.delete(`${entry.peerKey}/${entry.messageId}`);
    this.#goOn(nowUs, entry.peerKey);
    if (outcome !== undefined) entry.onOutcome(nowUs, outcome, entry.retransmissions);
  }

  /** One is done: the next that waits may start. */
  #goOn(nowUs: number, peerKey: string): void {
    const queue = this.#peers.get(peerKey)!;
    queue.outstanding--;
    const next = queue.waiting.shift();
    if (next !== undefined) this.#start(nowUs, queue, next);
    else if (queue.outstanding === 0) this.#peers.delete(peerKey);
  }
}

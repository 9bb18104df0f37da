import type { CoapTimers } from "../reliability.ts";
import type { Observation } from "./observations.ts";

/** The least time between two non-confirmable notifications where no round trip was measured (RFC 7641 section 4.5.1). */
const NON_GAP_US = 3_000_000;

/** What became of a turn: a NON with a gap behind it, a CON whose outcome is to come, or nothing to tell after all. */
export type Told = "non" | "con" | "nothing";

export interface PaceParts {
  /** Sends the notification of what is due. */
  readonly send: (nowUs: number, observation: Observation) => Told;
  /** The gap behind a non-confirmable notification is over. */
  readonly settled: (nowUs: number, observation: Observation) => void;
}

/** First come, first told: one that changes all the time does not keep the others from their turn. */
type Waiting = Set<Observation>;

/**
 * Notifications of one client, whatever it observes, one by one: the next one waits for the ACK of a CON or for the
 * gap behind a NON (RFC 7641 section 4.5.1).
 */
export class Pace {
  readonly #timers: CoapTimers;
  readonly #parts: PaceParts;
  /** Clients that are being told something, and what waits behind it. */
  readonly #turns = new Map<string, Waiting>();

  constructor(timers: CoapTimers, parts: PaceParts) {
    this.#timers = timers;
    this.#parts = parts;
  }

  enter(nowUs: number, observation: Observation): void {
    const { peerKey } = observation;
    const waiting = this.#turns.get(peerKey);
    if (waiting !== undefined) waiting.add(observation);
    else {
      this.#turns.set(peerKey, new Set([observation]));
      this.over(nowUs, peerKey);
    }
  }

  /** What was under way to a client is so no more: on with what waits. */
  over(nowUs: number, peerKey: string): void {
    const waiting = this.#turns.get(peerKey);
    for (const observation of waiting ?? []) {
      waiting!.delete(observation);
      const told = this.#send(nowUs, observation);
      if (told === "non")
        this.#timers.schedule(nowUs + NON_GAP_US, (now) => {
          this.#parts.settled(now, observation); // it may line up again, behind the others
          this.over(now, peerKey);
        });
      if (told !== "nothing") return;
    }
    this.#turns.delete(peerKey);
  }

  #send(nowUs: number, observation: Observation): Told {
    try {
      return this.#parts.send(nowUs, observation);
    } catch (error) {
      // A handler's defect must not keep the client's other observations waiting.
      const { peerKey } = observation;
      if (this.#turns.get(peerKey)?.size === 0) this.#turns.delete(peerKey);
      else this.#timers.schedule(nowUs, (now) => this.over(now, peerKey));
      throw error;
    }
  }
}

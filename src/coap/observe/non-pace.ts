import type { CoapTimers } from "../reliability.ts";
import type { Observation } from "./observations.ts";

/** The least time between two non-confirmable notifications where no round trip was measured (RFC 7641 section 4.5.1). */
const NON_GAP_US = 3_000_000;

export interface NonPaceParts {
  /** Sends the notification of what is due; false when there was none to send. */
  readonly send: (nowUs: number, observation: Observation) => boolean;
  /** The gap behind a notification is over. */
  readonly settled: (nowUs: number, observation: Observation) => void;
}

interface Turn {
  /** Told last; the gap behind it is running. */
  told: Observation | undefined;
  /** First come, first told: one that changes all the time does not keep the others from their turn. */
  readonly waiting: Set<Observation>;
}

/** Non-confirmable notifications of one client, whatever it observes, one by one with a gap between them. */
export class NonPace {
  readonly #timers: CoapTimers;
  readonly #parts: NonPaceParts;
  readonly #turns = new Map<string, Turn>();

  constructor(timers: CoapTimers, parts: NonPaceParts) {
    this.#timers = timers;
    this.#parts = parts;
  }

  enter(nowUs: number, observation: Observation): void {
    const { peerKey } = observation;
    const turn = this.#turns.get(peerKey);
    if (turn !== undefined) turn.waiting.add(observation);
    else {
      const fresh = { told: undefined, waiting: new Set([observation]) };
      this.#turns.set(peerKey, fresh);
      this.#next(nowUs, peerKey, fresh);
    }
  }

  #next(nowUs: number, peerKey: string, turn: Turn): void {
    for (const observation of turn.waiting) {
      turn.waiting.delete(observation);
      let sent = false;
      try {
        sent = this.#parts.send(nowUs, observation);
      } catch (error) {
        this.#turns.delete(peerKey); // a handler's defect must not keep the client's other observations waiting
        throw error;
      }
      if (!sent) continue;
      turn.told = observation;
      this.#timers.schedule(nowUs + NON_GAP_US, (now) => {
        this.#parts.settled(now, observation); // it may line up again, behind the others
        this.#next(now, peerKey, turn);
      });
      return;
    }
    this.#turns.delete(peerKey);
  }
}

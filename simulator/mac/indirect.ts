import type { Engine } from "../engine/engine.ts";
import type { SendDone } from "./link-layer.ts";

interface Held {
  readonly payload: Uint8Array;
  readonly done: SendDone | undefined;
  readonly untilUs: number;
  /** Transmissions so far; each poll gives it one more. */
  tries: number;
}

interface Child {
  readonly frames: Held[];
  /** The frame that is being sent to it now. */
  sending: boolean;
  /** For a child that samples the channel: how long until it listens next. It has no need to poll. */
  readonly nextSampleUs: (() => number) | undefined;
}

/** How long a frame waits for its child, and how often it is tried (macTransactionPersistenceTime; OpenThread's retries). */
export interface IndirectLimits {
  readonly framesPerChild: number;
  readonly holdUs: number;
  readonly maxTries: number;
}

export const DEFAULT_INDIRECT: IndirectLimits = { framesPerChild: 4, holdUs: 8_000_000, maxTries: 4 };

/**
 * What a parent holds for its sleepy children: a few frames each, given out one for one poll, or at the moments at
 * which a child samples the channel (CSL).
 */
export class IndirectQueue {
  readonly #engine: Engine;
  readonly #transmit: (to: number, payload: Uint8Array, more: boolean, done: SendDone) => void;
  readonly #children = new Map<number, Child>();
  limits: IndirectLimits = DEFAULT_INDIRECT;
  /** Frames that no child came for in time. */
  expired = 0;

  constructor(engine: Engine, transmit: (to: number, payload: Uint8Array, more: boolean, done: SendDone) => void) {
    this.#engine = engine;
    this.#transmit = transmit;
  }

  /** From now on what is for this child waits for it. */
  adopt(child: number, nextSampleUs?: () => number): void {
    this.#children.set(child, { frames: [], sending: false, nextSampleUs });
  }

  release(to: number): void {
    const child = this.#children.get(to);
    if (child === undefined || child.sending) return;
    this.#expire(child);
    const head = child.frames[0];
    if (head === undefined) return;
    child.sending = true;
    head.tries++;
    this.#transmit(to, head.payload, child.frames.length > 1, (acknowledged) => this.#onSent(to, child, acknowledged));
  }

  abandon(child: number): void {
    this.#children.delete(child);
  }

  has(child: number): boolean {
    return this.#children.has(child);
  }

  holds(to: number): boolean {
    const child = this.#children.get(to);
    if (child === undefined) return false;
    this.#expire(child);
    return child.frames.length > 0;
  }

  push(to: number, payload: Uint8Array, done: SendDone | undefined): boolean {
    const child = this.#children.get(to)!;
    this.#expire(child);
    if (child.frames.length >= this.limits.framesPerChild) return false;
    child.frames.push({ payload, done, untilUs: this.#engine.nowUs() + this.limits.holdUs, tries: 0 });
    if (child.nextSampleUs !== undefined && child.frames.length === 1) this.#atSample(to, child);
    return true;
  }

  #atSample(to: number, { nextSampleUs }: Child): void {
    this.#engine.after(nextSampleUs!(), () => this.release(to));
  }

  #onSent(to: number, child: Child, acknowledged: boolean): void {
    child.sending = false;
    const head = child.frames[0]!;
    if (acknowledged || head.tries >= this.limits.maxTries) {
      child.frames.shift();
      head.done?.(acknowledged, head.tries);
    }
    if (child.nextSampleUs !== undefined && child.frames.length > 0) this.#atSample(to, child);
  }

  #expire(child: Child): void {
    const nowUs = this.#engine.nowUs();
    while (!child.sending && child.frames.length > 0 && child.frames[0]!.untilUs <= nowUs) {
      this.expired++;
      const { done, tries } = child.frames.shift()!;
      done?.(false, tries);
    }
  }
}

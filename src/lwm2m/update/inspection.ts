import { Firmware, FIRMWARE_OBJECT, State, STATE_NAMES } from "../firmware.ts";
import { parsePath, pathText, type Path } from "../path.ts";
import type { Quirks } from "../quirks.ts";
import type { Reading } from "../reading.ts";
import type { Delivery } from "./delivery.ts";
import type { Component } from "./job.ts";
import { RETRY_US, type UpdateContext } from "./ports.ts";
import { forgets } from "./reset.ts";

/** Times that a client which says that it is updating is looked at again; then that is not believed. */
const MAX_BUSY = 20;
/** Times that a question is answered that it comes at the wrong time; then without it. */
const MAX_UNREADY = 72;
const DEVICE: Path = [3, 0];
const ASKED = [Firmware.STATE, Firmware.RESULT, Firmware.DELIVERY, Firmware.PROTOCOLS];

/** What the questions before an update need besides. */
export interface InspectionContext extends UpdateContext {
  quirks: Quirks;
  readonly readings: readonly Reading[];
  versionOf(component: Component): string | undefined;
  versionPathsOf(component: Component): Path[];
}

/** What a client is and holds, before anything is sent to it, and again where it restarted on the way. */
export class Inspection {
  readonly #context: InspectionContext;
  readonly #delivery: Delivery;
  #questions: Path[] = [];
  #busy = 0;
  #unready = 0;
  #notBeforeUs = 0;
  readonly #versionsAsked = new Set<string>();

  constructor(context: InspectionContext, delivery: Delivery) {
    this.#context = context;
    this.#delivery = delivery;
  }

  begin(): void {
    const { object } = this.#context.target;
    // Wakaama 1.0 writes behind its heap when it is asked for the object as a whole.
    const whole = this.#context.ports.registration()?.version !== "1.0";
    this.#questions = whole ? [object, DEVICE] : [...ASKED.map((resource) => [...object, resource]), DEVICE];
  }

  /** Asks the next question, or acts on the answers. */
  goOn(nowUs: number): void {
    if (nowUs < this.#notBeforeUs) return this.#context.lookAt(this.#notBeforeUs);
    const path = this.#questions[0];
    if (path === undefined) return this.#answered(nowUs);
    this.#context.ask(nowUs, { kind: "read", path }, (now, result) => {
      // Not now says nothing of what it is: Anjay Lite answers so as long as it waits for the rest of a package.
      // One that was given a package by us waits for its next block, and for nothing else.
      const waits = result.kind === "refused" && result.code === "5.03" && this.#context.job.method !== "push";
      if (waits && this.#unready++ < MAX_UNREADY) {
        this.#notBeforeUs = now + RETRY_US;
        return;
      }
      this.#questions.shift();
      if (result.kind === "done" || path.length > 2) return;
      // What does not answer as a whole may answer one by one.
      const parts = path === DEVICE ? [0, 1] : ASKED;
      for (const resource of parts) this.#questions.push([...path, resource]);
    });
  }

  #answered(nowUs: number): void {
    const { job, facts, ports, target } = this.#context;
    const missing = this.#context.versionPathsOf(target).find((path) => !this.#asked(path));
    if (this.#context.versionOf(target) === undefined && missing !== undefined) {
      this.#versionsAsked.add(pathText(missing));
      this.#questions.push(missing);
      return this.goOn(nowUs);
    }
    const registration = ports.registration();
    if (job.method === undefined && registration !== undefined) {
      const { readings } = this.#context;
      this.#context.quirks = ports.quirks({ registration, readings, restState: facts.state });
      job.quirks = this.#context.quirks.name;
    }
    const { quirks } = this.#context;
    const version = this.#context.versionOf(target);
    job.versionBefore ??= version;
    if (version !== undefined) job.versionsBefore[job.component] ??= version;
    const readAt = this.#context.versionPathsOf(target).find((path) => this.#known(path));
    if (readAt !== undefined) job.versionPaths[job.component] ??= readAt;
    const state = stateNote(facts.state, quirks);
    ports.note(nowUs, "inspected", `version ${version ?? "unknown"}, profile ${quirks.name}, ${state}`);
    if (job.method !== undefined) return this.#resumed(nowUs);
    if (version === target.version && !job.policy.force && job.components.length === 1) {
      Object.assign(job, { reason: "already-current", detail: `it runs ${version} already`, versionAfter: version });
      this.#context.step(nowUs, "current");
    } else if (this.#context.state() === State.UPDATING && ++this.#busy < MAX_BUSY) {
      this.begin(); // another update is at it: once more later
      this.#context.lookAt(nowUs + this.#context.intervalUs());
    } else this.#context.step(nowUs, this.#context.state() === State.IDLE && !forgets(quirks) ? "reset" : "inspected");
  }

  #asked(path: Path): boolean {
    return this.#versionsAsked.has(pathText(path)) || this.#known(path);
  }

  #known(path: Path): boolean {
    return this.#context.readings.some((one) => pathText(one.path) === pathText(path));
  }

  /** After the client restarted on the way. */
  #resumed(nowUs: number): void {
    const { job, facts } = this.#context;
    const state = this.#context.state();
    const { result } = facts;
    if (state === State.DOWNLOADED) this.#context.step(nowUs, "downloaded");
    else if (job.method === "push" && forgets(this.#context.quirks)) this.#context.step(nowUs, "inspected");
    else if (state === State.DOWNLOADING || job.method === "push") {
      if (this.#context.step(nowUs, "lost")) this.#delivery.resume(nowUs);
    } else if (state === State.IDLE && result !== undefined && result >= 2 && this.#context.step(nowUs, "lost"))
      this.#delivery.failed(nowUs, result);
    else this.#context.step(nowUs, "reset"); // it is offered again, and goes on behind what it has kept
  }
}

export function stateNote(state: number | undefined, quirks: Quirks): string {
  if (state === undefined) return "";
  const name = quirks.trustState ? STATE_NAMES[quirks.states.indexOf(state)] : undefined;
  return `State ${state}${name === undefined ? "" : ` (${name})`}`;
}

/** Where a component's version is read: where the operator says, or the profile, or the object itself. */
export function versionPaths({ object, versionPath }: Component, quirks: Quirks): Path[] {
  if (versionPath !== undefined) return [versionPath];
  if (object[0] !== FIRMWARE_OBJECT) return [[...object, Firmware.CURRENT_VERSION]];
  const own = quirks.versionPath === undefined ? undefined : parsePath(quirks.versionPath);
  return own === undefined
    ? [
        [3, 0, 3],
        [...object, Firmware.PKG_VERSION],
      ]
    : [own];
}

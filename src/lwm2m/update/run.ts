import { Firmware, learnFacts, State, type FirmwareFacts } from "../firmware.ts";
import type { Operation } from "../operation.ts";
import type { OperationResult } from "../operation-result.ts";
import { isWithin, parsePath, pathText, type Path } from "../path.ts";
import { STANDARD, type Quirks } from "../quirks.ts";
import type { Reading } from "../reading.ts";
import { toText } from "../values.ts";
import { UPDATE, type UpdateEvent } from "../states.ts";
import { Delivery } from "./delivery.ts";
import { Inspection, stateNote, type InspectionContext } from "./inspection.ts";
import { Installation, type InstallationContext } from "./installation.ts";
import { hasEnded, type Component, type UpdateJob } from "./job.ts";
import type { Answered, UpdatePorts } from "./ports.ts";

/** Readings that are kept as evidence of what client it is. */
const MAX_READINGS = 64;
/** An answer that does not come is asked for again, at the earliest so much later. */
const RETRY_US = 5_000_000;

/** One update of one client, from the first question to the version that it boots. */
export class UpdateRun implements InstallationContext, InspectionContext {
  readonly job: UpdateJob;
  readonly ports: UpdatePorts;
  facts: FirmwareFacts = {};
  quirks: Quirks;
  readonly #delivery: Delivery;
  readonly #installation: Installation;
  readonly #inspection: Inspection;
  readings: Reading[] = [];
  #pending: { readonly operation: number; readonly question: Operation; readonly answered: Answered } | undefined;
  #dueUs: number | undefined;
  #heardUs: number;

  constructor(nowUs: number, job: UpdateJob, ports: UpdatePorts) {
    this.job = job;
    this.ports = ports;
    this.quirks = ports.quirksNamed(job.quirks) ?? STANDARD;
    this.#delivery = new Delivery(this);
    this.#installation = new Installation(this);
    this.#inspection = new Inspection(this, this.#delivery);
    this.#heardUs = nowUs;
  }

  get target(): Component {
    return this.job.components[this.job.component]!;
  }

  get busy(): boolean {
    return this.#pending !== undefined;
  }

  get dueUs(): number | undefined {
    return this.#dueUs;
  }

  state(): number | undefined {
    const { state } = this.facts;
    if (state === undefined || !this.quirks.trustState) return undefined;
    const at = this.quirks.states.indexOf(state);
    return at < 0 ? undefined : at;
  }

  /** Begins, or goes on after a restart of the gateway. */
  start(nowUs: number): void {
    const { state, location } = this.job;
    this.lookAt(nowUs + RETRY_US);
    if (state === "inspecting") this.#inspection.begin();
    const here = this.ports.registration()?.id;
    const missed = here !== undefined && here !== location && RETURNS.has(state);
    if (missed) return this.registered(nowUs); // it came back while we were away
    if (state === "transferring" && this.step(nowUs, "lost")) this.#inspection.begin();
    this.advance(nowUs);
  }

  ask(nowUs: number, question: Operation, answered: Answered, priority?: number): void {
    const operation = this.ports.submit(nowUs, question, priority);
    if (operation === undefined) this.lookAt(nowUs + RETRY_US);
    else this.#pending = { operation, question, answered };
  }

  /** The operation with this number has ended; false when it is none of this update's. */
  handleOutcome(nowUs: number, operation: number, result: OperationResult): boolean {
    const pending = this.#pending;
    if (pending?.operation !== operation) return false;
    this.#pending = undefined;
    if (result.kind !== "failed") this.#heardUs = nowUs;
    if (result.kind === "done" && result.readings !== undefined) this.learn(result.readings);
    if (result.kind === "failed" && UNHEARD.has(result.reason)) this.#unheard(nowUs, pending.question);
    else {
      pending.answered(nowUs, result);
      this.advance(nowUs);
    }
    return true;
  }

  /** The client told of itself, by Notify or Send. */
  handleReport(nowUs: number, readings: readonly Reading[]): void {
    this.#heardUs = nowUs;
    if (this.learn(readings) === 0) return;
    if (this.job.state === "transferring") this.#delivery.judge(nowUs);
    else if (this.job.state === "applying" || this.job.state === "deferred") this.#installation.judge(nowUs);
    this.advance(nowUs);
  }

  /** Takes back what was asked of the client before it registered anew: a block in the middle of nothing, say. */
  restarted(nowUs: number): void {
    if (this.#pending?.question.kind === "push") this.#abandon(nowUs);
  }

  /** It registered anew: whatever it was asked before it does not know any more. */
  registered(nowUs: number): void {
    const { job } = this;
    this.#heardUs = nowUs;
    const back = job.location !== this.ports.registration()?.id;
    if (LOST.has(job.state) && (back || job.state !== "transferring")) {
      this.#abandon(nowUs);
      this.facts = {};
      if (this.step(nowUs, "lost")) this.#inspection.begin();
    } else if (BACK.has(job.state) && back) {
      this.#abandon(nowUs);
      this.facts = {};
      this.ports.note(nowUs, "came-back", "registered again");
      this.step(nowUs, "back");
    } else if (this.#pending === undefined && job.state === "inspecting") this.#inspection.begin();
    this.advance(nowUs);
  }

  /** It sent an Update, or anything else of its own. */
  heard(nowUs: number): void {
    this.#heardUs = nowUs;
    if (this.job.state === "transferring") this.#delivery.awake(nowUs);
    else if (this.job.state === "applying" || this.job.state === "deferred") this.#installation.awake(nowUs);
    this.advance(nowUs);
  }

  /** Bytes of the image at hand were served to it. */
  served(nowUs: number): void {
    this.#heardUs = nowUs;
    if (this.job.state === "transferring") this.#delivery.moved(nowUs);
  }

  /** The image has come into memory, or cannot be had. */
  imageSettled(nowUs: number): void {
    if (this.job.state === "waiting") this.advance(nowUs);
    else if (this.job.state === "transferring") this.#delivery.resume(nowUs);
  }

  handleTimeout(nowUs: number): void {
    if (this.#dueUs === undefined || this.#dueUs > nowUs || hasEnded(this.job)) return;
    this.#dueUs = undefined;
    if (this.#isTooLate(nowUs)) return;
    const { state } = this.job;
    if (state === "transferring") this.#delivery.look(nowUs);
    else if (AFTER.has(state)) this.#installation.look(nowUs);
    this.advance(nowUs);
    if (this.#dueUs === undefined && !hasEnded(this.job)) this.lookAt(nowUs + this.intervalUs());
  }

  /** False when it is too late for that. */
  cancel(nowUs: number): boolean {
    const begun = this.job.state !== "waiting" && this.job.state !== "inspecting";
    if (!this.step(nowUs, "cancel")) return false;
    this.#abandon(nowUs);
    const registration = this.ports.registration();
    if (!begun || registration === undefined) this.#gone(nowUs);
    else {
      const version = registration.objects.find(
        ({ path }) => path.length === 1 && path[0] === this.target.object[0],
      )?.version;
      const path = [
        ...this.target.object,
        version === undefined || version === "1.0" ? Firmware.PACKAGE_URI : Firmware.CANCEL,
      ];
      const operation: Operation =
        path[2] === Firmware.CANCEL
          ? { kind: "execute", path }
          : { kind: "write", path, readings: [{ path, value: "" }], replace: true };
      this.ask(nowUs, operation, (now) => this.#gone(now));
      if (!this.busy) this.#gone(nowUs);
    }
    return true;
  }

  learn(readings: readonly Reading[]): number {
    for (const reading of readings) {
      const key = pathText(reading.path);
      this.readings = this.readings.filter(({ path }) => pathText(path) !== key);
      this.readings.push(reading);
    }
    this.readings.splice(0, this.readings.length - MAX_READINGS);
    const learnt = learnFacts(this.facts, this.target.object, readings);
    if (this.facts.result !== undefined) this.job.result = this.facts.result;
    return learnt;
  }

  step(nowUs: number, event: UpdateEvent): boolean {
    const before = this.job.state;
    if (!UPDATE.step(this.job, event)) return false;
    const { state } = this.job;
    if (event === "other method") this.#abandon(nowUs);
    if (state !== before) this.ports.note(nowUs, state, stateNote(this.facts.state, this.quirks));
    if (hasEnded(this.job)) {
      this.#abandon(nowUs);
      this.#dueUs = undefined;
      this.job.endedMs = this.ports.unixMs(nowUs);
    }
    this.ports.changed(nowUs);
    return true;
  }

  fail(nowUs: number, reason: string, detail: string, advice: string): void {
    Object.assign(this.job, { reason, detail, advice });
    this.ports.note(nowUs, "reason", `${reason}: ${detail}`);
    this.step(nowUs, "fail");
  }

  lookAt(atUs: number): void {
    this.#dueUs = atUs;
  }

  installing(nowUs: number): void {
    this.#installation.begin(nowUs);
  }

  /** The text at the place where this component's version is read; undefined where it is not known. */
  versionOf(component: Component): string | undefined {
    for (const path of versionPaths(component, this.quirks)) {
      const reading = this.readings.find((one) => pathText(one.path) === pathText(path));
      if (reading !== undefined) return toText(reading.value);
    }
    return undefined;
  }

  versionPathsOf(component: Component): Path[] {
    return versionPaths(component, this.quirks);
  }

  /** Forgets versions, so that only what is read from now on counts. */
  forgetVersions(): void {
    const paths = this.job.components.flatMap((component) => this.versionPathsOf(component));
    this.readings = this.readings.filter(({ path }) => !paths.some((other) => isWithin(path, other)));
  }

  /** Does what this state calls for, unless an answer is awaited. */
  advance(nowUs: number): void {
    for (let before = ""; before !== this.job.state && this.#pending === undefined;) {
      before = this.job.state;
      if (before === "waiting") this.#begin(nowUs);
      else if (before === "inspecting") this.#inspection.goOn(nowUs);
      else if (before === "resetting") this.#reset(nowUs);
      else if (before === "offering") this.#delivery.offer(nowUs);
      else if (before === "downloaded") this.#nextComponent(nowUs);
      else if (before === "verifying" || before === "soaking") this.#installation.verify(nowUs);
    }
  }

  #begin(nowUs: number): void {
    const image = this.ports.image(nowUs, this.target.digest);
    if (image === "unknown")
      return this.fail(nowUs, "image-unknown", "no such image is published", "publish it, then start the update again");
    if (image === "loading" || this.ports.registration() === undefined) return this.lookAt(nowUs + this.intervalUs());
    if (this.step(nowUs, "ready")) this.#inspection.begin();
  }

  #reset(nowUs: number): void {
    const { quirks, target } = this;
    const state = this.state();
    const pointless = quirks.reset === "none" || !quirks.trustState || state === State.IDLE;
    if (pointless) return void this.step(nowUs, "reset");
    const path = [...target.object, quirks.reset === "uri" ? Firmware.PACKAGE_URI : Firmware.PACKAGE];
    const value = quirks.reset === "uri" ? "" : Uint8Array.of(0);
    this.ask(nowUs, { kind: "write", path, readings: [{ path, value }], replace: true }, (now, { kind }) => {
      this.ports.note(now, "reset", kind === "done" ? "" : "refused, which means nothing");
      if (kind === "done") this.facts.state = quirks.states[State.IDLE]!;
      this.step(now, "reset");
    });
  }

  #nextComponent(nowUs: number): void {
    if (this.job.component + 1 >= this.job.components.length) return this.#installation.execute(nowUs);
    this.job.component++;
    Object.assign(this.job, { method: undefined, tried: [], versionBefore: undefined, token: undefined });
    this.facts = {};
    if (this.step(nowUs, "component")) this.#inspection.begin();
  }

  #gone(nowUs: number): void {
    Object.assign(this.job, { reason: "cancelled", detail: "cancelled by the operator" });
    this.step(nowUs, "gone");
  }

  #abandon(nowUs: number): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.ports.withdraw(nowUs, pending.operation);
  }

  #unheard(nowUs: number, { kind }: Operation): void {
    this.lookAt(nowUs + Math.round(this.intervalUs() / 4));
    if (this.job.state === "cancelling") this.#gone(nowUs);
    else if (kind === "execute" && this.job.state === "applying") this.ports.note(nowUs, "unanswered", "Execute");
  }

  intervalUs(): number {
    return this.ports.intervalUs(this.job.policy.activeIntervalS * 1_000_000);
  }

  /** Ends what has gone on for too long, or whose client has been silent for too long. */
  #isTooLate(nowUs: number): boolean {
    const { job, ports } = this;
    const { deadlineS, graceS } = job.policy;
    const ageMs = ports.unixMs(nowUs) - job.startedMs;
    if (deadlineS !== undefined && !AFTER.has(job.state) && ageMs >= deadlineS * 1_000) {
      this.fail(nowUs, "deadline", `not executed within ${deadlineS} s`, "start it again with a later deadline");
      return true;
    }
    if (job.state === "waiting" || job.state === "cancelling") return false;
    const lifetimeS = this.#installation.lifetimeS;
    if (nowUs - this.#heardUs < (lifetimeS + graceS) * 1_000_000) return false;
    const detail = `nothing was heard of it for ${lifetimeS + graceS} s, its lifetime and the grace`;
    const advice = AFTER.has(job.state)
      ? "go to the device: it has not come back from its restart"
      : "look at its link and its battery";
    this.fail(nowUs, "silent", detail, advice);
    return true;
  }
}

const LOST: ReadonlySet<string> = new Set(["resetting", "offering", "transferring"]);
const BACK: ReadonlySet<string> = new Set(["applying", "deferred", "soaking"]);
const RETURNS: ReadonlySet<string> = new Set(["transferring", "applying", "deferred"]);
const AFTER: ReadonlySet<string> = new Set(["applying", "deferred", "verifying", "soaking"]);
/** Failures after which the same may be asked again: the client has not answered. */
const UNHEARD: ReadonlySet<string> = new Set(["timeout", "expired", "deregistered", "too-many-requests", "cancelled"]);

/** Where a component's version is read: where the operator says, or the profile, or the object itself. */
function versionPaths({ object, versionPath }: Component, quirks: Quirks): Path[] {
  if (versionPath !== undefined) return [versionPath];
  if (object[0] !== 5) return [[...object, Firmware.CURRENT_VERSION]];
  const own = quirks.versionPath === undefined ? undefined : parsePath(quirks.versionPath);
  return own === undefined
    ? [
        [3, 0, 3],
        [...object, Firmware.PKG_VERSION],
      ]
    : [own];
}

import { Firmware, learnFacts, State, type FirmwareFacts } from "../firmware.ts";
import { writeOf, type Operation } from "../operation.ts";
import type { OperationResult } from "../operation-result.ts";
import { isWithin, pathText, type Path } from "../path.ts";
import type { Quirks } from "../quirks.ts";
import type { Reading } from "../reading.ts";
import { toText } from "../values.ts";
import { UPDATE, type UpdateEvent } from "../states.ts";
import { Delivery } from "./delivery.ts";
import { isHeld, mayApply } from "./hold.ts";
import { Inspection, stateNote, versionPaths, type InspectionContext } from "./inspection.ts";
import { Installation, type InstallationContext } from "./installation.ts";
import { hasEnded, type Component, type UpdateJob } from "./job.ts";
import { forgets, resetWrite } from "./reset.ts";
import { RETRY_US, type Answered, type Stored, type UpdatePorts, type Why } from "./ports.ts";

/** Readings that are kept as evidence of what client it is. */
const MAX_READINGS = 64;
/** Times that one question is asked of a client that leaves it without an answer. */
const MAX_UNANSWERED = 3;
/** Some clients say nothing for 5 minutes, not even an Update, after the last block of a push that was broken off. */
const PUSH_SILENCE_S = 330;
/** Times that an image is tried to be read, each after twice the time. */
const MAX_IMAGE_FAILURES = 6;
/** Times that a client may begin its download anew. */
const MAX_BEGINNINGS = 5;
/** A first block that is asked for once more is no loss of what came behind it. */
const LEAST_LOSS_BYTES = 1_024;

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
  heardLately = false;
  /** How often each question was left without an answer, one time after the other. */
  readonly #unanswered = new Map<string, number>();
  #imageFailures = 0;

  constructor(nowUs: number, job: UpdateJob, ports: UpdatePorts) {
    this.job = job;
    this.ports = ports;
    this.quirks = ports.quirksNamed(job.quirks);
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
    const { state, location, method } = this.job;
    this.lookAt(nowUs + RETRY_US);
    if (method === "trigger" && state === "applying") this.ports.watch(); // its worker may be fetching yet
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

  /** The operation with this number has ended. */
  handleOutcome(nowUs: number, operation: number, result: OperationResult): void {
    const pending = this.#pending;
    if (pending?.operation !== operation) return; // it was given up
    this.#pending = undefined;
    if (result.kind !== "failed") this.hear(nowUs);
    if (result.kind === "done" && result.readings !== undefined) this.#learn(result.readings);
    if (result.kind === "failed" && UNHEARD.has(result.reason) && this.#patient(pending.question, result.reason))
      this.#unheard(nowUs, pending.question);
    else {
      this.#unanswered.clear();
      pending.answered(nowUs, result);
      this.advance(nowUs);
    }
  }

  /** The client told of itself, by Notify or Send. */
  handleReport(nowUs: number, readings: readonly Reading[]): void {
    this.hear(nowUs);
    if (this.#learn(readings) === 0) return;
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
    this.hear(nowUs);
    const back = job.location !== this.ports.registration()?.id;
    if (LOST.has(job.state) && (back || job.state !== "transferring")) {
      this.#abandon(nowUs);
      this.facts = {};
      this.#delivery.lost();
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
    this.hear(nowUs);
    if (this.job.state === "transferring") this.#delivery.awake(nowUs);
    else if (this.job.state === "applying" || this.job.state === "deferred") this.#installation.awake(nowUs);
    this.advance(nowUs);
  }

  /** Bytes of the image at hand were served to it; `again`: it had them before. */
  served(nowUs: number, offset: number, again: boolean): void {
    const { job, ports, target } = this;
    this.hear(nowUs);
    // One that has lost what it had begins anew, but not for ever.
    const anew = again && offset === 0 && ports.progress(target.digest).covered > LEAST_LOSS_BYTES;
    if (anew && job.beginnings < MAX_BEGINNINGS) {
      job.beginnings++;
      ports.restart(target.digest);
      ports.note(nowUs, "began-anew", "the client asks for its package from the beginning");
    } else if (again) return;
    if (job.state === "transferring") this.#delivery.moved(nowUs);
    else if (job.state === "applying" && job.method === "trigger") this.#installation.moved(nowUs);
  }

  /** The image has come into memory, or cannot be had now. */
  imageSettled(nowUs: number, ready: boolean): void {
    if (!ready) {
      if (this.job.state !== "waiting" && this.job.state !== "transferring") return;
      if (++this.#imageFailures < MAX_IMAGE_FAILURES) return this.lookAt(nowUs + RETRY_US * 2 ** this.#imageFailures);
      const advice = "see the gateway's log for what is wrong with its disk or the image's source";
      return this.fail(nowUs, "image-unavailable", "the image cannot be read", advice);
    }
    this.#imageFailures = 0;
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

  /** False when it is too late for that; `then` is told whether it got to the disk. */
  cancel(nowUs: number, why: Why, then: Stored): boolean {
    const begun = this.job.state !== "waiting" && this.job.state !== "inspecting";
    if (!this.step(nowUs, "cancel", then, why)) return false;
    this.#abandon(nowUs);
    if (begun) this.#tellCancelled(nowUs);
    else this.#gone(nowUs);
    return true;
  }

  /** Has the client let go of what it has. */
  #tellCancelled(nowUs: number): void {
    const registration = this.ports.registration();
    if (registration === undefined) return this.#gone(nowUs);
    const { object } = this.target;
    const entry = registration.objects.find(({ path }) => path.length === 1 && path[0] === object[0]);
    const old = entry?.version === undefined || entry.version === "1.0"; // without Cancel
    const operation: Operation = old
      ? writeOf([...object, Firmware.PACKAGE_URI], "")
      : { kind: "execute", path: [...object, Firmware.CANCEL] };
    this.ask(nowUs, operation, (now) => this.#gone(now));
    if (!this.busy) this.#gone(nowUs);
    else this.lookAt(nowUs + this.intervalUs());
  }

  #learn(readings: readonly Reading[]): number {
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

  step(nowUs: number, event: UpdateEvent, then?: Stored, why?: Why): boolean {
    const before = this.job.state;
    if (!UPDATE.step(this.job, event)) return false;
    Object.assign(this.job, why); // written along: it is what a gateway that is killed has to say
    const { state } = this.job;
    if (event === "other method") this.#abandon(nowUs);
    if (state !== before) this.ports.note(nowUs, state, stateNote(this.facts.state, this.quirks));
    if (hasEnded(this.job)) {
      this.#abandon(nowUs);
      this.#dueUs = undefined;
      this.job.endedMs = this.ports.unixMs(nowUs);
    }
    this.ports.changed(then);
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
    for (const path of this.versionPathsOf(component)) {
      const reading = this.readings.find((one) => pathText(one.path) === pathText(path));
      if (reading !== undefined) return toText(reading.value);
    }
    return undefined;
  }

  versionPathsOf(component: Component): Path[] {
    const known = this.job.versionPaths[this.job.components.indexOf(component)];
    return known === undefined ? versionPaths(component, this.quirks) : [known];
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
      const refusal = DECIDING.has(before) ? this.ports.refusal(nowUs) : undefined;
      if (refusal !== undefined) return void this.cancel(nowUs, refusal, () => {});
      if (before === "waiting") this.#begin(nowUs);
      else if (before === "inspecting") this.#inspection.goOn(nowUs);
      else if (before === "resetting") this.#reset(nowUs);
      else if (before === "offering") this.#delivery.offer(nowUs);
      else if (before === "cancelling") this.#tellCancelled(nowUs);
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
    const { quirks } = this;
    const write = resetWrite(this);
    if (write === undefined) return void this.step(nowUs, "reset");
    this.ask(nowUs, write, (now, { kind }) => {
      if (kind === "failed" && forgets(quirks)) return this.lookAt(now + this.intervalUs()); // not without it
      this.ports.note(now, "reset", kind === "done" ? "" : "refused, which means nothing");
      if (kind === "done") this.facts.state = quirks.states[State.IDLE]!;
      this.step(now, "reset");
    });
  }

  #nextComponent(nowUs: number): void {
    if (this.job.component + 1 >= this.job.components.length)
      return mayApply(this, nowUs) ? this.#installation.execute(nowUs) : undefined;
    this.job.component++;
    Object.assign(this.job, { method: undefined, tried: [], versionBefore: undefined, token: undefined });
    this.facts = {};
    if (this.step(nowUs, "component")) this.#inspection.begin();
  }

  get isHeld(): boolean {
    return isHeld(this.job);
  }

  #gone(nowUs: number): void {
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
    if (deadlineS !== undefined && !AFTER.has(job.state) && job.state !== "cancelling" && ageMs >= deadlineS * 1_000) {
      this.fail(nowUs, "deadline", `not executed within ${deadlineS} s`, "start it again with a later deadline");
      return true;
    }
    if (job.state === "waiting") return false;
    const pushing = job.state === "transferring" && job.method === "push";
    const silentS = Math.max(this.#installation.lifetimeS + graceS, pushing ? PUSH_SILENCE_S : 0);
    if (nowUs - this.#heardUs < silentS * 1_000_000) return false;
    if (job.state === "cancelling") this.#gone(nowUs);
    else this.tooSilent(nowUs, silentS);
    return true;
  }

  tooSilent(nowUs: number, silentS?: number): void {
    const { job } = this;
    const longest = this.#installation.lifetimeS + job.policy.graceS;
    const why = silentS === undefined || silentS === longest ? ", its lifetime and the grace" : "";
    const detail = `nothing was heard of it for ${silentS ?? longest} s${why}`;
    const advice = AFTER.has(job.state)
      ? "go to the device: it has not come back from its restart"
      : "look at its link and its battery";
    this.fail(nowUs, "silent", detail, advice);
  }

  hear(nowUs: number): void {
    this.#heardUs = nowUs;
    this.heardLately = true;
  }

  /** Whether what was not answered is asked again: a client that is heard of may never answer just this. */
  #patient({ kind, path }: Operation, reason: string): boolean {
    if (kind === "push" || reason !== "timeout") return true;
    const key = `${kind} ${pathText(path)}`;
    const times = (this.#unanswered.get(key) ?? 0) + 1;
    this.#unanswered.set(key, times);
    return times < MAX_UNANSWERED;
  }
}

const DECIDING: ReadonlySet<string> = new Set(["inspecting", "offering", "downloaded"]);
const LOST: ReadonlySet<string> = new Set(["resetting", "offering", "transferring"]);
const BACK: ReadonlySet<string> = new Set(["applying", "deferred", "soaking"]);
const RETURNS: ReadonlySet<string> = new Set(["transferring", "applying", "deferred"]);
const AFTER: ReadonlySet<string> = new Set(["applying", "deferred", "verifying", "soaking"]);
/** Failures after which the same may be asked again: the client has not answered. */
const UNHEARD: ReadonlySet<string> = new Set(["timeout", "expired", "deregistered", "too-many-requests", "cancelled"]);

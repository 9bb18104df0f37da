import {
  ADVANCED_FIRMWARE_OBJECT,
  Firmware,
  RESULT_DEFERRED,
  RESULT_SUCCESS,
  resultMeaning,
  State,
} from "../firmware.ts";
import { writeOf, type Operation } from "../operation.ts";
import { pathText, type Path } from "../path.ts";
import { mayApply } from "./hold.ts";
import type { Component } from "./job.ts";
import { RETRY_US, type UpdateContext } from "./ports.ts";

/** Times that Update is executed on a client that did not hear of it, or was not ready. */
const MAX_EXECUTES = 6;
/** An Update takes a while; a client with a short lifetime is given at least so long. */
const LEAST_RETURN_S = 300;
/** Times that a version is read in vain. */
const MAX_UNREADABLE = 3;
const DEFAULT_LIFETIME_S = 86_400;
/** How long an update may be put off where the operator sets no limit: then it is asked for again. */
const DEFAULT_DEFER_S = 86_400;

/** What the part of an update after its download needs besides. */
export interface InstallationContext extends UpdateContext {
  versionOf(component: Component): string | undefined;
  versionPathsOf(component: Component): Path[];
  forgetVersions(): void;
  /** It has been heard of since the gateway runs. */
  readonly heardLately: boolean;
  tooSilent(nowUs: number): void;
}

/**
 * From Update to the version that runs: the client is believed once it has registered again and
 * reads exactly the expected version, for as long as the soak says. What it reports is not proof.
 */
export class Installation {
  readonly #context: InstallationContext;
  #versionsRead = false;
  #unreadable = 0;
  /** A version that could not be read is not read again before. */
  #notBeforeUs = 0;
  /** Update was refused, and is to be tried once more. */
  #again = false;

  constructor(context: InstallationContext) {
    this.#context = context;
  }

  /** Of its registration, or of its last one. */
  get lifetimeS(): number {
    const { job, ports } = this.#context;
    const lifetimeS = ports.registration()?.lifetimeS;
    if (lifetimeS !== undefined) job.lifetimeS = lifetimeS === 0 ? DEFAULT_LIFETIME_S : lifetimeS;
    return job.lifetimeS ?? DEFAULT_LIFETIME_S;
  }

  /** Sends Update, after what the policy has to say of deferring it. */
  execute(nowUs: number): void {
    const { job } = this.#context;
    const { severity, maxDeferS } = job.policy;
    const settings: [number, number][] = [];
    if (severity !== undefined) settings.push([Firmware.SEVERITY, severity]);
    if (maxDeferS !== undefined) settings.push([Firmware.MAX_DEFER, maxDeferS]);
    const next = (now: number): void => {
      if (!mayApply(this.#context, now)) return; // taken back meanwhile
      const setting = settings.shift();
      if (setting === undefined) return this.begin(now, true);
      const path = [...this.#context.target.object, setting[0]];
      this.#context.ask(now, writeOf(path, setting[1]), next); // a client may not have it
    };
    next(nowUs);
  }

  /** From now on the client is to come back; `tell`: by our Execute. */
  begin(nowUs: number, tell = false): void {
    const { job, ports } = this.#context;
    job.location = ports.registration()?.id;
    job.executedMs = ports.unixMs(nowUs);
    job.resultBefore = this.#context.facts.result;
    if (tell) job.executes++;
    else job.promised = true; // it was seen to install
    void this.lifetimeS; // kept for when it is gone
    // After a crash nobody must wonder whether it was sent.
    const then = (now: number, done: boolean): void => (done ? this.#tell(now) : this.#later(now));
    if (this.#context.step(nowUs, "execute", tell ? then : undefined))
      this.#context.lookAt(nowUs + this.#context.intervalUs());
  }

  /** It could not be sent now, or not be written that it is. */
  #later(nowUs: number): void {
    this.#context.job.executes--;
    this.#again = true;
    this.#context.lookAt(nowUs + RETRY_US);
  }

  #tell(nowUs: number): void {
    const { job, target } = this.#context;
    if (job.state !== "applying") return;
    if (this.#context.busy) return this.#later(nowUs);
    const path = [...target.object, Firmware.UPDATE];
    const others = job.components.filter(
      (component) => component !== target && component.object[0] === ADVANCED_FIRMWARE_OBJECT,
    );
    const links = others.map(({ object }) => `<${pathText(object)}>`).join(",");
    const operation: Operation =
      links === "" ? { kind: "execute", path } : { kind: "execute", path, argument: `0='${links}'` };
    this.#context.ask(nowUs, operation, (now, result) => {
      const { ports } = this.#context;
      ports.note(
        now,
        "executed",
        result.kind === "done"
          ? result.code
          : `${result.kind}: ${result.kind === "failed" ? result.reason : result.code}`,
      );
      job.promised ||= result.kind === "done";
      ports.changed();
      if (result.kind !== "done") this.#read(now, (later) => this.#refused(later));
    });
  }

  #refused(nowUs: number): void {
    const { job, facts } = this.#context;
    this.judge(nowUs);
    const state = this.#context.state();
    if (job.state !== "applying" || state === State.UPDATING) return;
    // A copy of an Execute that it has acted on finds it restarted: it is to register yet.
    if (state === State.IDLE) return;
    // It may still be checking what it was given.
    this.#again = job.executes < MAX_EXECUTES;
    if (this.#again) return this.#context.lookAt(nowUs + RETRY_US * 2 ** (job.executes - 1));
    const detail = `Update was refused${facts.result === undefined ? "" : `, Update Result is ${facts.result}`}`;
    const advice = "read its State and Result: it does not hold a package that it would install";
    this.#context.fail(nowUs, "execute-refused", detail, advice);
  }

  /** State and Result, while it is to come back. */
  judge(nowUs: number): void {
    const { job, facts } = this.#context;
    const { result } = facts;
    const state = this.#context.state();
    if (result === RESULT_DEFERRED && job.state === "applying") return void this.#context.step(nowUs, "defer");
    if (state === State.UPDATING) job.promised = true;
    if (state === State.UPDATING && job.state === "deferred") return void this.#context.step(nowUs, "execute");
    // Some clients keep the Result of an earlier update until this one ends.
    if (result !== job.resultBefore) job.resultBefore = undefined;
    const news = result !== job.resultBefore;
    const failed = news && result !== undefined && result >= 2 && result !== RESULT_DEFERRED;
    if (!failed || state === State.UPDATING || state === undefined) return;
    const { name, advice } = resultMeaning(result);
    this.#context.fail(nowUs, `result-${result}`, `the client reports ${name}`, advice);
  }

  /** It is heard of, and has not registered again. */
  awake(nowUs: number): void {
    if (this.#context.busy) return;
    this.#read(nowUs, (now) => {
      this.judge(now);
      const { job } = this.#context;
      if (job.policy.restarts === false && job.state === "applying" && this.#saysApplied()) {
        this.#context.ports.note(now, "applied", "without a restart, as the operator said");
        this.#context.step(now, "back");
        return;
      }
      // It holds the package and says nothing of having begun: it never heard the Execute.
      const holds = !this.#context.quirks.trustState || this.#context.state() === State.DOWNLOADED;
      const unheard = job.state === "applying" && holds && !job.promised;
      if (unheard && job.executes > 0 && job.executes < MAX_EXECUTES && !this.#context.busy) this.begin(now, true);
    });
  }

  /** It says that it has installed the package. That is a reason to read the version, no proof. */
  #saysApplied(): boolean {
    return this.#context.state() === State.IDLE && this.#context.facts.result === RESULT_SUCCESS;
  }

  /** The time to look has come. */
  look(nowUs: number): void {
    const { job, ports } = this.#context;
    if (this.#again && job.state === "applying") {
      if (this.#context.busy) return this.#context.lookAt(nowUs + RETRY_US);
      this.#again = false;
      return this.begin(nowUs, true);
    }
    this.#context.lookAt(nowUs + this.#context.intervalUs());
    if (job.state === "applying" || job.state === "deferred") {
      const waitS = Math.max(this.lifetimeS, LEAST_RETURN_S) + job.policy.graceS;
      const deferS = job.policy.maxDeferS ?? DEFAULT_DEFER_S;
      const sinceS = (ports.unixMs(nowUs) - job.executedMs!) / 1_000;
      if (job.state === "deferred" && sinceS >= deferS) this.#deferOver(nowUs);
      else if (job.state === "applying" && sinceS >= waitS + this.#context.intervalUs() / 1_000_000)
        this.#neverRestarted(nowUs, waitS);
      else this.awake(nowUs);
    }
  }

  /** Bytes are served to it yet: a SUIT worker is not through with its download. */
  moved(nowUs: number): void {
    this.#context.job.executedMs = this.#context.ports.unixMs(nowUs);
  }

  #deferOver(nowUs: number): void {
    if (this.#context.job.executes < MAX_EXECUTES) return this.begin(nowUs, true);
    this.#context.fail(nowUs, "deferred", "its user keeps putting the update off", "talk to its user");
  }

  /** Reads the versions, and decides. */
  verify(nowUs: number): void {
    const { job, ports } = this.#context;
    if (nowUs < this.#notBeforeUs) return this.#context.lookAt(this.#notBeforeUs);
    if (job.state === "soaking") {
      const leftMs = (job.soakUntilMs ?? 0) - ports.unixMs(nowUs);
      if (leftMs > 0) return this.#context.lookAt(nowUs + Math.min(leftMs * 1_000, this.#context.intervalUs()));
      if (!this.#versionsRead && job.policy.soakS > 0) return this.#readVersions(nowUs, (now) => this.#decide(now));
      job.versionAfter = job.components.map((component) => this.#context.versionOf(component)).join(" ");
      Object.assign(job, { reason: undefined, detail: undefined, advice: undefined });
      return void this.#context.step(nowUs, "soaked");
    }
    this.#read(nowUs, (now) => this.#readVersions(now, (later) => this.#decide(later)));
  }

  #decide(nowUs: number): void {
    const { job, ports } = this.#context;
    const versions = job.components.map((component) => this.#context.versionOf(component));
    const wrong = job.components.findIndex((component, i) => versions[i] !== component.version);
    const soaking = job.soakUntilMs !== undefined;
    // It restarted before it heard the Execute, and holds the package still; or there is nothing that shows otherwise.
    const holds = this.#context.state() === State.DOWNLOADED && (this.#context.facts.result ?? 0) === 0;
    const unproven = wrong < 0 && !job.promised && versions.at(-1) === job.versionBefore;
    if ((holds || unproven) && !soaking && job.executes < MAX_EXECUTES) {
      if (this.#context.step(nowUs, "not yet")) this.begin(nowUs, true);
      return;
    }
    if (wrong < 0) {
      ports.note(nowUs, "version", `${versions.join(" ")}, as expected`);
      this.#versionsRead = true;
      if (job.state === "soaking") return;
      job.soakUntilMs ??= ports.unixMs(nowUs) + job.policy.soakS * 1_000;
      if (job.policy.soakS > 0) this.#versionsRead = false;
      return void this.#context.step(nowUs, "right version");
    }
    const [is, wanted] = [versions[wrong], job.components[wrong]!.version];
    if (is === undefined && ++this.#unreadable < MAX_UNREADABLE) {
      this.#notBeforeUs = nowUs + this.#context.intervalUs();
      return this.#context.lookAt(this.#notBeforeUs);
    }
    job.versionAfter = is;
    ports.note(nowUs, "version", `${is ?? "not readable"}, not ${wanted}`);
    if (this.#context.state() === State.UPDATING && !soaking) {
      job.location = ports.registration()?.id;
      return void this.#context.step(nowUs, "not yet");
    }
    this.#wrongVersion(nowUs, is, wanted, job.versionsBefore[wrong] ?? job.versionBefore);
  }

  #wrongVersion(nowUs: number, is: string | undefined, wanted: string, before: string | undefined): void {
    const { job, facts } = this.#context;
    const said =
      facts.result === undefined
        ? ""
        : `, though its Update Result is ${facts.result} (${resultMeaning(facts.result).name})`;
    const detail = `it runs ${is ?? "a version that cannot be read"}, not ${wanted}${facts.result === 1 ? said : ""}`;
    if (is === undefined)
      return this.#context.fail(
        nowUs,
        "version-unreadable",
        detail,
        "name the right version resource with --version-path",
      );
    const old = is === before;
    const rolledBack = job.soakUntilMs !== undefined;
    const reason = rolledBack ? "rolled-back" : old ? "old-version" : "other-version";
    const advice = old
      ? "read the device's boot log: it came back with the image that it had before"
      : "compare the version that was published with what the image says of itself";
    this.#context.fail(nowUs, reason, detail, advice);
  }

  #neverRestarted(nowUs: number, seconds: number): void {
    const { facts } = this.#context;
    if (!this.#context.heardLately) return this.#context.tooSilent(nowUs);
    const state = facts.state === undefined ? "" : `, State is ${facts.state}`;
    const result = facts.result === undefined ? "" : `, Update Result is ${facts.result}`;
    const detail = `it is heard of, but has not registered again within ${Math.round(seconds)} s${state}${result}`;
    this.#context.fail(
      nowUs,
      "never-restarted",
      detail,
      "restart the device (Execute /3/0/4), or look at its boot log; for what is applied without a restart give --no-restart",
    );
  }

  /** State and Result; whether they can be read does not matter. */
  #read(nowUs: number, then: (nowUs: number) => void): void {
    const { target } = this.#context;
    const read = (resource: number, next: (now: number) => void): void =>
      this.#context.ask(nowUs, { kind: "read", path: [...target.object, resource] }, next);
    read(Firmware.STATE, () => read(Firmware.RESULT, then));
  }

  #readVersions(nowUs: number, then: (nowUs: number) => void): void {
    this.#context.forgetVersions();
    const asked = new Set<string>();
    const next = (now: number): void => {
      for (const component of this.#context.job.components) {
        if (this.#context.versionOf(component) !== undefined) continue;
        const path = this.#context.versionPathsOf(component).find((one) => !asked.has(pathText(one)));
        if (path === undefined) continue;
        asked.add(pathText(path));
        return this.#context.ask(now, { kind: "read", path }, next);
      }
      then(now);
    };
    next(nowUs);
  }
}

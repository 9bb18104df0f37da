import type { Quirks } from "../../src/lwm2m/quirks.ts";
import type { RolloutCommand } from "../../src/rollout/operator.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { hasEnded } from "../../src/rollout/record.ts";
import type { Rollout } from "../../src/rollout/rollout.ts";
import type { RolloutSpec } from "../../src/rollout/spec.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";
import { SeededRandom } from "../engine/random.ts";
import type { ChipProfile } from "../mote/profile.ts";
import type { Lwm2mCell } from "../world/lwm2m-cell.ts";
import { openFleetCell, type ModelDevice } from "./fleet-model.ts";

export interface CrashParts {
  readonly profile: ChipProfile;
  readonly quirks: readonly Quirks[];
  readonly devices: readonly ModelDevice[];
  /** The gateway dies so often at most. */
  readonly kills: number;
  /** Mean seconds between two deaths. */
  readonly everyS: number;
  /** Share of the store's writes that fail. */
  readonly failing: number;
  /** The operator cancels once so many devices have succeeded. */
  readonly cancelAt?: number | undefined;
  /** A planted fault: the disk says that it has what it has not. */
  readonly lies: boolean;
}

export interface CrashResult {
  readonly kills: number;
  /** What an operator or a listener was told, and what was not so after a restart. */
  readonly lostAcks: number;
  readonly doubleUpdates: number;
  readonly wrongImages: number;
  /** It came to its end: to the last device, or to where the operator cancelled it. */
  readonly finished: boolean;
  readonly findings: readonly string[];
}

const ID = "crashed";
const DOWN_US = 500_000;
const AT_ONCE_US = 5_000;
/** An update that goes on behind the end of its rollout shows by then. */
const AFTER_US = 2 * 3_600e6;

/** A rollout whose gateway is killed all the time, on a disk whose writes fail, with an operator who pauses, resumes and may cancel. */
export function runCrashes(spec: RolloutSpec, seed: number, parts: CrashParts): CrashResult {
  const { devices, ...rest } = parts;
  const crashes = new Crashes(spec, seed, parts);
  const cell = openFleetCell(
    spec,
    devices,
    seed,
    { ...rest, blockBytes: 64, maxHours: 72 },
    crashes.direct.bind(crashes),
  );
  cell.gateway.lies = parts.lies;
  crashes.schedule(cell);
  cell.runAll();
  return crashes.result(cell);
}

const ENDING: ReadonlySet<string> = new Set(["stopping", "stopped"]);

class Crashes {
  readonly #spec: RolloutSpec;
  readonly #parts: CrashParts;
  readonly #random: SeededRandom;
  #kills = 0;
  #core: Gateway | undefined;
  #state: "not yet" | "creating" | "created" | "over" = "not yet";
  /** Numbers of the decisions that listeners were told of. */
  readonly #told = new Set<number>();
  /** Devices whose verdict was told. */
  readonly #ended = new Map<string, string>();
  #paused = false;
  #cancelled: "no" | "asked" | "told" = "no";
  #busy = false;
  readonly #findings: string[] = [];

  constructor(spec: RolloutSpec, seed: number, parts: CrashParts) {
    this.#spec = spec;
    this.#parts = parts;
    this.#random = new SeededRandom(seed, "crashes");
  }

  schedule(cell: Lwm2mCell): void {
    const { engine } = cell.air;
    const { kills, everyS } = this.#parts;
    const next = (): void => {
      if (this.#kills >= kills || this.#state === "over") return;
      const afterUs = 1 + uintBelow(this.#random, Math.round(everyS * 2e6));
      engine.after(afterUs, () => {
        if (this.#state === "created") this.#kill(cell);
        next();
      });
    };
    next();
  }

  #kill(cell: Lwm2mCell): void {
    if (cell.gateway.core === undefined) return;
    this.#kills++;
    this.#busy = false;
    cell.gateway.kill(this.#parts.lies ? undefined : this.#random);
    cell.air.engine.after(DOWN_US, () => {
      cell.gateway.restart();
      this.#check(cell.gateway.core!);
    });
  }

  /** After a restart: everything that somebody was told is so. */
  #check(core: Gateway): void {
    const { rollouts } = core.fleet;
    const rollout = rollouts.get(ID);
    if (rollout === undefined) return void this.#findings.push("lost: the rollout");
    const there = new Set(rollouts.decisions(ID).map(({ number }) => number));
    for (const number of this.#told) if (!there.has(number)) this.#findings.push(`lost: decision ${number}`);
    for (const [endpoint, state] of this.#ended)
      if (rollout.members.get(endpoint)?.state !== state) this.#findings.push(`lost: ${endpoint} ${state}`);
    if (this.#cancelled === "told" && !ENDING.has(rollout.record.state)) this.#findings.push("lost: cancel");
    if (this.#paused && rollout.record.state === "running") this.#findings.push("lost: pause");
  }

  direct(core: Gateway, nowUs: number, cell: Lwm2mCell): void {
    this.#core = core;
    if (this.#state === "not yet") return this.#begin(core, nowUs, cell);
    const { rollouts } = core.fleet;
    const rollout = rollouts.get(ID);
    if (rollout === undefined || this.#state === "creating") return;
    for (let news = core.fleet.pollNews(); news !== undefined; news = core.fleet.pollNews())
      if (news.kind === "rollout") this.#told.add(Number(news.data["number"]));
    if (!this.#busy) this.#operate(core, nowUs, cell, rollout);
    if (hasEnded(rollout.record) && this.#state === "created") this.#end(cell);
  }

  #operate(core: Gateway, nowUs: number, cell: Lwm2mCell, { record, members }: Rollout): void {
    const { cancelAt } = this.#parts;
    const isAtIt = record.state === "running" || record.state === "paused";
    const isEnough = cancelAt !== undefined && members.count("succeeded") + members.count("downloaded") >= cancelAt;
    if (isAtIt && isEnough) this.#ask(core, nowUs, cell, "cancel");
    else if (record.state === "paused") this.#ask(core, nowUs, cell, "resume");
    else if (record.state === "running" && unitFloat(this.#random) < 0.01) this.#ask(core, nowUs, cell, "pause");
  }

  /** Dies a last time, so that what it did last is torn as well, and watches for what should not come. */
  #end(cell: Lwm2mCell): void {
    this.#state = "over";
    if (this.#kills < this.#parts.kills) cell.air.engine.after(1, () => this.#kill(cell));
    cell.air.engine.after(AFTER_US, () => {
      const { fleet } = this.#core!;
      for (const sim of cell.motes) {
        if (fleet.isBusy(sim.name)) this.#findings.push(`left behind: an update of ${sim.name}`);
        const member = fleet.rollouts.get(ID)?.members.get(sim.name);
        if (sim.finishedUs === undefined) cell.finish(sim, member?.state ?? "in no group");
      }
    });
  }

  #ask(core: Gateway, nowUs: number, cell: Lwm2mCell, command: RolloutCommand): void {
    this.#busy = true;
    const asked = { command, by: "operator", why: "", revision: undefined };
    core.fleet.rollouts.command(nowUs, ID, asked, (told) => {
      this.#busy = false;
      if (!told.ok) return;
      this.#paused = command === "pause";
      if (command === "cancel") this.#cancelled = "told";
      // What comes of his word is under way: an instant that is as good as any to die.
      if (this.#kills < this.#parts.kills && unitFloat(this.#random) < 0.5)
        cell.air.engine.after(uintBelow(this.#random, AT_ONCE_US), () => this.#kill(cell));
      // What an operator who looks now sees, he has been told.
      for (const { endpoint, state } of core.fleet.rollouts.get(ID)!.members.all())
        if (state === "succeeded") this.#ended.set(endpoint, state);
    });
    // It may be so from now on.
    if (command === "resume") this.#paused = false;
    if (command === "cancel" && this.#cancelled === "no") this.#cancelled = "asked";
  }

  #begin(core: Gateway, nowUs: number, cell: Lwm2mCell): void {
    const { devices } = this.#parts;
    if (core.listings().length === 0) {
      // Whoever is told that his image could not be written publishes it again.
      if ([...core.publications()].length === 0) cell.gateway.publish(core, nowUs);
      return;
    }
    if (devices.some(({ name }) => core.devices.get(name) === undefined)) return;
    this.#state = "creating";
    core.fleet.rollouts.create(
      nowUs,
      { ...this.#spec, components: [cell.gateway.target] },
      "operator",
      (told) => {
        if (!told.ok) {
          this.#state = "not yet";
          return;
        }
        this.#start(core, nowUs);
      },
      ID,
    );
  }

  #start(core: Gateway, nowUs: number): void {
    const asked = { command: "start", by: "operator", why: "", revision: undefined } as const;
    core.fleet.rollouts.command(nowUs, ID, asked, (told) => {
      if (told.ok) this.#state = "created";
      else this.#start(core, nowUs);
    });
  }

  result(cell: Lwm2mCell): CrashResult {
    const rollout = this.#core?.fleet.rollouts.get(ID);
    const mayStop = this.#cancelled !== "no";
    let [doubleUpdates, wrongImages] = [0, 0];
    for (const { mote, name } of cell.motes) {
      // Once from the factory, once into the new image.
      if (mote.boots > 2) doubleUpdates++;
      const isNew = mote.runs(cell.gateway.image);
      if (!isNew && !mote.runs(cell.factory)) wrongImages++;
      if ((rollout?.members.get(name)?.state === "succeeded") !== isNew) wrongImages++;
    }
    return {
      kills: this.#kills,
      lostAcks: this.#findings.length,
      doubleUpdates,
      wrongImages,
      finished: rollout !== undefined && hasEnded(rollout.record) && (rollout.record.state === "finished" || mayStop),
      findings: this.#findings,
    };
  }
}

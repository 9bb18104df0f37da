import { szxOf } from "../../coap/blockwise/block.ts";
import { fromHex, toHex } from "../../util/bytes.ts";
import {
  Firmware,
  RESULT_CONNECTION_LOST,
  RESULT_DEFERRED,
  RESULT_UPDATE_FAILED,
  resultMeaning,
  State,
} from "../firmware.ts";
import { outcomeText, type OperationResult } from "../operation-result.ts";
import { writeOf } from "../operation.ts";
import { PackagePush } from "../package-push.ts";
import type { Path } from "../path.ts";
import { chooseMethod } from "./method.ts";
import type { UpdateContext } from "./ports.ts";
import { hasFirmware } from "./reset.ts";

/** Priority of the blocks of a package: whatever an operator asks goes between them. */
const PUSH_PRIORITY = 7;
/** After its last block a client checks the package, and is asked how that went. */
const CHECK_US = 2_000_000;
const MAX_BACKOFF = 8;
/** Times that a package is offered again to a client that has lost the connection. */
const MAX_BEGINNINGS = 5;

/**
 * How a package gets to a client, and what is done when it does not move: by progress alone, never
 * by the time that it takes. State and Result are hints; bytes that were served or acknowledged
 * are what counts.
 */
export class Delivery {
  readonly #context: UpdateContext;
  #push: PackagePush | undefined;
  /** The registration that the push was begun under. */
  #pushedTo: string | undefined;
  /** Whether it has been asked to be observed, and whether it is. */
  #asked = false;
  #observed = false;
  #progressUs = 0;
  #stalls = 0;
  /** All bytes of the package were acknowledged, or served. */
  #arrived = false;
  /** Result before the package was offered: seen again, it says nothing. */
  #restResult: number | undefined;

  constructor(context: UpdateContext) {
    this.#context = context;
  }

  /** Picks the next way and offers the package by it. */
  offer(nowUs: number): void {
    const { job, ports, target } = this.#context;
    const method = job.method ?? chooseMethod(this.#context);
    if (method === undefined) {
      const detail = `${job.tried.join(", ") || "no way of delivery"} did not work: ${job.detail ?? "see the timeline"}`;
      const advice = job.advice ?? "read blockferry device <endpoint> --timeline, and what blockferry probe says";
      return this.#context.fail(nowUs, job.reason ?? "no-method", detail, advice);
    }
    if (job.method === undefined) ports.restart(target.digest);
    job.method = method;
    this.#reset(nowUs);
    if (method === "trigger") return this.#trigger(nowUs);
    this.#observe(nowUs, () => (method === "pull" ? this.#writeUri(nowUs) : this.#begin(nowUs, "push")));
  }

  /** Goes on with a transfer: after a restart of the gateway or of the client, or after a pause. */
  resume(nowUs: number): void {
    if (this.#context.busy) return;
    if (this.#progressUs === 0) this.#progressUs = nowUs;
    const go = (now: number): void => {
      // It would take any block for the first of a package: all is taken back, and begun again.
      if (this.#push?.forgotten === true) return this.#beginAnew(now);
      if (this.#context.job.method === "push" && !this.#arrived) this.#sendPackage(now);
      else this.#schedule(now);
    };
    if (this.#asked) go(nowUs);
    else this.#observe(nowUs, go);
  }

  /** The client has registered anew: it does not know any more that it is observed. */
  lost(): void {
    this.#asked = this.#observed = false;
    this.#push = undefined;
  }

  /** Bytes arrived: served to it, or acknowledged by it. */
  moved(nowUs: number): void {
    this.#progressUs = nowUs;
    this.#stalls = 0;
    const { job, ports, target } = this.#context;
    if (job.method !== "pull" || this.#arrived) return;
    if (ports.progress(target.digest).covered < target.size) return;
    this.#arrived = true;
    this.#context.lookAt(nowUs + CHECK_US);
  }

  /** The client woke: it is read where it does not tell of itself. */
  awake(nowUs: number): void {
    if (!this.#context.busy && !this.#observed && this.#context.job.method === "pull") this.#poll(nowUs);
  }

  /** The time to look has come. */
  look(nowUs: number): void {
    if (this.#context.busy && !this.#hasStalled(nowUs)) return this.#schedule(nowUs);
    if (this.#hasStalled(nowUs)) return this.#stalled(nowUs);
    if (this.#context.job.method === "push" && !this.#arrived) return this.resume(nowUs);
    this.#poll(nowUs);
  }

  /** State or Result are known anew. */
  judge(nowUs: number): void {
    const { facts, quirks } = this.#context;
    const state = this.#context.state();
    if (state === State.DOWNLOADED) return void this.#context.step(nowUs, "downloaded");
    if (state === State.UPDATING) return this.#context.installing(nowUs);
    const { result } = facts;
    const failed = result !== undefined && result >= 2 && result !== RESULT_DEFERRED && state === State.IDLE;
    if (quirks.trustState && failed && (result !== this.#restResult || this.#arrived))
      return this.failed(nowUs, result);
  }

  /** The client says that this way did not work. */
  failed(nowUs: number, result: number): void {
    const { name, advice, otherMethod } = resultMeaning(result);
    const { job } = this.#context;
    job.result = result;
    // The link's fault, not the method's: some have given up what they could go on with.
    if (result === RESULT_CONNECTION_LOST && job.beginnings < MAX_BEGINNINGS) {
      job.beginnings++;
      return this.#offerAgain(nowUs, name);
    }
    // Nothing was installed yet: Zephyr says so of any download that failed.
    if (otherMethod || result === RESULT_UPDATE_FAILED)
      this.#giveUp(nowUs, `result-${result}`, `the client reports ${name}`, advice);
    else this.#context.fail(nowUs, `result-${result}`, `the client reports ${name}`, advice);
  }

  #reset(nowUs: number): void {
    this.#push = undefined;
    this.#observed = false;
    this.#stalls = 0;
    this.#arrived = false;
    this.#progressUs = nowUs;
    this.#restResult = this.#context.facts.result;
  }

  #path(resource: number): Path {
    return [...this.#context.target.object, resource];
  }

  #observe(nowUs: number, then: (nowUs: number) => void): void {
    this.#asked = true;
    if (!this.#context.quirks.observe) return then(nowUs);
    const observe = (resource: number, next: (nowUs: number, ok: boolean) => void): void => {
      const path = this.#path(resource);
      this.#context.ask(nowUs, { kind: "observe", path, paths: [path] }, (now, { kind }) => next(now, kind === "done"));
    };
    observe(Firmware.STATE, (now, state) => {
      if (!state) return then(now);
      observe(Firmware.RESULT, (later, result) => {
        this.#observed = result;
        then(later);
      });
    });
  }

  #writeUri(nowUs: number): void {
    const { ports, target } = this.#context;
    const uri = ports.packageUri(target.digest);
    if (uri === undefined) return this.#giveUp(nowUs, "no-uri", "no address of ours is known to it", SET_ADDRESS);
    const path = this.#path(Firmware.PACKAGE_URI);
    this.#context.ask(nowUs, writeOf(path, uri), (now, result) => {
      if (result.kind === "done") return this.#begin(now, `pull from ${uri}`);
      // It may have taken it before, and we have not heard so.
      this.#readState(now, (later) => {
        const again = result.kind === "refused" && result.code === "4.00" && this.#context.job.tried.length === 0;
        if (again && this.#context.state() === State.DOWNLOADING)
          return this.#begin(later, `pull from ${uri}, taken already`);
        const detail = `the Package URI was answered ${outcomeText(result)}`;
        this.#giveUp(later, "uri-refused", detail, "push is tried where it can be");
      });
    });
  }

  #trigger(nowUs: number): void {
    const { ports, target } = this.#context;
    const uri = ports.manifestUri(target.digest)!;
    ports.watch();
    const { triggerPort: port } = this.#context.quirks;
    const operation = { kind: "post", path: [], segments: ["suit", "trigger"], text: uri, port } as const;
    this.#context.ask(nowUs, operation, (now, result) => {
      if (result.kind === "done") this.#begin(now, `its SUIT worker was told of ${uri}`);
      else
        this.#giveUp(
          now,
          "no-trigger",
          `its SUIT trigger was answered ${outcomeText(result)}`,
          hasFirmware(this.#context)
            ? "it has no SUIT worker"
            : "it has neither a firmware object nor a SUIT worker: it cannot be updated over the air as it is",
        );
    });
  }

  #begin(nowUs: number, how: string): void {
    const { job, ports } = this.#context;
    if (job.method !== "push") job.location = ports.registration()?.id;
    ports.note(nowUs, "offered", how);
    this.#progressUs = nowUs;
    if (!this.#context.step(nowUs, "offered")) return;
    if (job.method === "trigger") this.#context.installing(nowUs);
    else this.resume(nowUs);
  }

  #sendPackage(nowUs: number): void {
    const { ports, target } = this.#context;
    const body = ports.image(nowUs, target.digest);
    if (body === "loading") return this.#context.lookAt(nowUs + 1_000_000);
    if (body === "unknown")
      return this.#context.fail(nowUs, "image-gone", "the image is not in the catalogue any more", "publish it again");
    if (this.#push === undefined && this.#isKept() && ports.progress(target.digest).covered >= target.size) {
      this.#arrived = true; // its last block was acknowledged before a restart
      return this.#poll(nowUs);
    }
    if (this.#push === undefined) this.#pushedTo = ports.registration()?.id;
    this.#push ??= this.#newPush(nowUs, body);
    const push = this.#push;
    this.#context.ask(
      nowUs,
      { kind: "push", path: this.#path(Firmware.PACKAGE), push },
      (now, result) => this.#pushed(now, result),
      PUSH_PRIORITY,
    );
    this.#schedule(nowUs);
  }

  /** Behind what the client has acknowledged, if it still has that: not where it restarted, unless it is known to keep it. */
  #newPush(nowUs: number, body: Uint8Array): PackagePush {
    const { job, ports, target, quirks } = this.#context;
    const kept = this.#isKept();
    const offset = kept ? ports.progress(target.digest).firstMissing : 0;
    const token = kept && job.token !== undefined ? fromHex(job.token) : undefined;
    if (!kept) ports.restart(target.digest);
    if (offset > 0) ports.note(nowUs, "resumed", `push goes on at byte ${offset} of ${target.size}`);
    return new PackagePush({
      path: this.#path(Firmware.PACKAGE),
      body,
      szx: szxOf(Math.min(quirks.blockBytes, job.szx === undefined ? 1_024 : 2 ** (job.szx + 4)))!,
      offset,
      ...(token === undefined ? {} : { token }),
      forgetsUs: quirks.forgetsPushAfterS === undefined ? undefined : quirks.forgetsPushAfterS * 1e6,
      onRestart: () => ports.restart(target.digest),
      onProgress: (now, from, length) => this.#acknowledged(now, from, length),
    });
  }

  #beginAnew(nowUs: number): void {
    const { ports, target } = this.#context;
    this.#push = undefined;
    ports.restart(target.digest);
    ports.note(nowUs, "begun-again", "it does not remember a push that was broken off");
    this.#context.step(nowUs, "lost");
  }

  #isKept(): boolean {
    const { job, ports, quirks } = this.#context;
    if (quirks.forgetsPushAfterS !== undefined) return false;
    return quirks.keepsPackage || job.location === ports.registration()?.id;
  }

  #acknowledged(nowUs: number, offset: number, length: number): void {
    const { job, ports, target } = this.#context;
    const token = this.#push!.token;
    const location = ports.registration()?.id;
    // It is registering anew, and that is not on the disk yet: what it has of this push is not what we sent before.
    if (location !== this.#pushedTo) return;
    ports.record(nowUs, target.digest, offset, length);
    this.#context.hear(nowUs);
    this.moved(nowUs);
    const hex = token === undefined ? undefined : toHex(token);
    if (job.szx === this.#push!.szx && job.token === hex && job.location === location) return;
    job.location = location; // only now is the record of bytes that of this client
    job.szx = this.#push!.szx;
    job.token = hex;
    ports.changed();
  }

  #pushed(nowUs: number, result: OperationResult): void {
    if (result.kind === "done") {
      this.#arrived = true;
      this.#context.ports.note(nowUs, "package-sent", `${this.#context.target.size} bytes were acknowledged`);
      if (this.#context.quirks.trustState) this.#poll(nowUs);
      else this.#context.step(nowUs, "downloaded");
      return;
    }
    const answer = outcomeText(result);
    if (result.kind === "refused" && result.code.startsWith("5.")) {
      this.#context.ports.note(nowUs, "busy", `the Package was answered ${answer}: once more later`);
      return this.#poll(nowUs); // the answer to its last block may have been lost
    }
    this.#giveUp(
      nowUs,
      "push-refused",
      `the Package was answered ${answer} at byte ${this.#push!.acknowledged}`,
      result.kind === "refused" && result.code === "4.13" ? TOO_LARGE : ASK_PROBE,
    );
  }

  #poll(nowUs: number): void {
    this.#readState(nowUs, (now) => {
      if (this.#context.job.state !== "transferring") return;
      const path = this.#path(Firmware.RESULT);
      this.#context.ask(now, { kind: "read", path }, (later) => {
        if (this.#context.job.state !== "transferring") return;
        this.judge(later);
        if (this.#context.job.state === "transferring" && !this.#context.busy) this.#schedule(later);
      });
    });
  }

  #readState(nowUs: number, then: (nowUs: number) => void): void {
    this.#context.ask(nowUs, { kind: "read", path: this.#path(Firmware.STATE) }, then);
  }

  #stallUs(): number {
    const { job } = this.#context;
    return job.policy.stallIntervals * this.#context.intervalUs() * Math.min(2 ** this.#stalls, MAX_BACKOFF);
  }

  #hasStalled(nowUs: number): boolean {
    return nowUs - this.#progressUs >= this.#stallUs();
  }

  /** Nothing moved for several wake intervals: once more from where it stopped, in the end by another way. */
  #stalled(nowUs: number): void {
    const { job, ports, target } = this.#context;
    const { covered } = ports.progress(target.digest);
    this.#stalls++;
    this.#progressUs = nowUs;
    ports.note(nowUs, "stalled", `${covered} of ${target.size} bytes, for the ${this.#stalls}. time`);
    if (this.#stalls >= job.policy.maxStalls && this.#arrived) {
      ports.note(nowUs, "state-doubted", "all bytes have arrived, whatever its State says");
      return void this.#context.step(nowUs, "downloaded");
    }
    if (this.#stalls >= job.policy.maxStalls) {
      const detail = `stalled at ${covered} of ${target.size} bytes`;
      return this.#giveUp(nowUs, "stalled", detail, "look at its link: nothing has moved for several wake intervals");
    }
    this.#schedule(nowUs);
    if (this.#context.busy) return; // it is asked as soon as it is heard of
    if (job.method === "push") this.resume(nowUs);
    else if (this.#context.state() === State.IDLE && !this.#arrived) this.#writeUri(nowUs);
    else this.#poll(nowUs);
  }

  #schedule(nowUs: number): void {
    this.#context.lookAt(Math.min(this.#progressUs + this.#stallUs(), nowUs + this.#context.intervalUs()));
  }

  /** By the same ways once more, this one included. */
  #offerAgain(nowUs: number, why: string): void {
    const { job, ports, target } = this.#context;
    ports.note(nowUs, "offered-again", `the client reports ${why}`);
    ports.restart(target.digest);
    Object.assign(job, { szx: undefined, token: undefined });
    const { method } = job;
    this.#context.step(nowUs, "other method");
    job.method = method;
  }

  #giveUp(nowUs: number, reason: string, detail: string, advice: string): void {
    const { job, ports } = this.#context;
    // That a client has no SUIT worker either says nothing of what went wrong.
    if (job.method !== "trigger" || job.reason === undefined) Object.assign(job, { reason, detail, advice });
    ports.note(nowUs, "method-failed", `${job.method}: ${detail}`);
    job.tried.push(job.method!);
    job.method = undefined;
    job.szx = undefined;
    job.token = undefined;
    this.#context.step(nowUs, "other method");
  }
}

const TOO_LARGE = "publish a smaller image, or a delta: the client has no room for this one";
const ASK_PROBE = "see what blockferry probe says of this client";
const SET_ADDRESS = "set lwm2m.address in the configuration to what the devices can reach";

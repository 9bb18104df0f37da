import { imagePath } from "../../src/gateway/catalogue.ts";
import { PatchError } from "../../src/delta/patch-error.ts";
import { beforeWhich, installedName, readPatchArguments } from "../../src/suit/delta.ts";
import { componentName, type ComponentId } from "../../src/suit/manifest.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import {
  DONE,
  isAction,
  type Action,
  type Answer,
  type Done,
  type Effect,
  type EffectResult,
  type Question,
  type Run,
} from "../../src/suit/processor/effects.ts";
import { runProcedure, type Outcome } from "../../src/suit/processor/procedure.ts";
import { applyTransfer, isTrustComponent, permits, type DeviceTrust } from "../../src/suit/trust.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import type { DownloadEnd, ImageDownload } from "./image-download.ts";
import type { SlotIndex } from "./layout.ts";
import type { PatchedImage, Written } from "./patched-image.ts";
import type { CpuCosts } from "./profile.ts";
import type { SlotWriter } from "./slot-writer.ts";
import type { Work } from "./work.ts";

/** The one component of a mote with one microcontroller. */
const IMAGE_COMPONENT = "00";
const INSTALLED_COMPONENT = installedName([Uint8Array.of(0)]);
/** Components that such a mote has: its image, and what that was before. */
export const isImage = (id: ComponentId): boolean => [IMAGE_COMPONENT, INSTALLED_COMPONENT].includes(componentName(id));

/** What is fetched, and where in the slot it goes: at its beginning, or a patch behind the image that comes of it. */
interface PathedImage {
  readonly path: readonly string[];
  readonly digest: Uint8Array;
  readonly size: number;
  readonly base?: number | undefined;
}

interface Fetched {
  readonly digest: Uint8Array;
  readonly size: number;
}

export interface UpdateRunParts {
  readonly crypto: Crypto;
  readonly costs: CpuCosts;
  readonly work: Work;
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
  readonly trust: DeviceTrust;
  /** The slot that is written, and its room. */
  readonly slot: SlotIndex;
  readonly slotBytes: number;
  /** SHA-256 of what is in the slot that runs, for a manifest that asks. */
  readonly runningDigest: Uint8Array;
  /** What may be changed: software by what is offered as such, who is trusted by a transfer. */
  readonly purpose: "image" | "trust";
  /** A clock that can be trusted; absent on a device without RTC, which then refuses what expires. */
  readonly unixS?: ((nowUs: number) => number) | undefined;
  /** Makes ready for an image; some ask for its table of sectors first. */
  readonly newDownload: (
    nowUs: number,
    image: PathedImage,
    onEnd: (nowUs: number, end: DownloadEnd) => void,
    ready: (nowUs: number, download: ImageDownload) => void,
  ) => void;
  /** Makes ready for an image that is at hand. */
  readonly newWriter: (image: Fetched & { readonly base?: number | undefined }) => SlotWriter;
  /** How patches are applied; absent where this run is to do without. */
  readonly patching?: Patching | undefined;
  readonly writeTrust: (trust: DeviceTrust) => number | undefined;
  readonly onEnd: (nowUs: number, outcome: Outcome, run: UpdateRun) => void;
}

export interface Patching {
  /** Offset in the slot of a patch of that size; undefined where there is no room beside the image. */
  readonly base: (imageSize: number, patchSize: number) => number | undefined;
  /** Whether the whole image is on its way already, such as before a reset: what is there of it is not thrown away. */
  readonly isBegun: (image: Fetched) => boolean;
  /** Begins to make an image of what runs and a patch. Throws a PatchError. */
  readonly begin: (patch: SlotWriter, imageSize: number) => PatchedImage;
}

/** A mote's half of the SUIT processor: what it is asked it looks up, what it is told takes flash, CPU and radio. */
export class UpdateRun {
  readonly #parts: UpdateRunParts;
  readonly #run: Run<Outcome>;
  #download: ImageDownload | undefined;
  #writer: Written | undefined;
  /** It made the image by a patch, or has tried to. */
  isPatched = false;
  /** The image as the manifest has it, once it was fetched; or as it came along in the envelope. */
  fetched: Fetched | undefined;
  #verified = false;
  /** What a transfer has named; written when all of the manifest went well. */
  #nextTrust: DeviceTrust | undefined;
  /** Why a download ended that the manifest asked for. */
  downloadFailure: string | undefined;

  constructor(open: OpenEnvelope, parts: UpdateRunParts) {
    this.#parts = parts;
    const { crypto, trust, purpose } = parts;
    const isMeant = { image: isImage, trust: isTrustComponent };
    this.#run = runProcedure(open, "update", {
      crypto,
      hasComponent: isMeant[purpose],
      permits: (signers, component, code) => permits(trust, signers, component, code, open.signers),
    });
  }

  get download(): ImageDownload | undefined {
    return this.#download;
  }

  get writer(): Written | undefined {
    return this.#writer;
  }

  start(nowUs: number): void {
    this.#step(nowUs, undefined);
  }

  #step(nowUs: number, result: EffectResult): void {
    let given = result;
    for (;;) {
      const step = this.#run.next(given);
      if (step.done === true) return this.#finish(nowUs, step.value);
      const answer = this.#perform(nowUs, step.value);
      if (answer === LATER) return;
      given = answer;
    }
  }

  /** An image counts for nothing before its digest was seen, whether or not the manifest has asked for that. */
  #finish(nowUs: number, outcome: Outcome): void {
    const { onEnd, work, writeTrust } = this.#parts;
    const fail = (now: number, detail: string): void =>
      onEnd(now, { ...FAILED, records: outcome.records, detail }, this);
    const { fetched } = this;
    if (!outcome.ok) return onEnd(nowUs, outcome, this);
    if (fetched !== undefined && !this.#verified)
      return this.#hash(nowUs, fetched, (now) =>
        this.#verified ? onEnd(now, outcome, this) : fail(now, "the image is not what was signed"),
      );
    if (this.#nextTrust === undefined) return onEnd(nowUs, outcome, this);
    const us = writeTrust(this.#nextTrust);
    if (us === undefined) return fail(nowUs, "these keys do not fit");
    return work.after(nowUs, us, (now) => onEnd(now, outcome, this));
  }

  #perform(nowUs: number, effect: Effect): EffectResult | typeof LATER {
    if (effect.kind === "read-envelope") return undefined;
    return isAction(effect) ? this.#act(nowUs, effect) : this.#ask(nowUs, effect);
  }

  #ask(nowUs: number, question: Question): Answer | typeof LATER {
    const { vendorId, classId, slot, unixS } = this.#parts;
    const told = (is: boolean): Answer => (is ? "yes" : "no");
    switch (question.kind) {
      case "identifier":
        if (question.which === "device") return "no";
        return told(bytesEqual(question.value, question.which === "vendor" ? vendorId : classId));
      case "slot":
        return told(question.slot === slot);
      case "before":
        return unixS === undefined ? "unsupported" : told(unixS(nowUs) < question.unixS);
      case "authorised":
        return "yes"; // nobody stands by to say no
      case "digest":
        return this.#digest(nowUs, question);
      case "content":
      case "battery":
      case "version":
      default:
        return "unsupported";
    }
  }

  /** Hashes what was fetched, which takes the CPU its time; once. */
  #digest(nowUs: number, { digest, size, component }: Question & { kind: "digest" }): Answer | typeof LATER {
    const { fetched } = this;
    const { patching, runningDigest } = this.#parts;
    // What runs is the one to be patched only where patches are.
    if (beforeWhich(component) !== undefined)
      return patching !== undefined && bytesEqual(digest, runningDigest) ? "yes" : "no";
    if (fetched === undefined) return bytesEqual(digest, runningDigest) ? "yes" : "no";
    if (!bytesEqual(fetched.digest, digest) || (size !== undefined && fetched.size !== size)) return "no";
    if (this.#verified) return "yes";
    this.#hash(nowUs, fetched, (now) => this.#step(now, this.#verified ? "yes" : "no"));
    return LATER;
  }

  #hash(nowUs: number, { digest, size }: { digest: Uint8Array; size: number }, done: (nowUs: number) => void): void {
    const { work, costs, crypto } = this.#parts;
    work.compute(nowUs, size * costs.sha256UsPerByte, (now) => {
      this.#verified = bytesEqual(crypto.sha256(this.writer!.read()), digest);
      if (!this.#verified) this.writer!.discard();
      done(now);
    });
  }

  #act(nowUs: number, action: Action): Done | typeof LATER {
    if ("component" in action && beforeWhich(action.component) !== undefined)
      return { ok: false, detail: "what was there before cannot be written to" };
    if (action.kind === "fetch") return this.#fetch(nowUs, action);
    if (action.kind === "store" && isTrustComponent(action.component)) return this.#storeTrust(action.content);
    if (action.kind === "store") return this.#store(nowUs, action);
    if (action.kind === "invoke") return DONE; // the bootloader does it
    return { ok: false, detail: `this mote cannot ${action.kind}` };
  }

  #fetch(nowUs: number, action: Action & { kind: "fetch" }): Done | typeof LATER {
    const { slotBytes } = this.#parts;
    const { uri, digest, size, args } = action;
    if (action.encryption !== undefined) return { ok: false, detail: "this mote decrypts nothing" };
    if (digest === undefined || size === undefined || size === 0)
      return { ok: false, detail: "its digest or size is not given" };
    if (size > slotBytes) return { ok: false, detail: `image-larger-than-slot` };
    if (args !== undefined) return this.#fetchPatch(nowUs, uri, args, { digest, size });
    // Another server's image is behind its digest on the gateway too, and the digest is signed.
    const path = pathOf(uri) ?? imagePath(digest);
    this.#verified = false;
    this.#downloadImage(nowUs, { path, digest, size }, (now, end) => {
      if (end.ok) this.fetched = { digest, size };
      else this.downloadFailure = end.reason;
      this.#step(now, end.ok ? DONE : { ok: false, detail: end.reason });
    });
    return LATER;
  }

  /** Fetches a patch, looks whether it is the one that was signed, and makes the image by it. */
  #fetchPatch(nowUs: number, uri: string, args: Uint8Array, image: Fetched): Done | typeof LATER {
    const patch = readPatchArguments(args);
    const { patching } = this.#parts;
    this.isPatched = patching !== undefined;
    if (patch === undefined || patching === undefined)
      return { ok: false, detail: "fetch-arguments that are not known here" };
    if (patching.isBegun(image)) return { ok: false, detail: "the image is on its way" };
    const base = patching.base(image.size, patch.size);
    if (base === undefined) return { ok: false, detail: "no-room-for-patch" };
    const fail = (now: number, detail: string): void => {
      this.downloadFailure = detail;
      this.#step(now, { ok: false, detail });
    };
    this.#verified = false;
    this.#downloadImage(nowUs, { ...patch, path: pathOf(uri) ?? imagePath(patch.digest), base }, (now, end) => {
      if (!end.ok) return fail(now, end.reason);
      const make = (then: number): void => {
        if (!this.#verified) return fail(then, "patch-mismatch");
        this.#verified = false;
        this.#makeImage(then, patching, image, fail);
      };
      if (this.#verified) make(now);
      else this.#hash(now, patch, make);
    });
    return LATER;
  }

  #makeImage(nowUs: number, { begin }: Patching, image: Fetched, fail: (nowUs: number, detail: string) => void): void {
    const { work, costs } = this.#parts;
    const next = (now: number, patched: PatchedImage): void => {
      const made = orReason(() => patched.step());
      if (typeof made === "string") {
        patched.discard();
        return fail(now, made);
      }
      if (made === undefined) {
        this.fetched = image;
        return this.#step(now, DONE);
      }
      // Unpacking takes the CPU some ten operations for a byte, fewer than SHA-256 does.
      return work.compute(now, made.bytes * costs.sha256UsPerByte, (then) =>
        work.after(then, made.us, (done) => next(done, patched)),
      );
    };
    const patched = orReason(() => begin(this.#download!.writer, image.size));
    if (typeof patched === "string") {
      this.#writer!.discard();
      return fail(nowUs, patched);
    }
    this.#writer = patched;
    next(nowUs, patched);
  }

  /** An image that came in the envelope goes to flash block by block, as one from the air does; a cut goes on where it was. */
  #store(nowUs: number, action: Action & { kind: "store" }): Done | typeof LATER {
    const { content, encryption } = action;
    const { slotBytes, newWriter, crypto, costs, work } = this.#parts;
    const size = content.length;
    if (encryption !== undefined) return { ok: false, detail: "this mote decrypts nothing" };
    if (size === 0 || size > slotBytes)
      return { ok: false, detail: size === 0 ? "it is empty" : "image-larger-than-slot" };
    const digest = crypto.sha256(content);
    this.#verified = false;
    work.compute(nowUs, size * costs.sha256UsPerByte, (now) => {
      if (!isSigned(action, digest)) {
        this.downloadFailure = "digest-mismatch";
        return this.#step(now, { ok: false, detail: this.downloadFailure });
      }
      const writer = (this.#writer = newWriter({ digest, size }));
      this.fetched = { digest, size };
      const next = (then: number): void => {
        const { missing } = writer;
        if (missing === undefined) return this.#step(then, DONE);
        const block = content.subarray(missing, missing + writer.journal.blockBytes);
        return work.after(then, writer.store(missing, block), next);
      };
      work.after(now, writer.setUpUs, next);
    });
    return LATER;
  }

  /** What was there already is looked at first: it may have rotted since, and is fetched anew then. */
  #downloadImage(nowUs: number, image: PathedImage, done: (nowUs: number, end: DownloadEnd) => void): void {
    const onEnd = (now: number, end: DownloadEnd): void => {
      if (!end.ok || !this.#download!.wasComplete) return done(now, end);
      this.#hash(now, image, (then) => (this.#verified ? done(then, end) : this.#downloadImage(then, image, done)));
    };
    this.#parts.newDownload(nowUs, image, onEnd, (now, download) => {
      this.#download = download;
      this.#writer = download.writer;
      download.start(now);
    });
  }

  #storeTrust(content: Uint8Array): Done {
    const { trust } = this.#parts;
    this.#nextTrust = applyTransfer(trust, content);
    return this.#nextTrust === undefined ? { ok: false, detail: "the transfer is malformed, or an older one" } : DONE;
  }
}

/** Nobody has signed the bytes of an envelope, only their digest, whether or not the manifest asks for that later. */
export function isSigned(action: Action & { kind: "store" }, digest: Uint8Array): boolean {
  if (action.uri === undefined) return true; // written out in the manifest
  const { size } = action;
  return (
    action.digest !== undefined &&
    bytesEqual(action.digest, digest) &&
    (size ?? action.content.length) === action.content.length
  );
}

const FAILED = { ok: false, reason: "operation-failed", section: "install", record: undefined } as const;

/** Its value, or what is wrong with the patch. */
function orReason<T>(call: () => T): T | string {
  try {
    return call();
  } catch (error) {
    if (error instanceof PatchError) return error.reason;
    throw error;
  }
}

/** The answer comes when work or a transfer is over. */
const LATER = Symbol("later");

/** Path segments of a URI on the gateway that gave the manifest (RFC 3986: it is relative to that). */
function pathOf(uri: string): string[] | undefined {
  if (!uri.startsWith("/")) return undefined;
  const path = uri.slice(1).split("/");
  return path.every((segment) => segment.length > 0 && segment.length <= 255) ? path : undefined;
}

/** The download's own word where it failed; else what the processor says. */
export function reasonOf(outcome: Outcome & { readonly ok: false }, run: UpdateRun): string {
  if (run.downloadFailure !== undefined) return run.downloadFailure;
  const { fetched } = run;
  if (outcome.reason === "condition-failed" && fetched !== undefined) return "digest-mismatch";
  return outcome.detail.includes("image-larger-than-slot")
    ? "image-larger-than-slot"
    : `${outcome.reason}: ${outcome.detail}`;
}

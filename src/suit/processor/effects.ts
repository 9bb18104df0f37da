import type { ComponentId } from "../manifest.ts";
import type { WaitEvents } from "./parameters.ts";

/** What the digest of a component must be; SHA-256. */
export interface ExpectedImage {
  readonly digest: Uint8Array | undefined;
  readonly size: number | undefined;
}

interface Transfer extends ExpectedImage {
  readonly component: ComponentId;
  /** Encoded COSE_Encrypt: what is stored is the plaintext (firmware-encryption section 4). */
  readonly encryption: Uint8Array | undefined;
  /** Encoded SUIT_Component_Metadata (update-management section 4.6). */
  readonly metadata: Uint8Array | undefined;
}

/** What the processor asks its device: is something so? None has a side effect (draft -37 section 6.4). */
export type Question =
  | {
      readonly kind: "identifier";
      readonly which: "vendor" | "class" | "device";
      readonly component: ComponentId;
      readonly value: Uint8Array;
    }
  | {
      readonly kind: "digest";
      readonly component: ComponentId;
      readonly digest: Uint8Array;
      readonly size?: number | undefined;
      /** It goes on where the component is another one (image-not-match); the answer is the same. */
      readonly negated?: true | undefined;
    }
  | { readonly kind: "content"; readonly component: ComponentId; readonly content: Uint8Array }
  | { readonly kind: "slot"; readonly component: ComponentId; readonly slot: number }
  | { readonly kind: "before"; readonly unixS: number }
  | { readonly kind: "battery"; readonly atLeastMwh: number }
  | { readonly kind: "authorised"; readonly priority: number }
  | {
      readonly kind: "version";
      readonly component: ComponentId;
      readonly comparison: number;
      readonly version: readonly number[];
    };

/** What it has the device do. */
export type Action =
  | (Transfer & { readonly kind: "fetch"; readonly uri: string; readonly args: Uint8Array | undefined })
  /** Bytes from within the manifest; with a URI from its envelope, where nobody has signed more than their digest. */
  | (Transfer & {
      readonly kind: "store";
      readonly content: Uint8Array;
      readonly uri?: string;
      /** It is another manifest, whose digest is not that of these bytes. */
      readonly isDependency: boolean;
    })
  | (Transfer & { readonly kind: "copy"; readonly source: ComponentId })
  | { readonly kind: "swap"; readonly component: ComponentId; readonly source: ComponentId }
  | { readonly kind: "invoke"; readonly component: ComponentId; readonly args: Uint8Array | undefined }
  | { readonly kind: "wait"; readonly events: WaitEvents }
  | { readonly kind: "unlink"; readonly component: ComponentId };

/** Bytes of a component that holds an envelope. */
export interface ReadEnvelope {
  readonly kind: "read-envelope";
  readonly component: ComponentId;
}

export type Effect = Question | Action | ReadEnvelope;

/** "unsupported": this device cannot tell (no clock), which is never a yes. */
export type Answer = "yes" | "no" | "unsupported";
/** "done", or what went wrong in a word or two. */
export type Done = { readonly ok: true } | { readonly ok: false; readonly detail: string };
export const DONE: Done = { ok: true };

/** What a driver may give back: an Answer to a Question, Done to an Action, bytes to `read-envelope`. */
export type EffectResult = Answer | Done | Uint8Array | undefined;

export type Run<T> = Generator<Effect, T, EffectResult>;

/** A device, or a model of one, whose answers are there at once. */
export interface Device {
  ask(question: Question): Answer;
  act(action: Action): Done;
  envelope(component: ComponentId): Uint8Array | undefined;
}

const ACTIONS: ReadonlySet<string> = new Set(["fetch", "store", "copy", "swap", "invoke", "wait", "unlink"]);

export const isAction = (effect: Effect): effect is Action => ACTIONS.has(effect.kind);

/** Runs to the end on a device that never lets wait. */
export function drive<T>(run: Run<T>, device: Device): T {
  let step = run.next();
  while (step.done !== true) {
    const effect = step.value;
    if (effect.kind === "read-envelope") step = run.next(device.envelope(effect.component));
    else step = run.next(isAction(effect) ? device.act(effect) : device.ask(effect));
  }
  return step.value;
}

/** What a client does otherwise than it should, or than the others do; all of it seen in the field. */
export interface Behaviour {
  /** Resource 9 of its firmware object. */
  readonly delivery: "pull" | "push" | "both";
  /** Its State reads 1 from the start, its Result 0 for ever, and a gap in a package is taken without a word. */
  readonly stubState: boolean;
  /** It says that the update went well, and boots the image that it had. */
  readonly bootsOld: boolean;
  /** Once told to update it is never heard of again. */
  readonly vanishes: boolean;
  /** The new image boots, and never reaches its server: the watchdog has it tried until the boot loader goes back. */
  readonly neverConfirms: boolean;
  /** State and Result are as new after each restart. */
  readonly forgets: boolean;
  /** Its user puts the first update off. */
  readonly defers: boolean;
  readonly manufacturer: string;
}

export const GOOD: Behaviour = {
  delivery: "both",
  stubState: false,
  bootsOld: false,
  vanishes: false,
  neverConfirms: false,
  forgets: false,
  defers: false,
  manufacturer: "blockferry",
};

/** By name, for scenarios and the command line. */
export const BEHAVIOURS: Readonly<Record<string, Behaviour>> = {
  good: GOOD,
  "pull-only": { ...GOOD, delivery: "pull" },
  "push-only": { ...GOOD, delivery: "push" },
  wakaama: { ...GOOD, delivery: "push", stubState: true, forgets: true, manufacturer: "Open Mobile Alliance" },
  "boots-old": { ...GOOD, bootsOld: true },
  defers: { ...GOOD, defers: true },
  vanishes: { ...GOOD, vanishes: true },
  "never-confirms": { ...GOOD, neverConfirms: true },
};

import { z } from "zod";
import { parseFilter } from "../rollout/filter.ts";
import { ROLLOUT_LIMITS } from "../rollout/limits.ts";
import { DEFAULT_GROUP, SPEC_DEFAULTS } from "../rollout/spec.ts";
import { checkWindow } from "../rollout/windows.ts";
import type { Gateway } from "../gateway/gateway.ts";
import { updateTarget } from "../gateway/update-target.ts";
import type { RolloutSpec } from "../rollout/spec.ts";
import { ComponentSchema, PolicySchema } from "./updates.ts";

const YEAR_S = 31_536_000;
const percent = z.number().min(0).max(100);

/** Says what is wrong with a text where there is something. */
function sound(check: (text: string) => unknown): (text: string, context: z.core.$RefinementCtx<string>) => void {
  return (text, context) => {
    try {
      check(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message, input: text });
    }
  };
}

const filter = z.string().max(ROLLOUT_LIMITS.maxFilter).superRefine(sound(parseFilter));

const group = z
  .strictObject({
    name: z.string().min(1).max(64),
    percent: percent.optional(),
    size: z.int().min(0).max(ROLLOUT_LIMITS.maxMembers).optional(),
    filter: filter.optional(),
    successThreshold: percent.default(DEFAULT_GROUP.successThreshold),
    errorThreshold: percent.default(DEFAULT_GROUP.errorThreshold),
    onSuccess: z.enum(["next", "pause"]).default(DEFAULT_GROUP.onSuccess),
  })
  .refine(({ percent: share, size }) => share === undefined || size === undefined, "write percent or size, not both");

const window = z
  .strictObject({
    schedule: z.string().min(9).max(100),
    durationS: z
      .int()
      .min(60)
      .max(7 * 86_400),
    timeZone: z.string().min(1).max(64),
    downloads: z.enum(["any-time", "in-window"]).default("any-time"),
  })
  .superRefine((value, context) => {
    try {
      checkWindow(value);
    } catch (error) {
      context.addIssue({ code: "custom", message: `no such window: ${(error as Error).message}` });
    }
  });

const Body = z
  .strictObject({
    name: z.string().min(1).max(128),
    description: z.string().max(2_000).optional(),
    priority: z.enum(["security", "feature"]).default(SPEC_DEFAULTS.priority),
    /** Which devices, in RSQL; all when empty. */
    target: filter.default(SPEC_DEFAULTS.target),
    endpoints: z.array(z.string().min(1).max(255)).min(1).max(ROLLOUT_LIMITS.maxMembers).optional(),
    components: z.array(ComponentSchema).min(1).max(16),
    /** How each device is updated. */
    policy: PolicySchema.prefault({} as never),
    groups: z
      .array(group)
      .min(1)
      .max(ROLLOUT_LIMITS.maxGroups)
      .default([{ name: "all", ...DEFAULT_GROUP }]),
    approval: z.boolean().default(SPEC_DEFAULTS.approval),
    /** RFC 3339: it starts by itself then, once it was told to start. */
    startAt: z.iso.datetime({ offset: true }).optional(),
    window: window.optional(),
    maxConcurrent: z.int().min(1).max(10_000).default(SPEC_DEFAULTS.maxConcurrent),
    airtimeSPerHour: z.number().positive().max(3_600).optional(),
    minBattery: percent.optional(),
    requires: filter.optional(),
    after: z.array(z.string().min(1).max(64)).max(16).optional(),
    barrier: z.boolean().default(SPEC_DEFAULTS.barrier),
    dynamicUntil: z.iso.datetime({ offset: true }).optional(),
    deadlineS: z.number().min(1).max(YEAR_S).default(SPEC_DEFAULTS.deadlineS),
  })
  .refine(({ endpoints, target }) => endpoints === undefined || target === "", {
    message: "write target or endpoints, not both",
    path: ["endpoints"],
  });

/** A rollout as an operator writes it, in a file or by HTTP. */
export const RolloutBody: z.ZodType = Body;

/** What an operator wrote, its images found and its times read; a text says which image is none. */
export function specOf(gateway: Gateway, body: unknown): RolloutSpec | string {
  const { components, startAt, dynamicUntil, ...rest } = body as z.infer<typeof Body>;
  const targets = components.map((one) => updateTarget(gateway.nameable(), one, rest.policy.methods));
  const wrong = targets.find((target) => typeof target === "string");
  if (wrong !== undefined) return wrong;
  const ms = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text));
  return {
    ...rest,
    components: targets as RolloutSpec["components"],
    startAtMs: ms(startAt),
    dynamicUntilMs: ms(dynamicUntil),
  };
}

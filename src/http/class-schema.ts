import { z } from "zod";
import { FEATURES, type DeviceClass, type KeyRecord } from "../lifecycle/classes.ts";

/** So many bytes in hexadecimal digits. */
export const hex = (bytes: number): z.ZodString => z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`));

const key = z.strictObject({
  algorithm: z.enum(["ES256", "Ed25519", "HSS-LMS"]),
  key: z
    .string()
    .regex(/^([0-9a-f]{64}|04[0-9a-f]{128}|0000000[1-8][0-9a-f]{112})$/, "a public key in hexadecimal digits"),
});
export const PublicKeyRecord: z.ZodType<KeyRecord> = key;

const right = z.strictObject({
  component: z.string().max(128).optional(),
  actions: z.array(z.enum(["fetch", "write", "copy", "swap", "invoke", "unlink"])).optional(),
});
const authority = key.extend({ name: z.string().min(1).max(64), rights: z.array(right).max(16).optional() });

/** A class of devices, as it is defined by HTTP and in files. */
export const ClassDefinition: z.ZodType<DeviceClass> = z.strictObject({
  id: hex(16),
  name: z.string().min(1).max(64),
  vendorId: hex(16),
  hardware: z.strictObject({
    rng: z.boolean(),
    rtc: z.boolean(),
    slots: z.int().min(1).max(8),
    recoveryImage: z.boolean(),
    ramBytes: z.int().min(1_024),
    envelopeBytes: z.int().min(256).max(65_536).optional(),
    features: z.array(z.enum(FEATURES)).optional(),
  }),
  dialect: z.enum(["draft-37", "riot-09"]).optional(),
  authorities: z
    .array(authority)
    .min(1)
    .max(8)
    .refine((all) => new Set(all.map((one) => one.key)).size === all.length, "it names a key twice"),
  escrow: z.array(key).max(4).default([]),
  quorum: z
    .strictObject({ keys: z.array(key).min(1).max(8), atLeast: z.int().min(1).max(8) })
    .refine(({ keys, atLeast }) => atLeast <= new Set(keys.map((one) => one.key)).size, "it has fewer keys than that")
    .optional(),
  operators: z.array(key).max(4).default([]),
  epoch: z.int().min(0).default(0),
});

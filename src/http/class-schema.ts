import { z } from "zod";
import { TRUST_LIMITS } from "../suit/trust.ts";
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
  component: z
    .string()
    .max(128)
    .refine(
      (name) => name.split("/").every((part) => !part.startsWith("0x") || /^0x([0-9a-f]{2})+$/i.test(part)),
      "behind 0x a component has hexadecimal digits, two for each byte",
    )
    .optional(),
  actions: z.array(z.enum(["fetch", "write", "copy", "swap", "invoke", "unlink"])).optional(),
});
const authority = key.extend({ name: z.string().min(1).max(64), rights: z.array(right).max(16).optional() });

/** As many of a kind as a device keeps, each once. */
const keysOf = <T extends z.ZodType<KeyRecord>>(of: T, least = 0): z.ZodArray<T> =>
  z
    .array(of)
    .min(least)
    .max(TRUST_LIMITS.maxKeys)
    .refine((all) => new Set(all.map((one) => one.key)).size === all.length, "it names a key twice");

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
  authorities: keysOf(authority, 1),
  escrow: keysOf(key).default([]),
  quorum: z
    .strictObject({ keys: keysOf(key, 1), atLeast: z.int().min(1).max(TRUST_LIMITS.maxKeys) })
    .refine(({ keys, atLeast }) => atLeast <= keys.length, "it has fewer keys than that")
    .optional(),
  operators: keysOf(key).default([]),
  epoch: z.int().min(0).default(0),
});

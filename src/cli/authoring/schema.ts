import { z } from "zod";

/** Numbers that fit into an integer of JavaScript. */
const VERSION = String.raw`\d{1,10}(\.\d{1,10}){0,2}(-(rc|beta|alpha)(\.\d{1,10})?)?`;
const version = z.string().regex(new RegExp(`^${VERSION}$`), "a version such as 1.2.3 or 1.2-rc.1");
const requirement = z.string().regex(new RegExp(String.raw`^(>=|<=|>|<|=)\s*${VERSION}$`), "such as >=1.2.0");

/** RFC 3986 section 4.1. */
const uriReference = z
  .string()
  .max(1_024)
  .regex(/^(?:[\w.~:/?#[\]@!$&'()*+,;=-]|%[0-9a-f]{2})+$/i, "a URI: other characters are written as %, such as %20");
/** What people call a version. */
const label = z.string().min(1).max(128);
const time = z.iso
  .datetime({ offset: true, error: "a time such as 2031-12-31T00:00:00Z" })
  .refine((text) => Date.parse(text) >= 0, "a time from 1970 on");

/** Segments of an identifier; text, or hexadecimal digits behind 0x. */
const id = z.union(
  [z.string(), z.array(z.string()).min(1).max(8)],
  'text, or a list of texts; in quotes, such as "0x01"',
);

const recipient = z.union([
  /** A file with 32 hexadecimal digits that the device has too. */
  z.strictObject({ kid: z.string().min(1).max(64), kek: z.string() }),
  /** A PEM file with the device's public P-256 key. */
  z.strictObject({ kid: z.string().min(1).max(64), publicKey: z.string() }),
]);

const payload = z.strictObject({
  image: z.string(),
  uri: uriReference.optional(),
  /** In the envelope instead of on the gateway. */
  integrated: z.boolean().default(false),
  encrypt: z
    .strictObject({
      algorithm: z.enum(["A128CTR", "A128GCM"]).default("A128CTR"),
      recipients: z.array(recipient).min(1).max(64),
    })
    .optional(),
  /** Images that devices may have: those fetch a patch instead. */
  delta: z.strictObject({ from: z.array(z.string()).min(1).max(4) }).optional(),
});

const component = z
  .strictObject({
    id: id.default("0x00"),
    version: label.optional(),
    description: z.string().max(500).optional(),
    requires: z.array(requirement).max(8).default([]),
    /** One image for each slot that a device may write. */
    slots: z
      .array(payload.extend({ slot: z.int().min(0).max(255) }))
      .min(2)
      .max(8)
      .optional(),
    ...payload.partial({ image: true }).shape,
  })
  .refine(
    ({ image, slots }) => (image === undefined) !== (slots === undefined),
    "a component has either an image or slots",
  );

const dependency = z.strictObject({
  id,
  /** A signed envelope. */
  envelope: z.string(),
  uri: uriReference.optional(),
  integrated: z.boolean().default(true),
  prefix: z.array(z.string()).min(1).max(8).optional(),
});

export const UpdateFileSchema: z.ZodType<UpdateFile> = z
  .strictObject({
    sequence: z.int().min(0),
    vendor: z.string().min(1),
    class: z.string().min(1).optional(),
    classes: z.array(z.string().min(1)).min(1).max(16).optional(),
    version: version.optional(),
    description: z.string().max(500).optional(),
    referenceUri: uriReference.optional(),
    components: z.array(component).max(16).default([]),
    dependencies: z.array(dependency).max(8).default([]),
    /** Below 0 for what cannot wait, such as security fixes; the device's operator is asked with it. */
    priority: z.int().min(-128).max(127).optional(),
    useBefore: time.optional(),
    minimumBatteryMwh: z.int().min(0).optional(),
    /** Wait for these before anything is fetched. */
    wait: z
      .strictObject({
        authorization: z.int32(),
        power: z.int32(),
        network: z.int32(),
        time,
      })
      .partial()
      .optional(),
    /** The component that is started, by its place in the list; false for none. */
    invoke: z.union([z.int().min(0), z.literal(false)]).default(0),
    sever: z.boolean().default(false),
  })
  .refine((file) => (file.class === undefined) !== (file.classes === undefined), "give either class or classes")
  .refine((file) => file.components.length + file.dependencies.length > 0, "give a component or a dependency");

/** What options say of an image, held to what a description may say. */
export const ImageOptions: z.ZodType<{ uri?: string | undefined; label?: string | undefined }> = z.object({
  uri: uriReference.optional(),
  label: label.optional(),
});

export type RecipientFile =
  | { readonly kid: string; readonly kek: string }
  | { readonly kid: string; readonly publicKey: string };

export interface PayloadFile {
  readonly slot?: number | undefined;
  readonly image: string;
  readonly uri?: string | undefined;
  readonly integrated?: boolean | undefined;
  readonly encrypt?:
    | { readonly algorithm: "A128CTR" | "A128GCM"; readonly recipients: readonly RecipientFile[] }
    | undefined;
  readonly delta?: { readonly from: readonly string[] } | undefined;
}

export interface ComponentFile extends Omit<PayloadFile, "image" | "slot"> {
  readonly id: string | readonly string[];
  readonly image?: string | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly requires: readonly string[];
  readonly slots?: readonly PayloadFile[] | undefined;
}

export interface DependencyFile {
  readonly id: string | readonly string[];
  readonly envelope: string;
  readonly uri?: string | undefined;
  readonly integrated: boolean;
  readonly prefix?: readonly string[] | undefined;
}

export interface WaitFile {
  readonly authorization?: number | undefined;
  readonly power?: number | undefined;
  readonly network?: number | undefined;
  readonly time?: string | undefined;
}

/** An update's description as its author writes it. */
export interface UpdateFile {
  readonly sequence: number;
  readonly vendor: string;
  readonly class?: string | undefined;
  readonly classes?: readonly string[] | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly referenceUri?: string | undefined;
  readonly components: readonly ComponentFile[];
  readonly dependencies: readonly DependencyFile[];
  readonly priority?: number | undefined;
  readonly useBefore?: string | undefined;
  readonly minimumBatteryMwh?: number | undefined;
  readonly wait?: WaitFile | undefined;
  readonly invoke: number | false;
  readonly sever: boolean;
}

/** Checks a description and fills in what is left out; a text says what is wrong where. */
export function parseUpdateFile(value: unknown): UpdateFile | string {
  const file = UpdateFileSchema.safeParse(value);
  return file.success ? file.data : z.prettifyError(file.error);
}

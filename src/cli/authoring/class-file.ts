import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { ClassDefinition } from "../../http/class-schema.ts";
import { keyRecord, type DeviceClass, type KeyRecord } from "../../lifecycle/classes.ts";
import { toHex } from "../../util/bytes.ts";
import { usageError, UserError } from "../errors.ts";
import { identifiers } from "../identifiers.ts";
import { readPublicKey } from "../keys.ts";

/** A class as its owner writes it: files in the place of keys. */
interface ClassText {
  readonly name: string;
  readonly vendor: string;
  readonly class?: string | undefined;
  readonly dialect?: string | undefined;
  readonly hardware?: unknown;
  readonly authorities: readonly { readonly name: string; readonly publicKey: string; readonly rights?: unknown }[];
  readonly escrow?: readonly string[] | undefined;
  readonly quorum?: { readonly keys: readonly string[]; readonly atLeast: number } | undefined;
  readonly operators?: readonly string[] | undefined;
}

/** What is in it the gateway looks at; here no name may be wrong. */
export const ClassFile: z.ZodType<ClassText> = z.strictObject({
  name: z.string(),
  vendor: z.string(),
  class: z.string().optional(),
  dialect: z.string().optional(),
  hardware: z.unknown(),
  authorities: z.array(z.strictObject({ name: z.string(), publicKey: z.string(), rights: z.unknown().optional() })),
  escrow: z.array(z.string()).optional(),
  quorum: z.strictObject({ keys: z.array(z.string()), atLeast: z.number() }).optional(),
  operators: z.array(z.string()).optional(),
});

/** A class as a YAML file has it, for a gateway or for a factory; its keys are read, from files named relative to it. */
export function readClass(path: string): { name: string; id: string } & Record<string, unknown> {
  try {
    const file = ClassFile.parse(parse(readFileSync(path, "utf8")));
    const { vendorId, classId } = identifiers(file.vendor, file.class ?? file.name);
    const read = (name: string): KeyRecord => keyRecord(readPublicKey(resolve(dirname(path), name)));
    const keys = (files: readonly string[] = []): KeyRecord[] => files.map(read);
    return {
      id: toHex(classId),
      name: file.name,
      vendorId: toHex(vendorId),
      hardware: file.hardware,
      ...(file.dialect === undefined ? {} : { dialect: file.dialect }),
      authorities: file.authorities.map(({ name, publicKey, rights }) => ({
        ...read(publicKey),
        name,
        rights,
      })),
      escrow: keys(file.escrow),
      operators: keys(file.operators),
      ...(file.quorum === undefined ? {} : { quorum: { keys: keys(file.quorum.keys), atLeast: file.quorum.atLeast } }),
    };
  } catch (error) {
    if (error instanceof UserError) throw error;
    const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw usageError("bad-class-file", `${path}: ${why}; see blockferry class define --help`);
  }
}

/** The same, looked at as a gateway would. */
export function readDefinition(path: string): DeviceClass {
  const read = ClassDefinition.safeParse(readClass(path));
  if (read.success) return read.data;
  throw usageError("bad-class-file", `${path}: ${z.prettifyError(read.error)}; see blockferry class define --help`);
}

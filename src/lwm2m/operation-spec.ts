import { typeOf } from "./definitions.ts";
import { writeOf, type Operation } from "./operation.ts";
import { parsePath, type Path } from "./path.ts";
import type { Reading } from "./reading.ts";
import { ContentError, fromText, type ResourceValue } from "./values.ts";

export const OPERATION_KINDS = [
  "read",
  "discover",
  "write",
  "write-attributes",
  "execute",
  "create",
  "delete",
  "observe",
  "cancel-observation",
  "read-composite",
  "write-composite",
] as const;

/** An operation as an operator writes it, and as the store keeps it until the client has answered. */
export interface OperationSpec {
  readonly operation: (typeof OPERATION_KINDS)[number];
  /** Of composite operations and of observations: several, with commas between. */
  readonly path: string;
  /** Of a write: the value as text; `id=value` for each resource of an instance, or of a composite `path=value`. Of an execute: its argument. Of write-attributes: `pmin=10&pmax=60`. */
  readonly value?: string | undefined;
}

/** The operation that is meant, or what is wrong with it. */
export function operationOf({ operation, path: text, value }: OperationSpec): Operation | string {
  const paths = text.split(",").map((part) => parsePath(part.trim()));
  const path = paths[0];
  if (path === undefined || paths.some((one) => one === undefined)) return `${text} is no path such as /3/0/3`;
  const all = paths as Path[];
  const several = operation === "observe" || operation === "cancel-observation" || operation === "read-composite";
  if (all.length > 1 && !several) return `${operation} takes one path`;
  if (path.length === 0 && operation !== "write-composite" && operation !== "discover")
    return "the root is no path for this";
  try {
    return meantBy(operation, path, all, value);
  } catch (error) {
    if (error instanceof ContentError) return error.message;
    throw error;
  }
}

function meantBy(
  operation: OperationSpec["operation"],
  path: Path,
  all: readonly Path[],
  value: string | undefined,
): Operation | string {
  switch (operation) {
    case "execute":
      if (path.length !== 3) return "only a resource, such as /5/0/2, can be executed";
      return { kind: "execute", path, argument: value ?? "" };
    case "write-attributes":
      if (value === undefined || value === "") return "write-attributes needs some, such as pmin=10&pmax=60";
      return { kind: operation, path, attributes: value.split("&") };
    case "write":
      return write(path, value);
    case "create":
      return { kind: "create", path: path.slice(0, 1), readings: assignments(path, value ?? "") };
    case "write-composite":
      return { kind: operation, path: [], readings: assignments(path, value ?? "") };
    case "read-composite":
      return { kind: operation, path: [], paths: all };
    case "observe":
    case "cancel-observation":
      return { kind: operation, path: all.length === 1 ? path : [], paths: all };
    case "read":
    case "discover":
    case "delete":
      break;
  }
  return { kind: operation, path };
}

function write(path: Path, value: string | undefined): Operation | string {
  if (value === undefined) return "a write needs a value";
  if (path.length >= 3) {
    return writeOf(path, meant(value, path));
  }
  if (path.length < 2) return "a write needs a resource, such as /1/0/1, or an instance with id=value for each";
  return { kind: "write", path, readings: assignments(path, value), replace: false };
}

/** A value whose type nobody has told: what looks like a number is one, since TLV has no other sign of it. */
function meant(text: string, path: Path): ResourceValue {
  const type = typeOf(path);
  if (type !== undefined) return fromText(text, type);
  if (/^-?\d{1,19}$/.test(text)) return fromText(text, "integer");
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+\.\d+$/.test(text) ? fromText(text, "float") : text;
}

/** `1=300,6=1` below a path, or `/1/0/1=300,/3/0/15=UTC`. */
function assignments(above: Path, text: string): Reading[] {
  if (text === "") return [];
  return text.split(",").map((part) => {
    const at = part.indexOf("=");
    const name = at < 0 ? "" : part.slice(0, at).trim();
    const below = parsePath(name);
    const path = name.startsWith("/") ? below : below && [...above, ...below];
    if (path === undefined || path.length < 3) throw new ContentError(`${part} is no id=value`);
    return { path, value: meant(part.slice(at + 1), path) };
  });
}

import type { CoapMessage } from "../coap/message.ts";
import { Code } from "../coap/numbers.ts";
import { uriPath } from "../coap/options.ts";
import { parseLinks, type Link } from "../codec/link-format.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";
import { parsePath, type Path } from "./path.ts";

/** Enabler versions that are spoken; another one is answered 4.12 (LwM2M 1.1 Core, section 6.2.1). */
const VERSIONS: ReadonlySet<string> = new Set(["1.0", "1.1", "1.2"]);
const DEFAULT_LIFETIME_S = 86_400;
/** What a device says of itself is kept, within bounds. */
export const REGISTRATION_LIMITS = {
  maxEndpointBytes: 255,
  maxLifetimeS: 0xffff_ffff,
  maxParameters: 32,
  maxLinksBytes: 8_192,
} as const;

/** An object or an instance that a client has (section 6.2.1). */
export interface ObjectEntry {
  readonly path: Path;
  /** Of the object, where the client says it. */
  readonly version?: string;
}

export interface RegistrationParameters {
  readonly endpoint: string;
  readonly lifetimeS: number;
  readonly version: string;
  /** Transports: `U` for UDP and so on, without the Q that 1.0 has in it. */
  readonly binding: string;
  readonly queueMode: boolean;
  /** Queue Mode said by `b=UQ`, as in 1.0. */
  readonly oldQueueSyntax?: boolean;
  readonly sms: string | undefined;
  /** Parameters that are not LwM2M's, as they came. */
  readonly others: Readonly<Record<string, string>>;
}

export interface Registration extends RegistrationParameters {
  /** The second segment of its location (section 6.2.1). */
  readonly id: string;
  readonly peer: PeerAddress;
  /** Where its objects are, if not at the root; without slashes (section 7.2.2). */
  readonly rootPath: readonly string[];
  /** Content-Formats that its root says it takes. */
  readonly formats: readonly number[];
  readonly objects: readonly ObjectEntry[];
}

/** Why a registration is refused; the code of the response. */
export class RegistrationError extends Error {
  readonly kind: "bad-request" | "version";

  constructor(kind: RegistrationError["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

type Changes = { -readonly [K in keyof RegistrationParameters]?: RegistrationParameters[K] };

/** Reads the query of a Register. Throws RegistrationError. */
export function readRegister(query: readonly string[]): RegistrationParameters {
  const { endpoint, ...given } = readQuery(query);
  if (endpoint === undefined) throw new RegistrationError("bad-request", "ep, the endpoint name, is missing");
  const defaults = { lifetimeS: DEFAULT_LIFETIME_S, version: "1.0", binding: "U", queueMode: false, sms: undefined };
  return { ...defaults, others: {}, ...given, endpoint };
}

/** Reads the query of an Update: what has changed. Throws RegistrationError. */
export function readUpdate(query: readonly string[]): Omit<Changes, "endpoint" | "version"> {
  const { endpoint: _fixed, version: _too, others, ...changes } = readQuery(query);
  return others === undefined || Object.keys(others).length === 0 ? changes : { ...changes, others };
}

function readQuery(query: readonly string[]): Changes {
  if (query.length > REGISTRATION_LIMITS.maxParameters)
    throw new RegistrationError("bad-request", `more than ${REGISTRATION_LIMITS.maxParameters} parameters`);
  const out: Changes = {};
  const others: Record<string, string> = {};
  for (const argument of query) {
    const at = argument.indexOf("=");
    const [name, value] = at < 0 ? [argument, ""] : [argument.slice(0, at), argument.slice(at + 1)];
    switch (name) {
      case "ep":
        if (value === "" || utf8(value).length > REGISTRATION_LIMITS.maxEndpointBytes)
          throw new RegistrationError("bad-request", "ep is a name of 1 to 255 bytes");
        out.endpoint = value;
        break;
      case "lt":
        out.lifetimeS = readLifetime(value);
        break;
      case "lwm2m":
        if (!VERSIONS.has(value)) throw new RegistrationError("version", `lwm2m=${value}: 1.0, 1.1 and 1.2 are spoken`);
        out.version = value;
        break;
      case "b":
        readBinding(value, out);
        break;
      case "Q":
        out.queueMode = true; // bare in 1.1; with a value from clients that know no better
        break;
      case "sms":
        out.sms = value;
        break;
      default:
        others[name] = value;
    }
  }
  return { ...out, others };
}

function readLifetime(text: string): number {
  const value = Number(text);
  if (!/^\d{1,10}$/.test(text) || value > REGISTRATION_LIMITS.maxLifetimeS)
    throw new RegistrationError("bad-request", `lt=${text} is no number of seconds`);
  return value;
}

/** `U`, `UQ`, `US` and so on; the Q of 1.0 is Queue Mode. */
function readBinding(value: string, out: Changes): void {
  if (!/^[UTSNQ]{1,6}$/.test(value)) throw new RegistrationError("bad-request", `b=${value} names no transports`);
  if (value.includes("Q")) out.queueMode = out.oldQueueSyntax = true;
  out.binding = value.replaceAll("Q", "") || "U";
}

/**
 * What looks like a copy of a Register later is a restart. A client that never got our answer only gets a newer one,
 * so this can be shorter than the time in which copies leave.
 */
const REGISTER_REPEATS_US = 10_000_000;

/** For how long the same message is a repetition: a client that always begins with one message ID registers again with the same bytes. */
export function registerKeptUs({ code, options }: CoapMessage): number | undefined {
  const path = code === Code.POST ? uriPath(options) : undefined;
  return path?.length === 1 && path[0] === "rd" ? REGISTER_REPEATS_US : undefined;
}

/** What a body of links says of a client's objects. Throws RegistrationError. */
export function readObjects(body: Uint8Array): Pick<Registration, "rootPath" | "formats" | "objects"> {
  const text = fromUtf8(body);
  const links = text === undefined ? undefined : parseLinks(text);
  if (links === undefined) throw new RegistrationError("bad-request", "the body is no list of links");
  const marked = links.find(({ attributes }) =>
    String(attributes["rt"] ?? "")
      .split(" ")
      .includes("oma.lwm2m"),
  );
  // Zephyr leaves rt out, and says what it takes all the same.
  const root = marked ?? links.find(({ target, attributes }) => target === "/" && attributes["ct"] !== undefined);
  const rootPath = segments(root?.target ?? "");
  const objects = links.flatMap((link) => entryOf(link, rootPath) ?? []);
  const formats = String(root?.attributes["ct"] ?? "")
    .split(" ")
    .filter((word) => /^\d{1,5}$/.test(word))
    .map(Number);
  return { rootPath, formats, objects };
}

const segments = (target: string): string[] => target.split("/").filter((segment) => segment !== "");

function entryOf({ target, attributes }: Link, rootPath: readonly string[]): ObjectEntry | undefined {
  const all = segments(target);
  if (!rootPath.every((segment, i) => all[i] === segment)) return undefined;
  const path = parsePath(all.slice(rootPath.length).join("/"));
  if (path === undefined || path.length === 0 || path.length > 2) return undefined; // what is no object is left alone
  const version = attributes["ver"];
  return { path, ...(version === undefined ? {} : { version: String(version) }) };
}

/** The record that the store keeps under the endpoint's name. */
export function encodeRegistration(registration: Registration): Uint8Array {
  return utf8(JSON.stringify(registration));
}

/** Undefined when the record is none of ours. */
export function decodeRegistration(record: Uint8Array): Registration | undefined {
  try {
    const value = JSON.parse(fromUtf8(record) ?? "") as Registration;
    const { id, endpoint, peer, lifetimeS, objects } = value;
    const whole = [id, endpoint, peer.address].every((text) => typeof text === "string" && text !== "");
    return whole && Number.isInteger(lifetimeS) && Array.isArray(objects) ? { ...value, sms: value.sms } : undefined;
  } catch {
    return undefined;
  }
}

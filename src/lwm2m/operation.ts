import { BodyExchange, type BodyOutcome } from "../coap/blockwise/body-exchange.ts";
import { encodeUint, uintOption, type CoapOption } from "../coap/message.ts";
import { Code, codeClass, codeText, Option } from "../coap/numbers.ts";
import { textOptions } from "../coap/options.ts";
import type { ClientEvent, Requester, ResponseContent } from "../coap/request.ts";
import { parseLinks } from "../codec/link-format.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";
import type { OperationResult } from "./operation-result.ts";
import type { PackagePush } from "./package-push.ts";
import { decodeContent, encodeContent, encodePaths, Format } from "./content.ts";
import type { Path } from "./path.ts";
import type { Reading } from "./reading.ts";
import type { Registration } from "./registration.ts";
import { ContentError, type ResourceValue } from "./values.ts";

/** What a server may ask of a client (LwM2M 1.1 Core, section 6.3). */
export type Operation =
  | { readonly kind: "read"; readonly path: Path }
  | { readonly kind: "discover"; readonly path: Path }
  /** `replace`: the instance or resource as a whole (PUT); else what is named in it (POST). */
  | { readonly kind: "write"; readonly path: Path; readonly readings: readonly Reading[]; readonly replace: boolean }
  | { readonly kind: "write-attributes"; readonly path: Path; readonly attributes: readonly string[] }
  | { readonly kind: "execute"; readonly path: Path; readonly argument?: string }
  | { readonly kind: "create"; readonly path: Path; readonly readings: readonly Reading[] }
  | { readonly kind: "delete"; readonly path: Path }
  /** Several paths at once (section 6.3.8), and several values (section 6.3.9); `path` is the root. */
  | { readonly kind: "read-composite"; readonly path: Path; readonly paths: readonly Path[] }
  | { readonly kind: "write-composite"; readonly path: Path; readonly readings: readonly Reading[] }
  /** Sections 6.4.1 and 6.4.4; `path` is the root where several are observed. */
  | { readonly kind: "observe"; readonly path: Path; readonly paths: readonly Path[] }
  | { readonly kind: "cancel-observation"; readonly path: Path; readonly paths: readonly Path[] }
  /** A Write of a Package, block by block. */
  | { readonly kind: "push"; readonly path: Path; readonly push: PackagePush }
  /** What is no LwM2M: a POST to a resource of the client's own, such as the trigger of a SUIT update. */
  | {
      readonly kind: "post";
      readonly path: Path;
      readonly segments: readonly string[];
      readonly text: string;
      readonly port?: number | undefined;
    };

/** A Write of one resource, in place of the value that it has. */
export const writeOf = (path: Path, value: ResourceValue): Operation & { readonly kind: "write" } => ({
  kind: "write",
  path,
  readings: [{ path, value }],
  replace: true,
});

/** An operation under way. */
export interface Run {
  /** Sends the request; a result only where it cannot be sent. */
  start(nowUs: number): OperationResult | undefined;
  /** Takes the event of its request; a result once there is one. */
  handleEvent(nowUs: number, event: ClientEvent): OperationResult | undefined;
  /** The request whose event it waits for. */
  readonly request: number | undefined;
  /** The format that the client took; undefined where none is needed. */
  readonly format: number | undefined;
  cancel(nowUs: number): void;
}

/** Operations that are one exchange of bodies. */
type Exchanged = Exclude<Operation, { kind: "observe" | "cancel-observation" | "push" }>;

const METHODS: Readonly<Record<Exchanged["kind"], number>> = {
  read: Code.GET,
  discover: Code.GET,
  write: Code.PUT,
  "write-attributes": Code.PUT,
  execute: Code.POST,
  create: Code.POST,
  delete: Code.DELETE,
  "read-composite": Code.FETCH,
  "write-composite": Code.IPATCH,
  post: Code.POST,
};

/** Operations whose answers say something. */
const ANSWERED: ReadonlySet<Operation["kind"]> = new Set(["read", "discover", "read-composite"]);
/** Largest answer that is taken: a whole object with all its instances. */
const MAX_ANSWER_BYTES = 262_144;
const BLOCK_SZX = 6;
/** A client that has acknowledged a question and says no more: some do so with what they do not know. */
const READ_TIMEOUT_US = 30_000_000;

export interface RunningParts {
  readonly requester: Requester;
  readonly registration: Registration;
  readonly operation: Exchanged;
  /** A format that this client is known to take, and so the first to be tried. */
  readonly known: number | undefined;
}

/** One operation under way: asked in one format after the other, until the client takes one. */
export class RunningOperation implements Run {
  readonly #parts: RunningParts;
  readonly #formats: number[];
  #exchange: BodyExchange | undefined;

  constructor(parts: RunningParts) {
    this.#parts = parts;
    this.#formats = formatsFor(parts);
  }

  /** The format that is being tried, and in the end the one that the client took; undefined where none is needed. */
  get format(): number | undefined {
    return this.#formats[0];
  }

  get request(): number | undefined {
    return this.#exchange?.request;
  }

  start(nowUs: number): OperationResult | undefined {
    const { requester, registration, operation } = this.#parts;
    const { rootPath } = registration;
    const peer =
      operation.kind === "post"
        ? { ...registration.peer, port: operation.port ?? registration.peer.port }
        : registration.peer;
    const path = operation.kind === "post" ? operation.segments : [...rootPath, ...operation.path.map(String)];
    const options: CoapOption[] = textOptions(Option.URI_PATH, path);
    if (operation.kind === "write-attributes") options.push(...textOptions(Option.URI_QUERY, operation.attributes));
    let body: Uint8Array;
    try {
      body = this.#content(options);
    } catch (error) {
      if (!(error instanceof ContentError)) throw error;
      // This format has no form for what is to be said; another one may.
      return this.#formats.length > 1 ? this.#startWithNext(nowUs) : { kind: "failed", reason: error.message };
    }
    const partial = operation.kind === "write" && !operation.replace;
    const code = partial ? Code.POST : METHODS[operation.kind];
    const responseTimeoutUs = ANSWERED.has(operation.kind) ? READ_TIMEOUT_US : undefined;
    const limits = { szx: BLOCK_SZX, maxBodyBytes: MAX_ANSWER_BYTES, responseTimeoutUs } as const;
    this.#exchange = new BodyExchange({ endpoint: requester, peer, code, options, body, ...limits });
    return this.#exchange.start(nowUs) ? undefined : { kind: "failed", reason: "too-many-requests" };
  }

  handleEvent(nowUs: number, event: ClientEvent): OperationResult | undefined {
    const outcome = this.#exchange?.handleEvent(nowUs, event);
    return outcome && this.#conclude(nowUs, outcome);
  }

  cancel(nowUs: number): void {
    this.#exchange?.cancel(nowUs);
  }

  /** The body in the format that is tried, and the options that say so. */
  #content(options: CoapOption[]): Uint8Array {
    const { operation } = this.#parts;
    const format = this.format;
    const option = (number: number): void => void options.push({ number, value: encodeUint(format!) });
    switch (operation.kind) {
      case "read":
      case "discover":
        option(Option.ACCEPT);
        return new Uint8Array(0);
      case "write":
      case "create":
      case "write-composite": {
        const body = encodeContent(format!, operation.path, operation.readings);
        option(Option.CONTENT_FORMAT);
        return body;
      }
      case "read-composite": {
        const body = encodePaths(format!, operation.paths);
        option(Option.CONTENT_FORMAT);
        option(Option.ACCEPT);
        return body;
      }
      case "execute":
        return utf8(operation.argument ?? "");
      case "post":
        return utf8(operation.text);
      case "write-attributes":
      case "delete":
        break;
    }
    return new Uint8Array(0);
  }

  #startWithNext(nowUs: number): OperationResult | undefined {
    this.#formats.shift();
    return this.start(nowUs);
  }

  #conclude(nowUs: number, outcome: BodyOutcome): OperationResult | undefined {
    if (outcome.kind === "failed") return { kind: "failed", reason: outcome.reason };
    const { response } = outcome;
    const other = response.code === Code.NOT_ACCEPTABLE || response.code === Code.UNSUPPORTED_CONTENT_FORMAT;
    if (other && this.#formats.length > 1) return this.#startWithNext(nowUs);
    if (codeClass(response.code) !== 2)
      return { kind: "refused", code: codeText(response.code), detail: fromUtf8(response.payload) ?? "" };
    return this.#read(response);
  }

  #read(response: ResponseContent): OperationResult {
    const { operation } = this.#parts;
    const code = codeText(response.code);
    if (!ANSWERED.has(operation.kind)) return { kind: "done", code };
    const format = uintOption(response.options, Option.CONTENT_FORMAT) ?? this.format!;
    if (operation.kind === "discover" || format === Format.LINK) {
      const links = parseLinks(fromUtf8(response.payload) ?? "<");
      return links === undefined
        ? { kind: "failed", reason: "the answer is no list of links" }
        : { kind: "done", code, links };
    }
    try {
      return { kind: "done", code, readings: decodeContent(format, response.payload, operation.path) };
    } catch (error) {
      if (!(error instanceof ContentError)) throw error;
      return { kind: "failed", reason: `the answer in format ${format}: ${error.message}` };
    }
  }
}

/** What a client of its version must take, or may take where it does not say so (1.2 Core, section 7.4). */
export function usualFormats({ version }: Registration): number[] {
  if (version === "1.0") return [Format.TLV, Format.JSON];
  const both = [Format.SENML_CBOR, Format.SENML_JSON, Format.TLV];
  return version === "1.1" ? both : [...both, Format.LWM2M_CBOR];
}

/** What to try, in this order: what is known to work, what the client says it takes, what its version must take. */
function formatsFor({ registration, operation, known }: RunningParts): number[] {
  if (operation.kind === "discover") return [Format.LINK];
  if (operation.kind === "read-composite" || operation.kind === "write-composite") {
    const both: number[] = [Format.SENML_CBOR, Format.SENML_JSON];
    const preferred = [known, ...registration.formats].find((format) => format !== undefined && both.includes(format));
    return [...new Set([...(preferred === undefined ? [] : [preferred]), ...both])];
  }
  if (operation.kind !== "read" && operation.kind !== "write" && operation.kind !== "create") return [];
  const single = operation.path.length >= 3;
  const ours: number[] = [Format.SENML_CBOR, Format.SENML_JSON, Format.LWM2M_CBOR, Format.TLV, Format.JSON];
  const usual = usualFormats(registration);
  const said = ours.filter((format) => registration.formats.includes(format));
  const opaque = operation.kind === "write" && operation.readings[0]?.value instanceof Uint8Array;
  const simple = single ? (opaque ? [Format.OPAQUE] : [Format.TEXT]) : [];
  const first = known === undefined ? [] : [known];
  // A resource by itself is written as it is: Zephyr's JSON reader, for one, cuts a URI at its port.
  const plain = operation.kind === "write" && single;
  // Each client of 1.0 has TLV, and several have a JSON of their own making.
  const ordered = registration.version === "1.0" ? [...usual, ...said] : [...said, ...usual];
  return [...new Set([...(plain ? simple : []), ...first, ...ordered, ...simple])];
}

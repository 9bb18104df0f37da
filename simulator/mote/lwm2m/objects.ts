import { blockOption } from "../../../src/coap/blockwise/block.ts";
import { encodeUint, uintOption } from "../../../src/coap/message.ts";
import { Code, Option } from "../../../src/coap/numbers.ts";
import type { CoapResponse, HandlerResult, IncomingRequest, RequestHandler } from "../../../src/coap/request.ts";
import { decodeContent, decodePaths, encodeContent, Format } from "../../../src/lwm2m/content.ts";
import { isWithin, parsePath, pathText, type Path } from "../../../src/lwm2m/path.ts";
import type { Reading } from "../../../src/lwm2m/reading.ts";
import { fromUtf8, utf8 } from "../../../src/util/bytes.ts";

/** One object instance of a client. */
export interface ObjectInstance {
  readonly path: Path;
  read(): Reading[];
  /** The code of the answer; Bad Request where it is absent. */
  write?(nowUs: number, readings: readonly Reading[]): number;
  execute?(nowUs: number, resource: number, argument: string): number;
  /** Takes a Write of this resource as it comes, block by block. */
  receive?(nowUs: number, request: IncomingRequest): CoapResponse;
  readonly receives?: number;
}

const FORMATS: ReadonlySet<number> = new Set([Format.TLV, Format.SENML_CBOR, Format.TEXT, Format.OPAQUE]);

/** The objects of a client as a server of CoAP sees them (LwM2M 1.1 Core, section 6.3). */
export class ObjectTree implements RequestHandler {
  readonly understood: ReadonlySet<number> = new Set([Option.BLOCK1]);
  readonly #instances: readonly ObjectInstance[];
  /** Answers in place of the objects, where it has an answer. */
  intercept: (request: IncomingRequest) => CoapResponse | undefined = () => undefined;

  constructor(instances: readonly ObjectInstance[]) {
    this.#instances = instances;
  }

  /** For the body of a Register. */
  links(): string {
    return this.#instances.map(({ path }) => `<${pathText(path)}>`).join(",");
  }

  handleRequest(nowUs: number, request: IncomingRequest): HandlerResult {
    try {
      const instead = this.intercept(request);
      if (instead !== undefined) return instead;
      const path = parsePath(request.path.join("/"));
      if (path === undefined) return { code: Code.NOT_FOUND };
      const block = blockOption(request.options, Option.BLOCK1);
      const isPackage = this.#instances.some(({ path: of, receives }) => isWithin(path, [...of, receives ?? -1]));
      if (block?.more === true && !isPackage) return { code: Code.REQUEST_ENTITY_TOO_LARGE };
      if (request.method === Code.FETCH) return this.#readComposite(request);
      if (path.length === 0) return { code: Code.METHOD_NOT_ALLOWED };
      if (request.method === Code.GET) return this.#read(request, path);
      const instance = this.#instances.find((one) => one.path.every((id, i) => id === path[i]));
      if (instance === undefined) return { code: Code.NOT_FOUND };
      if (request.method === Code.POST && path.length === 3)
        return {
          code: instance.execute?.(nowUs, path[2]!, fromUtf8(request.payload) ?? "") ?? Code.METHOD_NOT_ALLOWED,
        };
      if (request.method !== Code.PUT && request.method !== Code.POST) return { code: Code.METHOD_NOT_ALLOWED };
      return this.#write(nowUs, request, instance, path);
    } catch (error) {
      if (error instanceof Error) return { code: Code.BAD_REQUEST, payload: utf8(error.message) };
      throw error;
    }
  }

  #readings(path: Path): Reading[] {
    return this.#instances
      .filter((one) => isWithin(one.path, path.slice(0, 2)))
      .flatMap((one) => one.read())
      .filter((reading) => isWithin(reading.path, path));
  }

  #read(request: IncomingRequest, path: Path): HandlerResult {
    const readings = this.#readings(path);
    const accept = uintOption(request.options, Option.ACCEPT);
    if (accept === Format.LINK) {
      const links = readings.map((reading) => `<${pathText(reading.path)}>`).join(",");
      return answer(Format.LINK, utf8(links));
    }
    if (readings.length === 0) return { code: Code.NOT_FOUND };
    const format = accept ?? Format.TLV;
    if (!FORMATS.has(format)) return { code: Code.NOT_ACCEPTABLE };
    return { ...answer(format, encodeContent(format, path, readings)), observable: pathText(path) };
  }

  #readComposite(request: IncomingRequest): HandlerResult {
    if (uintOption(request.options, Option.CONTENT_FORMAT) !== Format.SENML_CBOR)
      return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    const readings = decodePaths(Format.SENML_CBOR, request.payload).flatMap((path) => this.#readings(path));
    return answer(Format.SENML_CBOR, encodeContent(Format.SENML_CBOR, [], readings));
  }

  #write(nowUs: number, request: IncomingRequest, instance: ObjectInstance, path: Path): HandlerResult {
    if (instance.receives !== undefined && path[2] === instance.receives && path.length === 3)
      return instance.receive!(nowUs, request);
    if (request.query.length > 0 && request.payload.length === 0) return { code: Code.CHANGED }; // Write-Attributes
    const format = uintOption(request.options, Option.CONTENT_FORMAT) ?? Format.TLV;
    if (!FORMATS.has(format)) return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    return { code: instance.write?.(nowUs, decodeContent(format, request.payload, path)) ?? Code.METHOD_NOT_ALLOWED };
  }
}

function answer(format: number, payload: Uint8Array): CoapResponse {
  return { code: Code.CONTENT, payload, options: [{ number: Option.CONTENT_FORMAT, value: encodeUint(format) }] };
}

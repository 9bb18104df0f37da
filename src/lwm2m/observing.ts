import type { ClientEvent, Requester, ResponseContent } from "../coap/request.ts";
import { blockOption } from "../coap/blockwise/block.ts";
import { encodeUint, uintOption, type CoapOption } from "../coap/message.ts";
import { Code, codeClass, codeText, Option } from "../coap/numbers.ts";
import { textOptions } from "../coap/options.ts";
import { decodeContent, encodePaths, Format } from "./content.ts";
import { samePaths, type Path } from "./path.ts";
import type { Reading } from "./reading.ts";
import type { Registration } from "./registration.ts";
import { ContentError } from "./values.ts";

/** Observations of one client. */
const MAX_PER_DEVICE = 16;

export type ObservationEvent =
  | {
      readonly kind: "notified";
      readonly endpoint: string;
      readonly paths: readonly Path[];
      readonly readings: readonly Reading[];
    }
  /** More was to be told than one message has: it is to be read. */
  | { readonly kind: "changed"; readonly endpoint: string; readonly paths: readonly Path[] }
  | { readonly kind: "ended"; readonly endpoint: string; readonly paths: readonly Path[]; readonly reason: string };

/** What sends requests and can end an observation. */
export interface Observer extends Requester {
  unobserve(nowUs: number, request: number): boolean;
}

interface Observed {
  readonly endpoint: string;
  readonly paths: readonly Path[];
  readonly format: number;
  readonly request: number;
  /** It is being let go: what comes now is no news. */
  leaving: boolean;
}

/** Observe and Observe-Composite (LwM2M 1.1 Core, sections 6.4.1 and 6.4.4): what clients tell of themselves. */
export class Observing {
  readonly #observer: Observer;
  readonly #byRequest = new Map<number, Observed>();
  readonly #events: ObservationEvent[] = [];

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  /**
   * Observes one path, or several at once, in a format that the client takes: the request that was
   * sent. "observed" when they are already, "no-room" when there is no room.
   */
  observe(
    nowUs: number,
    { endpoint, rootPath, peer }: Registration,
    paths: readonly Path[],
    format: number,
  ): number | "observed" | "no-room" {
    const ofDevice = [...this.#byRequest.values()].filter((one) => one.endpoint === endpoint);
    if (ofDevice.some((one) => samePaths(one.paths, paths))) return "observed";
    if (ofDevice.length >= MAX_PER_DEVICE) return "no-room";
    const uint = (number: number): CoapOption => ({ number, value: encodeUint(format) });
    const composite = paths.length !== 1;
    const path = [...rootPath, ...(composite ? [] : paths[0]!.map(String))];
    const options = [...textOptions(Option.URI_PATH, path), uint(Option.ACCEPT)];
    const request = composite
      ? { code: Code.FETCH, options: [...options, uint(Option.CONTENT_FORMAT)], payload: encodePaths(format, paths) }
      : { code: Code.GET, options };
    // It lasts as long as the registration; a client that sleeps must not be asked to renew it.
    const id = this.#observer.request(nowUs, peer, { ...request, observe: true, renew: false });
    if (id === undefined) return "no-room";
    this.#byRequest.set(id, { endpoint, paths, format, request: id, leaving: false });
    return id;
  }

  /** Ends the observation of these paths: the request that says so; undefined when there is none. */
  cancel(nowUs: number, endpoint: string, paths: readonly Path[]): number | undefined {
    for (const one of this.#byRequest.values()) {
      if (one.endpoint !== endpoint || !samePaths(one.paths, paths)) continue;
      one.leaving = this.#observer.unobserve(nowUs, one.request);
      return one.leaving ? one.request : undefined;
    }
    return undefined;
  }

  /** Gives up on a request that was not answered. */
  drop(nowUs: number, request: number): void {
    if (this.#byRequest.delete(request)) this.#observer.cancel(nowUs, request);
  }

  /** The client has registered anew, or is gone: what it was observed for it does not know any more. */
  forget(nowUs: number, endpoint: string): void {
    for (const one of this.#byRequest.values()) {
      if (one.endpoint !== endpoint) continue;
      this.#byRequest.delete(one.request);
      this.#observer.cancel(nowUs, one.request);
      this.#events.push({ kind: "ended", endpoint, paths: one.paths, reason: "registration" });
    }
  }

  /** Takes an event of the endpoint; the client that it is from, undefined when it is another's. */
  handleEvent(event: ClientEvent): string | undefined {
    const observed = this.#byRequest.get(event.request);
    if (observed === undefined) return undefined;
    if (event.kind === "failed") this.#end(observed, event.reason);
    else if (event.kind !== "acknowledged") this.#take(observed, event.response);
    return observed.endpoint;
  }

  pollEvent(): ObservationEvent | undefined {
    return this.#events.shift();
  }

  #take(observed: Observed, response: ResponseContent): void {
    const { endpoint, paths, leaving } = observed;
    if (leaving) return this.#end(observed, "cancelled");
    if (codeClass(response.code) !== 2) return this.#end(observed, codeText(response.code));
    const going = uintOption(response.options, Option.OBSERVE) !== undefined;
    if (blockOption(response.options, Option.BLOCK2)?.more === true)
      this.#events.push({ kind: "changed", endpoint, paths });
    else {
      const format = uintOption(response.options, Option.CONTENT_FORMAT) ?? observed.format;
      try {
        const readings = decodeContent(format, response.payload, paths.length === 1 ? paths[0]! : []);
        this.#events.push({ kind: "notified", endpoint, paths, readings });
      } catch (error) {
        if (!(error instanceof ContentError)) throw error;
        this.#events.push({ kind: "changed", endpoint, paths });
      }
    }
    if (!going) this.#end(observed, "not-observable");
  }

  #end({ endpoint, paths, request }: Observed, reason: string): void {
    this.#byRequest.delete(request);
    this.#events.push({ kind: "ended", endpoint, paths, reason });
  }
}

/** The formats to observe in, in the order in which they are tried: SenML where several paths are meant. */
export function observeFormats(
  { version, formats }: Registration,
  paths: readonly Path[],
  known: number | undefined,
): number[] {
  const senml: number[] = [Format.SENML_CBOR, Format.SENML_JSON];
  if (paths.length !== 1) return [...new Set([...formats.filter((format) => senml.includes(format)), ...senml])];
  const said = formats.filter((format) => format >= Format.SENML_JSON);
  const usual =
    version === "1.0"
      ? [Format.TLV]
      : [Format.SENML_CBOR, Format.TLV, ...(version === "1.1" ? [] : [Format.LWM2M_CBOR])];
  const simple = paths[0]!.length >= 3 ? [Format.TEXT] : [];
  return [...new Set([...(known === undefined ? [] : [known]), ...said, ...usual, ...simple])];
}

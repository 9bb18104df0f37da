import type { Timer } from "../../util/timer-queue.ts";
import { COAP_LIMITS } from "../limits.ts";
import { Code, codeClass, isSafe, Option } from "../numbers.ts";
import type { CoapTimers } from "../reliability.ts";
import type { CoapResponse, HandlerResult, IncomingRequest } from "../request.ts";
import { asksLaterBlock, blockOption, blockSize } from "./block.ts";
import { assemblyKey } from "./body-assembly.ts";
import { whoMakesRoom, type Held, type Room } from "./fair-room.ts";

interface Kept extends Held {
  readonly key: string;
  readonly response: CoapResponse;
  readonly timer: Timer;
}

const ROOM: Room = { entries: COAP_LIMITS.maxResponseBodies, bytes: COAP_LIMITS.maxResponseBodyBytes };

/**
 * Answers to requests other than GET that are too large for one block: the handler must not run
 * again when the client asks for the next block of its answer (RFC 7959 section 3.3).
 */
export class ResponseBodies {
  readonly #lifetimeUs: number;
  readonly #timers: CoapTimers;
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  constructor(lifetimeUs: number, timers: CoapTimers) {
    this.#lifetimeUs = lifetimeUs;
    this.#timers = timers;
  }

  /** The answer of which the request wants a later block; undefined when the handler is to answer. */
  respond(request: IncomingRequest, proxied: boolean): HandlerResult | undefined {
    if (request.method === Code.GET || !asksLaterBlock(request.options)) return undefined;
    if (blockOption(request.options, Option.BLOCK1)?.more === true) return undefined;
    const kept = this.#kept.get(keyOf(request))?.response;
    if (kept !== undefined) return kept;
    // A proxy can ask its origin anew for what changes nothing (RFC 9177 section 8).
    if (proxied && isSafe(request.method) && request.payload.length > 0) return undefined;
    return { code: Code.REQUEST_ENTITY_INCOMPLETE };
  }

  keep(nowUs: number, request: IncomingRequest, response: CoapResponse): void {
    const bytes = response.body?.bytes;
    if (request.method === Code.GET || bytes === undefined || codeClass(response.code) !== 2) return;
    if (bytes.length <= blockSize(0) || asksLaterBlock(request.options)) return;
    const key = keyOf(request);
    this.#drop(key);
    const timer = this.#timers.schedule(nowUs + this.#lifetimeUs, () => this.#drop(key));
    const { observable: _registered, whole: _asked, ...again } = response;
    const { address } = request.peer;
    while (this.#kept.size >= ROOM.entries || this.#bytes + bytes.length > ROOM.bytes) {
      const other = whoMakesRoom(this.#kept.values(), address, ROOM, () => true);
      if (other === undefined) return timer.cancel();
      this.#drop(other.key);
    }
    this.#kept.set(key, { key, address, response: again, kept: bytes.length, timer });
    this.#bytes += bytes.length;
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    kept.timer.cancel();
    this.#kept.delete(key);
    this.#bytes -= kept.kept;
  }
}

/** Clients differ in whether they repeat the Request-Tag once their own body is through. */
function keyOf(request: IncomingRequest): string {
  return assemblyKey({ ...request, options: request.options.filter(({ number }) => number !== Option.REQUEST_TAG) });
}

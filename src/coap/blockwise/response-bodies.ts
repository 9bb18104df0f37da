import type { Timer } from "../../util/timer-queue.ts";
import { bytesEqual } from "../../util/bytes.ts";
import { COAP_LIMITS } from "../limits.ts";
import { optionValue } from "../message.ts";
import { Code, codeClass, isSafe, Option } from "../numbers.ts";
import type { CoapTimers } from "../reliability.ts";
import type { CoapResponse, HandlerResult, IncomingRequest } from "../request.ts";
import { asksLaterBlock, blockOption, blockSize } from "./block.ts";
import { assemblyKey } from "./body-assembly.ts";
import { ownerOf, whoMakesRoom, type Held, type Room } from "./fair-room.ts";

interface Kept extends Held {
  readonly key: string;
  /** The key as those have it who leave the Request-Tag out. */
  readonly untagged: string;
  readonly request: Uint8Array;
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
  /** By the key without Request-Tag: the answer that was given last. */
  readonly #latest = new Map<string, Kept>();
  #bytes = 0;

  constructor(lifetimeUs: number, timers: CoapTimers) {
    this.#lifetimeUs = lifetimeUs;
    this.#timers = timers;
  }

  /** The answer of which the request wants a later block; undefined when the handler is to answer. */
  respond(request: IncomingRequest, proxied: boolean): HandlerResult | undefined {
    if (request.method === Code.GET || !asksLaterBlock(request.options)) return undefined;
    if (blockOption(request.options, Option.BLOCK1)?.more === true) return undefined;
    const kept = this.#find(request);
    if (kept !== undefined) return asksOther(request, kept) ? undefined : kept.response;
    // A proxy can ask its origin anew for what changes nothing (RFC 9177 section 8).
    if (proxied && isSafe(request.method) && request.payload.length > 0) return undefined;
    return { code: Code.REQUEST_ENTITY_INCOMPLETE };
  }

  /**
   * Clients differ in whether they repeat the Request-Tag once their own body is through; who names one means no other
   * (RFC 9175 section 3.3).
   */
  #find(request: IncomingRequest): Kept | undefined {
    const isTagged = optionValue(request.options, Option.REQUEST_TAG) !== undefined;
    return isTagged ? this.#kept.get(assemblyKey(request)) : this.#latest.get(untaggedKey(request));
  }

  keep(nowUs: number, request: IncomingRequest, response: CoapResponse): void {
    const bytes = response.body?.bytes;
    if (request.method === Code.GET || bytes === undefined || codeClass(response.code) !== 2) return;
    if (bytes.length <= blockSize(0) || asksLaterBlock(request.options)) return;
    const key = assemblyKey(request);
    const needed = bytes.length + request.payload.length;
    this.#drop(key);
    const timer = this.#timers.schedule(nowUs + this.#lifetimeUs, () => this.#drop(key));
    const { observable: _registered, whole: _asked, ...again } = response;
    const owner = ownerOf(request);
    while (this.#kept.size >= ROOM.entries || this.#bytes + needed > ROOM.bytes) {
      const other = whoMakesRoom(this.#kept.values(), owner, ROOM, () => true);
      if (other === undefined) return timer.cancel();
      this.#drop(other.key);
    }
    const untagged = untaggedKey(request);
    const kept: Kept = { ...owner, key, untagged, request: request.payload, response: again, kept: needed, timer };
    this.#kept.set(key, kept);
    this.#latest.set(untagged, kept);
    this.#bytes += needed;
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    kept.timer.cancel();
    this.#kept.delete(key);
    if (this.#latest.get(kept.untagged) === kept) this.#latest.delete(kept.untagged);
    this.#bytes -= kept.kept;
  }
}

/** The payload of a FETCH says what is asked for (RFC 8132 section 2): another one is another question. */
function asksOther({ method, payload, options }: IncomingRequest, kept: Kept): boolean {
  if (method !== Code.FETCH || payload.length === 0 || optionValue(options, Option.BLOCK1) !== undefined) return false;
  return !bytesEqual(kept.request, payload);
}

function untaggedKey(request: IncomingRequest): string {
  return assemblyKey({ ...request, options: request.options.filter(({ number }) => number !== Option.REQUEST_TAG) });
}

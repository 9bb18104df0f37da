import { concatBytes, toHex, utf8 } from "../../util/bytes.ts";
import { peerKey } from "../../util/peer.ts";
import { COAP_LIMITS } from "../limits.ts";
import { encodeUint, uintOption } from "../message.ts";
import { Code, isNoCacheKey, Option } from "../numbers.ts";
import type { CoapResponse, IncomingRequest } from "../request.ts";
import { ownerOf, whoMakesRoom, type Held, type Room } from "./fair-room.ts";
import { blockOption, blockSize, encodeBlock, type BlockValue } from "./block.ts";

/** What a request with Block1 leads to. */
export type AssemblyStep =
  | { readonly kind: "respond"; readonly response: CoapResponse }
  /** The body is whole; `request` carries it as its payload. */
  | { readonly kind: "whole"; readonly request: IncomingRequest }
  /** For a resource that takes bodies piece by piece: the next piece. */
  | { readonly kind: "piece"; readonly piece: BodyPiece };

export interface BodyPiece {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly last: boolean;
  /** Size1, where the client gave it. */
  readonly size: number | undefined;
}

export interface AssemblyRules {
  readonly maxBodyBytes: number;
  /** Pieces are handed on as they come, and none is kept. */
  readonly streaming: boolean;
  /** Block size that is asked for from the second block on, where the client's is larger. */
  readonly preferredSzx: number;
}

interface Context extends Held {
  readonly key: string;
  readonly peerKey: string;
  readonly pieces: Uint8Array[];
  received: number;
  /** None of a streaming one. */
  kept: number;
  touchedUs: number;
}

/** What bodies that are being put together may take. */
export const BODY_ROOM: Room = { entries: COAP_LIMITS.maxBlock1Contexts, bytes: COAP_LIMITS.maxBlock1Bytes };

/**
 * Request bodies that come in blocks (RFC 7959 section 2.5): atomic ones are put together here,
 * streaming ones only followed. One context per peer, resource and Request-Tag (RFC 9175 section
 * 3.3); the one touched longest ago makes room, and the total is bounded.
 */
export class BodyAssembly {
  readonly #lifetimeUs: number;
  readonly #contexts = new Map<string, Context>();
  #bytes = 0;

  /** `lifetimeUs`: how long a context waits for its next block; EXCHANGE_LIFETIME. */
  constructor(lifetimeUs: number) {
    this.#lifetimeUs = lifetimeUs;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#contexts.size;
  }

  /** Takes a request with a Block1 option. */
  accept(nowUs: number, request: IncomingRequest, rules: AssemblyRules): AssemblyStep {
    this.handleTimeout(nowUs);
    const block = blockOption(request.options, Option.BLOCK1)!;
    const size1 = uintOption(request.options, Option.SIZE1);
    const length = request.payload.length;
    const size = blockSize(block.szx);
    // Section 2.2: all blocks but the last are of the size that SZX gives.
    if (block.more ? length !== size : length > size) return refuse(Code.BAD_REQUEST, "the payload is not a block");
    const offset = block.num * size;
    if (Math.max(size1 ?? 0, offset + length) > rules.maxBodyBytes) {
      this.#end(this.#contexts.get(assemblyKey(request)));
      return tooLarge(rules.maxBodyBytes);
    }
    const context = block.num === 0 ? this.#open(nowUs, request) : this.#contexts.get(assemblyKey(request));
    if (context === undefined && block.num === 0) return { kind: "respond", response: NO_ROOM };
    // The block before, sent again since its answer was lost: it is there already.
    if (context !== undefined && block.more && offset > 0 && context.received === offset + length)
      return { kind: "respond", response: continued(block, rules.preferredSzx) };
    // Section 2.9.2: a block of which the ones before are missing.
    if (context === undefined || context.received !== offset)
      return refuse(Code.REQUEST_ENTITY_INCOMPLETE, "a block is missing");
    if (!rules.streaming && !this.#makeRoom(context, length)) {
      this.#end(context);
      return { kind: "respond", response: NO_ROOM };
    }
    return this.#take(nowUs, context, request, { block, size1, rules });
  }

  /** A body that was whole stands as it did before its last block, which is to come again (RFC 9175 section 2.3). */
  reopen(nowUs: number, request: IncomingRequest): void {
    const { num, szx } = blockOption(request.options, Option.BLOCK1)!;
    const length = num * blockSize(szx);
    const context = this.#open(nowUs, request);
    if (context === undefined || !this.#makeRoom(context, length)) return this.#end(context);
    context.pieces.push(request.payload.slice(0, length));
    context.received = context.kept = length;
    this.#bytes += length;
  }

  /** Forgets bodies whose next block did not come. */
  handleTimeout(nowUs: number): void {
    for (const context of this.#contexts.values()) {
      if (context.touchedUs + this.#lifetimeUs > nowUs) return; // the rest were touched later
      this.#end(context);
    }
  }

  pollTimeout(): number | undefined {
    for (const context of this.#contexts.values()) return context.touchedUs + this.#lifetimeUs;
    return undefined;
  }

  #take(
    nowUs: number,
    context: Context,
    request: IncomingRequest,
    { block, size1, rules }: { block: BlockValue; size1: number | undefined; rules: AssemblyRules },
  ): AssemblyStep {
    const { payload } = request;
    const offset = context.received;
    context.received += payload.length;
    if (!rules.streaming) {
      context.pieces.push(payload.slice()); // a view would keep the whole datagram
      context.kept += payload.length;
      this.#bytes += payload.length;
    }
    if (block.more) {
      context.touchedUs = nowUs;
      this.#contexts.delete(context.key);
      this.#contexts.set(context.key, context);
    } else this.#end(context);
    if (rules.streaming) return { kind: "piece", piece: { offset, bytes: payload, last: !block.more, size: size1 } };
    if (block.more) return { kind: "respond", response: continued(block, rules.preferredSzx) };
    const body = context.pieces.length === 1 ? payload : concatBytes(...context.pieces);
    return { kind: "whole", request: { ...request, payload: body } };
  }

  /** Section 2.5: block 0 begins anew, whatever was there before. Undefined: there is no room. */
  #open(nowUs: number, request: IncomingRequest): Context | undefined {
    const key = assemblyKey(request);
    this.#end(this.#contexts.get(key));
    const peer = peerKey(request.peer);
    const owner = ownerOf(request);
    const context: Context = { ...owner, key, peerKey: peer, pieces: [], received: 0, kept: 0, touchedUs: nowUs };
    const ofPeer = [...this.#contexts.values()].filter((other) => other.peerKey === peer);
    if (ofPeer.length >= COAP_LIMITS.maxBlock1ContextsPerPeer) this.#end(ofPeer[0]);
    if (this.#contexts.size >= BODY_ROOM.entries) {
      const other = whoMakesRoom(this.#contexts.values(), owner, BODY_ROOM, () => true);
      if (other === undefined) return undefined;
      this.#end(other);
    }
    this.#contexts.set(key, context);
    return context;
  }

  /** Room for `length` bytes more, if need be at the cost of bodies of others that stand still. */
  #makeRoom(context: Context, length: number): boolean {
    while (this.#bytes + length > BODY_ROOM.bytes) {
      const others = [...this.#contexts.values()].filter((other) => other !== context);
      const other = whoMakesRoom(others, context, BODY_ROOM, () => true); // touched longest ago
      if (other === undefined) return false;
      this.#end(other);
    }
    return true;
  }

  #end(context: Context | undefined): void {
    if (context === undefined || !this.#contexts.delete(context.key)) return;
    this.#bytes -= context.kept;
  }
}

/** What must be equal for two blocks to be of one body (RFC 9175 section 3.3). */
export function assemblyKey(request: IncomingRequest): string {
  const parts = [peerKey(request.peer), String(request.method)];
  for (const { number, value } of request.options) {
    if (isPerBlock(number) || (isNoCacheKey(number) && number !== Option.REQUEST_TAG)) continue;
    // Text without a word and text with its number are one: Wakaama says it from the second block on only.
    if (number === Option.CONTENT_FORMAT && value.length === 0) continue;
    parts.push(`${number}=${toHex(value)}`);
  }
  return parts.join("/");
}

function isPerBlock(optionNumber: number): boolean {
  return (
    optionNumber === Option.BLOCK1 ||
    optionNumber === Option.BLOCK2 ||
    optionNumber === Option.Q_BLOCK1 ||
    optionNumber === Option.Q_BLOCK2 ||
    optionNumber === Option.ECHO ||
    optionNumber === Option.OBSERVE ||
    optionNumber === Option.IF_NONE_MATCH ||
    optionNumber === Option.NO_RESPONSE
  );
}

/** 2.31 for a block that was taken, with the size that is wanted from here on (section 2.3). */
function continued({ num, szx }: BlockValue, preferredSzx: number): CoapResponse {
  const value = encodeBlock({ num, more: true, szx: Math.min(szx, preferredSzx) });
  return { code: Code.CONTINUE, options: [{ number: Option.BLOCK1, value }] };
}

/** The Block1 option of a response to a block: M is only left set where more is awaited (section 2.3). */
export function block1Echo(request: IncomingRequest, optionNumber: number, code: number): Uint8Array | undefined {
  const block = blockOption(request.options, optionNumber);
  if (block === undefined) return undefined;
  return encodeBlock({ ...block, more: code === Code.CONTINUE });
}

/** 4.13 with Size1, which says how large a body may be (section 2.9.3). */
export function tooLarge(maxBodyBytes: number): AssemblyStep & { readonly kind: "respond" } {
  const options = [{ number: Option.SIZE1, value: encodeUint(maxBodyBytes) }];
  return { kind: "respond", response: { code: Code.REQUEST_ENTITY_TOO_LARGE, options } };
}

/** Other bodies take all the memory: it is worth asking again in half a minute. */
export const NO_ROOM: CoapResponse = {
  code: Code.SERVICE_UNAVAILABLE,
  options: [{ number: Option.MAX_AGE, value: encodeUint(30) }],
  payload: utf8("no room for a body"),
};

function refuse(code: number, diagnostic: string): AssemblyStep {
  return { kind: "respond", response: { code, payload: utf8(diagnostic) } };
}

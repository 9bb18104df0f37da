import { peerKey } from "../../util/peer.ts";
import { COAP_LIMITS } from "../limits.ts";
import { encodeUint, optionValue, uintOption } from "../message.ts";
import { Code, ContentFormat, Option } from "../numbers.ts";
import type { TransmissionParameters } from "../parameters.ts";
import type { CoapResponse, IncomingRequest, LaterResponse } from "../request.ts";
import { blockOption, blockSize, encodeBlock } from "./block.ts";
import { assemblyKey, BODY_ROOM, NO_ROOM, tooLarge } from "./body-assembly.ts";
import { ownerOf, whoMakesRoom, type Held } from "./fair-room.ts";
import {
  BlockMap,
  encodeMissingBlocks,
  MAX_PAYLOADS,
  nonMaxRetransmit,
  nonPartialTimeoutUs,
  nonReceiveTimeoutUs,
  setEnd,
} from "./q-block.ts";

interface Context extends Held {
  readonly key: string;
  readonly peerKey: string;
  readonly body: Uint8Array;
  readonly szx: number;
  readonly map: BlockMap;
  /** The exchange of the NON that came last: reports go to its token. */
  exchange: number | undefined;
  /** Blocks up to here are known to the client to have arrived, or to be missing. */
  reported: number;
  /** The block that made the last set whole: when it comes again, so does what it was answered with. */
  completedBy: number;
  repeats: number;
  /** When a block came last. */
  touchedUs: number;
  /** When the missing blocks are asked for. */
  dueUs: number;
}

export type QBlock1Step = CoapResponse | "deferred" | "silent" | { readonly whole: IncomingRequest };

/**
 * Request bodies that come in sets of blocks in any order (RFC 9177 section 4.3). The client hears
 * of each set that is whole by 2.31, and of what is missing by 4.08, both under the token that came last.
 */
export class QBlock1Server {
  readonly #parameters: TransmissionParameters;
  readonly #contexts = new Map<string, Context>();
  readonly #responses: LaterResponse[] = [];
  /** Bodies that were whole, by key: blocks that come late must not begin them anew. */
  readonly #finished = new Map<string, { readonly untilUs: number; response: CoapResponse | undefined }>();
  #bytes = 0;

  constructor(parameters: TransmissionParameters) {
    this.#parameters = parameters;
  }

  accept(nowUs: number, request: IncomingRequest, maxBodyBytes: number): QBlock1Step {
    const { options, payload } = request;
    const block = blockOption(options, Option.Q_BLOCK1)!;
    const size1 = uintOption(options, Option.SIZE1);
    const tagged = optionValue(options, Option.REQUEST_TAG) !== undefined;
    if (!tagged || size1 === undefined) return { code: Code.BAD_REQUEST };
    if (size1 > maxBodyBytes) return tooLarge(maxBodyBytes).response;
    const size = blockSize(block.szx);
    const count = Math.max(1, Math.ceil(size1 / size));
    const length = block.num === count - 1 ? size1 - block.num * size : size;
    if (block.num >= count || payload.length !== length || block.more !== block.num < count - 1)
      return { code: Code.BAD_REQUEST };
    const finished = this.#finished.get(assemblyKey(request));
    // A block too many; the last one asks for the final response, which may have been lost.
    if (finished !== undefined && nowUs < finished.untilUs)
      return (block.more ? undefined : finished.response) ?? "silent";
    const context = this.#context(nowUs, request, { size1, szx: block.szx, count });
    if (context === undefined) return NO_ROOM;
    // Section 4.3: what a block says that is there already is not looked at.
    if (context.map.add(block.num)) {
      context.body.set(payload, block.num * size);
      context.repeats = 0;
    }
    context.touchedUs = nowUs;
    context.dueUs = nowUs + nonReceiveTimeoutUs(this.#parameters);
    if (context.map.whole) {
      this.#forget(context);
      this.#remember(nowUs, context.key);
      return { whole: { ...request, payload: context.body } };
    }
    // A CON is acknowledged one by one, and its sender knows itself what did not arrive (section 5).
    if (request.confirmable) return "silent";
    this.#release(context);
    context.exchange = request.exchange;
    this.#report(context, block.num);
    return "deferred";
  }

  /** What became of a body that was whole; it comes once more where its client has to show that it is fresh. */
  finish(request: IncomingRequest, response: CoapResponse): void {
    const key = assemblyKey(request);
    const finished = this.#finished.get(key);
    if (finished === undefined || finished.response !== undefined) return;
    if (response.challenge === true) this.#finished.delete(key);
    else finished.response = response;
  }

  /** Section 4.3: who rejects what he is told of missing blocks does not send them any more. */
  drop(request: IncomingRequest): void {
    const context = this.#contexts.get(assemblyKey(request));
    if (context !== undefined) this.#forget(context);
  }

  handleTimeout(nowUs: number): void {
    for (const [key, { untilUs }] of this.#finished) {
      if (untilUs > nowUs) break;
      this.#finished.delete(key);
    }
    for (const context of this.#contexts.values()) {
      const due = context.dueUs <= nowUs;
      const expiryUs = context.touchedUs + nonPartialTimeoutUs(this.#parameters);
      const given = (due && context.repeats >= nonMaxRetransmit(this.#parameters)) || expiryUs <= nowUs;
      if (!due && !given) continue;
      if (given || context.exchange === undefined) {
        if (given) this.#forget(context);
        else context.dueUs = expiryUs;
        continue;
      }
      context.repeats++;
      context.dueUs = nowUs + nonReceiveTimeoutUs(this.#parameters) * 2 ** context.repeats;
      const end = setEnd(context.map.highest);
      const missing = context.map.missing(end, MAX_PAYLOADS);
      this.#askFor(context, missing.length > 0 ? missing : context.map.missing(end + MAX_PAYLOADS, MAX_PAYLOADS));
    }
  }

  pollTimeout(): number | undefined {
    let next: number | undefined = this.#finished.values().next().value?.untilUs;
    for (const { dueUs } of this.#contexts.values()) if (next === undefined || dueUs < next) next = dueUs;
    return next;
  }

  pollResponse(): LaterResponse | undefined {
    return this.#responses.shift();
  }

  /** After block `num`: 2.31 when its set and all before are there, 4.08 when an earlier set has gaps. */
  #report(context: Context, num: number): void {
    const { map, szx } = context;
    const end = setEnd(map.highest);
    if (map.missing(end, 1).length === 0) {
      if (context.reported >= end && num !== context.completedBy) return;
      context.reported = end;
      context.completedBy = num;
      const value = encodeBlock({ num: end - 1, more: true, szx });
      this.#push(context, { code: Code.CONTINUE, options: [{ number: Option.Q_BLOCK1, value }] });
      return;
    }
    const before = end - MAX_PAYLOADS;
    if (num < before || context.reported >= before) return;
    const missing = map.missing(before, MAX_PAYLOADS);
    context.reported = before;
    if (missing.length > 0) this.#askFor(context, missing);
  }

  #askFor(context: Context, nums: readonly number[]): void {
    const options = [{ number: Option.CONTENT_FORMAT, value: encodeUint(ContentFormat.MISSING_BLOCKS) }];
    this.#push(context, { code: Code.REQUEST_ENTITY_INCOMPLETE, options, payload: encodeMissingBlocks(nums) });
  }

  #push({ exchange }: Context, response: CoapResponse): void {
    if (exchange !== undefined) this.#responses.push({ exchange, response, more: true });
  }

  /** The exchange before the one that came last will not be answered any more. */
  #release(context: Context): void {
    if (context.exchange === undefined) return;
    this.#responses.push({ exchange: context.exchange, response: "silent" });
    context.exchange = undefined;
  }

  #context(
    nowUs: number,
    request: IncomingRequest,
    { size1, szx, count }: { size1: number; szx: number; count: number },
  ): Context | undefined {
    const key = assemblyKey(request);
    const known = this.#contexts.get(key);
    if (known !== undefined && known.body.length === size1 && known.szx === szx) {
      this.#contexts.delete(key);
      this.#contexts.set(key, known);
      return known;
    }
    if (known !== undefined) this.#forget(known);
    const peer = peerKey(request.peer);
    const ofPeer = [...this.#contexts.values()].filter((other) => other.peerKey === peer);
    if (ofPeer.length >= COAP_LIMITS.maxBlock1ContextsPerPeer) this.#forget(ofPeer[0]!);
    if (size1 > BODY_ROOM.bytes) return undefined;
    const isIdle = ({ map, touchedUs }: Context): boolean =>
      map.received <= 1 || nowUs >= touchedUs + nonReceiveTimeoutUs(this.#parameters);
    // One that was only begun, or of which nothing comes any more, makes room; one that comes has what it was promised.
    const owner = ownerOf(request);
    while (this.#contexts.size >= BODY_ROOM.entries || this.#bytes + size1 > BODY_ROOM.bytes) {
      const other = whoMakesRoom(this.#contexts.values(), owner, BODY_ROOM, isIdle);
      if (other === undefined) return undefined;
      this.#forget(other);
    }
    const context: Context = {
      key,
      ...owner,
      peerKey: peer,
      kept: size1,
      body: new Uint8Array(size1),
      szx,
      map: new BlockMap(count),
      exchange: undefined,
      reported: 0,
      completedBy: -1,
      repeats: 0,
      touchedUs: nowUs,
      dueUs: nowUs,
    };
    this.#bytes += size1;
    this.#contexts.set(key, context);
    return context;
  }

  #remember(nowUs: number, key: string): void {
    this.#finished.set(key, { untilUs: nowUs + nonPartialTimeoutUs(this.#parameters), response: undefined });
    if (this.#finished.size > COAP_LIMITS.maxBlock1Contexts) this.#finished.delete(this.#finished.keys().next().value!);
  }

  #forget(context: Context): void {
    if (!this.#contexts.delete(context.key)) return;
    this.#release(context);
    this.#bytes -= context.kept;
  }
}

import type { Random } from "../../ports/random.ts";
import { bytesEqual } from "../../util/bytes.ts";
import { keepRecent } from "../../util/recent.ts";
import { peerKey } from "../../util/peer.ts";
import type { Timer } from "../../util/timer-queue.ts";
import { COAP_LIMITS } from "../limits.ts";
import { encodeUint, optionValue, optionValues, type CoapOption } from "../message.ts";
import { Code, Option } from "../numbers.ts";
import { sendable } from "../options.ts";
import { exchangeLifetimeUs, type TransmissionParameters } from "../parameters.ts";
import type { CoapTimers } from "../reliability.ts";
import type { Body, CoapResponse, IncomingRequest } from "../request.ts";
import { blockOption, blockSize, decodeBlock, encodeBlock, type BlockValue } from "./block.ts";
import { assemblyKey } from "./body-assembly.ts";
import { MAX_PAYLOADS, nonTimeoutRandomUs, setEnd } from "./q-block.ts";

/** Puts one response of several on its way, under the token of `request`; false when there is no room. */
export type SendOne = (nowUs: number, request: IncomingRequest, response: CoapResponse) => boolean;

interface Job {
  readonly key: string;
  readonly request: IncomingRequest;
  readonly body: Body;
  readonly code: number;
  readonly szx: number;
  readonly options: readonly CoapOption[];
  readonly pauseUs: number;
  next: number;
  readonly end: number;
  timer: Timer | undefined;
}

/**
 * Response bodies sent in sets of MAX_PAYLOADS blocks (RFC 9177 section 4.4): after a set it waits
 * for NON_TIMEOUT_RANDOM, or for the client's word to go on. Missing blocks are sent at once.
 */
export class QBlock2Server {
  readonly #parameters: TransmissionParameters;
  readonly #random: Random;
  readonly #timers: CoapTimers;
  readonly #send: SendOne;
  readonly #jobs = new Map<string, Job>();
  /** Whose block a message of ours was, by peer and message ID: a RST stops the others. */
  readonly #messages = new Map<string, IncomingRequest>();
  #forgetting: Timer | undefined;

  constructor(parameters: TransmissionParameters, random: Random, timers: CoapTimers, send: SendOne) {
    this.#parameters = parameters;
    this.#random = random;
    this.#timers = timers;
    this.#send = send;
  }

  /** Answers a request with Q-Block2; a response is returned only to refuse. */
  respond(
    nowUs: number,
    request: IncomingRequest,
    { code, body, options }: { code: number; body: Body; options: readonly CoapOption[] },
  ): CoapResponse | undefined {
    const asked = blocksAsked(request.options);
    const { szx } = asked[0]!;
    const count = Math.max(1, Math.ceil(body.bytes.length / blockSize(szx)));
    const nums = numbersAsked(asked, count);
    if (nums === undefined) return { code: Code.BAD_REQUEST };
    const key = assemblyKey(request);
    const whole = asked.length === 1 && asked[0]!.more && asked[0]!.num % MAX_PAYLOADS === 0;
    const running = this.#jobs.get(key);
    // RFC 9177 section 4.5: all blocks of one body have the same Observe value; missing ones have none.
    const registers = optionValue(request.options, Option.OBSERVE) !== undefined;
    const goesOn = !registers && running !== undefined && bytesEqual(running.body.etag, body.etag);
    const own = sendable(options).filter(({ number }) => number !== Option.ETAG && number !== Option.SIZE2);
    const parts = { key, request, body, code, szx, options: goesOn ? running.options : own, timer: undefined };
    if (!whole) {
      const isFirst = asked.length === 1 && asked[0]!.num === 0;
      const single: Job = {
        ...parts,
        options: isFirst ? own : withoutObserve(own),
        pauseUs: 0,
        next: 0,
        end: 0,
      };
      for (const num of nums) if (!this.#sendBlock(nowUs, single, num)) break;
      return undefined;
    }
    // The word to go on, or a first request: either way from NUM up to the end of the body.
    if (running !== undefined) this.#stop(running);
    const pauseUs = running?.pauseUs ?? nonTimeoutRandomUs(this.#parameters, this.#random);
    const job: Job = { ...parts, pauseUs, next: asked[0]!.num, end: count };
    this.#sendSet(nowUs, job);
    return undefined;
  }

  /** The client does not want it, or is not there. */
  stop(request: IncomingRequest): void {
    const job = this.#jobs.get(assemblyKey(request));
    if (job !== undefined) this.#stop(job);
  }

  /** A message of a set that nobody acknowledges. */
  sent(nowUs: number, message: string, request: IncomingRequest): void {
    keepRecent(this.#messages, message, request, COAP_LIMITS.maxQBlock2Ids);
    this.#forgetting?.cancel();
    this.#forgetting = this.#timers.schedule(nowUs + exchangeLifetimeUs(this.#parameters), () =>
      this.#messages.clear(),
    );
  }

  /** The peer knows nothing of that message; whose it was, which ends. */
  reset(message: string): IncomingRequest | undefined {
    const request = this.#messages.get(message);
    if (request !== undefined) this.stop(request);
    return request;
  }

  #sendSet(nowUs: number, job: Job): void {
    const end = Math.min(setEnd(job.next), job.end);
    while (job.next < end) if (!this.#sendBlock(nowUs, job, job.next++)) return this.#stop(job);
    if (job.next >= job.end || !this.#hasRoom(job)) return this.#stop(job);
    this.#jobs.set(job.key, job);
    job.timer = this.#timers.schedule(nowUs + job.pauseUs, (now) => this.#sendSet(now, job));
  }

  #sendBlock(nowUs: number, job: Job, num: number): boolean {
    const { body, szx } = job;
    const offset = num * blockSize(szx);
    const bytes = body.bytes.subarray(offset, offset + blockSize(szx));
    const more = offset + bytes.length < body.bytes.length;
    const options: CoapOption[] = [
      { number: Option.ETAG, value: body.etag },
      ...job.options,
      ...(body.contentFormat === undefined
        ? []
        : [{ number: Option.CONTENT_FORMAT as number, value: encodeUint(body.contentFormat) }]),
      { number: Option.SIZE2, value: encodeUint(body.bytes.length) },
      { number: Option.Q_BLOCK2, value: encodeBlock({ num, more, szx }) },
    ];
    if (!this.#send(nowUs, job.request, { code: job.code, options, payload: bytes })) return false;
    body.sent?.(nowUs, offset, bytes.length);
    return true;
  }

  #hasRoom(job: Job): boolean {
    if (this.#jobs.has(job.key)) return true;
    const peer = peerKey(job.request.peer);
    let ofPeer = 0;
    for (const other of this.#jobs.values()) if (peerKey(other.request.peer) === peer) ofPeer++;
    return this.#jobs.size < COAP_LIMITS.maxQBlock2Jobs && ofPeer < COAP_LIMITS.maxBlock1ContextsPerPeer;
  }

  #stop(job: Job): void {
    job.timer?.cancel();
    this.#jobs.delete(job.key);
  }
}

/** What Q-Block2 asks for; a request with Q-Block1 alone, for all from the beginning. */
function blocksAsked(options: readonly CoapOption[]): readonly BlockValue[] {
  const asked = optionValues(options, Option.Q_BLOCK2).map(decodeBlock);
  if (asked.length > 0) return asked;
  return [{ num: 0, more: true, szx: blockOption(options, Option.Q_BLOCK1)!.szx }];
}

function withoutObserve(options: readonly CoapOption[]): readonly CoapOption[] {
  return options.filter(({ number }) => number !== Option.OBSERVE);
}

/**
 * The blocks that the options name; undefined when they are not strictly ascending, differ in size
 * or lie past the end. With M set a block stands for itself and the rest of its set.
 */
function numbersAsked(asked: readonly BlockValue[], count: number): number[] | undefined {
  const out: number[] = [];
  let previous = -1;
  for (const { num, more, szx } of asked) {
    if (num <= previous || num >= count || szx !== asked[0]!.szx) return undefined;
    previous = num;
    const end = more ? Math.min(setEnd(num), count) : num + 1;
    for (let next = Math.max(num, (out.at(-1) ?? -1) + 1); next < end && out.length < MAX_PAYLOADS; next++)
      out.push(next);
  }
  return out;
}

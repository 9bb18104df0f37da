import { BlockUpload, type BlockUploadOptions } from "../coap/blockwise/block1-client.ts";
import { blockSize, type Szx } from "../coap/blockwise/block.ts";
import { encodeUint, uintOption } from "../coap/message.ts";
import { Code, codeText, Option } from "../coap/numbers.ts";
import { textOptions } from "../coap/options.ts";
import type { ClientEvent, Requester, ResponseContent } from "../coap/request.ts";
import { fromUtf8 } from "../util/bytes.ts";
import { Format } from "./content.ts";
import type { OperationResult } from "./operation-result.ts";
import type { Path } from "./path.ts";
import type { Registration } from "./registration.ts";

/** Below this a block costs more in headers than it carries. */
const LEAST_SZX = 2;
/** What a Package is called, one after the other until a client takes it: Contiki-NG knows octets by an old number only. */
const FORMATS: readonly number[] = [Format.OPAQUE, Format.OLD_OPAQUE];
/** Blocks that a client may be further than our record of it. */
const MAX_AHEAD = 512;
/** As many in the middle of a transfer: each stands for one answer that was lost. */
const MAX_PEEKS = 4;

export interface PushOptions {
  /** The Package resource: `/5/0/0`. */
  readonly path: Path;
  readonly body: Uint8Array;
  readonly szx: Szx;
  /** Bytes that the client has already, of the transfer that `token` names. */
  readonly offset?: number;
  readonly token?: Uint8Array;
  /** A client that was not heard of for so long takes any block for the first of a package. */
  readonly forgetsUs?: number | undefined;
  /** Bytes that the client has acknowledged, from `offset` on. */
  readonly onProgress: (nowUs: number, offset: number, length: number) => void;
  /** The client has lost what it had acknowledged. */
  readonly onRestart: () => void;
}

/**
 * A package on its way into a client by Block1 (LwM2M 1.1 Core, section E.6.1): it outlives what
 * interrupts it. After a silence it goes on at the block that was not acknowledged; where the
 * client has lost what came before (4.08), or wants smaller blocks (4.13), it begins again.
 */
export class PackagePush {
  readonly #options: PushOptions;
  readonly #size: number;
  #upload: BlockUpload | undefined;
  #szx: Szx;
  #offset: number;
  #token: Uint8Array | undefined;
  /** A transfer that was taken up again, of which no block has been acknowledged since. */
  #resuming: boolean;
  #request: number | undefined;
  #ahead = 0;
  #format = 0;
  /** Up to here its bytes are recorded. */
  #recorded: number;
  #heardUs: number | undefined;
  /** Whether an answer to the block at hand may have been lost. */
  #doubtful = false;
  #peeks = 0;
  /** Its client has not been heard of for longer than it remembers a transfer. */
  forgotten = false;

  constructor(options: PushOptions) {
    this.#options = options;
    this.#size = options.body.length;
    this.#szx = options.szx;
    const offset = options.offset ?? 0;
    this.#offset = offset - (offset % blockSize(options.szx));
    if (this.#offset >= this.#size) this.#offset = 0; // whether the last block arrived nobody can tell
    this.#resuming = this.#offset > 0;
    this.#recorded = this.#offset;
    this.#token = options.token;
  }

  /** Bytes that the client has acknowledged. */
  get acknowledged(): number {
    return this.#upload?.offset ?? this.#offset;
  }

  get token(): Uint8Array | undefined {
    return this.#token;
  }

  get szx(): Szx {
    return this.#szx;
  }

  /** The request under way. */
  get request(): number | undefined {
    return this.#request;
  }

  /** Sends the next block; false when there is no room. */
  send(nowUs: number, requester: Requester, { rootPath, peer }: Registration): boolean {
    this.#upload ??= this.#newUpload(rootPath);
    const request = this.#upload.request();
    const token = this.#token === undefined ? {} : { token: this.#token };
    this.#heardUs ??= nowUs;
    this.#request = requester.request(nowUs, peer, { ...request, ...token });
    return this.#request !== undefined;
  }

  /** What an event of the endpoint means; undefined when the next block is to be sent. */
  handleEvent(nowUs: number, event: ClientEvent): OperationResult | undefined {
    this.#request = undefined;
    const { forgetsUs } = this.#options;
    this.forgotten ||= forgetsUs !== undefined && nowUs - (this.#heardUs ?? nowUs) >= forgetsUs;
    this.#doubtful ||= event.kind === "failed" || (event.kind === "response" && (event.retransmissions ?? 0) > 0);
    if (event.kind === "failed") return { kind: "failed", reason: event.reason };
    if (event.kind === "acknowledged") return undefined;
    if (this.forgotten) return { kind: "failed", reason: "timeout" };
    this.#heardUs = nowUs;
    const { response } = event;
    this.#token = event.response.token;
    const upload = this.#upload!;
    const before = upload.offset;
    const step = upload.handleResponse(response);
    this.#szx = upload.szx;
    if (step.kind === "failed") return this.#refused(response, step.reason);
    const end = step.kind === "done" ? this.#size : step.sent;
    if (end < before) {
      this.#recorded = 0;
      this.#options.onRestart();
    }
    if (end > before) {
      this.#resuming = this.#doubtful = false;
      this.#peeks = 0;
      // What was skipped on the way to the block that it waited for, it has.
      this.#options.onProgress(nowUs, this.#recorded, end - this.#recorded);
      this.#recorded = end;
    }
    return step.kind === "done" ? { kind: "done", code: codeText(response.code) } : undefined;
  }

  cancel(nowUs: number, requester: Requester): void {
    if (this.#request !== undefined) requester.cancel(nowUs, this.#request);
    this.#request = undefined;
  }

  #refused(response: ResponseContent, reason: string): OperationResult | undefined {
    // A client that does not know how to go on says so in many ways.
    if (!this.#resuming && this.#doubtful && response.code === Code.SERVICE_UNAVAILABLE && this.#peek())
      return undefined;
    if (this.#resuming) return this.#lookAhead(response) ? undefined : this.#restart(this.#szx);
    const otherFormat = response.code === Code.UNSUPPORTED_CONTENT_FORMAT && this.#format + 1 < FORMATS.length;
    if (otherFormat) {
      this.#format++;
      return this.#restart(this.#szx);
    }
    const tooLarge = response.code === Code.REQUEST_ENTITY_TOO_LARGE;
    if (tooLarge && uintOption(response.options, Option.SIZE1) === undefined && this.#szx > LEAST_SZX)
      return this.#restart((this.#szx - 1) as Szx);
    const text = fromUtf8(response.payload) ?? "";
    return { kind: "refused", code: codeText(response.code), detail: text === "" ? reason : text };
  }

  /**
   * Some clients take nothing but the very block that they wait for, and answer 5.03 to all else: they may
   * be further than what we have written down of them.
   */
  #lookAhead({ code }: ResponseContent): boolean {
    const next = this.#offset + blockSize(this.#szx);
    if (code !== Code.SERVICE_UNAVAILABLE || ++this.#ahead > MAX_AHEAD || next >= this.#size) return false;
    this.#offset = next;
    this.#upload = undefined;
    return true;
  }

  /** The answer to a block was lost, and its copies are refused as well: then the client waits for the next one. */
  #peek(): boolean {
    const next = this.#recorded + ++this.#peeks * blockSize(this.#szx);
    const found = this.#peeks <= MAX_PEEKS && next < this.#size;
    this.#offset = found ? next : this.#recorded;
    if (!found) this.#peeks = 0;
    this.#upload = undefined;
    return found;
  }

  #restart(szx: Szx): undefined {
    this.#szx = szx;
    this.#offset = this.#recorded = 0;
    this.#resuming = this.#doubtful = false;
    this.#peeks = 0;
    this.#token = undefined;
    this.#upload = undefined;
    this.#options.onRestart();
    return undefined;
  }

  #newUpload(rootPath: readonly string[]): BlockUpload {
    const { path, body } = this.#options;
    const options = [
      ...textOptions(Option.URI_PATH, [...rootPath, ...path.map(String)]),
      { number: Option.CONTENT_FORMAT as number, value: encodeUint(FORMATS[this.#format]!) },
    ];
    const upload: BlockUploadOptions = { code: Code.PUT, options, body, szx: this.#szx, offset: this.#offset };
    return new BlockUpload(upload);
  }
}

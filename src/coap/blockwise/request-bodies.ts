import { earlier } from "../../util/deadline.ts";
import { optionValue } from "../message.ts";
import { Option } from "../numbers.ts";
import { exchangeLifetimeUs, type TransmissionParameters } from "../parameters.ts";
import type { CoapResponse, IncomingRequest, LaterResponse } from "../request.ts";
import { BodyAssembly, type AssemblyRules, type BodyPiece } from "./body-assembly.ts";
import { QBlock1Server } from "./q-block1-server.ts";

export type RequestBodyStep =
  | { readonly kind: "respond"; readonly response: CoapResponse | "deferred" | "silent" }
  | { readonly kind: "whole"; readonly request: IncomingRequest }
  | { readonly kind: "piece"; readonly piece: BodyPiece };

/** Critical options that a handler must act on to take bodies: conditions, and the two ways in blocks. */
export const BODY_OPTIONS: ReadonlySet<number> = new Set([
  Option.IF_MATCH,
  Option.IF_NONE_MATCH,
  Option.BLOCK1,
  Option.Q_BLOCK1,
]);

/** Request bodies however they come: in one message, by Block1 or by Q-Block1. */
export class RequestBodies {
  readonly #assembly: BodyAssembly;
  readonly #qBlock1: QBlock1Server;

  constructor(parameters: TransmissionParameters) {
    this.#assembly = new BodyAssembly(exchangeLifetimeUs(parameters));
    this.#qBlock1 = new QBlock1Server(parameters);
  }

  take(nowUs: number, request: IncomingRequest, rules: AssemblyRules): RequestBodyStep {
    if (optionValue(request.options, Option.Q_BLOCK1) !== undefined) {
      const step = this.#qBlock1.accept(nowUs, request, rules.maxBodyBytes);
      if (typeof step === "object" && "whole" in step) return { kind: "whole", request: step.whole };
      return { kind: "respond", response: step };
    }
    if (optionValue(request.options, Option.BLOCK1) !== undefined) return this.#assembly.accept(nowUs, request, rules);
    return { kind: "whole", request };
  }

  /** What the client was told of a body that was whole: if that is lost, it asks for it by its last block. */
  finish(request: IncomingRequest, response: CoapResponse): void {
    this.#qBlock1.finish(request, response);
  }

  /** A body that was whole was challenged: its last block may come again, with Echo, or all of them. */
  reopen(nowUs: number, request: IncomingRequest): void {
    if (optionValue(request.options, Option.BLOCK1) !== undefined) this.#assembly.reopen(nowUs, request);
  }

  /** The client does not know any more of a body that it had begun to send by Q-Block1. */
  drop(request: IncomingRequest): void {
    this.#qBlock1.drop(request);
  }

  handleTimeout(nowUs: number): void {
    this.#assembly.handleTimeout(nowUs);
    this.#qBlock1.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return earlier(this.#assembly.pollTimeout(), this.#qBlock1.pollTimeout());
  }

  pollResponse(): LaterResponse | undefined {
    return this.#qBlock1.pollResponse();
  }
}

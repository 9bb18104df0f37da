import type { ClientEvent } from "../coap/request.ts";
import { uintOption } from "../coap/message.ts";
import { Code, codeClass, codeText, Option } from "../coap/numbers.ts";
import { observeFormats, type Observing } from "./observing.ts";
import type { Operation, Run } from "./operation.ts";
import type { OperationResult } from "./operation-result.ts";
import type { Registration } from "./registration.ts";

/** The beginning of an observation, or its end: what comes between are reports. */
export class ObserveRun implements Run {
  readonly #observing: Observing;
  readonly #registration: Registration;
  readonly #operation: Extract<Operation, { kind: "observe" | "cancel-observation" }>;
  readonly #formats: number[];
  #request: number | undefined;

  constructor(
    observing: Observing,
    registration: Registration,
    operation: Extract<Operation, { kind: "observe" | "cancel-observation" }>,
    known: number | undefined,
  ) {
    this.#observing = observing;
    this.#registration = registration;
    this.#operation = operation;
    this.#formats = observeFormats(registration, operation.paths, known);
  }

  get format(): number {
    return this.#formats[0]!;
  }

  get request(): number | undefined {
    return this.#request;
  }

  start(nowUs: number): OperationResult | undefined {
    const { paths, kind } = this.#operation;
    if (kind === "cancel-observation") {
      this.#request = this.#observing.cancel(nowUs, this.#registration.endpoint, paths);
      return this.#request === undefined ? { kind: "failed", reason: "not-observed" } : undefined;
    }
    const request = this.#observing.observe(nowUs, this.#registration, paths, this.format);
    if (request === "observed") return { kind: "done", code: codeText(Code.CONTENT) };
    if (request === "no-room") return { kind: "failed", reason: "too-many-observations" };
    this.#request = request;
    return undefined;
  }

  handleEvent(nowUs: number, event: ClientEvent): OperationResult | undefined {
    if (event.kind === "failed") return { kind: "failed", reason: event.reason };
    if (event.kind === "acknowledged") return undefined;
    this.#request = undefined;
    const { code, options } = event.response;
    const other = code === Code.NOT_ACCEPTABLE || code === Code.UNSUPPORTED_CONTENT_FORMAT;
    if (other && this.#formats.length > 1) {
      this.#formats.shift();
      return this.start(nowUs);
    }
    if (codeClass(code) !== 2) return { kind: "refused", code: codeText(code), detail: "" };
    const observed = uintOption(options, Option.OBSERVE) !== undefined;
    if (this.#operation.kind === "observe" && !observed) return { kind: "failed", reason: "not-observable" };
    return { kind: "done", code: codeText(code) };
  }

  cancel(nowUs: number): void {
    if (this.#request !== undefined) this.#observing.drop(nowUs, this.#request);
    this.#request = undefined;
  }
}

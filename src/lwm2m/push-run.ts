import type { ClientEvent, Requester } from "../coap/request.ts";
import type { Run } from "./operation.ts";
import type { OperationResult } from "./operation-result.ts";
import type { PackagePush } from "./package-push.ts";
import type { Registration } from "./registration.ts";

/** A stretch of a PackagePush: from when the client is awake until it is done or something comes between. */
export class PushRun implements Run {
  readonly #push: PackagePush;
  readonly #requester: Requester;
  readonly #registration: Registration;
  readonly #yields: () => boolean;
  readonly format = undefined;

  /** `yields`: whether something more urgent waits for the client, which may go between two blocks. */
  constructor(push: PackagePush, requester: Requester, registration: Registration, yields: () => boolean) {
    this.#push = push;
    this.#requester = requester;
    this.#registration = registration;
    this.#yields = yields;
  }

  get request(): number | undefined {
    return this.#push.request;
  }

  start(nowUs: number): OperationResult | undefined {
    const sent = this.#push.send(nowUs, this.#requester, this.#registration);
    return sent ? undefined : { kind: "failed", reason: "too-many-requests" };
  }

  handleEvent(nowUs: number, event: ClientEvent): OperationResult | undefined {
    const result = this.#push.handleEvent(nowUs, event);
    if (result !== undefined) return result;
    return this.#yields() ? INTERRUPTED : this.start(nowUs);
  }

  cancel(nowUs: number): void {
    this.#push.cancel(nowUs, this.#requester);
  }
}

/** Not an end: the rest is to follow. */
export const INTERRUPTED: OperationResult = { kind: "failed", reason: "interrupted" };

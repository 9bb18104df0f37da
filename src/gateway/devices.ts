import type { CoapEndpoint } from "../coap/endpoint.ts";
import type { Router } from "../coap/router.ts";
import type { ClientEvent } from "../coap/request.ts";
import { DeviceQueues, type OperationOutcome } from "../lwm2m/device-queue.ts";
import type { Operation } from "../lwm2m/operation.ts";
import type { Registration } from "../lwm2m/registration.ts";
import { Registry, type RegistryEvent, type RegistryParts } from "../lwm2m/registry.ts";
import type { Log } from "../ports/log.ts";
import { peerKey } from "../util/peer.ts";

export interface DevicesParts extends Omit<RegistryParts, "respond"> {
  readonly log: Log;
  readonly endpoint: CoapEndpoint;
}

/** The LwM2M clients of a gateway: who is registered, and what is asked of each. */
export class Devices {
  readonly #parts: DevicesParts;
  readonly #registry: Registry;
  readonly #queues: DeviceQueues;

  constructor(parts: DevicesParts, router: Router) {
    this.#parts = parts;
    const { endpoint } = parts;
    this.#registry = new Registry({ ...parts, respond: endpoint.respond.bind(endpoint) }, router);
    this.#queues = new DeviceQueues(endpoint);
  }

  recover(nowUs: number, record: Uint8Array): boolean {
    const registration = this.#registry.recover(nowUs, record);
    if (registration === undefined) return false;
    this.#queues.recover(registration);
    return true;
  }

  all(): Iterable<{ readonly registration: Registration; readonly seenUs: number }> {
    return this.#registry.all();
  }

  /** See `DeviceQueues.submit`. */
  submit(nowUs: number, endpoint: string, operation: Operation): number | undefined {
    return this.#queues.submit(nowUs, endpoint, operation);
  }

  isAwake(nowUs: number, endpoint: string): boolean {
    return this.#queues.isAwake(nowUs, endpoint);
  }

  handleEvent(nowUs: number, event: ClientEvent): boolean {
    return this.#queues.handleEvent(nowUs, event);
  }

  stored(nowUs: number, write: number, done: boolean): boolean {
    return this.#registry.stored(nowUs, write, done);
  }

  handleTimeout(nowUs: number): void {
    this.#registry.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#registry.pollTimeout();
  }

  pollOutcome(): OperationOutcome | undefined {
    return this.#queues.pollOutcome();
  }

  /** Acts on what the registry has seen. */
  settle(nowUs: number): void {
    for (let event = this.#registry.pollEvent(); event !== undefined; event = this.#registry.pollEvent()) {
      this.#note(event);
      this.#queues.handleRegistration(nowUs, event);
    }
  }

  #note({ kind, registration }: RegistryEvent): void {
    const { endpoint, peer, version, lifetimeS, queueMode } = registration;
    this.#parts.metrics.count("lwm2m_registrations", kind);
    if (kind === "updated") return; // each lifetime has some
    const fields = { endpoint, peer: peerKey(peer), version, lifetimeS, queueMode };
    this.#parts.log.event(kind === "expired" ? "warn" : "info", `lwm2m-${kind}`, fields);
  }
}

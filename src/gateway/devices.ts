import type { CoapEndpoint } from "../coap/endpoint.ts";
import type { Router } from "../coap/router.ts";
import { uintOption } from "../coap/message.ts";
import { Code, Option } from "../coap/numbers.ts";
import type { ClientEvent, HandlerResult, IncomingRequest } from "../coap/request.ts";
import { decodeContent, Format } from "../lwm2m/content.ts";
import { Observing, observeFormat } from "../lwm2m/observing.ts";
import type { Path } from "../lwm2m/path.ts";
import type { Reading } from "../lwm2m/reading.ts";
import { ContentError } from "../lwm2m/values.ts";
import { DeviceQueues, type OperationOutcome } from "../lwm2m/device-queue.ts";
import type { Operation } from "../lwm2m/operation.ts";
import type { Registration } from "../lwm2m/registration.ts";
import { Registry, type RegistryEvent, type RegistryParts } from "../lwm2m/registry.ts";
import type { Log } from "../ports/log.ts";
import { utf8 } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";

/** What a client told of itself. */
export interface Report {
  readonly endpoint: string;
  readonly by: "notify" | "send";
  readonly readings: readonly Reading[];
}

/** Largest Send that is taken. */
const MAX_SEND_BYTES = 65_536;
/** Reports that wait for whoever reads them. */
const MAX_REPORTS = 1_024;
const SEND_FORMATS: ReadonlySet<number> = new Set([Format.SENML_JSON, Format.SENML_CBOR, Format.LWM2M_CBOR]);

export interface DevicesParts extends Omit<RegistryParts, "respond"> {
  readonly log: Log;
  readonly endpoint: CoapEndpoint;
}

/** The LwM2M clients of a gateway: who is registered, and what is asked of each. */
export class Devices {
  readonly #parts: DevicesParts;
  readonly #registry: Registry;
  readonly #queues: DeviceQueues;
  readonly #observing: Observing;
  readonly #reports: Report[] = [];
  /** Clients that were just heard of. */
  readonly #awake: string[] = [];

  constructor(parts: DevicesParts, router: Router) {
    this.#parts = parts;
    const { endpoint } = parts;
    this.#registry = new Registry({ ...parts, respond: endpoint.respond.bind(endpoint) }, router);
    this.#queues = new DeviceQueues(endpoint);
    this.#observing = new Observing(endpoint);
    router.add(["dp"], { post: (_nowUs, request) => this.#takeSend(request), maxBodyBytes: MAX_SEND_BYTES });
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

  /** Observes one path of a client, or several at once; false when it is not registered, or has enough of them. */
  observe(nowUs: number, endpoint: string, paths: readonly Path[]): boolean {
    const registration = this.#registry.get(endpoint);
    if (registration === undefined || !this.#queues.isAwake(nowUs, endpoint)) return false;
    const format = observeFormat(registration, paths, this.#queues.formatOf(endpoint));
    return this.#observing.observe(nowUs, registration, paths, format);
  }

  unobserve(nowUs: number, endpoint: string, paths: readonly Path[]): boolean {
    return this.#observing.cancel(nowUs, endpoint, paths);
  }

  handleEvent(nowUs: number, event: ClientEvent): boolean {
    const endpoint = this.#observing.handleEvent(event);
    if (endpoint === undefined) return this.#queues.handleEvent(nowUs, event);
    if (event.kind !== "failed") this.#queues.heard(nowUs, endpoint);
    this.#takeObserved(nowUs);
    return true;
  }

  /** What clients have told of themselves, by Notify or by Send. */
  pollReport(): Report | undefined {
    return this.#reports.shift();
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
    for (const endpoint of this.#awake.splice(0)) this.#queues.heard(nowUs, endpoint);
    for (let event = this.#registry.pollEvent(); event !== undefined; event = this.#registry.pollEvent()) {
      this.#note(event);
      // A client that registers anew knows nothing of what it was asked before.
      if (event.kind !== "updated") this.#observing.forget(nowUs, event.registration.endpoint);
      this.#takeObserved(nowUs);
      this.#queues.handleRegistration(nowUs, event);
    }
  }

  #takeObserved(nowUs: number): void {
    for (let event = this.#observing.pollEvent(); event !== undefined; event = this.#observing.pollEvent()) {
      const { endpoint, paths } = event;
      if (event.kind === "notified") this.#report({ endpoint, by: "notify", readings: event.readings });
      else if (event.kind === "changed")
        for (const path of paths) this.#queues.submit(nowUs, endpoint, { kind: "read", path });
      else this.#parts.metrics.count("lwm2m_observations_ended", event.reason);
    }
  }

  /** Send (LwM2M 1.1 Core, section 6.4.8): a client is known by the address that it registered from. */
  #takeSend(request: IncomingRequest): HandlerResult {
    const endpoint = this.#registry.at(request.peer);
    if (endpoint === undefined) return { code: Code.NOT_FOUND };
    const format = uintOption(request.options, Option.CONTENT_FORMAT);
    if (format === undefined || !SEND_FORMATS.has(format)) return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    try {
      this.#report({ endpoint, by: "send", readings: decodeContent(format, request.payload, []) });
    } catch (error) {
      if (!(error instanceof ContentError)) throw error;
      return { code: Code.BAD_REQUEST, payload: utf8(error.message) };
    }
    this.#awake.push(endpoint); // what waits for it goes out behind the response
    return { code: Code.CHANGED };
  }

  #report(report: Report): void {
    this.#parts.metrics.count("lwm2m_reports", report.by);
    this.#reports.push(report);
    if (this.#reports.length > MAX_REPORTS) this.#reports.shift();
  }

  #note({ kind, registration }: RegistryEvent): void {
    const { endpoint, peer, version, lifetimeS, queueMode } = registration;
    this.#parts.metrics.count("lwm2m_registrations", kind);
    if (kind === "updated") return; // each lifetime has some
    const fields = { endpoint, peer: peerKey(peer), version, lifetimeS, queueMode };
    this.#parts.log.event(kind === "expired" ? "warn" : "info", `lwm2m-${kind}`, fields);
  }
}

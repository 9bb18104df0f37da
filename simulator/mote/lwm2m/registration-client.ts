import type { CoapEndpoint } from "../../../src/coap/endpoint.ts";
import { encodeUint, optionValues } from "../../../src/coap/message.ts";
import { Code, codeClass, ContentFormat, Option } from "../../../src/coap/numbers.ts";
import { textOptions } from "../../../src/coap/options.ts";
import type { ClientEvent } from "../../../src/coap/request.ts";
import type { PeerAddress } from "../../../src/ports/datagram.ts";
import { fromUtf8, utf8 } from "../../../src/util/bytes.ts";

export interface RegistrationSettings {
  readonly endpointName: string;
  readonly lifetimeS: number;
  readonly version: "1.0" | "1.1" | "1.2";
  readonly queueMode: boolean;
  /** The link-format of its objects. */
  readonly links: string;
}

const RETRY_US = 5_000_000;
const MAX_RETRY_US = 60_000_000;

/** A client's side of the Registration interface (LwM2M 1.1 Core, section 6.2). */
export class RegistrationClient {
  readonly #endpoint: CoapEndpoint;
  #server: PeerAddress;
  #settings: RegistrationSettings;
  #location: readonly string[] | undefined;
  #request: number | undefined;
  #dueUs: number | undefined;
  #failures = 0;

  constructor(endpoint: CoapEndpoint, server: PeerAddress, settings: RegistrationSettings) {
    this.#endpoint = endpoint;
    this.#server = server;
    this.#settings = settings;
  }

  get isRegistered(): boolean {
    return this.#location !== undefined;
  }

  /** Registers, or updates where it is registered. */
  announce(nowUs: number): void {
    if (this.#request !== undefined) this.#endpoint.cancel(nowUs, this.#request);
    const { endpointName, lifetimeS, version, queueMode, links } = this.#settings;
    const old = version === "1.0";
    const binding = queueMode && old ? "UQ" : "U";
    const query = [`ep=${endpointName}`, `lt=${lifetimeS}`, `lwm2m=${version}`, `b=${binding}`];
    if (queueMode && !old) query.push("Q");
    const register = {
      code: Code.POST,
      options: [
        ...textOptions(Option.URI_PATH, ["rd"]),
        ...textOptions(Option.URI_QUERY, query),
        { number: Option.CONTENT_FORMAT as number, value: encodeUint(ContentFormat.LINK_FORMAT) },
      ],
      payload: utf8(links),
    };
    const update = { code: Code.POST, options: textOptions(Option.URI_PATH, this.#location ?? []) };
    this.#dueUs = undefined;
    this.#request = this.#endpoint.request(nowUs, this.#server, this.#location === undefined ? register : update);
    if (this.#request === undefined) this.#dueUs = nowUs + RETRY_US;
  }

  /** What a bootstrap server has said. */
  configure(server: PeerAddress, lifetimeS: number | undefined): void {
    this.#server = server;
    if (lifetimeS !== undefined) this.#settings = { ...this.#settings, lifetimeS };
  }

  /** Changes the lifetime, which the server is told at once (resource 1 of object 1). */
  setLifetime(nowUs: number, lifetimeS: number): void {
    this.#settings = { ...this.#settings, lifetimeS };
    this.#location = undefined; // said in a Register, which every server takes
    this.announce(nowUs);
  }

  deregister(nowUs: number): void {
    if (this.#location === undefined) return;
    this.#endpoint.request(nowUs, this.#server, {
      code: Code.DELETE,
      options: textOptions(Option.URI_PATH, this.#location),
    });
    this.#location = undefined;
    this.#dueUs = undefined;
  }

  /** True when the event was one of its own. */
  handleEvent(nowUs: number, event: ClientEvent): boolean {
    if (event.request !== this.#request || event.kind === "acknowledged") return false;
    this.#request = undefined;
    if (event.kind !== "failed" && codeClass(event.response.code) === 2) {
      if (event.response.code === Code.CREATED)
        this.#location = optionValues(event.response.options, Option.LOCATION_PATH).map((one) => fromUtf8(one) ?? "");
      this.#failures = 0;
      // Half of its lifetime leaves time for a few losses.
      this.#dueUs = nowUs + (this.#settings.lifetimeS * 1_000_000) / 2;
      return true;
    }
    if (event.kind !== "failed") this.#location = undefined; // 4.04: the server has forgotten it
    const forgotten = event.kind !== "failed" && event.response.code === Code.NOT_FOUND;
    const waitUs = forgotten ? 0 : Math.min(RETRY_US * 2 ** this.#failures++, MAX_RETRY_US);
    this.#dueUs = nowUs + waitUs;
    return true;
  }

  handleTimeout(nowUs: number): void {
    if (this.#dueUs !== undefined && this.#dueUs <= nowUs) this.announce(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#dueUs;
  }
}

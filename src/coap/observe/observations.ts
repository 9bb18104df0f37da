import { toHex } from "../../util/bytes.ts";
import { COAP_LIMITS } from "../limits.ts";
import type { IncomingRequest } from "../request.ts";
import { OBSERVATION, type ObservationState } from "../states.ts";

/** One client's interest in one resource (RFC 7641 section 4.1). */
export interface Observation {
  readonly key: string;
  readonly resource: string;
  readonly peerKey: string;
  readonly request: IncomingRequest;
  state: ObservationState;
  /** When the client last showed by an ACK, or by registering, that it is still there. */
  confirmedUs: number;
  /** Message IDs of the last non-confirmable notifications, which a RST would name: of a slow one more than the last. */
  readonly messageIds: number[];
  sequence: number;
  /** Content-Format of the first response. */
  contentFormat: number | undefined;
}

/** The list of observers, by (peer, token) and by resource, each bounded. */
export class Observations {
  readonly #byKey = new Map<string, Observation>();
  readonly #byResource = new Map<string, Set<Observation>>();
  readonly #byPeer = new Map<string, Set<Observation>>();
  readonly #byAddress = new Map<string, Set<Observation>>();

  get size(): number {
    return this.#byKey.size;
  }

  get(peerKey: string, token: Uint8Array): Observation | undefined {
    return this.#byKey.get(`${peerKey}/${toHex(token)}`);
  }

  of(resource: string): readonly Observation[] {
    return [...(this.#byResource.get(resource) ?? [])];
  }

  /** Adds an observer, or renews it under the same token; undefined when there is no room. */
  register(nowUs: number, peerKey: string, resource: string, request: IncomingRequest): Observation | undefined {
    const key = `${peerKey}/${toHex(request.token)}`;
    const before = this.#byKey.get(key);
    if (before !== undefined) this.remove(before);
    const ofPeer = this.#byPeer.get(peerKey)?.size ?? 0;
    // Another port is soon had; another address is not, where addresses have to be proven.
    const ofAddress = this.#byAddress.get(request.peer.address)?.size ?? 0;
    if (this.#byKey.size >= COAP_LIMITS.maxObservations || ofPeer >= COAP_LIMITS.maxObservationsPerPeer)
      return undefined;
    if (ofAddress >= COAP_LIMITS.maxObservationsPerAddress) return undefined;
    const observation: Observation = {
      key,
      resource,
      peerKey,
      request,
      state: OBSERVATION.initial,
      confirmedUs: nowUs,
      messageIds: before?.messageIds ?? [],
      sequence: before?.sequence ?? 0,
      contentFormat: undefined,
    };
    this.#byKey.set(key, observation);
    add(this.#byResource, resource, observation);
    add(this.#byPeer, peerKey, observation);
    add(this.#byAddress, request.peer.address, observation);
    return observation;
  }

  remove(observation: Observation): void {
    if (!OBSERVATION.step(observation, "remove")) return;
    this.#byKey.delete(observation.key);
    drop(this.#byResource, observation.resource, observation);
    drop(this.#byPeer, observation.peerKey, observation);
    drop(this.#byAddress, observation.request.peer.address, observation);
  }

  /** The observation that a RST for a non-confirmable notification ends (section 3.6). */
  byMessageId(peerKey: string, messageId: number): Observation | undefined {
    for (const observation of this.#byPeer.get(peerKey) ?? [])
      if (observation.messageIds.includes(messageId)) return observation;
    return undefined;
  }
}

/**
 * The next value of the Observe option: greater than the last one, and by the clock of milliseconds,
 * so that one that was given before a client registered anew is never greater (section 4.4).
 */
export function nextSequence(nowUs: number, observation: Observation): number {
  const byClock = Math.floor(nowUs / 1_000);
  observation.sequence = Math.max(observation.sequence + 1, byClock);
  return observation.sequence & 0xff_ffff;
}

function add(map: Map<string, Set<Observation>>, key: string, observation: Observation): void {
  const set = map.get(key) ?? new Set();
  set.add(observation);
  map.set(key, set);
}

function drop(map: Map<string, Set<Observation>>, key: string, observation: Observation): void {
  const set = map.get(key);
  set?.delete(observation);
  if (set?.size === 0) map.delete(key);
}

import type { Szx } from "../coap/blockwise/block.ts";
import type { TransmissionParameters } from "../coap/parameters.ts";
import type { Verifier } from "../codec/cose.ts";
import type { CacheBudget } from "../image/limits.ts";
import type { Quirks } from "../lwm2m/quirks.ts";
import type { BlobInfo } from "../ports/blob-store.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { Random } from "../ports/random.ts";
import type { Admission } from "../transfer/admission.ts";
import type { ProxySettings } from "./proxying.ts";
import type { WebhookTarget } from "./webhooks.ts";

export interface GatewayParts {
  readonly crypto: Crypto;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly budget: CacheBudget;
  /** Keys whose signatures are trusted. */
  readonly anchors: readonly Verifier[];
  /** Block size for clients that name none (RFC 7959 section 2.3). */
  readonly preferredSzx: Szx;
  readonly parameters?: TransmissionParameters;
  /** Addresses that nobody outside can forge; all when absent (RFC 9175 section 2.4). */
  readonly isTrusted?: (address: string) => boolean;
  /** Address and port of ours that a peer can reach, as in a URI; where it is unknown, no client is told to fetch. */
  readonly ownAddress?: (peer: PeerAddress) => string | undefined;
  /** What families of LwM2M clients do otherwise than the standard has it. */
  readonly profiles?: readonly Quirks[];
  /** How long a client in Queue Mode hears after its last message, where that is configured. */
  readonly awakeUs?: (endpoint: string) => number | undefined;
  /** Where all devices share one channel: images are served to a few of them at a time. */
  readonly admission?: Admission | undefined;
  /** Devices that rollouts update at the same time, all of them together; 100 when absent. */
  readonly maxConcurrentUpdates?: number | undefined;
  /** What this gateway is called where there are several. */
  readonly name?: string | undefined;
  /** Who is told of what happens, by signed POSTs. */
  readonly webhooks?: readonly WebhookTarget[] | undefined;
  /** Requests are forwarded for clients that ask so; not at all when absent. */
  readonly proxy?: ProxySettings;
}

/** What the disk held when the gateway was started. */
export interface Recovered {
  readonly entries: Iterable<readonly [key: string, value: Uint8Array]>;
  readonly blobs: readonly BlobInfo[];
  /** The time by the clock that all calls are made by; 0 when absent. */
  readonly nowUs?: number;
  /** Milliseconds since 1970 at that time; for what operators read only. */
  readonly unixMs?: number;
}

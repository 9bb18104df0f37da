import type { Szx } from "../../../src/coap/blockwise/block.ts";
import type { TransmissionParameters } from "../../../src/coap/parameters.ts";
import type { Verifier } from "../../../src/codec/cose.ts";
import type { Path } from "../../../src/lwm2m/path.ts";
import type { Crypto } from "../../../src/ports/crypto.ts";
import type { PeerAddress } from "../../../src/ports/datagram.ts";
import type { Metrics } from "../../../src/ports/metrics.ts";
import type { Random } from "../../../src/ports/random.ts";
import type { RetryPolicy } from "../../../src/transfer/block-fetch.ts";
import type { Flash } from "../flash.ts";
import type { Layout } from "../layout.ts";
import type { CpuCosts } from "../profile.ts";
import type { SealedTrust } from "../sealed-trust.ts";
import type { Behaviour } from "./behaviour.ts";

/** How a client sleeps (LwM2M 1.1 Core, section 6.5). */
export interface QueueMode {
  readonly wakeIntervalS: number;
  /** So long it hears behind the last message that it sent. */
  readonly awakeS: number;
  /** It hears for so long from its waking on, whatever is said to it meanwhile. */
  readonly fixed?: boolean | undefined;
}

/** What each boot of a client is made of. */
export interface ClientParts {
  readonly flash: Flash;
  readonly layout: Layout;
  readonly crypto: Crypto;
  readonly random: Random;
  readonly metrics: Metrics;
  /** Keys that may sign for it, or what its factory sealed. */
  readonly anchors: readonly Verifier[] | Omit<SealedTrust, "keep">;
  readonly classId: Uint8Array;
  readonly server: PeerAddress;
  /** Who tells it first which server to register with; it is told `server` in the factory when absent. */
  readonly bootstrap?: PeerAddress | undefined;
  readonly endpointName: string;
  readonly lifetimeS: number;
  readonly version: "1.0" | "1.1" | "1.2";
  /** Asleep between wakes; undefined: always on. */
  readonly queueMode: QueueMode | undefined;
  /** `/5/0`, or an instance of 33629. */
  readonly object: Path;
  readonly behaviour: Behaviour;
  readonly szx: Szx;
  readonly parameters: TransmissionParameters;
  readonly policy: RetryPolicy;
  readonly costs: CpuCosts;
  readonly onCpu: (us: number) => void;
  /** The radio is needed from now on, or not. */
  readonly onRadio: (nowUs: number, on: boolean) => void;
  /** Resource 5 of the Device object: from its next boot on it believes nobody. */
  readonly onFactoryReset: () => void;
}

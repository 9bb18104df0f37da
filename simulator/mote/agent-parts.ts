import type { Szx } from "../../src/coap/blockwise/block.ts";
import type { TransmissionParameters } from "../../src/coap/parameters.ts";
import { CocoaTimer } from "../../src/coap/retransmission.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import type { Metrics } from "../../src/ports/metrics.ts";
import type { Random } from "../../src/ports/random.ts";
import type { DeviceTrust } from "../../src/suit/trust.ts";
import type { RetryPolicy } from "../../src/transfer/block-fetch.ts";
import type { BlockSizeChoice } from "../../src/transfer/block-size.ts";
import type { DeviceCredential } from "./confirmation.ts";
import type { Flash } from "./flash.ts";
import type { Layout } from "./layout.ts";
import type { CpuCosts } from "./profile.ts";

export interface AgentParts {
  readonly flash: Flash;
  readonly layout: Layout;
  readonly crypto: Crypto;
  readonly random: Random;
  readonly metrics: Metrics;
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
  /** The keys that the factory sealed. */
  readonly anchors: readonly Verifier[] | DeviceTrust;
  /** Proves the new image's way to the gateway; where there is none, an answer to its request for a manifest does. */
  readonly credential?: DeviceCredential | undefined;
  /** Within this time a new image has to prove itself. */
  readonly confirmWithinUs?: number | undefined;
  /** True of an image that starts and then does nothing: it never asks for anything. */
  readonly isDead?: ((imageDigest: Uint8Array) => boolean) | undefined;
  /** A clock that can be trusted; absent on a device without RTC. */
  readonly unixS?: ((nowUs: number) => number) | undefined;
  readonly gateway: PeerAddress;
  readonly szx: Szx;
  readonly parameters: TransmissionParameters;
  readonly policy: RetryPolicy;
  readonly costs: CpuCosts;
  /** Chooses the size of each block; always that of `szx` when absent. */
  readonly blockSizes?: BlockSizeChoice | undefined;
  /** How often the mote polls its parent during a transfer; absent where it listens always. */
  readonly pollPeriodUs?: number | undefined;
  /** Room for a signed table of an image's sectors; absent: the mote asks for none, and judges the image as a whole. */
  readonly sectorTableBytes?: number | undefined;
  /** Told how long the CPU works; the agent does nothing else meanwhile. */
  readonly onCpu: (us: number) => void;
}

/** A response that was not there at the first poll comes with one of the next: asking again before takes air for nothing. */
const PATIENT_POLLS = 4;
/** Of a time-out that was too short by far. */
const GROWTH = 1.5;
export const CONFIRM_WITHIN_US = 7_200_000_000;

/** Time-outs by what was measured, and by when the mote polls. */
export function measuredTimer({ parameters, pollPeriodUs = 0 }: AgentParts): CocoaTimer {
  return new CocoaTimer(parameters, PATIENT_POLLS * pollPeriodUs, GROWTH);
}

export type AgentState =
  | "booting"
  | "confirming"
  | "manifest"
  | "transfer"
  | "download"
  | "installing"
  | "installed"
  | "reverting"
  | "up-to-date"
  | "bricked"
  | "failed";

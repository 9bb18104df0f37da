import type { Authority, DeviceClass, KeyRecord, OperatorPolicy, Support } from "./classes.ts";

/** What changes the state; each is an entry of the audit log, and the state is what they add up to. No secret is in them. */
export type LifecycleEvent =
  | { readonly kind: "class-defined"; readonly definition: DeviceClass }
  | {
      readonly kind: "device-provisioned";
      /** Name of its credential, in hex: opaque, and no address. */
      readonly device: string;
      readonly classId: string;
      readonly endpoint?: string | undefined;
      /** Stages of the factory that are done: 1 has firmware and an identity, 2 has anchors, sealed. */
      readonly stage: 1 | 2;
    }
  | {
      readonly kind: "authority-transferred";
      readonly classId: string;
      readonly epoch: number;
      readonly authorities: readonly Authority[];
      readonly by: "authority" | "escrow" | "quorum";
    }
  | { readonly kind: "authority-added"; readonly classId: string; readonly authority: Authority }
  | { readonly kind: "key-revoked"; readonly key: KeyRecord; readonly reason: string }
  | { readonly kind: "device-quarantined"; readonly device: string; readonly reason: string }
  | { readonly kind: "device-released"; readonly device: string }
  /** It answers by another secret from now on. */
  | { readonly kind: "credential-replaced"; readonly device: string }
  | { readonly kind: "support-set"; readonly classId: string; readonly support: Support }
  | { readonly kind: "policy-set"; readonly classId: string; readonly policy: OperatorPolicy }
  | { readonly kind: "recovery-set"; readonly classId: string; readonly digest: string }
  | { readonly kind: "device-decommissioned"; readonly device: string; readonly erased: readonly string[] }
  /** What somebody did by the API, besides all the above. */
  | {
      readonly kind: "operator-action";
      readonly method: string;
      readonly path: string;
      readonly role: string;
      readonly status: number;
    }
  | {
      readonly kind: "release-admitted";
      readonly classId: string;
      readonly sequenceNumber: number;
      readonly digest: string;
    }
  | {
      readonly kind: "release-refused";
      readonly classId: string;
      readonly sequenceNumber: number;
      readonly reason: string;
    };

export type DeviceState = "provisioned" | "active" | "quarantined" | "decommissioned";

export interface Device {
  readonly id: string;
  readonly classId: string;
  readonly endpoint: string | undefined;
  readonly stage: 1 | 2;
  readonly state: DeviceState;
  readonly quarantineReason?: string | undefined;
}

import { createHash } from "node:crypto";
import type { LifecycleDesk } from "../gateway/lifecycle-desk.ts";
import type { SupportWarning } from "../gateway/support-watch.ts";
import type {
  Authority,
  DeviceClass,
  Hardware,
  KeyRecord,
  OperatorPolicy,
  Right,
  Support,
} from "../lifecycle/classes.ts";
import { verifierOf } from "../lifecycle/classes.ts";
import type { Lifecycle } from "../lifecycle/lifecycle.ts";
import { fingerprint } from "../suit/inspect.ts";

const hash = { sha256: (bytes: Uint8Array) => new Uint8Array(createHash("sha256").update(bytes).digest()) };

interface KeyView {
  readonly name: string | null;
  readonly algorithm: string;
  readonly key: string;
  readonly fingerprint: string;
  readonly revoked: boolean;
  readonly rights?: readonly Right[] | undefined;
}

export interface ClassView {
  readonly id: string;
  readonly name: string;
  readonly vendorId: string;
  readonly dialect: string;
  readonly hardware: Hardware;
  readonly authorities: readonly KeyView[];
  readonly operators: readonly KeyView[];
  readonly escrow: readonly KeyView[];
  readonly quorum: { readonly keys: readonly KeyView[]; readonly atLeast: number } | null;
  readonly support: Support | null;
  readonly policy: OperatorPolicy | null;
  readonly recovery: string | null;
  readonly epoch: number;
  readonly devices: number;
}

/** What `blockferry class show`, `orphan` and the like show. */
export interface LifecycleView {
  readonly classes: readonly ClassView[];
  readonly orphans: readonly { readonly device: string; readonly classId: string; readonly className: string }[];
  readonly revoked: readonly {
    readonly key: KeyRecord;
    readonly reason: string;
    readonly trustedBy: readonly string[];
  }[];
  readonly held: readonly { readonly device: string; readonly state: string; readonly reason: string | null }[];
  readonly warnings: readonly SupportWarning[];
}

export function lifecycleView({ lifecycle }: LifecycleDesk, unixMs: number): LifecycleView {
  const { classes, devices, revoked, held } = lifecycle.state;
  const living = [...devices.values()].filter(({ state }) => state !== "decommissioned");
  return {
    classes: [...classes.values()].map((one) =>
      classView(lifecycle, one, living.filter(({ classId }) => classId === one.id).length),
    ),
    orphans: lifecycle.orphans().map((one) => ({
      device: one.id,
      classId: one.classId,
      className: classes.get(one.classId)?.name ?? one.classId,
    })),
    revoked: revoked.map(({ key, reason }) => ({
      key,
      reason,
      trustedBy: lifecycle.trusting(key).map(({ id }) => id),
    })),
    held: [...held].map((id) => {
      // Of a log that was tampered with, the line by which it was made may be gone.
      const { state, quarantineReason } = devices.get(id) ?? { state: "quarantined", quarantineReason: undefined };
      return { device: id, state, reason: quarantineReason ?? null };
    }),
    warnings: lifecycle.warnings(unixMs),
  };
}

function classView({ state }: Lifecycle, one: DeviceClass, devices: number): ClassView {
  const viewOf = ({ name, algorithm, key, rights }: KeyRecord & Partial<Authority>): KeyView => ({
    name: name ?? null,
    algorithm,
    key,
    fingerprint: fingerprint(hash, verifierOf({ algorithm, key })),
    revoked: state.isRevoked({ algorithm, key }),
    ...(rights === undefined ? {} : { rights }),
  });
  const { id, name, vendorId, hardware, dialect, epoch, quorum, support, policy } = one;
  return {
    id,
    name,
    vendorId,
    dialect: dialect ?? "draft-37",
    hardware,
    authorities: one.authorities.map(viewOf),
    operators: one.operators.map(viewOf),
    escrow: one.escrow.map(viewOf),
    quorum: quorum === undefined ? null : { keys: quorum.keys.map(viewOf), atLeast: quorum.atLeast },
    support: support ?? null,
    policy: policy ?? null,
    recovery: state.recovery.get(id) ?? null,
    epoch,
    devices,
  };
}

import type { Crypto } from "../ports/crypto.ts";
import type { Dialect } from "../suit/dialect.ts";
import { EnvelopeError } from "../suit/envelope.ts";
import { openEnvelope } from "../suit/open.ts";
import type { OpenEnvelope, TrustPolicy } from "../suit/opened.ts";
import { firstFailure, openingOnce, planLater, planProcedure, type PlannedWay } from "../suit/plan.ts";
import type { OpenManifest } from "../suit/processor/state.ts";
import type { Release } from "../suit/release.ts";
import { deedsOf, type Candidate, type Deeds, type Refusal } from "./admission.ts";
import { isSameKey, verifierOf, type KeyRecord } from "./classes.ts";

/** Whose word counts for what a release depends on, and in which dialect. */
export interface Counting {
  readonly dialect: Dialect;
  readonly keys: readonly KeyRecord[];
}

/** `depends`: it processes manifests of others, which count by whose keys are asked. */
export type Plan = Candidate & { readonly depends: boolean };

/** An envelope that somebody of these signed. */
export function openBy(crypto: Crypto, envelope: Uint8Array, trust: TrustPolicy): OpenEnvelope | Refusal {
  try {
    return openEnvelope(crypto, envelope, trust);
  } catch (error) {
    if (error instanceof EnvelopeError) return { reason: error.reason, detail: error.message };
    throw error;
  }
}

/** What releases do, on all their ways: looked for once, unless others that they depend on have a say in it. */
export class ReleasePlans {
  readonly #crypto: Crypto;
  /** By the envelope, as long as that is kept. */
  readonly #deeds = new WeakMap<Uint8Array, { readonly dialect: Dialect; readonly deeds: Deeds }>();
  #last: { readonly envelope: Uint8Array; readonly counting: Counting; readonly plan: Plan | Refusal } | undefined;

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  /** The same for one class as for the next. */
  plan(open: OpenEnvelope, envelope: Uint8Array, counting: Counting): Plan | Refusal {
    const last = this.#last;
    const { dialect, keys } = counting;
    if (last?.envelope === envelope && last.counting.dialect === dialect && "depends" in last.plan) {
      const { keys: before } = last.counting;
      const haveSame = keys.length === before.length && keys.every((key, i) => isSameKey(key, before[i]!));
      if (!last.plan.depends || haveSame) return last.plan;
    }
    const anchors = keys.map(verifierOf);
    const opening = openingOnce(this.#crypto, (bytes) => openEnvelope(this.#crypto, bytes, { anchors, dialect }));
    let depends = false;
    const candidate = this.#planAnew(open, envelope.length, (bytes) => {
      depends = true;
      return opening(bytes);
    });
    const plan = "reason" in candidate ? candidate : { ...candidate, depends };
    this.#last = { envelope, counting, plan };
    return plan;
  }

  /** What it does that takes a right. */
  deeds(open: OpenEnvelope, envelope: Uint8Array, counting: Counting): Deeds | Refusal {
    const known = this.#deeds.get(envelope);
    if (known?.dialect === counting.dialect) return known.deeds;
    const plan = this.plan(open, envelope, counting);
    if ("reason" in plan) return plan;
    const deeds = deedsOf(plan);
    if (!plan.depends) this.#deeds.set(envelope, { dialect: counting.dialect, deeds });
    return deeds;
  }

  /** The same whoever counts; undefined where nobody can say, or others have a say in it. */
  deedsOf({ envelope, dialect, signers, depends }: Release): Deeds | undefined {
    if (depends) return undefined;
    const known = this.#deeds.get(envelope);
    if (known?.dialect === dialect) return known.deeds;
    const open = openBy(this.#crypto, envelope, { anchors: signers, dialect });
    const deeds = "reason" in open ? open : this.deeds(open, envelope, { dialect, keys: [] });
    return "reason" in deeds ? undefined : deeds;
  }

  /** Or why no device gets to the end of one. */
  #planAnew(
    open: OpenEnvelope,
    envelopeBytes: number,
    dependency: (envelope: Uint8Array) => OpenManifest,
  ): Candidate | Refusal {
    const odd: PlannedWay[] = [];
    const ways = planProcedure(this.#crypto, open, "update", { open: dependency }, undefined, odd);
    const failure = firstFailure([ways]);
    if (failure !== undefined) return { reason: "not-processable", detail: `${failure.section}: ${failure.detail}` };
    const { invocation, uninstall } = planLater(this.#crypto, open, ways, { open: dependency }, odd);
    const later = [...invocation, ...uninstall];
    const failed = firstFailure(later);
    if (failed !== undefined) return { reason: "not-processable", detail: `${failed.section}: ${failed.detail}` };
    const others = later.flat();
    const encrypted = [...ways, ...others].some(({ steps }) =>
      steps.some((step) => "encryption" in step && step.encryption !== undefined),
    );
    return { ways, others, odd, envelopeBytes, encrypted };
  }
}

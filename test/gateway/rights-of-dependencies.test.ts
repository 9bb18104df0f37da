import { beforeEach, describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { keyRecord, trustOfClass, type Right } from "../../src/lifecycle/classes.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import type { ComponentUpdate, Dependency } from "../../src/suit/build.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { ModelDevice } from "../../src/suit/model-device.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { permits } from "../../src/suit/trust.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";

const [radioVendor, operator] = [keyOf(51), keyOf(52)];
const KEYS = { author, radioVendor, operator };
type Key = keyof typeof KEYS;

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

const componentOf = (id: string, integrated?: Uint8Array): ComponentUpdate => {
  const image = integrated ?? makeImage(id.length, 1_000);
  const uri = integrated === undefined ? `sim:${id}` : "#image";
  return { id: [utf8(id)], payloads: [{ image: { digest: sha256(image), size: image.length }, uri, integrated }] };
};

interface Case {
  readonly rights: Partial<Record<Key, readonly Right[]>>;
  readonly operators?: readonly Key[];
  readonly signers: readonly Key[];
  readonly parent: ComponentUpdate;
  readonly dependency?: { readonly signers: readonly Key[]; readonly component: ComponentUpdate };
}

const on = (component: string, ...actions: string[]): Right =>
  actions.length === 0 ? { component } : { component, actions };
const all = (id: string): Right[] => [on(id)];
const manifestAndApp = [on("app"), on("other")];
const radio = { signers: ["radioVendor"], component: componentOf("radio") } as const;

const CASES: Readonly<Record<string, Case & { readonly fate: string }>> = {
  "each signs for what is its own": {
    rights: { author: manifestAndApp, radioVendor: all("radio") },
    signers: ["author"],
    parent: componentOf("app"),
    dependency: radio,
    fate: "published",
  },
  "whoever depends on a manifest lends it no rights": {
    rights: { radioVendor: all("radio") },
    signers: ["author"],
    parent: componentOf("app"),
    dependency: { signers: ["radioVendor"], component: componentOf("boot") },
    fate: "no-right",
  },
  "to keep a manifest takes a right too": {
    rights: { author: all("app"), radioVendor: all("radio") },
    signers: ["author"],
    parent: componentOf("app"),
    dependency: radio,
    fate: "no-right",
  },
  "what a dependency may do its parent may not": {
    rights: { author: [on("other")], radioVendor: [on("radio"), on("app")] },
    signers: ["author"],
    parent: componentOf("app"),
    dependency: radio,
    fate: "no-right",
  },
  "an operator countersigns the whole once": {
    rights: {},
    operators: ["operator"],
    signers: ["author", "operator"],
    parent: componentOf("app"),
    dependency: radio,
    fate: "published",
  },
  "an operator who signs the dependency has not seen the whole": {
    rights: {},
    operators: ["operator"],
    signers: ["author"],
    parent: componentOf("app"),
    dependency: { signers: ["radioVendor", "operator"], component: componentOf("radio") },
    fate: "no-countersignature",
  },
  "what comes in the envelope is fetched": {
    rights: { author: [on("app", "fetch", "invoke")] },
    signers: ["author"],
    parent: componentOf("app", makeImage(7, 500)),
    fate: "published",
  },
  "and not written": {
    rights: { author: [on("app", "write", "invoke")] },
    signers: ["author"],
    parent: componentOf("app", makeImage(7, 500)),
    fate: "no-right",
  },
};

const keysOf = (names: readonly Key[]): PrivateKey[] => names.map((name) => KEYS[name]);

function envelopeOf({ signers, parent, dependency }: Case): Uint8Array {
  const dependencies: Dependency[] = [];
  if (dependency !== undefined) {
    const components = [dependency.component];
    const integrated = site.update({ components }, ...keysOf(dependency.signers));
    const digest = digestOf(decodeEnvelope(integrated));
    dependencies.push({ id: [utf8("other")], digest, uri: "#other", integrated, invokes: true });
  }
  return site.update({ components: [parent], dependencies }, ...keysOf(signers));
}

function publish(envelope: Uint8Array): string {
  for (const id of ["app", "radio", "boot"]) site.bench.disk.upstream.set(`sim:${id}`, makeImage(id.length, 1_000));
  const outcome = site.bench.publishEnvelope(envelope, undefined);
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}

/** What becomes of it on a device that has the class's anchors. */
function onDevice(envelope: Uint8Array): string {
  const trust = trustOfClass(site.bench.gateway.desk.lifecycle.state.classes.get(toHex(classId))!);
  const anchors = [...trust.authorities, ...trust.operators];
  const opening = (bytes: Uint8Array): OpenEnvelope => openEnvelope(nodeCrypto, bytes, { anchors });
  const open = opening(envelope);
  const device = new ModelDevice(nodeCrypto, undefined, {
    vendorIds: [vendorId],
    classIds: [classId],
    fetch: (uri) => makeImage(uri.length - 4, 1_000),
  });
  for (const procedure of ["update", "invocation"] as const) {
    const outcome = processManifest(open, procedure, device, {
      crypto: nodeCrypto,
      open: opening,
      permits: (signers, component, code) => permits(trust, signers, component, code, open.signers),
    });
    if (!outcome.ok) return outcome.reason;
  }
  return "installed";
}

describe("the gateway lets through what devices let through, with dependencies of other signers", () => {
  it.each(Object.entries(CASES))("%s", (_name, { fate, ...one }) => {
    const authorities = (["author", "radioVendor"] as const).map((name) => {
      const { algorithm, key } = keyRecord(KEYS[name].publicKey);
      return { algorithm, key, name, rights: one.rights[name] };
    });
    const operators = keysOf(one.operators ?? []).map(({ publicKey }) => keyRecord(publicKey));
    expect(site.define({ authorities, operators })).toMatchObject({ ok: true });
    const envelope = envelopeOf(one);
    expect(onDevice(envelope)).toBe(fate === "published" ? "installed" : "component-unauthorised");
    expect(publish(envelope)).toBe(fate);
  });
});

import { beforeEach, describe, expect, it } from "vitest";
import type { CborValue } from "../../src/codec/cbor.ts";
import { manifestPath, transferPath } from "../../src/gateway/catalogue.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { applyTransfer, encodeTransfer, trustOf } from "../../src/suit/trust.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { author, classId } from "../support/gateway.ts";
import {
  CLASS,
  digestIn,
  envelopeOf,
  identity,
  map,
  override,
  seq,
  suitDigest,
  VENDOR,
} from "../support/suit-build.ts";
import { image, keyOf, TrustBench } from "../support/trust-bench.ts";

const [second, third] = [keyOf(71), keyOf(72)];
const manifest = manifestPath(classId, "00");
const nameOf = (key: typeof author, name: string): { name: string } & ReturnType<typeof keyRecord> => ({
  ...keyRecord(key.publicKey),
  name,
});

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

describe("a key that was revoked", () => {
  it("counts for classes that nobody defined no more than for others", () => {
    expect([site.publish(site.update()), site.ask(manifest)]).toEqual(["published", "2.05"]);
    expect(site.revoke()).toMatchObject({ ok: true });
    expect(site.ask(manifest)).toBe("4.04");
    expect(site.publish(site.update({ sequenceNumber: 2 }))).toBe("signature-invalid");
    site.bench.restart();
    expect(site.ask(manifest)).toBe("4.04");
  });

  it("takes the release along that its signature alone had the right for", () => {
    const limited = { ...nameOf(second, "limited"), rights: [{ component: "app" }] };
    site.define({ authorities: [nameOf(author, "full"), limited] });
    expect([site.publish(site.update({}, author, second)), site.ask(manifest)]).toEqual(["published", "2.05"]);
    site.revoke();
    expect(site.ask(manifest)).toBe("4.04");
  });

  it("with rights for some components only hands nobody over, and is told why", () => {
    site.define({ authorities: [{ ...nameOf(author, "limited"), rights: [{ component: "app" }] }] });
    expect(site.bench.gateway.desk.lifecycle.readTransfer(site.handOver(1, [second], author), toHex(classId))).toEqual({
      reason: "no-right",
      detail: expect.stringMatching(/^limited may sign for some components only/),
    });
  });

  it("hands nobody over, though the hand-over was asked for before it was written that it is revoked", () => {
    site.define();
    const { desk } = site.bench.gateway;
    const told: string[] = [];
    const note = (result: { ok: boolean; reason?: string }): void => void told.push(result.reason ?? "ok");
    const envelope = site.handOver(1, [second], author);
    site.bench.loop.call((nowUs) => {
      const key = keyRecord(author.publicKey);
      desk.submit(nowUs, "op", { kind: "key-revoked", key, reason: "stolen" }, note);
      desk.transfer(nowUs, "op", toHex(classId), envelope, [], note);
    });
    site.bench.run(1);
    expect(told).toEqual(["ok", "no-right"]);
  });
});

describe("what the devices of a class cannot do", () => {
  const hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 };
  const requires = [{ comparison: 2, version: [1] }];
  const asking = {
    version: () => ({
      components: [
        { id: [Uint8Array.of(0)], payloads: [{ image: { digest, size: image.length }, uri: "sim:x" }], requires },
      ],
    }),
    battery: () => ({ minimumBatteryMwh: 5 }),
    leave: () => ({ priority: -1 }),
    wait: () => ({ wait: map([[3, 1]]) as never }),
  };
  const digest = suitDigest(image).subarray(-32);

  it.each(Object.keys(asking) as (keyof typeof asking)[])("is not asked of them: %s", (feature) => {
    const others = Object.keys(asking).filter((name) => name !== feature) as (keyof typeof asking)[];
    site.define({ hardware: { ...hardware, features: others } });
    expect(site.publish(site.update(asking[feature]()))).toBe(`no-${feature}`);
    site.define({ hardware: { ...hardware, features: [feature] } });
    expect(site.publish(site.update(asking[feature]()))).toBe("published");
  });

  it("is not known where it is not said, but what they read is", () => {
    site.define({ hardware: { ...hardware, envelopeBytes: 256 } });
    expect(site.publish(site.update({ updateDescription: "x".repeat(300) }))).toBe("manifest-too-large");
    expect(site.hand(1, [second, third, keyOf(73)], author)).toBe("envelope-too-large");
    expect(site.publish(site.update({ ...asking.battery() }))).toMatch(/published|manifest-too-large/);
  });
});

describe("a hand-over", () => {
  it("is believed one after the other, so that nobody jumps to where no other follows", () => {
    const trust = { ...trustOf([author.publicKey]), epoch: 3 };
    const to = (epoch: number): number | undefined =>
      applyTransfer(trust, encodeTransfer({ epoch, authorities: [second.publicKey] }))?.epoch;
    expect([3, 4, 5, Number.MAX_SAFE_INTEGER].map(to)).toEqual([undefined, 4, undefined, undefined]);
  });

  it("is written before the entry that tells of it, and is offered to nobody without that", () => {
    site.define();
    expect(site.hand(1, [second], author)).toBe("ok");
    const path = transferPath(classId, 1);
    expect(site.ask(path)).toBe("2.05");
    const keys = site.bench.commands.flatMap((command) =>
      command.kind === "store" ? [command.ops.map(({ key }) => key)] : [],
    );
    const both = keys.find((some) => some.some((key) => key.startsWith("handover/")))!;
    expect(both).toEqual([`handover/${toHex(classId)}/1`, "audit/0000000002"]);
    site.bench.disk.entries.delete(both[1]!); // a kill between the two files of a mirror
    site.bench.restart();
    expect(site.ask(path)).toBe("4.04");
    expect(site.hand(1, [second], author)).toBe("ok");
    expect(site.ask(path)).toBe("2.05");
  });

  it("stands, whatever is said of the class afterwards", () => {
    site.define();
    expect(site.hand(1, [second], author)).toBe("ok");
    expect(site.define()).toMatchObject({ ok: false, reason: "authorities-handed-over" });
    expect(site.define({ name: "other", authorities: [nameOf(second, "new name")] })).toMatchObject({ ok: true });
    expect([site.publish(site.update()), site.hand(2, [third], second)]).toEqual(["signature-invalid", "ok"]);
  });

  it("is no release, of a class that nobody defined neither", () => {
    expect(site.publish(site.handOver(1, [second], author))).toBe("trust-in-release");
    expect(site.ask(manifest)).toBe("4.04");
  });

  it("to what is no key, or too large for its devices, is none", () => {
    site.define({ hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 2_048 } });
    const bad = { ...second, publicKey: { algorithm: "ES256", bytes: Uint8Array.of(1, 2, 3) } } as const;
    expect(site.hand(1, [bad], author)).toBe("not-a-transfer");
    const many = Array.from({ length: 8 }, (_, i) => keyOf(40 + i));
    expect(site.hand(1, many, author)).toBe("envelope-too-large");
  });
});

describe("what a release leaves behind", () => {
  it("no class has a manifest that the newer release of its key is not for", () => {
    const b = new Uint8Array(16).fill(0xb2);
    site.define();
    site.define({ id: toHex(b), name: "b" });
    site.publish(site.update({ classIds: [classId, b] }));
    expect(site.ask(manifestPath(b, "00"))).toBe("2.05");
    site.publish(site.update({ sequenceNumber: 2 }));
    expect([site.ask(manifest), site.ask(manifestPath(b, "00"))]).toEqual(["2.05", "4.04"]);
  });

  it.each(["c", "r", "rd", "dp"])("no alias takes a path of the gateway: %s", (alias) => {
    site.define();
    expect(site.publish(site.update(), alias)).toBe("bad-alias");
    expect(site.publish(site.update(), "fw")).toBe("published");
    expect(site.publish(site.update({ sequenceNumber: 2 }), "fw")).toBe("published");
  });
});

describe("rights by component", () => {
  const known: [CborValue, CborValue][] = [
    [P.IMAGE_DIGEST, suitDigest(image)],
    [P.IMAGE_SIZE, image.length],
  ];
  const fetch = [...override([P.URI, "sim:x"]), D.FETCH, 15, C.IMAGE_MATCH, 15];
  const app = (): unknown =>
    site.define({
      id: toHex(CLASS),
      vendorId: toHex(VENDOR),
      authorities: [{ ...nameOf(author, "limited"), rights: [{ component: "app" }] }],
    });

  it("hold for what is copied from", () => {
    app();
    const sections = { 20: [D.SET_COMPONENT_INDEX, 0, ...fetch, ...override([P.SOURCE_COMPONENT, 1]), D.COPY, 15] };
    const shared = [D.SET_COMPONENT_INDEX, 0, ...identity(...known)];
    expect(site.publish(envelopeOf({ key: author, components: [["app"], ["secret"]], shared, sections }))).toBe(
      "no-right",
    );
  });

  it("hold behind another class too, which hardly any device has", () => {
    app();
    const write = [D.SET_COMPONENT_INDEX, 1, ...override([P.CONTENT, utf8("evil")]), D.WRITE, 15];
    const behind = seq(
      ...override([P.CLASS_IDENTIFIER, new Uint8Array(16).fill(0xc2)]),
      C.CLASS_IDENTIFIER,
      15,
      ...write,
    );
    const install = [D.SET_COMPONENT_INDEX, 0, D.TRY_EACH, [behind, null], D.SET_COMPONENT_INDEX, 0, ...fetch];
    const shared = [D.SET_COMPONENT_INDEX, 0, ...identity(...known)];
    const envelope = envelopeOf({ key: author, components: [["app"], ["boot"]], shared, sections: { 20: install } });
    expect(site.publish(envelope)).toBe("no-right");
  });

  it("nobody can say them of a dependency that is not in the envelope", () => {
    app();
    const child = envelopeOf({
      key: author,
      components: [["app"]],
      sections: { 20: [...override(...known), ...fetch] },
    });
    const process = [C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15];
    const envelope = envelopeOf({
      key: author,
      components: [["app"], ["app", "dep"], ["app", "old"]],
      dependencies: map([
        [1, map([])],
        [2, map([])],
      ]),
      integrated: { "#d": child },
      shared: [
        D.SET_COMPONENT_INDEX,
        0,
        ...identity(),
        D.SET_COMPONENT_INDEX,
        1,
        ...override([P.IMAGE_DIGEST, digestIn(child)]),
        D.SET_COMPONENT_INDEX,
        2,
        ...override([P.IMAGE_DIGEST, suitDigest(utf8("elsewhere"))]),
      ],
      sections: {
        15: [
          D.SET_COMPONENT_INDEX,
          2,
          D.TRY_EACH,
          [seq(C.IMAGE_MATCH, 15, D.PROCESS_DEPENDENCY, 15), null],
          D.SET_COMPONENT_INDEX,
          1,
          ...override([P.URI, "#d"]),
          D.FETCH,
          15,
          ...process,
        ],
        20: [D.SET_COMPONENT_INDEX, 1, D.PROCESS_DEPENDENCY, 15],
      },
    });
    expect(site.publish(envelope)).toBe("not-processable");
  });

  it("what is for one device of each of two classes is tried as each, and not as the other's", () => {
    app();
    const another = new Uint8Array(16).fill(0xc2);
    site.define({ id: toHex(another), name: "b", vendorId: toHex(VENDOR), authorities: [nameOf(author, "author")] });
    const branch = (id: Uint8Array, device: number): Uint8Array =>
      seq(
        ...override([P.CLASS_IDENTIFIER, id], [P.DEVICE_IDENTIFIER, new Uint8Array(16).fill(device)]),
        C.CLASS_IDENTIFIER,
        15,
        C.DEVICE_IDENTIFIER,
        15,
      );
    const shared = [...override([P.VENDOR_IDENTIFIER, VENDOR], ...known), C.VENDOR_IDENTIFIER, 15];
    const release = (...branches: Uint8Array[]) =>
      envelopeOf({ key: author, components: [["app"]], shared, sections: { 20: [D.TRY_EACH, branches, ...fetch] } });
    expect(site.publish(release(branch(CLASS, 1), branch(another, 2)))).toBe("published");
  });

  it("what could never boot is not published", () => {
    app();
    const shared = [...identity(...known)];
    const sections = { 20: fetch, 8: [...override([P.IMAGE_DIGEST, suitDigest(utf8("another"))]), C.IMAGE_MATCH, 15] };
    expect(site.publish(envelopeOf({ key: author, components: [["app"]], shared, sections }))).toBe("dry-run-failed");
  });
});

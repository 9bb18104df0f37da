import { existsSync, mkdirSync, readFileSync, symlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { decodeTrust } from "../../src/suit/trust.ts";
import { fromHex, utf8 } from "../../src/util/bytes.ts";
import { cli, json, reasonOf, Served, temporaryFolder } from "../support/process.ts";

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const VENDOR = ["--vendor", "example.com", "--class", "sensor-a"];

beforeAll(async () => {
  for (const name of ["author", "operator", "escrow", "heir", "device"]) await cli("key", "new", "--out", at(name));
  writeFileSync(at("a.bin"), "image for slot a".repeat(100));
  writeFileSync(at("b.bin"), "image for slot b".repeat(100));
  writeFileSync(at("radio.bin"), "radio".repeat(200));
  writeFileSync(
    at("update.yaml"),
    `sequence: 3
vendor: example.com
class: sensor-a
version: 3.0.0-rc.1
description: Repairs the radio's sleep
useBefore: 2030-06-01T00:00:00Z
minimumBatteryMwh: 500
priority: -1
sever: true
components:
  - id: "0x00"
    requires: [">=2.0.0"]
    slots:
      - { slot: 0, image: a.bin }
      - { slot: 1, image: b.bin }
  - { id: radio, description: link layer, image: radio.bin, encrypt: { recipients: [{ kid: k1, publicKey: device.pub.pem }] } }
`,
  );
}, 30_000);

describe("sign, inspect and verify", () => {
  it("a description becomes an envelope whose inspection needs no knowledge of SUIT", async () => {
    const signed = await json("sign", at("update.yaml"), "--key", at("author.key.pem"), "--out", at("u.suit"));
    expect(signed["images"]).toHaveLength(3);
    const { code, stdout } = await cli("inspect", at("u.suit"), "--trust", at("author.pub.pem"));
    expect(code).toBe(0);
    for (const text of [
      "Repairs the radio's sleep",
      "signed with the trusted ES256 key",
      "of class 7343c8b8-95da-55d2-ac65-bd05c7c8b5ec",
      "radio becomes version 3.0.0-rc.1: link layer",
      "What a device does (1 of 2: when 0x00 is written to slot 0)",
      "that have not installed number 3 or higher",
      "What it does each time that it starts",
      "fetch 1600 bytes from /i/",
      "decrypt radio/staged into radio",
      "it is 2030-06-01T00:00:00Z or later",
      "less than 500 mWh are left",
      "is not at least version 2.0.0",
    ])
      expect(stdout).toContain(text);
    const named = ["--vendor", "example.com", "--class", "sensor-a", "sensor-b"];
    const told = (await cli("inspect", at("u.suit"), "--trust", at("author.pub.pem"), ...named)).stdout;
    expect(told).toContain("of class sensor-a (7343c8b8-95da-55d2-ac65-bd05c7c8b5ec)");
    expect(told).toContain("of vendor example.com (cfbff0d1-9375-5685-968c-48ce8b15ae17)");
    const input = at("update.yaml");
    symlinkSync(at("b.bin"), at("link.bin"));
    const inputs = [input, ...["a.bin", "link.bin", "radio.bin", "device.pub.pem", "author.key.pem"].map(at)];
    for (const out of inputs)
      expect(await reasonOf("sign", input, "--key", at("author.key.pem"), "--out", out)).toBe("output-is-input");
  });

  it("tells ways on which the same is done once, by what they have in common", async () => {
    const text = (payloads: string): string => `sequence: 4
vendor: example.com
classes: [sensor-a, sensor-b]
components: [{ id: app, ${payloads} }]
`;
    const shown = async (payloads: string): Promise<string[]> => {
      writeFileSync(at("alike.yaml"), text(payloads));
      await json("sign", at("alike.yaml"), "--key", at("author.key.pem"), "--out", at("alike.suit"));
      const { stdout } = await cli("inspect", at("alike.suit"), "--trust", at("author.pub.pem"));
      return stdout.split("\n").filter((line) => line.startsWith("What a device does"));
    };
    expect(await shown("image: a.bin")).toEqual(["What a device does"]);
    expect(await shown("slots: [{ slot: 0, image: a.bin }, { slot: 1, image: b.bin }]")).toEqual([
      "What a device does (1 of 2: when app is written to slot 0)",
      "What a device does (2 of 2: when app is written to slot 1)",
    ]);
    const three = "slots: [{ slot: 0, image: a.bin }, { slot: 1, image: b.bin }, { slot: 2, image: a.bin }]";
    const [first, second] = await shown(three);
    expect(first).toMatch(/\(1 of 2: when .*slot 0; or when .*slot 2; or when .*slot 0; or when .*slot 2\)$/);
    expect(second).toBe("What a device does (2 of 2: when app is written to slot 1)");
  });

  it("reads what RIOT reads, when it is told so", async () => {
    await cli("key", "new", "--out", at("riot"), "--algorithm", "Ed25519");
    const uri = ["--uri", "coap://[fd00::1]/fw"];
    const out = ["--dialect", "riot-09", "--out", at("riot.suit")];
    await json("sign", at("a.bin"), "--key", at("riot.key.pem"), ...VENDOR, "--sequence", "2", ...uri, ...out);
    const read = ["inspect", at("riot.suit"), "--trust", at("riot.pub.pem"), "--dialect"];
    expect(await json(...read, "riot-09")).toMatchObject({
      sequenceNumber: 2,
      ways: [{ steps: [/^fetch 1600 bytes/, /^check/].map((one) => expect.stringMatching(one) as string) }],
    });
    expect(await json("verify", ...read.slice(1), "riot-09")).toMatchObject({ verified: true });
    expect(await reasonOf(...read, "draft-9")).toBe("bad-dialect");
    expect(await reasonOf(...read.slice(0, -1))).toBe("malformed");
  });

  it("a countersignature adds to what is there, and k of n is asked for", async () => {
    const both = [at("author.pub.pem"), at("operator.pub.pem"), "--at-least", "2"];
    expect(await reasonOf("verify", at("u.suit"), "--trust", ...both)).toBe("too-few-signatures");
    await json("sign", at("u.suit"), "--countersign", "--key", at("operator.key.pem"), "--out", at("u2.suit"));
    expect(await json("verify", at("u2.suit"), "--trust", ...both)).toMatchObject({
      verified: true,
      sequenceNumber: 3,
    });
    expect(await reasonOf("inspect", at("u.suit"), "--trust", at("escrow.pub.pem"))).toBe("signature-invalid");
  });

  it("what is wrong with a description is said, with its key", async () => {
    const cases = [
      ["sequence: x\n", /sequence/],
      ["sequence: 1\nvendor: v\nclass: c\n", /component/],
      ["sequence: 1\nvendor: v\nclass: c\ncomponents: [{ image: a.bin, slots: [] }]\n", /slots|either an image/],
      ["sequence: 1\nvendor: v\nclass: c\ncomponents: [{ image: none.bin }]\n", /none\.bin/],
      ["{ not: [yaml\n", /bad\.yaml/],
    ] as const;
    for (const [text, message] of cases) {
      writeFileSync(at("bad.yaml"), text);
      const { code, stderr } = await cli("sign", at("bad.yaml"), "--key", at("author.key.pem"), "--out", at("x.suit"));
      expect(code, text).toBe(2);
      expect(stderr).toMatch(message);
    }
    expect(await reasonOf("sign", at("a.bin"), "--key", at("author.key.pem"), "--out", at("x.suit"))).toBe(
      "option-missing",
    );
  });
});

describe("the factory", () => {
  it("makes devices in two stages, seals the anchors, keeps secrets to itself and writes a log that shows changes", async () => {
    await json("factory", "stage-one", "--count", "3", "--out", at("batch"));
    const anchors = ["--trust", at("author.pub.pem"), "--escrow", at("escrow.pub.pem")];
    const two = ["factory", "stage-two", "--in", at("batch"), "--out", at("product"), ...VENDOR];
    const made = await json(...two, ...anchors);
    expect(made).toMatchObject({ devices: 3 });
    for (const file of ["flash.jsonl", "credentials.jsonl"])
      expect(statSync(join(at("product"), file)).mode & 0o077, file).toBe(0);
    const keys = new Set(
      readFileSync(join(at("batch"), "devices.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { key: string }).key),
    );
    expect(keys.size).toBe(3);
    const log = readFileSync(join(at("product"), "audit.jsonl"), "utf8");
    for (const key of keys) expect(log).not.toContain(key);
    expect(
      await json("audit", "--file", join(at("product"), "audit.jsonl"), "--head", String(made["head"])),
    ).toMatchObject({ ok: true, entries: 3 });
    writeFileSync(at("forged.jsonl"), log.replace('"stage-two"', '"stage-one"'));
    expect((await cli("audit", "--file", at("forged.jsonl"))).code).toBe(1);
    const { code, stdout } = await cli("audit", "--file", at("forged.jsonl"), "--json");
    expect([code, JSON.parse(stdout)]).toMatchObject([1, { ok: false, error: { reason: "audit-log-tampered" } }]);
  });

  it("and whatever it is given that is wrong is said, without a stack and without a device", async () => {
    mkdirSync(at("junk"));
    for (const name of ["devices.jsonl", "credentials.jsonl", "bundle.json"])
      writeFileSync(join(at("junk"), name), '{"images":[null]}\n');
    const trust = ["--trust", at("author.pub.pem")];
    const two = ["factory", "stage-two", "--out", at("none"), ...VENDOR];
    const nine = Array.from({ length: 9 }, () => at("author.pub.pem"));
    const transfer = ["authority", "transfer", ...VENDOR, "--key", at("author.key.pem"), "--out", at("none.suit")];
    const wrong: [string, string[]][] = [
      ["file-exists", ["factory", "stage-one", "--count", "3", "--out", at("batch")]],
      ["folder-not-writable", ["factory", "stage-one", "--count", "3", "--out", at("a.bin")]],
      ["bad-line", [...two, "--in", at("junk"), ...trust]],
      ["key-unreadable", [...two, "--in", at("batch"), "--trust", at("nobody.pem")]],
      ["bad-anchors", [...two, "--in", at("batch"), "--trust", ...nine]],
      [
        "bad-anchors",
        [...two, "--in", at("batch"), ...trust, "--quorum", at("heir.pub.pem"), "--quorum-at-least", "2"],
      ],
      ["bad-anchors", [...two, "--in", at("batch"), ...trust, "--quorum", at("heir.pub.pem"), at("heir.pub.pem")]],
      ["bad-quorum", [...two, "--in", at("batch"), ...trust, "--quorum-at-least", "abc"]],
      ["bad-quorum", [...two, "--in", at("batch"), ...trust, "--quorum-at-least", "0.5"]],
      ["bad-line", ["factory", "import", at("junk")]],
      ["bad-bundle", ["bundle", "import", at("junk")]],
      ["bad-epoch", [...transfer, "--to", at("heir.pub.pem"), "--epoch", "1e300"]],
      ["too-many-keys", [...transfer, "--epoch", "1", "--to", ...nine]],
      ["bad-at-least", ["verify", at("u.suit"), ...trust, "--at-least", "abc"]],
      ["bad-days", ["census", "--days", "-3"]],
    ];
    for (const [reason, args] of wrong) expect(await reasonOf(...args), args.join(" ")).toBe(reason);
    expect(existsSync(at("none")) && existsSync(join(at("none"), "flash.jsonl"))).toBe(false);
  }, 30_000);

  it("seals what the definition of the class says, rights of its authorities included", async () => {
    const { author, escrow } = { author: at("author.pub.pem"), escrow: at("escrow.pub.pem") };
    const text = (key: string): string => `name: sensor-b
vendor: example.com
hardware: { rng: true, rtc: false, slots: 2, recoveryImage: false, ramBytes: 65536 }
authorities: [{ name: author, publicKey: ${key}, rights: [{ component: app/0x01, actions: [fetch, copy] }] }]
escrow: [${escrow}]
`;
    writeFileSync(at("product.yaml"), text(author));
    const two = ["factory", "stage-two", "--in", at("batch"), "--out", at("defined"), "--definition"];
    expect(await json(...two, at("product.yaml"))).toMatchObject({ devices: 3 });
    const [line] = readFileSync(join(at("defined"), "flash.jsonl"), "utf8").split("\n");
    const { anchors } = JSON.parse(line!) as { anchors: string };
    expect(decodeTrust(fromHex(anchors)!)).toMatchObject({
      epoch: 0,
      authorities: [{ rights: [{ component: [utf8("app"), Uint8Array.of(1)], actions: [21, 22] }] }],
      escrow: [{ algorithm: "ES256" }],
      operators: [],
    });
    writeFileSync(at("secret.yaml"), text(at("author.key.pem")));
    expect(await reasonOf(...two, at("secret.yaml"))).toBe("private-key-given");
    writeFileSync(at("wrong.yaml"), text(author).replace("[fetch, copy]", "[fly]"));
    expect(await reasonOf(...two, at("wrong.yaml"))).toBe("bad-class-file");
    expect(await reasonOf(...two, at("product.yaml"), "--trust", author)).toBe("option-conflict");
    const eight = Array.from({ length: 8 }, () => escrow);
    const crowd = ["--escrow", ...eight, "--operator", ...eight, "--quorum", ...eight];
    const plain = ["factory", "stage-two", "--in", at("batch"), "--out", at("none"), ...VENDOR, "--trust", author];
    expect(await reasonOf(...plain, ...crowd)).toBe("bad-anchors");
    const rights = Array.from(
      { length: 16 },
      (_, i) => `{ component: a-very-much-longer-name/${i}, actions: [fetch] }`,
    ).join(", ");
    const several = ["author", "escrow", "heir", "operator"].map(
      (name) => `{ name: ${name}, publicKey: ${at(`${name}.pub.pem`)}, rights: [${rights}] }`,
    );
    writeFileSync(at("rights.yaml"), text(author).replace(/authorities: .*/, `authorities: [${several.join(", ")}]`));
    expect(await reasonOf(...two, at("rights.yaml"))).toBe("bad-anchors"); // looked at before the folder is
    expect(await reasonOf("factory", "stage-two", "--in", at("batch"), "--out", at("none"))).toBe("option-missing");
  });

  it("takes no private key, not even by mistake", async () => {
    const two = ["factory", "stage-two", "--in", at("batch"), "--out", at("other"), ...VENDOR];
    expect(await reasonOf(...two, "--trust", at("author.key.pem"))).toBe("private-key-given");
  });
});

describe("the life of a device on a running gateway", () => {
  it("from definition to decommissioning, through a crash", async () => {
    const state = at("gw");
    let gateway = await Served.start(state, { trust: at("operator.pub.pem") });
    const on = ["--state", state];
    writeFileSync(
      at("sensor.yaml"),
      `name: sensor-a
vendor: example.com
hardware: { rng: true, rtc: false, slots: 2, recoveryImage: false, ramBytes: 65536 }
authorities: [{ name: author, publicKey: ${at("author.pub.pem")} }]
escrow: [${at("escrow.pub.pem")}]
`,
    );
    const defined = await json("class", "define", at("sensor.yaml"), ...on);
    expect(defined).toMatchObject({ number: 1, withdrawn: [], offered: [] });
    expect(await json("factory", "import", at("product"), ...on)).toMatchObject({ devices: 3, known: 0 });
    expect(await json("factory", "import", at("product"), ...on)).toMatchObject({ devices: 3, known: 3 });
    const { device, class: classId } = JSON.parse(
      readFileSync(join(at("product"), "credentials.jsonl"), "utf8").split("\n")[0]!,
    ) as Record<string, string>;
    const sign = async (key: string, sequence: string): Promise<string> => {
      const out = at(`fw-${sequence}.suit`);
      await json("sign", at("a.bin"), "--key", at(`${key}.key.pem`), ...VENDOR, "--sequence", sequence, "--out", out);
      return out;
    };
    const publish = async (file: string): Promise<string[]> => ["publish", file, "--image", at("a.bin"), ...on];
    // The gateway's own anchors say nothing about a class that was defined.
    expect(await reasonOf(...(await publish(await sign("operator", "1"))))).toBe("signature-invalid");
    await json(...(await publish(await sign("author", "2"))));
    const [image] = (await json("images", ...on))["images"] as { imagePath: string; digest: string }[];
    await json("class", "recovery", "sensor-a", image!.imagePath, ...on);
    expect(await reasonOf("class", "recovery", "sensor-a", "/i/none", ...on)).toBe("no-such-image");
    expect(await json("authority", "revoke", at("author.pub.pem"), "--reason", "bankrupt", ...on)).toMatchObject({
      trustedBy: { length: 3 },
      withdrawn: [expect.stringMatching(/number 2$/)],
    });
    expect((await json("class", "list", ...on))["classes"]).toMatchObject([{ name: "sensor-a", devices: 3 }]);
    expect(await json("class", "show", "sensor-a", ...on)).toMatchObject({
      authorities: [{ name: "author", revoked: true, fingerprint: expect.stringMatching(/^\w{16}$/) }],
      recovery: image!.digest,
    });
    expect(await reasonOf("class", "show", "sensor-b", ...on)).toBe("no-such-class");
    expect((await json("orphan", ...on))["orphans"]).toHaveLength(3);
    const transfer = ["authority", "transfer", ...VENDOR, "--epoch", "1", "--to", at("heir.pub.pem")];
    await json(...transfer, "--key", at("heir.key.pem"), "--out", at("steal.suit"));
    const apply = ["--class-id", classId!, ...on];
    expect(await reasonOf("authority", "apply", at("steal.suit"), ...apply)).toBe("signature-invalid");
    await json(...transfer, "--key", at("escrow.key.pem"), "--out", at("handover.suit"));
    await json("authority", "apply", at("handover.suit"), ...apply);
    await gateway.kill();
    gateway = await Served.start(state, { trust: at("operator.pub.pem") });
    expect((await json("orphan", ...on))["orphans"]).toEqual([]);
    expect(await reasonOf(...(await publish(await sign("author", "3"))))).toBe("key-revoked");
    const table = ["--sector-table", at("a.table")];
    const four = ["--sequence", "4", "--out", at("fw-4.suit")];
    await json("sign", at("a.bin"), "--key", at("heir.key.pem"), ...VENDOR, ...four, ...table);
    await json(
      "bundle",
      "export",
      at("usb"),
      "--envelope",
      at("fw-4.suit"),
      "--image",
      at("a.bin"),
      "--trust",
      at("heir.pub.pem"),
      "--handover",
      at("handover.suit"),
      ...table,
    );
    expect(readFileSync(join(at("usb"), "handover-1.suit"))).toEqual(readFileSync(at("handover.suit")));
    expect(await json("bundle", "import", at("usb"), ...on)).toMatchObject({
      sequenceNumber: 4,
      handovers: [{ file: "handover-1.suit", class: classId, outcome: "older-transfer" }],
    });
    const air = ["--sequence", "5", "--out", at("air.suit")];
    await json("sign", at("a.bin"), "--key", at("operator.key.pem"), ...VENDOR, ...air);
    const bundle = ["bundle", "export", at("air"), "--envelope", at("air.suit"), "--image", at("a.bin")];
    const of = ["--trust", at("operator.pub.pem")];
    expect(await reasonOf(...bundle, ...of, "--handover", at("air.suit"))).toBe("not-a-transfer");
    const two = ["authority", "transfer", ...VENDOR, "--epoch", "2", "--key", at("heir.key.pem")];
    await json(...two, "--to", at("operator.pub.pem"), at("heir.pub.pem"), "--out", at("two.suit"));
    await json(...bundle, ...of, "--handover", at("two.suit"));
    expect(await json("bundle", "import", at("air"), ...on)).toMatchObject({
      sequenceNumber: 5,
      handovers: [{ class: classId, outcome: "handed-over" }],
    });
    // Who signed the first is an authority no longer.
    const three = ["authority", "transfer", ...VENDOR, "--epoch", "3", "--key", at("heir.key.pem")];
    await json(...three, "--to", at("heir.pub.pem"), "--out", at("three.suit"));
    await json("authority", "apply", at("three.suit"), ...apply);
    const again = ["bundle", "export", at("again"), "--envelope", at("fw-6.suit"), "--image", at("a.bin")];
    await sign("heir", "6");
    await json(...again, "--trust", at("heir.pub.pem"), "--handover", at("two.suit"), at("three.suit"));
    expect(await json("bundle", "import", at("again"), ...on)).toMatchObject({
      sequenceNumber: 6,
      handovers: [{ outcome: "older-transfer" }, { outcome: "older-transfer" }],
    });
    await json("quarantine", device!, "--reason", "odd traffic", ...on);
    await json("class", "support", "sensor-a", "--ends", "2026-01-01", ...on);
    expect(await reasonOf("class", "support", "sensor-a", "--ends", "2026-02-30", ...on)).toBe("bad-date");
    await json("class", "policy", classId!, "--features", "refuse", ...on);
    await json("class", "policy", classId!, "--security", "2099-01-01", ...on);
    for (const leave of ["2026-02-30", "2020-01-01", "maybe"])
      expect(await reasonOf("class", "policy", classId!, "--features", leave, ...on)).toBe("bad-leave");
    expect(await reasonOf("class", "policy", classId!, ...on)).toBe("option-missing");
    expect(await json("class", "show", "sensor-a", ...on)).toMatchObject({
      policy: { features: "refuse", security: { deferUntilMs: Date.UTC(2099, 0, 1) } },
    });
    expect(await reasonOf(...(await publish(await sign("heir", "7"))))).toBe("refused-by-operator");
    expect(await reasonOf("decommission", device!, "--endpoint", "nobody", ...on)).toBe("no-such-device");
    expect(await reasonOf("quarantine", "meter 17", "--reason", "odd", ...on)).toBe("no-such-device");
    await json("adopt", "meter 17", "--class", "sensor-a", ...on);
    await json("quarantine", "meter 17", "--reason", "odd", ...on);
    await json("adopt", "00124b0012345678", "--class", "sensor-a", ...on);
    await json("quarantine", "00124b0012345678", "--reason", "odd", ...on);
    await json("decommission", device!, ...on);
    expect(await reasonOf("decommission", device!, ...on)).toBe("decommissioned");
    const census = (await json("census", ...on))["rows"] as { devices: number }[];
    expect(census.reduce((sum, row) => sum + row.devices, 0)).toBe(4);
    expect(JSON.stringify(census)).not.toContain(device!);
    expect((await json("orphan", ...on))["warnings"]).toMatchObject([{ state: "ended" }]);
    await gateway.kill();
    gateway = await Served.start(state, { trust: at("operator.pub.pem") });
    const { ok, entries } = (await json("audit", "--out", at("audit.jsonl"), ...on)) as {
      ok: boolean;
      entries: number;
    };
    expect([ok, entries]).toEqual([true, readFileSync(at("audit.jsonl"), "utf8").trim().split("\n").length]);
    await gateway.stop();
  }, 180_000);
});

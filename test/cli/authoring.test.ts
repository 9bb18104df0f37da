import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { cli, json, reasonOf, temporaryFolder } from "../support/process.ts";

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const messageOf = async (...args: string[]): Promise<string> => {
  const { code, stderr } = await cli(...args);
  expect(code, stderr).toBeGreaterThan(1);
  return stderr;
};
const VENDOR = ["--vendor", "example.com", "--class", "sensor-a"];

/** Signs a description in a folder of its own, which names its files from there. */
async function sign(name: string, text: string, key: string): Promise<string[]> {
  writeFileSync(at(`in/${name}.yaml`), `vendor: example.com\nclass: sensor-a\n${text}`);
  const file = at(`in/${name}.suit`);
  return ["sign", at(`in/${name}.yaml`), "--key", at(`${key}.key.pem`), "--out", file];
}

beforeAll(async () => {
  for (const name of ["author", "radio"]) await cli("key", "new", "--out", at(name));
  await cli("key", "new", "--out", at("riot"), "--algorithm", "Ed25519");
  mkdirSync(at("in"));
  writeFileSync(at("in/app.bin"), "app".repeat(300));
  writeFileSync(at("in/radio.bin"), "radio".repeat(200));
  const text = "sequence: 4\nversion: 1.4.0\ncomponents: [{ id: radio, image: radio.bin, description: link layer }]\n";
  await json(...(await sign("radio", text, "radio")));
}, 30_000);

const parentOf = (component: string, dependencies: string): string =>
  `sequence: 5\nversion: 2.0.0\ncomponents: [{ id: ${component}, image: app.bin }]\ndependencies: [${dependencies}]\n`;

describe("an update with the manifest of somebody else", () => {
  it("is told with who signed that, and what it does", async () => {
    await json(...(await sign("parent", parentOf("app", "{ id: other, envelope: radio.suit }"), "author")));
    const [both, one] = [[at("author.pub.pem"), at("radio.pub.pem")], [at("author.pub.pem")]];
    expect(await json("verify", at("in/parent.suit"), "--trust", ...both)).toMatchObject({
      dependencies: [{ component: "other", sequenceNumber: 4, signatures: ["ES256"] }],
    });
    expect(await messageOf("verify", at("in/parent.suit"), "--trust", ...one)).toMatch(
      /parent\.suit, other in it: signature-invalid/,
    );
    const { stdout } = await cli("inspect", at("in/parent.suit"), "--trust", ...both);
    for (const text of [
      "another manifest in it, number 4, version 1.4.0, is signed with the trusted ES256 key",
      "radio (by another manifest) becomes version 1.4.0: link layer",
      "start radio",
    ])
      expect(stdout).toContain(text);
  });

  it.each([
    ["radio", "{ id: other, envelope: radio.suit }", /changes component radio, which this update has already/],
    ["other", "{ id: other, envelope: radio.suit }", /is kept in component other, which this update has/],
    ["app", "{ id: x, envelope: radio.suit }, { id: y, envelope: radio.suit }", /changes component radio, which dep/],
    ["app", "{ id: x, envelope: app.bin }", /app\.bin: /],
  ])("is not signed where two have one component: %s beside %s", async (component, dependencies, message) => {
    expect(await messageOf(...(await sign("clash", parentOf(component, dependencies), "author")))).toMatch(message);
  });

  it("brings no two images along under one URI", async () => {
    const same = (id: string, image: string): string =>
      `  - { id: ${id}, image: ${image}, integrated: true, uri: "#x" }\n`;
    const head = "sequence: 1\ncomponents:\n";
    writeFileSync(at("in/two.bin"), "another image");
    const two = head + same("a", "app.bin") + same("b", "two.bin");
    expect(await messageOf(...(await sign("two", two, "author")))).toMatch(
      /two different images would come along as #x/,
    );
  });

  it("may give the other's components a prefix", async () => {
    const text = parentOf("radio", "{ id: other, envelope: radio.suit, prefix: [board] }");
    await json(...(await sign("prefix", text, "author")));
    const both = [at("author.pub.pem"), at("radio.pub.pem")];
    const { stdout } = await cli("inspect", at("in/prefix.suit"), "--trust", ...both);
    expect(stdout).toContain("board/radio (by another manifest) becomes version 1.4.0");
  });
});

describe("what is signed", () => {
  const image = (...more: string[]): string[] => [
    "sign",
    at("in/app.bin"),
    ...VENDOR,
    "--sequence",
    "1",
    "--out",
    at("x.suit"),
    ...more,
  ];

  it("is signed once by each key", async () => {
    const author = at("author.key.pem");
    expect(await reasonOf(...image("--key", author, author))).toBe("already-signed");
    await json(...image("--key", author));
    const again = ["sign", at("x.suit"), "--countersign", "--out", at("y.suit"), "--key"];
    expect(await reasonOf(...again, author)).toBe("already-signed");
    expect(await json(...again, at("radio.key.pem"))).toMatchObject({ signatures: ["ES256"] });
  });

  it("is warned of where it has expired already", async () => {
    const text = (year: number): string =>
      `sequence: 1\nuseBefore: ${year}-01-01T00:00:00Z\ncomponents: [{ image: app.bin }]\n`;
    expect(await json(...(await sign("old", text(2_020), "author")))).toMatchObject({
      warnings: [expect.stringMatching(/has passed/)],
    });
    expect(await json(...(await sign("new", text(2_200), "author")))).toMatchObject({ warnings: [] });
  });

  it("is for RIOT only where RIOT takes it", async () => {
    const riot = ["--dialect", "riot-09", "--uri", "coap://[2001:db8::1]/fw"];
    expect(await messageOf(...image(...riot, "--key", at("author.key.pem")))).toMatch(/keys are Ed25519/);
    await json(...image(...riot, "--key", at("riot.key.pem")));
    const trust = ["--trust", at("riot.pub.pem")];
    expect(await messageOf("inspect", at("x.suit"), ...trust)).toMatch(/reads as one with --dialect riot-09/);
    const text =
      "sequence: 1\nuseBefore: 2200-01-01T00:00:00Z\ncomponents: [{ image: app.bin, uri: 'coap://[::1]/fw' }]\n";
    expect(await messageOf(...(await sign("expiring", text, "riot")), "--dialect", "riot-09")).toMatch(
      /does not know useBefore/,
    );
  });

  it("is not looked at with private keys", async () => {
    await json(...image("--key", at("author.key.pem")));
    const secret = at("author.key.pem");
    const transfer = [
      "authority",
      "transfer",
      ...VENDOR,
      "--epoch",
      "1",
      "--key",
      secret,
      "--out",
      at("t.suit"),
      "--to",
    ];
    for (const command of [["verify", at("x.suit"), "--trust"], ["inspect", at("x.suit"), "--trust"], transfer])
      expect(await reasonOf(...command, secret)).toBe("private-key-given");
  });
});

describe("a hand-over", () => {
  const make = (...to: string[]): string[] => [
    "authority",
    "transfer",
    ...VENDOR,
    "--epoch",
    "3",
    "--key",
    at("author.key.pem"),
    "--out",
    at("t.suit"),
    "--to",
    ...to.map((name) => at(`${name}.pub.pem`)),
  ];

  it("is told as what it is: who may sign from then on", async () => {
    await json(...make("author", "radio"));
    const { stdout } = await cli("inspect", at("t.suit"), "--trust", at("author.pub.pem"));
    expect(stdout).toMatch(
      /Who may sign their software from then on, and nobody else\n {2}ES256 key \w{16}\n {2}ES256 key \w{16}\n/,
    );
    expect(stdout).toContain("handed over 2 times so far");
  });

  it("names no key twice", async () => {
    expect(await reasonOf(...make("radio", "radio"))).toBe("key-twice");
  });
});

it("a command that is none is told, whatever stands behind it", async () => {
  expect(await messageOf("keys", "--help")).toMatch(/unknown command 'keys'[^]*key/);
  expect((await cli("key", "--help")).code).toBe(0);
});

describe("an update that comes as a patch", () => {
  const old = Buffer.from("app".repeat(299));
  beforeAll(() => {
    writeFileSync(at("in/old.bin"), old);
    writeFileSync(at("in/far.bin"), Buffer.alloc(64, 1));
    writeFileSync(at("in/noise.bin"), randomBytes(2_000));
  });
  const delta = (image: string, from: string, more = ""): string =>
    `sequence: 7\ncomponents: [{ id: app, image: ${image}, delta: { from: [${from}] }${more} }]\n`;

  it("has the patch written, named as something to publish, and told to whom it concerns", async () => {
    const { images, warnings } = await json(...(await sign("delta", delta("app.bin", "old.bin"), "author")));
    expect(warnings).toEqual([]);
    expect(images).toMatchObject([
      { bytes: 900 },
      { file: expect.stringMatching(/app\.bin\.from-[0-9a-f]{8}\.patch$/) },
    ]);
    const text = (await cli("inspect", at("in/delta.suit"), "--trust", at("author.pub.pem"), ...VENDOR)).stdout;
    expect(text).toMatch(
      /1 of 2: when the device has app with SHA-256 [0-9a-f]{64}\)\n {2}1\. fetch \d+ bytes .*a patch/,
    );
    expect(text).toContain("(2 of 2: otherwise)");
  });

  it("is without one that is not worth its while", async () => {
    const signed = await json(...(await sign("noise", delta("noise.bin", "far.bin"), "author")));
    expect(signed).toMatchObject({
      images: [{ bytes: 2_000 }],
      warnings: [expect.stringContaining("no patch from far.bin")],
    });
  });

  it.each([
    ["from itself", delta("app.bin", "app.bin"), "app.bin is the image app.bin already"],
    ["integrated", delta("app.bin", "old.bin", ", integrated: true"), "delta goes with images that are fetched"],
  ])("is refused %s", async (_what, text, why) => {
    expect(await messageOf(...(await sign("wrong", text, "author")))).toContain(why);
  });

  it("is refused for RIOT", async () => {
    const text = delta("app.bin", "old.bin").replace(
      "image: app.bin",
      "image: app.bin, uri: 'coap://[2001:db8::1]/fw'",
    );
    const args = await sign("riot-delta", text, "riot");
    expect(await messageOf(...args, "--dialect", "riot-09")).toContain("RIOT applies no patches");
  });
});

describe("images that are encrypted", () => {
  const encrypt = "encrypt: { recipients: [{ kid: k, kek: kek.hex }] }";
  beforeAll(() => writeFileSync(at("in/kek.hex"), "00".repeat(16)));

  it("have a file each, though it is one image for two slots", async () => {
    const slots = [0, 1].map((slot) => `{ slot: ${slot}, image: app.bin, ${encrypt} }`).join(", ");
    const text = `sequence: 6\ncomponents: [{ id: app, slots: [${slots}] }]\n`;
    const { images } = (await json(...(await sign("slots", text, "author")))) as {
      images: { file: string; digest: string }[];
    };
    expect(new Set(images.map(({ file }) => file)).size).toBe(2);
    for (const { file, digest } of images)
      expect(createHash("sha256").update(readFileSync(file)).digest("hex")).toBe(digest);
  });

  it("take the place of none that goes in", async () => {
    writeFileSync(at("in/app.bin.encrypted"), "somebody's own");
    const text = `sequence: 6\ncomponents: [{ id: a, image: app.bin, ${encrypt} }, { id: b, image: app.bin.encrypted }]\n`;
    await messageOf(...(await sign("taken", text, "author")));
    expect(readFileSync(at("in/app.bin.encrypted"), "utf8")).toBe("somebody's own");
  });
});

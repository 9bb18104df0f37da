import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { encodeCbor, tagged, type CborValue } from "../../src/codec/cbor.ts";
import { decodeEnvelope } from "../../src/suit/envelope.ts";
import { SuitTag } from "../../src/suit/keys.ts";
import { cli, json, reasonOf, temporaryFolder } from "../support/process.ts";

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const sign = async (name: string, text: string, ...more: string[]): Promise<void> => {
  writeFileSync(at(`${name}.yaml`), `vendor: example.com\nclass: sensor-a\nsequence: 1\n${text}`);
  await json("sign", at(`${name}.yaml`), "--key", at("author.key.pem"), "--out", at(`${name}.suit`), ...more);
};
const trust = ["--trust", at("author.pub.pem")];

/** The envelope with other bytes in the place of what comes along under a URI: its signature holds as before. */
function exchange(name: string, uri: string, content: Uint8Array): string {
  const members = new Map<CborValue, CborValue>(decodeEnvelope(readFileSync(at(`${name}.suit`))).members);
  expect(members.has(uri)).toBe(true);
  members.set(uri, content);
  writeFileSync(at(`${name}-exchanged.suit`), encodeCbor(tagged(SuitTag.ENVELOPE, members)));
  return at(`${name}-exchanged.suit`);
}

beforeAll(async () => {
  await cli("key", "new", "--out", at("author"));
  writeFileSync(at("app.bin"), "app".repeat(30));
  writeFileSync(at("other.bin"), "oth".repeat(30));
  await sign("app", "components: [{ id: app, image: app.bin, integrated: true }]\n");
  await sign("child", "components: [{ id: radio, image: app.bin }]\n");
  await sign("stranger", "components: [{ id: radio, image: other.bin }]\n");
  const fetched = "{ id: radio-manifest, envelope: child.suit, uri: 'coap://[2001:db8::1]/m'";
  await sign("parent", `components: [{ id: app, image: app.bin }]\ndependencies: [${fetched} }]\n`);
  await sign("lean", `components: [{ id: app, image: app.bin }]\ndependencies: [${fetched}, integrated: false }]\n`);
}, 30_000);

it("verify calls nothing authentic that is not what was signed, though the signature holds", async () => {
  expect(await json("verify", at("app.suit"), ...trust)).toMatchObject({ verified: true });
  const other = exchange("app", "#app.bin", readFileSync(at("other.bin")));
  expect(await reasonOf("verify", other, ...trust)).toBe("integrated-payload-mismatch");
  expect(await json("verify", at("parent.suit"), ...trust)).toMatchObject({ dependencies: [{ sequenceNumber: 1 }] });
  // Of the same author, and signed; not the one that is meant.
  const replaced = exchange("parent", "coap://[2001:db8::1]/m", readFileSync(at("stranger.suit")));
  expect(await reasonOf("verify", replaced, ...trust)).toBe("other-dependency");
  // One that is still to be fetched is nobody's forgery.
  expect(await json("verify", at("lean.suit"), ...trust)).toMatchObject({
    dependencies: [],
    warnings: [expect.stringContaining("is not in the envelope")],
  });
}, 30_000);

it("bundle export takes manifests that the envelope does not bring along, as publish does", async () => {
  const bundle = ["bundle", "export", at("usb"), "--envelope", at("lean.suit"), "--image", at("app.bin"), ...trust];
  expect(await reasonOf(...bundle)).toBe("not-processable");
  expect(await json(...bundle, "--dependency", at("child.suit"))).toMatchObject({ images: 1 });
  expect(await json("verify", at("usb/manifest.suit"), ...trust)).toMatchObject({ dependencies: [{}] });
  expect(await reasonOf(...bundle, "--dependency", at("app.bin"))).not.toBe("internal-error");
}, 30_000);

it.each([
  ["version: '99999999999999999999'", /a version such as/],
  ["components: [{ id: app, image: app.bin, requires: ['>=99999999999999999999'] }]", /such as >=/],
  ["wait: { authorization: -9007199254740991 }", /wait\.authorization/],
  ["wait: { time: 1960-01-01T00:00:00Z }", /from 1970 on/],
  ["useBefore: 1960-01-01T00:00:00Z", /from 1970 on/],
  ["components: [{ id: 0x01, image: app.bin }]", /in quotes, such as "0x01"/],
  ["components: [{ id: app, image: big.bin, integrated: true }]", /nobody would read: too-large/],
])("sign says what is wrong with %s", async (line, message) => {
  writeFileSync(at("big.bin"), new Uint8Array(70_000));
  const rest = line.startsWith("components") ? "" : "\ncomponents: [{ id: app, image: app.bin }]";
  writeFileSync(at("odd.yaml"), `vendor: example.com\nclass: sensor-a\nsequence: 1\n${line}${rest}\n`);
  const { code, stderr } = await cli("sign", at("odd.yaml"), "--key", at("author.key.pem"), "--out", at("odd.suit"));
  expect([code, stderr]).toEqual([2, expect.stringMatching(message)]);
});

it("sign holds --uri and --label to what a description may say", async () => {
  const image = ["sign", at("app.bin"), "--key", at("author.key.pem"), "--vendor", "example.com", "--class", "a"];
  const to = ["--sequence", "1", "--out", at("x.suit")];
  expect(await reasonOf(...image, ...to, "--uri", "a b")).toBe("bad-option");
  expect(await reasonOf(...image, ...to, "--label", "x".repeat(200))).toBe("bad-option");
});

import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { authorFiles, cli, FIRMWARE, lastJson, Served, temporaryFolder, type Finished } from "../support/process.ts";

const folder = temporaryFolder();
const files = await authorFiles(folder);
let states = 0;
const newState = (): string => join(folder, `state-${states++}`);
const publish = (state: string, envelope = files.envelope) =>
  cli("publish", envelope, "--image", FIRMWARE(1), "--state", state, "--alias", "fw", "--json");
const get = (port: number, name: string, ...more: string[]) =>
  cli("get", `coap://127.0.0.1:${port}/fw`, "--out", join(folder, name), "--ack-timeout-ms", "50", "--json", ...more);
/** Looks every 2 ms, for a minute at most. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 30_000 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("serve", () => {
  it("publishes, serves, lists, and stops within two seconds", async () => {
    const state = newState();
    const gateway = await Served.start(state, { trust: files.trust });
    const published = await publish(state);
    expect(published.code).toBe(0);
    expect(lastJson(published.stdout)).toMatchObject({
      sequenceNumber: 1,
      bytes: readFileSync(FIRMWARE(1)).length,
      aliasPath: "/fw",
    });
    expect((await get(gateway.port, "copy.bin")).code).toBe(0);
    expect(readFileSync(join(folder, "copy.bin")).equals(readFileSync(FIRMWARE(1)))).toBe(true);
    const listed = lastJson((await cli("images", "--state", state, "--json")).stdout);
    expect(listed).toMatchObject({ images: [{ state: "memory" }], transfers: [{ finished: true }] });
    const { code, ms } = await gateway.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(2_000);
  });

  it("has what it acknowledged after kill -9, and a broken download goes on behind its start", async () => {
    const state = newState();
    let gateway = await Served.start(state, { trust: files.trust });
    expect((await publish(state)).code).toBe(0);
    const part = join(folder, "resumed.bin.part");
    const arrived = (): number => statSync(part, { throwIfNoEntry: false })?.size ?? 0;
    // Where the whole is there before this process has looked, it is tried once more.
    let broken: Finished | undefined;
    for (let round = 0; round < 5 && broken?.code !== 4; round++) {
      const half = get(gateway.port, "resumed.bin", "--block-size", "16");
      await Promise.race([half, until(() => arrived() >= 1_000)]);
      await gateway.kill();
      broken = await half;
      gateway = await Served.start(state, { trust: files.trust, listen: `127.0.0.1:${gateway.port}` });
    }
    expect(broken).toMatchObject({ code: 4, stderr: expect.stringMatching(/goes on where it stopped/) });
    const resumed = lastJson((await get(gateway.port, "resumed.bin", "--block-size", "16")).stdout);
    expect(resumed["resumedAt"]).toBeGreaterThanOrEqual(1_000 - 16);
    expect(readFileSync(join(folder, "resumed.bin")).equals(readFileSync(FIRMWARE(1)))).toBe(true);
    await gateway.stop();
  });

  it("killed while publishing: what was acknowledged is there, what was not can be published again", async () => {
    const state = newState();
    const first = await Served.start(state, { trust: files.trust });
    const startedMs = performance.now();
    expect((await publish(state)).code).toBe(0);
    const tookMs = performance.now() - startedMs;
    await first.kill();
    // Most of that is the start of the command; a kill is to come while the gateway has something to do.
    for (const [round, part] of [0.7, 0.85, 1].entries()) {
      const gateway = await Served.start(state, { trust: files.trust });
      const sequence = round + 10;
      const envelope = join(folder, `round-${round}.suit`);
      const to = ["--vendor", "example.com", "--class", "k", "--sequence", String(sequence), "--out", envelope];
      await cli("sign", FIRMWARE(2), "--key", files.key, ...to);
      const publishing = cli("publish", envelope, "--image", FIRMWARE(2), "--state", state);
      await new Promise((resolve) => setTimeout(resolve, tookMs * part));
      await gateway.kill();
      const acknowledged = (await publishing).code === 0;
      const again = await Served.start(state, { trust: files.trust });
      const { images } = lastJson((await cli("images", "--state", state, "--json")).stdout) as {
        images: { sequenceNumber: number }[];
      };
      const numbers = images.map(({ sequenceNumber }) => sequenceNumber);
      if (acknowledged) expect(numbers).toContain(sequence);
      if (!numbers.includes(sequence)) {
        expect((await cli("publish", envelope, "--image", FIRMWARE(2), "--state", state)).code).toBe(0);
      }
      await again.kill();
    }
  });

  it("keeps the progress of the devices but for the last second, and serves IPv6 too", async () => {
    const state = newState();
    let gateway = await Served.start(state, { trust: files.trust, listen: "[::1]:0" });
    expect((await publish(state)).code).toBe(0);
    const fetched = await cli(
      "get",
      `coap://[::1]:${gateway.port}/fw`,
      "--out",
      join(folder, "v6.bin"),
      "--block-size",
      "64",
      "--json",
    );
    expect(fetched.code).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await gateway.kill();
    gateway = await Served.start(state, { trust: files.trust });
    const { transfers } = lastJson((await cli("images", "--state", state, "--json")).stdout) as { transfers: object[] };
    const bytes = readFileSync(FIRMWARE(1)).length;
    expect(transfers).toMatchObject([
      { servedBytes: bytes, bytes, blocks: Math.ceil(bytes / 64), attempts: 1, finished: true },
    ]);
    await gateway.stop();
  });

  it("an image larger than the limit: exit 3, and the limit is named", async () => {
    const config = join(folder, "small.yaml");
    const state = newState();
    writeFileSync(config, "limits: { maxImageBytes: 50000 }\nlisten: ['127.0.0.1:0']\nlog: { level: error }\n");
    const gateway = await Served.start(state, { trust: files.trust, config });
    const result = await publish(state);
    expect(result.code).toBe(3);
    expect(result.stderr).toMatch(/image-too-large: 69656 bytes; at most 50000 are accepted/);
    await gateway.stop();
  });

  it("a flipped byte in the store loses no release, and opens no way back to an older one", async () => {
    const state = newState();
    const gateway = await Served.start(state, { trust: files.trust });
    const newer = join(folder, "flip.suit");
    await cli(
      "sign",
      FIRMWARE(2),
      "--key",
      files.key,
      "--vendor",
      "example.com",
      "--class",
      "sensor-a",
      "--sequence",
      "3",
      "--out",
      newer,
    );
    expect((await cli("publish", newer, "--image", FIRMWARE(2), "--state", state, "--alias", "fw")).code).toBe(0);
    await gateway.kill();
    const log = join(
      state,
      "store",
      readdirSync(join(state, "store")).find((name) => name.endsWith(".log"))!,
    );
    const bytes = readFileSync(log);
    for (let at = 0; at < bytes.length; at += 64) bytes[at]! ^= 0xff;
    writeFileSync(log, bytes);
    const again = await Served.start(state, { trust: files.trust });
    const { images } = lastJson((await cli("images", "--state", state, "--json")).stdout) as { images: object[] };
    expect(images).toMatchObject([{ sequenceNumber: 3, aliasPath: "/fw" }]);
    expect(lastJson((await publish(state)).stdout)).toMatchObject({ error: { reason: "older-sequence-number" } });
    expect((await get(again.port, "flip.bin")).code).toBe(0);
    expect(readFileSync(join(folder, "flip.bin")).equals(readFileSync(FIRMWARE(2)))).toBe(true);
    await again.stop();
  });

  it("a port in use: exit 5, and how to choose another", async () => {
    const socket = createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    const { port } = socket.address();
    const result = await cli("serve", "--state", newState(), "--listen", `127.0.0.1:${port}`, "--log-level", "error");
    socket.close();
    expect(result.code).toBe(5);
    expect(result.stderr).toMatch(new RegExp(`UDP port ${port} of 127.0.0.1 is in use.*--listen`));
  });

  it("a state folder that cannot be written: exit 5, and what to do", async () => {
    const blocked = join(folder, "file");
    writeFileSync(blocked, "");
    const result = await cli("serve", "--state", join(blocked, "state"), "--listen", "127.0.0.1:0");
    expect(result.code).toBe(5);
    expect(result.stderr).toMatch(/cannot write to the state folder .*--state/);
    if (process.getuid?.() !== 0) {
      const readOnly = newState();
      mkdirSync(readOnly);
      chmodSync(readOnly, 0o500);
      expect((await cli("serve", "--state", readOnly, "--listen", "127.0.0.1:0")).code).toBe(5);
    }
  });

  it("a second gateway on the same folder: exit 5, and the first goes on", async () => {
    const state = newState();
    const gateway = await Served.start(state, { trust: files.trust });
    const second = await cli("serve", "--state", state, "--listen", "127.0.0.1:0");
    expect(second.code).toBe(5);
    expect(second.stderr).toMatch(/another gateway is running/);
    expect((await publish(state)).code).toBe(0);
    await gateway.stop();
  });

  it("a disk that is full: the publication is refused with the reason, and goes well once there is room", async () => {
    const state = newState();
    const full = await Served.start(state, { trust: files.trust, fileLimitKiB: 40 });
    const refused = await publish(state);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/disk-full/);
    expect(lastJson((await cli("images", "--state", state, "--json")).stdout)).toEqual({ images: [], transfers: [] });
    await full.stop();
    const gateway = await Served.start(state, { trust: files.trust });
    expect((await publish(state)).code).toBe(0);
    await gateway.stop();
  });
});

describe("a wrong configuration", () => {
  it.each([
    ["listen: 5683", /listen/],
    ["listen: ['nonsense']", /write an address and a port/],
    ["coap: { provenNetworks: ['10.0.0.0/33'] }", /coap.provenNetworks.0: write a network/],
    ["coap: { groups: ['all'] }", /coap.groups.0: write a multicast address/],
    [
      "coap: { groups: ['224.0.1.187'] }",
      /coap.groups: 224.0.1.187 needs a listen address of one interface, in place of 0.0.0.0/,
    ],
    ["{ listen: ['nonsense'], coap: { groups: ['224.0.1.187'] } }", /listen.0: write an address and a port/],
    ["proxy: { origins: ['coap://a/b'] }", /proxy.origins.0: write an origin/],
    ["coap: { blockSize: 100 }", /coap\.blockSize: a block has 16, 32/],
    ["limits: { maxImageBytes: 2000000, memoryBytes: 1000000 }", /room for one image/],
    ["colour: blue", /colour/],
    ["a: [", /bad\.yaml/],
    ["- list", /must be a map/],
    ["state: *nowhere", /bad\.yaml/],
  ])("%s: exit 2, naming file and key", async (yaml, message) => {
    const file = join(folder, "bad.yaml");
    writeFileSync(file, yaml);
    const result = await cli("serve", "--config", file, "--state", newState());
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/defect/);
  });

  it("a file that is not there: exit 2", async () => {
    expect((await cli("serve", "--config", join(folder, "none.yaml"))).code).toBe(2);
  });

  it("the example configuration is valid, and shows the defaults", async () => {
    const { loadConfig } = await import("../../src/cli/config.ts");
    const example = loadConfig(new URL("../../config/gateway.yaml", import.meta.url).pathname, {});
    expect({ ...example, state: "", trust: [] }).toEqual({ ...loadConfig(undefined, {}), state: "", trust: [] });
  });
});

describe("refusals", () => {
  it("a truncated, a wrongly signed, a replayed envelope and a missing image: exit 3 with the reason, and all goes on", async () => {
    const state = newState();
    const gateway = await Served.start(state, { trust: files.trust });
    const envelope = readFileSync(files.envelope);
    const cut = join(folder, "cut.suit");
    writeFileSync(cut, envelope.subarray(0, 100));
    const stranger = join(folder, "stranger");
    await cli("key", "new", "--out", stranger, "--algorithm", "Ed25519");
    const foreign = join(folder, "foreign.suit");
    await cli(
      "sign",
      FIRMWARE(1),
      "--key",
      `${stranger}.key.pem`,
      "--vendor",
      "v",
      "--class",
      "c",
      "--sequence",
      "1",
      "--out",
      foreign,
    );
    for (const [file, reason] of [
      [cut, "malformed"],
      [foreign, "signature-invalid"],
    ] as const) {
      const result = await publish(state, file);
      expect(result.code).toBe(3);
      expect(lastJson(result.stdout)).toMatchObject({ error: { reason } });
    }
    const elsewhere = await cli("publish", files.envelope, "--image", "file:///nowhere/at/all.bin", "--state", state);
    expect(elsewhere.stderr).toMatch(/not-found/);
    expect((await publish(state)).code).toBe(0);
    expect(lastJson((await publish(state)).stdout)).toMatchObject({ error: { reason: "replayed" } });
    await gateway.stop();
  });

  it.each([
    [
      [
        "sign",
        FIRMWARE(1),
        "--key",
        files.key,
        "--vendor",
        "v",
        "--class",
        "c",
        "--sequence",
        "1",
        "--out",
        "/nowhere/x",
      ],
      5,
    ],
    [["sign", FIRMWARE(1), "--key", files.key, "--vendor", "v", "--class", "c", "--sequence", "", "--out", "x"], 2],
    [["key", "new", "--out", "/nowhere/k"], 5],
    [["get", "coap://127.0.0.1/%ff", "--out", "x"], 2],
    [["get", "coap://127.0.0.1:0/x", "--out", "x"], 2],
    [["get", "coap://127.0.0.1/x", "--out", "x", "--ack-timeout-ms", "Infinity"], 2],
    [["images", "--state", "d".repeat(110)], 5],
    [["serve", "--state", "d".repeat(110), "--listen", "127.0.0.1:0"], 5],
  ])("%j: exit %i, as an error and not as a defect", async (args, code) => {
    const result = await cli(...args);
    expect(result.code).toBe(code);
    expect(result.stderr).not.toMatch(/defect/);
  });

  it("get throws bytes away that are not what their content-addressed path names", async () => {
    const state = newState();
    const gateway = await Served.start(state, { trust: files.trust });
    const { imagePath } = lastJson((await publish(state)).stdout) as { imagePath: string };
    const uri = `coap://127.0.0.1:${gateway.port}${imagePath}`;
    const digest = lastJson((await get(gateway.port, "whole")).stdout)["sha256"] as string;
    writeFileSync(join(folder, "bad.part"), new Uint8Array(5_120));
    writeFileSync(join(folder, "bad.part.json"), JSON.stringify({ uri, etag: digest.slice(0, 16) }));
    const result = await cli("get", uri, "--out", join(folder, "bad"));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/thrown away/);
    expect((await cli("get", uri, "--out", join(folder, "bad"))).code).toBe(0);
    await gateway.stop();
  });

  it("a reader of the log that goes away does not take the gateway with it", async () => {
    const state = newState();
    const gateway = await Served.start(state, { trust: files.trust, logLevel: "debug" });
    gateway.child.stderr!.destroy();
    gateway.child.stdout!.destroy();
    const cut = join(folder, "cut2.suit");
    writeFileSync(cut, readFileSync(files.envelope).subarray(0, 50));
    for (let i = 0; i < 3; i++) expect((await publish(state, cut)).code).toBe(3);
    expect((await publish(state)).code).toBe(0);
    await gateway.stop();
  });

  it("no gateway: exit 4, and how to start one", async () => {
    const result = await cli("images", "--state", newState());
    expect(result.code).toBe(4);
    expect(result.stderr).toMatch(/blockferry serve --state/);
  });

  it("wrong usage: exit 2; --help shows an example for every command", async () => {
    expect((await cli("sign")).code).toBe(2);
    expect((await cli("nonsense")).code).toBe(2);
    for (const command of ["serve", "key new", "sign", "publish", "images", "get", "simulate", "limit", "demo"]) {
      const help = await cli(...command.split(" "), "--help");
      expect(help.code, command).toBe(0);
      expect(help.stdout).toMatch(/Example:/);
      expect(help.stdout).toMatch(/--json/);
    }
  });

  it("keys are never overwritten, and other files are no keys", async () => {
    expect((await cli("key", "new", "--out", join(folder, "author"))).code).toBe(2);
    const result = await cli(
      "sign",
      FIRMWARE(1),
      "--key",
      files.trust,
      "--vendor",
      "v",
      "--class",
      "c",
      "--sequence",
      "1",
      "--out",
      join(folder, "x"),
    );
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/not a private key/);
  });
});

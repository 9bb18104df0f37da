import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authorFiles, cli, FIRMWARE, Served, temporaryFolder } from "../support/process.ts";
import { haveTool } from "../support/tool.ts";

const run = promisify(execFile);
const CLIENT = "coap-client-notls";
const image = readFileSync(FIRMWARE(1));

describe.skipIf(!haveTool(CLIENT, "libcoap3-bin"))("libcoap's coap-client", () => {
  const folder = temporaryFolder();
  let gateway: Served;

  beforeAll(async () => {
    const files = await authorFiles(folder);
    gateway = await Served.start(join(folder, "state"), { trust: files.trust });
    const published = await cli(
      "publish",
      files.envelope,
      "--image",
      FIRMWARE(1),
      "--state",
      join(folder, "state"),
      "--alias",
      "fw",
    );
    expect(published.code).toBe(0);
  });
  afterAll(async () => void (await gateway.stop()));

  const uri = (path: string): string => `coap://127.0.0.1:${gateway.port}${path}`;
  async function fetchTo(name: string, ...args: string[]): Promise<Buffer> {
    const file = join(folder, name);
    await run(CLIENT, ["-B", "100", "-o", file, ...args, uri("/fw")], { timeout: 110_000 });
    return readFileSync(file);
  }

  it.each([16, 64, 256, 1024])("fetches the image byte for byte in blocks of %i", async (size) => {
    expect(Buffer.compare(await fetchTo(`whole-${size}`, "-b", String(size)), image)).toBe(0);
  });

  it("fetches it without asking for a size", async () => {
    expect(Buffer.compare(await fetchTo("default"), image)).toBe(0);
  });

  it("fetches it from the middle on, beginning at any block", async () => {
    // -b NUM,SIZE makes this client ask for that block, without one before it.
    const last = Math.ceil(image.length / 1024) - 1;
    const first = last >> 1;
    const parts: Buffer[] = [];
    for (let num = first; num <= last; num++) parts.push(await fetchTo(`part-${num}`, "-b", `${num},1024`));
    expect(Buffer.compare(Buffer.concat(parts), image.subarray(first * 1024))).toBe(0);
  });

  it("fetches it over a link that loses every twentieth datagram", async () => {
    // The losses are drawn by the client, without a seed; now and then its own time is up before the
    // image is whole. It may then try again, but not one byte of what it got may be wrong.
    for (let attempt = 1; ; attempt++) {
      const got = await fetchTo(`lossy-${attempt}`, "-b", "1024", "-l", "5%", "-B", "30");
      expect(Buffer.compare(got, image.subarray(0, got.length))).toBe(0);
      if (got.length === image.length) return;
      expect(attempt).toBeLessThan(3);
    }
  }, 120_000);

  it("gets the resource list, and answers to its ping", async () => {
    const { stdout } = await run(CLIENT, [uri("/.well-known/core")]);
    expect(stdout).toMatch(/<\/fw>;ct=42/);
    await run(CLIENT, ["-K", "1", "-B", "3", uri("/.well-known/core")]);
  });

  it("is refused a PUT and an unknown critical option", async () => {
    writeFileSync(join(folder, "body"), "x");
    const put = await run(CLIENT, ["-m", "put", "-f", join(folder, "body"), uri("/fw")]);
    expect(put.stdout + put.stderr).toMatch(/4\.05/);
    const critical = await run(CLIENT, ["-O", "65001,0x01", uri("/fw")]);
    expect(critical.stdout + critical.stderr).toMatch(/4\.02/);
  });
});

describe.skipIf(!haveTool("coap-server-notls", "libcoap3-bin"))("libcoap's coap-server", () => {
  it("is a server that our `get` fetches from", async () => {
    const folder = temporaryFolder();
    const port = 20_000 + (process.pid % 10_000);
    const child = execFile("coap-server-notls", ["-A", "127.0.0.1", "-p", String(port)]);
    try {
      await new Promise((resolve) => setTimeout(resolve, 500));
      const result = await cli(
        "get",
        `coap://127.0.0.1:${port}/`,
        "--out",
        join(folder, "index"),
        "--block-size",
        "32",
        "--json",
      );
      expect(result.code).toBe(0);
      expect(readFileSync(join(folder, "index"), "utf8")).toMatch(/libcoap/);
    } finally {
      child.kill();
    }
  });
});

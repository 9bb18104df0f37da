import { execFile, type ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Served, temporaryFolder } from "../support/process.ts";
import { pattern } from "../support/resources.ts";
import { haveTool } from "../support/tool.ts";

const run = promisify(execFile);
const [CLIENT, SERVER] = ["coap-client-notls", "coap-server-notls"];

describe.skipIf(!haveTool(CLIENT, "libcoap3-bin"))("libcoap's client, our proxy, libcoap's server or HTTP", () => {
  const folder = temporaryFolder();
  const originPort = 20_000 + (process.pid % 10_000);
  const image = Buffer.from(pattern(5_000));
  let gets = 0;
  const files = createServer((request, response) => {
    gets++;
    response.writeHead(request.url === "/fw" ? 200 : 404, { "cache-control": "max-age=600" }).end(image);
  });
  let [origin, gateway] = [undefined as ChildProcess | undefined, undefined as Served | undefined];
  let httpPort = 0;

  beforeAll(async () => {
    await new Promise<void>((resolve) => void files.listen(0, "127.0.0.1", resolve));
    httpPort = (files.address() as AddressInfo).port;
    origin = execFile(SERVER, ["-A", "127.0.0.1", "-p", String(originPort), "-d", "10"]);
    const config = join(folder, "gateway.yaml");
    const origins = [`coap://127.0.0.1:${originPort}`, `http://127.0.0.1:${httpPort}`];
    writeFileSync(config, JSON.stringify({ proxy: { origins } }));
    gateway = await Served.start(join(folder, "state"), { config });
  });
  afterAll(async () => {
    origin?.kill();
    files.close();
    await gateway?.stop();
  });

  const client = async (uri: string, ...args: string[]): Promise<string> => {
    const proxy = ["-P", `coap://127.0.0.1:${gateway!.port}`];
    const { stdout, stderr } = await run(CLIENT, ["-B", "20", ...proxy, ...args, uri], { timeout: 40_000 });
    return stdout + stderr;
  };
  const atOrigin = (path: string): string => `coap://127.0.0.1:${originPort}${path}`;

  it("fetches from a CoAP origin, uploads to it in blocks, and reads that back in blocks", async () => {
    expect(await client(atOrigin("/"))).toMatch(/libcoap/);
    const file = join(folder, "up");
    writeFileSync(file, image);
    await client(atOrigin("/up"), "-m", "put", "-b", "256", "-t", "42", "-f", file);
    await client(atOrigin("/up"), "-b", "64", "-o", join(folder, "down"));
    expect(Buffer.compare(readFileSync(join(folder, "down")), image)).toBe(0);
  });

  it("fetches from an HTTP origin, once for all blocks and all clients while it is fresh", async () => {
    for (const size of ["64", "1024"]) {
      await client(`http://127.0.0.1:${httpPort}/fw`, "-b", size, "-o", join(folder, "http"));
      expect(Buffer.compare(readFileSync(join(folder, "http")), image)).toBe(0);
    }
    expect(gets).toBe(1);
    expect(await client(`http://127.0.0.1:${httpPort}/none`)).toMatch(/4\.04/);
  });

  it("is refused any other origin", async () => {
    expect(await client("coap://127.0.0.1:9/x")).toMatch(/5\.05/);
  });
});

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createCoapServer } from "coap";
import { readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { makeImage } from "../support/gateway.ts";
import { TestHost } from "../support/host.ts";
import { temporaryFolder } from "../support/process.ts";

const image = makeImage(11, 200_000);
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function startHost(): Promise<TestHost> {
  const host = await TestHost.start(temporaryFolder());
  cleanups.push(async () => host.host.stop());
  return host;
}

async function startHttp(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ base: string; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

/** Answers Range with If-Range as RFC 9110 sections 13.1.5 and 14.2 say; breaks off the first `breaks` answers half-way. */
function rangeServer(bytes: Uint8Array, breaks: number, etag = '"v1"') {
  let left = breaks;
  return (request: IncomingMessage, response: ServerResponse): void => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
    const resumes = range !== null && request.headers["if-range"] === etag;
    const start = resumes ? Number(range[1]) : 0;
    const headers = { etag, "content-length": bytes.length - start };
    if (resumes)
      response.writeHead(206, { ...headers, "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` });
    else response.writeHead(200, headers);
    if (left-- > 0) {
      response.write(bytes.subarray(start, start + 70_000));
      setTimeout(() => response.destroy(), 50);
    } else response.end(bytes.subarray(start));
  };
}

describe("http sources", () => {
  it("go on at the byte where they broke off", async () => {
    const { base, requests } = await startHttp(rangeServer(image, 2));
    const host = await startHost();
    expect(await host.publish(image, 1, `${base}/fw.bin`)).toBe("published");
    expect(requests.map(({ headers }) => headers.range)).toEqual([undefined, "bytes=70000-", "bytes=140000-"]);
    expect(requests[1]!.headers["if-range"]).toBe('"v1"');
  });

  it("begin again when the content changed meanwhile", async () => {
    let first = true;
    const old = rangeServer(makeImage(12, 200_000), 1, '"old"');
    const current = rangeServer(image, 0, '"new"');
    const { base, requests } = await startHttp((request, response) => {
      (first ? old : current)(request, response);
      first = false;
    });
    const host = await startHost();
    expect(await host.publish(image, 1, `${base}/fw.bin`)).toBe("published");
    expect(requests).toHaveLength(2);
  });

  it("follow redirects, but not for ever, and not to other schemes", async () => {
    const serve = rangeServer(image, 0);
    const { base } = await startHttp((request, response) => {
      const path = request.url!;
      if (path === "/fw.bin") serve(request, response);
      else
        response
          .writeHead(302, {
            location: path === "/loop" ? "/loop" : path === "/file" ? "file:///etc/passwd" : "/fw.bin",
          })
          .end();
    });
    const host = await startHost();
    expect(await host.publish(image, 1, `${base}/moved`)).toBe("published");
    expect(await host.publish(makeImage(13, 100), 2, `${base}/loop`)).toBe("too-many-redirects");
    expect(await host.publish(makeImage(13, 100), 2, `${base}/file`)).toBe("redirect-refused");
  });

  it.each([
    ["is not found", (response: ServerResponse) => response.writeHead(404).end(), "http-404"],
    [
      "announces more than was signed",
      (response: ServerResponse) => response.writeHead(200, { "content-length": 1e9 }).end(),
      "larger-than-signed",
    ],
    [
      "sends without end",
      (response: ServerResponse) => {
        const timer = setInterval(() => response.write(new Uint8Array(65_536)), 1);
        response.on("close", () => clearInterval(timer));
      },
      "larger-than-signed",
    ],
    ["sends other bytes", (response: ServerResponse) => response.end(makeImage(14, 200_000)), "digest-mismatch"],
  ])("a source that %s is refused, and nothing is left of it", async (_what, respond, reason) => {
    const { base } = await startHttp((_request, response) => respond(response));
    const host = await startHost();
    expect(await host.publish(image, 1, base)).toBe(reason);
    expect([...host.host.gateway.listings()]).toEqual([]);
  });

  it("begin at 0 when the range is refused or another one comes, or the part is lost", async () => {
    let broken = 0;
    const serve = rangeServer(image, 1);
    const { base, requests } = await startHttp((request, response) => {
      if (request.headers.range === undefined) serve(request, response);
      else if (broken++ === 0) response.writeHead(416).end();
    });
    const host = await startHost();
    expect(await host.publish(image, 1, base)).toBe("published");
    expect(requests.map(({ headers }) => headers.range)).toEqual([undefined, "bytes=70000-", undefined]);
  });

  it("one fetch serves two publications' worth of askers", async () => {
    const { base, requests } = await startHttp(rangeServer(image, 0));
    const host = await startHost();
    const outcomes = await Promise.all([host.publish(image, 1, base), host.publish(image, 1, base)]);
    expect(outcomes.toSorted()).toEqual(["publication-under-way", "published"]);
    expect(requests).toHaveLength(1);
  });
});

describe("other sources", () => {
  it("file: URIs, and their refusals", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "fw.bin");
    writeFileSync(file, image);
    const host = await startHost();
    expect(await host.publish(image, 1, pathToFileURL(file).href)).toBe("published");
    const other = makeImage(15, 1_000);
    expect(await host.publish(other, 2, pathToFileURL(`${file}.none`).href)).toBe("not-found");
    expect(await host.publish(other, 2, pathToFileURL(folder).href)).toBe("not-a-file");
    expect(await host.publish(other, 2, "file:///dev/zero")).toBe("not-a-file");
    expect(await host.publish(other, 2, pathToFileURL(file).href)).toBe("larger-than-signed");
    expect(await host.publish(other, 2, "ftp://127.0.0.1/x")).toBe("scheme-unsupported");
    expect(await host.publish(other, 2, "nonsense")).toBe("scheme-unsupported");
    expect([...host.host.gateway.listings()]).toHaveLength(1);
    expect(readFileSync(file).equals(image)).toBe(true);
  });

  it("coap: URIs, by node-coap from a node-coap server", async () => {
    const small = image.subarray(0, 20_000);
    const server = createCoapServer((request, response) => {
      response.code = request.url === "/fw" ? "2.05" : "4.04";
      response.end(request.url === "/fw" ? Buffer.from(small) : undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    cleanups.push(() => void server.close());
    const port = (server as unknown as { _sock: { address(): AddressInfo } })._sock.address().port;
    const host = await startHost();
    expect(await host.publish(small, 1, `coap://127.0.0.1:${port}/fw`)).toBe("published");
    expect(await host.publish(makeImage(16, 50), 2, `coap://127.0.0.1:${port}/none`)).toBe("coap-4.04");
  });
});

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { exchangeHttp } from "../../src/adapters/http-exchange.ts";

it.each([
  ["identity", Buffer.from("body"), "body"],
  ["", Buffer.from("body"), "body"],
  ["gzip", gzipSync("body"), "body"],
  ["zstd", Buffer.from("nobody can read this"), /content coding zstd/],
])("an HTTP body in the content coding %s is bytes as they are meant, or an error", async (coding, bytes, expected) => {
  const server = createServer((_request, response) => response.setHeader("content-encoding", coding).end(bytes));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const asked = exchangeHttp(
    { method: "GET", url, headers: {}, body: new Uint8Array(0) },
    1_000,
    new AbortController().signal,
  );
  const answer = await asked.then(
    ({ body }) => Buffer.from(body).toString(),
    (error: unknown) => (error as Error).message,
  );
  server.close();
  expect(answer).toEqual(typeof expected === "string" ? expected : expect.stringMatching(expected));
});

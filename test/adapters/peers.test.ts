import { Agent, request as coapRequest, type IncomingMessage } from "coap";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { makeImage } from "../support/gateway.ts";
import { TestHost } from "../support/host.ts";
import { temporaryFolder } from "../support/process.ts";

const folder = temporaryFolder();
const image = makeImage(21, 70_001);
writeFileSync(join(folder, "fw.bin"), image);
const host = await TestHost.start(folder);
await host.publish(image, 1, pathToFileURL(join(folder, "fw.bin")).href);
const agent = new Agent({ type: "udp4" });
afterAll(async () => {
  agent.close();
  await host.host.stop();
});

async function get(
  path: string,
  options: (message: ReturnType<typeof coapRequest>) => void = () => {},
): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    const message = coapRequest({ hostname: "127.0.0.1", port: host.port, pathname: path, agent });
    options(message);
    message.on("response", resolve);
    message.on("error", reject);
    message.end();
  });
}

it("a datagram that claims port 0, or an address that is none, stops nobody", async () => {
  const { UdpSocket } = await import("../../src/adapters/udp-socket.ts");
  const socket = await UdpSocket.bind({ host: "127.0.0.1", port: 0 }, () => {});
  socket.send({ bytes: Uint8Array.of(1), peer: { address: "127.0.0.1", port: 0 } });
  expect(socket.dropped).toBe(1);
  await socket.close();
  socket.send({ bytes: Uint8Array.of(1), peer: { address: "127.0.0.1", port: 9 } });
  expect(socket.dropped).toBe(2);
});

describe("node-coap as a client of ours", () => {
  it("fetches a whole image", async () => {
    const response = await get("/fw", (message) => message.setOption("Block2", Buffer.of(6)));
    expect(response.code).toBe("2.05");
    expect(Buffer.compare(response.payload, image)).toBe(0);
  });

  it("discovers what there is", async () => {
    const response = await get("/.well-known/core");
    const text = response.payload.toString();
    expect(text).toMatch(/<\/fw>;ct=42;sz=70001;rt="blockferry.image"/);
    expect(text).toMatch(/<\/m\/AgICAgICAgICAgICAgICAg>/);
  });

  it("is told what does not exist, and what it may not do", async () => {
    expect((await get("/nothing")).code).toBe("4.04");
    const response = await new Promise<IncomingMessage>((resolve) => {
      const message = coapRequest({ hostname: "127.0.0.1", port: host.port, pathname: "/fw", method: "DELETE", agent });
      message.on("response", resolve);
      message.end();
    });
    expect(response.code).toBe("4.05");
  });
});

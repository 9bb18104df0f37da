import { Agent, request as coapRequest, type IncomingMessage } from "coap";
import { createSocket, type RemoteInfo } from "node:dgram";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it, vi } from "vitest";
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

describe("datagrams that come together", () => {
  /** A socket that gets `count` datagrams in one turn of the event loop, each with its number; `handle` is told each. */
  async function together(count: number, handle: (number: number, socket: Bound, peer: RemoteInfo) => void) {
    const { UdpSocket } = await import("../../src/adapters/udp-socket.ts");
    const socket: Bound = await UdpSocket.bind({ host: "127.0.0.1", port: 0 }, (bytes, peer) =>
      handle(bytes[0]!, socket, peer as RemoteInfo),
    );
    const sender = createSocket("udp4");
    const replies: number[] = [];
    sender.on("message", (bytes) => replies.push(bytes[0]!));
    await new Promise<void>((done) => void sender.bind(0, "127.0.0.1", done));
    // The kernel takes them at once, and nothing is read before this function waits.
    for (let i = 0; i < count; i++) sender.send(Uint8Array.of(i), socket.port, "127.0.0.1");
    return { socket, sender, replies };
  }
  type Bound = import("../../src/adapters/udp-socket.ts").UdpSocket;

  it("are each answered, in their order, when one of them has thrown", async () => {
    const thrown: unknown[] = [];
    const listeners = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (error) => thrown.push(error));
    const { socket, sender, replies } = await together(5, (number, at, peer) => {
      if (number === 1) throw new Error("one of them");
      at.send({ bytes: Uint8Array.of(number), peer });
    });
    try {
      await vi.waitFor(() => expect(replies).toEqual([0, 2, 3, 4]));
      expect(thrown).toEqual([new Error("one of them")]);
    } finally {
      for (const listener of listeners) process.on("uncaughtException", listener);
      await socket.close();
      sender.close();
    }
  });

  it("are answered up to the one that closes the socket, and no further", async () => {
    const seen: number[] = [];
    let closed: Promise<void> | undefined;
    const { sender, replies } = await together(5, (number, at, peer) => {
      seen.push(number);
      at.send({ bytes: Uint8Array.of(number), peer });
      if (number === 2) closed = at.close();
    });
    await vi.waitFor(() => expect(replies).toEqual([0, 1, 2]));
    await closed;
    expect(seen).toEqual([0, 1, 2]);
    sender.close();
  });

  it("are dropped and counted where they have more answers than there are buffers", async () => {
    const { socket, sender } = await together(1, (_number, at, peer) => {
      for (let i = 0; i < 4_100; i++) at.send({ bytes: Uint8Array.of(1), peer });
    });
    await vi.waitFor(() => expect(socket.dropped).toBe(4));
    socket.send({ bytes: Uint8Array.of(1), peer: { address: "127.0.0.1", port: sender.address().port } });
    expect(socket.dropped).toBe(4);
    await socket.close();
    sender.close();
  });
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

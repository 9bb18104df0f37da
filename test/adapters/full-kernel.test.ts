import { Socket } from "node:dgram";
import { expect, it, vi } from "vitest";
import { UdpSocket } from "../../src/adapters/udp-socket.ts";

it("a kernel that takes nothing: what waits stays as it was, what finds no room is dropped, and it goes on", async () => {
  const [waiting, taken]: [Uint8Array[], string[]] = [[], []];
  vi.spyOn(Socket.prototype, "send").mockImplementation((view) => void waiting.push(view as Uint8Array));
  vi.spyOn(Socket.prototype, "getSendQueueCount").mockImplementation(() => waiting.length);
  /** What goes out is what the buffers hold now. */
  const take = (count: number): void => {
    for (const view of waiting.splice(0, count)) taken.push(Buffer.from(view).toString());
  };
  const socket = await UdpSocket.bind({ host: "127.0.0.1", port: 0 }, () => {});
  const peer = { address: "127.0.0.1", port: 9 };
  const send = (i: number): void => socket.send({ bytes: Buffer.from(`number ${i}`), peer });
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, i) => `number ${from + i}`);
  for (let i = 0; i < 4_100; i++) send(i);
  expect([waiting.length, socket.dropped]).toEqual([4_096, 4]);
  take(100);
  for (let i = 5_000; i < 5_100; i++) send(i);
  expect(socket.dropped).toBe(4);
  send(6_000);
  expect(socket.dropped).toBe(5);
  take(Infinity);
  expect(taken).toEqual([...numbers(0, 4_096), ...numbers(5_000, 5_100)]);
  send(7_000);
  take(1);
  expect([taken.at(-1), socket.dropped]).toEqual(["number 7000", 5]);
  vi.restoreAllMocks();
  await socket.close();
});

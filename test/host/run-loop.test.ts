import { expect, it } from "vitest";
import { RunLoop } from "../../src/host/run-loop.ts";
import { CLIENT } from "../support/pair.ts";

it("a datagram that came before the last call is not told a time before that call's", () => {
  const told: number[] = [];
  const loop = new RunLoop(
    {
      handleDatagram: (nowUs) => void told.push(nowUs),
      handleTimeout: (nowUs) => void told.push(nowUs),
      pollTransmit: () => undefined,
      pollTimeout: () => undefined,
    },
    { clock: { nowUs: () => 50 }, send: () => {}, setTimer: () => {} },
  );
  const datagram = new Uint8Array(0);
  loop.datagram(datagram, CLIENT, false, 10);
  loop.wake();
  loop.datagram(datagram, CLIENT, false, 20);
  loop.datagram(datagram, CLIENT);
  expect(told).toEqual([10, 50, 50, 50]);
});

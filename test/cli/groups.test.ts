import { createSocket } from "node:dgram";
import { expect, it } from "vitest";
import { Sockets } from "../../src/cli/sockets.ts";

it("what comes to a group is heard beside the listen address, and known as such (RFC 7252 section 8)", async () => {
  const heard: string[] = [];
  const sockets = new Sockets((bytes, _peer, toGroup) => void heard.push(`${bytes.length} ${toGroup}`));
  await sockets.bind(["127.0.0.1:0"], ["224.0.1.187"]);
  const port = Number(/\d+$/.exec(sockets.addresses[0]!)![0]);
  const sender = createSocket("udp4");
  await new Promise<void>((resolve) => void sender.bind(0, "127.0.0.1", resolve));
  sender.setMulticastInterface("127.0.0.1");
  for (let i = 0; i < 100 && new Set(heard).size < 2; i++) {
    sender.send("abc", port, "224.0.1.187");
    sender.send("ab", port, "127.0.0.1");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  sender.close();
  await sockets.close();
  expect([...new Set(heard)].toSorted()).toEqual(["2 false", "3 true"]);
});

// The same work as our block path, with coap-packet as the codec: what its generality costs.
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { generate, parse } from "coap-packet";
import { blockSize, decodeBlock, encodeBlock } from "../src/coap/blockwise/block.ts";

const body = readFileSync(process.argv[2]!);
const socket = createSocket({
  type: "udp4",
  recvBufferSize: 4_194_304,
  lookup: (address, _options, callback) => callback(null, address, 4),
});
socket.on("message", (bytes, peer) => {
  const request = parse(bytes);
  const block = request.options?.find(({ name }) => name === "Block2")?.value as Buffer;
  const { num, szx } = decodeBlock(block);
  const end = Math.min((num + 1) * blockSize(szx), body.length);
  const options = [
    { name: "ETag" as const, value: Buffer.alloc(8, 1) },
    { name: "Content-Format" as const, value: Buffer.of(42) },
    { name: "Block2" as const, value: Buffer.from(encodeBlock({ num, szx, more: end < body.length })) },
  ];
  const payload = body.subarray(num * blockSize(szx), end);
  const reply = generate({
    ack: true,
    code: "2.05",
    messageId: request.messageId,
    token: request.token,
    options,
    payload,
  });
  socket.send(reply, peer.port, peer.address);
});
socket.bind(0, "127.0.0.1", () => console.log(JSON.stringify({ port: socket.address().port })));

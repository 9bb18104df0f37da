// The ceiling: a bare node:dgram echo, nothing else.
import { createSocket } from "node:dgram";

const socket = createSocket({
  type: "udp4",
  recvBufferSize: 4_194_304,
  lookup: (address, _options, callback) => callback(null, address, 4),
});
socket.on("message", (bytes, peer) => socket.send(bytes, 0, bytes.length, peer.port, peer.address));
socket.bind(0, "127.0.0.1", () => console.log(JSON.stringify({ port: socket.address().port })));

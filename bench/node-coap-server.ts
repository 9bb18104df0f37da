// node-coap's own server with its own Block2: the whole body goes into end(), as its README shows.
import { createServer } from "coap";
import { readFileSync } from "node:fs";

const body = readFileSync(process.argv[2]!);
const server = createServer((_request, response) => {
  response.setOption("Content-Format", "application/octet-stream");
  response.end(body);
});
server.listen(0, "127.0.0.1", () => {
  const { _sock } = server as unknown as { _sock: { address(): { port: number } } };
  console.log(JSON.stringify({ port: _sock.address().port }));
});

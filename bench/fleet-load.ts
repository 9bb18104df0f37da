// A fleet in a process of its own: registers so many devices from a port each, then some of them fetch an image block
// by block, each as fast as a mote does. Prints one JSON line.
import { createSocket, type Socket } from "node:dgram";
import { encodeBlock } from "../src/coap/blockwise/block.ts";
import { encodeMessage } from "../src/coap/encode.ts";
import { EMPTY_BYTES } from "../src/coap/message.ts";
import { Code, MessageType, Option } from "../src/coap/numbers.ts";
import { textOptions } from "../src/coap/options.ts";
import { utf8 } from "../src/util/bytes.ts";

const [port, devices, transfers, seconds, blockMs] = process.argv.slice(2).map(Number) as [
  number,
  number,
  number,
  number,
  number,
];
const AT_ONCE = 400;
const RETRY_MS = 4_000;
const HOST = "127.0.0.1";
const LINKS = utf8("</1/0>,</3/0>,</5/0>");
const SZX = 2;

const sockets: Socket[] = [];
const answered: ((bytes: Buffer) => void)[] = [];

for (let i = 0; i < devices; i++) {
  const socket = createSocket("udp4");
  socket.on("message", (bytes) => answered[i]?.(bytes));
  await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
  sockets.push(socket);
}

async function exchange(i: number, bytes: Uint8Array): Promise<Buffer> {
  return await new Promise((resolve) => {
    const send = (): void => sockets[i]!.send(bytes, port, HOST);
    const timer = setInterval(send, RETRY_MS);
    answered[i] = (answer) => {
      clearInterval(timer);
      resolve(answer);
    };
    send();
  });
}

async function register(i: number): Promise<void> {
  const options = [
    ...textOptions(Option.URI_PATH, ["rd"]),
    { number: Option.CONTENT_FORMAT, value: Uint8Array.of(40) },
    ...textOptions(Option.URI_QUERY, [`ep=bench-${i}`, "lt=86400", "lwm2m=1.1", "b=U"]),
  ];
  const token = Uint8Array.of(i & 0xff, i >> 8);
  const message = { type: MessageType.CON, code: Code.POST, messageId: i & 0xffff, token, options, payload: LINKS };
  const answer = await exchange(i, encodeMessage(message));
  if (answer[1] !== Code.CREATED) throw new Error(`device ${i}: code ${answer[1]}`);
}

const started = performance.now();
let next = 0;
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < devices) await register(next++);
  }),
);
const registerS = (performance.now() - started) / 1_000;
process.stdout.write(`${JSON.stringify({ registered: devices, registerS })}\n`);

const latencies: number[] = [];
let lost = 0;
const endsAt = performance.now() + seconds * 1_000;

/** One transfer: a block, what is left of its turn, the next block; over again behind the last one. */
async function transfer(i: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.random() * blockMs));
  for (let num = 0; performance.now() < endsAt; num++) {
    const options = [
      ...textOptions(Option.URI_PATH, ["fw"]),
      { number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx: SZX }) },
    ];
    const fixed = { type: MessageType.CON, code: Code.GET, token: Uint8Array.of(1), options, payload: EMPTY_BYTES };
    const bytes = encodeMessage({ ...fixed, messageId: (i * 7 + num) & 0xffff });
    const at = performance.now();
    const answer = await Promise.race([
      exchange(i, bytes),
      new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 1_000)),
    ]);
    const took = performance.now() - at;
    if (answer === undefined) lost++;
    else latencies.push(took);
    if (answer !== undefined && answer[1] !== Code.CONTENT) num = -1; // behind the end: from the beginning
    if (took < blockMs) await new Promise((resolve) => setTimeout(resolve, blockMs - took));
  }
}

if (transfers > 0) {
  await Promise.all(Array.from({ length: transfers }, async (_, i) => transfer(i)));
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  const blocksPerS = Math.round(latencies.length / seconds);
  process.stdout.write(`${JSON.stringify({ blocksPerS, lost, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(0.9999) })}\n`);
}
// The devices stay where they are until they are told to go.
if (process.argv[7] !== "stay") for (const socket of sockets) socket.close();
else setInterval(() => {}, 1_000);

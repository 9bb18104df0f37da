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
/** `stay` keeps the devices registered; `echo` has no gateway at the other end, but what sends datagrams back. */
const mode = process.argv[7];
const AT_ONCE = 400;
/** Of the image that bench/fleet.ts publishes. */
const BLOCKS = 1_024;
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
  if (mode !== "echo" && answer[1] !== Code.CREATED) throw new Error(`device ${i}: code ${answer[1]}`);
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

/** Latencies in tenths of a millisecond, so that nothing is allocated while it is measured. */
const histogram = new Uint32Array(100_000);
const at = new Float64Array(transfers);
const numbers = new Int32Array(transfers);
let [answers, lost] = [0, 0];

const request = encodeMessage({
  type: MessageType.CON,
  code: Code.GET,
  messageId: 0,
  token: Uint8Array.of(1),
  options: [
    ...textOptions(Option.URI_PATH, ["fw"]),
    { number: Option.BLOCK2, value: encodeBlock({ num: 4_096, more: false, szx: SZX }) },
  ],
  payload: EMPTY_BYTES,
});
const datagrams = Array.from({ length: transfers }, () => Buffer.from(request));

/** One block of a transfer is asked for; one that was not answered until the next is due is lost. */
function ask(i: number, now: number): void {
  if (at[i]! > 0) lost++;
  const bytes = datagrams[i]!;
  const num = (numbers[i]! + 1) % BLOCKS;
  numbers[i] = num;
  bytes.writeUInt16BE((i * 7 + num) & 0xffff, 2);
  // Three bytes of option value: number, no more, size.
  bytes.writeUIntBE((num << 4) | SZX, bytes.length - 3, 3);
  at[i] = now;
  sockets[i]!.send(bytes, port, HOST);
}

async function measure(): Promise<void> {
  for (let i = 0; i < transfers; i++)
    answered[i] = () => {
      const took = performance.now() - at[i]!;
      at[i] = 0;
      answers++;
      histogram[Math.min(histogram.length - 1, Math.floor(took * 10))]!++;
    };
  const begin = performance.now();
  let turn = 0;
  await new Promise<void>((resolve) => {
    // Spread over the time of a block, as motes are.
    const timer = setInterval(() => {
      const now = performance.now();
      const due = Math.floor(((now - begin) * transfers) / blockMs);
      for (; turn < due; turn++) ask(turn % transfers, performance.now());
      if (now - begin < seconds * 1_000) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
}

/** The latency that so many of all are below, in ms. */
function quantile(share: number): number {
  let left = answers * share;
  for (let i = 0; i < histogram.length; i++) if ((left -= histogram[i]!) <= 0) return i / 10;
  return Number.POSITIVE_INFINITY;
}

if (transfers > 0) {
  await measure();
  const figures = { p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(0.9999) };
  process.stdout.write(`${JSON.stringify({ blocksPerS: Math.round(answers / seconds), lost, ...figures })}\n`);
}
// The devices stay where they are until they are told to go.
if (mode === "stay") setInterval(() => {}, 1_000);
else for (const socket of sockets) socket.close();

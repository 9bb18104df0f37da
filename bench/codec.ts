// Parse and serialise beside coap-packet: a request for a block, and a response that carries one.
import { generate, parse } from "coap-packet";
import { median } from "./median.ts";
import { encodeBlock } from "../src/coap/blockwise/block.ts";
import { decodeMessage, type Decoded } from "../src/coap/decode.ts";
import { encodeMessage } from "../src/coap/encode.ts";
import { Code, MessageType, Option } from "../src/coap/numbers.ts";
import { textOptions } from "../src/coap/options.ts";

const ROUNDS = 3;
const CALLS = 300_000;

const request = {
  type: MessageType.CON,
  code: Code.GET,
  messageId: 4_711,
  token: Uint8Array.of(1, 2, 3, 4),
  options: [
    ...textOptions(Option.URI_PATH, ["i", "b1946ac92492"]),
    { number: Option.BLOCK2, value: encodeBlock({ num: 300, more: false, szx: 2 }) },
  ],
  payload: new Uint8Array(0),
};
const response = {
  ...request,
  type: MessageType.ACK,
  code: Code.CONTENT,
  options: [
    { number: Option.ETAG, value: new Uint8Array(8).fill(7) },
    { number: Option.CONTENT_FORMAT, value: Uint8Array.of(42) },
    { number: Option.BLOCK2, value: encodeBlock({ num: 300, more: true, szx: 2 }) },
  ],
  payload: new Uint8Array(64).fill(9),
};

export interface CodecRow {
  readonly message: string;
  readonly what: "parse" | "parse and look at" | "serialise";
  readonly nsPerMessage: number;
  readonly coapPacketNs: number;
  readonly timesThePeer: number;
}

/** Medians of ROUNDS rounds, ours and the peer's in turns. */
export function codecRows(): CodecRow[] {
  const rows: CodecRow[] = [];
  for (const [message, value] of Object.entries({ request, response })) {
    const bytes = Buffer.from(encodeMessage(value));
    const packet = parse(bytes);
    const options = packet.options;
    rows.push(
      row(
        message,
        "parse",
        () => decodeMessage(bytes),
        () => parse(bytes),
      ),
      row(
        message,
        "parse and look at",
        () => lookAt(decodeMessage(bytes)),
        () => parse(bytes),
      ),
      row(
        message,
        "serialise",
        () => encodeMessage(value),
        () => generate({ ...packet, options: [...options] }),
      ),
    );
  }
  return rows;
}

/** Takes every part out of a message, as the peer's parser does. */
function lookAt(decoded: Decoded): number {
  if (!decoded.ok) return 0;
  const { token, options, payload } = decoded.message;
  let bytes = token.length + payload.length;
  for (const { value } of options) bytes += value.length;
  return bytes;
}

function row(message: string, what: CodecRow["what"], ours: () => unknown, theirs: () => unknown): CodecRow {
  const [a, b]: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    const [mine, peer] = [timed(ours), timed(theirs)];
    if (round === 0) continue; // which only warms up
    a.push(mine);
    b.push(peer);
  }
  const [nsPerMessage, coapPacketNs] = [median(a), median(b)];
  return { message, what, nsPerMessage, coapPacketNs, timesThePeer: Number((coapPacketNs / nsPerMessage).toFixed(2)) };
}

function timed(call: () => unknown): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < CALLS; i++) call();
  return Math.round(Number(process.hrtime.bigint() - start) / CALLS);
}

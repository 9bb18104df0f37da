import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { decodeMessage } from "../../src/coap/decode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { EMPTY_BYTES, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";

/** A CON GET for one block. */
export function getBlock(path: readonly string[], num: number, szx: number, messageId: number): Uint8Array {
  return encodeMessage({
    type: MessageType.CON,
    code: Code.GET,
    messageId,
    token: Uint8Array.of(messageId >> 8, messageId & 0xff),
    options: [
      ...textOptions(Option.URI_PATH, path),
      { number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx }) },
    ],
    payload: EMPTY_BYTES,
  });
}

/** Options as they are compared: those that were received have no values before somebody looks. */
export const plain = (options: readonly CoapOption[]): CoapOption[] =>
  options.map(({ number, value }) => ({ number, value }));

export function decoded(bytes: Uint8Array): CoapMessage {
  const result = decodeMessage(bytes);
  if (!result.ok) throw new Error(result.error.reason);
  const { type, code, messageId, token, options, payload } = result.message;
  return { type, code, messageId, token, options: plain(options), payload };
}

/** What an endpoint wants sent, decoded. */
export function drain(endpoint: CoapEndpoint): CoapMessage[] {
  const out: CoapMessage[] = [];
  for (let sent = endpoint.pollTransmit(); sent !== undefined; sent = endpoint.pollTransmit())
    out.push(decoded(sent.bytes.slice()));
  return out;
}

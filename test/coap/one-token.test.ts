import { describe, expect, it } from "vitest";
import { BodyExchange, type BodyOutcome } from "../../src/coap/blockwise/body-exchange.ts";
import { blockOption, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, type CoapMessage } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { toHex } from "../../src/util/bytes.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { drain } from "../support/coap-get.ts";
import { SERVER } from "../support/pair.ts";
import { pattern } from "../support/resources.ts";

describe("an upload under one token, for servers that know a body by it", () => {
  const endpoint = new CoapEndpoint({ random: new SeededRandom(1, "one-token") });
  const options = textOptions(Option.URI_PATH, ["x"]);
  const body = pattern(100);
  const upload = new BodyExchange({
    endpoint,
    peer: SERVER,
    code: Code.PUT,
    options,
    body,
    szx: 1,
    maxBodyBytes: 100,
  });

  /** A separate response to a block, which the client acknowledges. */
  const answer = (request: CoapMessage, messageId: number): Uint8Array => {
    const { num, more, szx } = blockOption(request.options, Option.BLOCK1)!;
    return encodeMessage({
      type: MessageType.CON,
      code: more ? Code.CONTINUE : Code.CHANGED,
      messageId,
      token: request.token,
      options: [{ number: Option.BLOCK1, value: encodeBlock({ num, more, szx }) }],
      payload: EMPTY_BYTES,
    });
  };

  it("is not led astray by the separate answer to the block before, come once more", () => {
    upload.start(0);
    const tokens = new Set<string>();
    let outcome: BodyOutcome | undefined;
    let before: Uint8Array | undefined;
    for (let block = 0; block < 4; block++) {
      const request = drain(endpoint).find(({ code }) => code === Code.PUT)!;
      tokens.add(toHex(request.token));
      if (before !== undefined) endpoint.handleDatagram(block, before, SERVER);
      expect(endpoint.pollEvent()).toBeUndefined();
      before = answer(request, 100 + block);
      endpoint.handleDatagram(block, before, SERVER);
      outcome = upload.handleEvent(block, endpoint.pollEvent()!);
    }
    expect(tokens.size).toBe(1);
    expect(outcome).toMatchObject({ kind: "response", response: { code: Code.CHANGED } });
  });
});

import { describe, expect, it } from "vitest";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeUint } from "../../src/coap/message.ts";
import { Code, codeText, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { Router } from "../../src/coap/router.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import { encodeContent, Format } from "../../src/lwm2m/content.ts";
import type { Path } from "../../src/lwm2m/path.ts";
import type { Reading } from "../../src/lwm2m/reading.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { sha } from "../support/resources.ts";

const BOOTSTRAP: PeerAddress = { address: "fd00::b", port: 5_683 };
const MOTE: PeerAddress = { address: "fd00::10", port: 5_683 };

/** A bootstrap server that asks its client for what a test has it ask. */
class BootstrapServer {
  readonly endpoint: CoapEndpoint;
  readonly asked: string[] = [];

  constructor() {
    const router = new Router(6, sha);
    router.add(["bs"], {
      post: (_nowUs, { query }) => {
        this.asked.push(query.join("&"));
        return { code: Code.CHANGED };
      },
    });
    this.endpoint = new CoapEndpoint({ random: new SeededRandom(1, "bs"), handler: router });
  }
}

describe("the Bootstrap interface of the mote's client (LwM2M 1.1 Core, section 6.1)", () => {
  it("asks, takes objects 0 and 1, and registers with the server that these name once it is told that this is all", () => {
    const site = new Lwm2mSite();
    const { engine } = site.bench;
    const server = new BootstrapServer();
    site.elsewhere = (bytes, peer) => {
      if (peer.address !== BOOTSTRAP.address) return;
      server.endpoint.handleDatagram(engine.nowUs(), bytes, MOTE);
      flush();
    };
    const flush = (): void => {
      for (let out = server.endpoint.pollTransmit(); out !== undefined; out = server.endpoint.pollTransmit())
        site.toMote("m", out.bytes.slice(), BOOTSTRAP);
    };
    const codes: string[] = [];
    const ask = (code: number, path: readonly string[], target?: Path, readings: readonly Reading[] = []): void => {
      const format = { number: Option.CONTENT_FORMAT as number, value: encodeUint(Format.TLV) };
      const options = [...textOptions(Option.URI_PATH, path), ...(target === undefined ? [] : [format])];
      const payload = target === undefined ? new Uint8Array(0) : encodeContent(Format.TLV, target, readings);
      server.endpoint.request(engine.nowUs(), MOTE, { code, options, payload });
      flush();
      site.bench.run(1);
      for (let event: ClientEvent | undefined; (event = server.endpoint.pollEvent()) !== undefined;)
        codes.push(event.kind === "response" ? codeText(event.response.code) : event.kind);
    };
    site.addMote("m", {}, { bootstrap: BOOTSTRAP, server: { address: "fd00::dead", port: 5_683 } });
    site.bench.run(2);
    expect(server.asked).toEqual(["ep=m&pct=11542"]);
    expect(site.bench.gateway.devices.get("m")).toBeUndefined();
    ask(Code.POST, ["bs"]); // nothing has been written yet
    ask(Code.DELETE, ["0"]);
    ask(
      Code.PUT,
      ["0", "1"],
      [0, 1],
      [
        { path: [0, 1, 0], value: "coap://[fd00::2]" },
        { path: [0, 1, 1], value: false },
      ],
    );
    ask(Code.PUT, ["1", "0"], [1, 0], [{ path: [1, 0, 1], value: 77 }]);
    ask(Code.POST, ["bs"]);
    expect(codes).toEqual(["4.06", "2.02", "2.04", "2.04", "2.04"]);
    site.bench.run(2);
    expect(site.bench.gateway.devices.get("m")).toMatchObject({ lifetimeS: 77 });
  });
});

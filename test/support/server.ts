import { BlockPath } from "../../src/coap/blockwise/block-path.ts";
import { Code } from "../../src/coap/numbers.ts";
import { CoapEndpoint, type EndpointOptions } from "../../src/coap/endpoint.ts";
import { Router } from "../../src/coap/router.ts";
import type { Body } from "../../src/coap/request.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";

/** A server endpoint with one body at /i/x, and where `short` is given, the block path too. */
export function bodyServer(
  bytes: Uint8Array,
  options: { short?: boolean; seed?: number } & Partial<EndpointOptions> = {},
): CoapEndpoint {
  const body: Body = { bytes, etag: nobleCrypto.sha256(bytes).subarray(0, 8), contentFormat: 42 };
  const router = new Router(2, (input) => nobleCrypto.sha256(input));
  router.add(["i", "x"], {
    attributes: { ct: 42 },
    get: () => ({ code: Code.CONTENT, body }),
  });
  const blockPath = new BlockPath();
  blockPath.register(["i", "x"], { etag: body.etag, size: bytes.length, bytes: () => bytes, served: () => {} });
  return new CoapEndpoint({
    random: new SeededRandom(options.seed ?? 1, "server"),
    handler: router,
    preferredSzx: 2,
    ...(options.short === true ? { blockPath } : {}),
    ...options,
  });
}

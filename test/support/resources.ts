import { CoapEndpoint, type EndpointOptions } from "../../src/coap/endpoint.ts";
import { Code } from "../../src/coap/numbers.ts";
import { Router, type ResourceHandler } from "../../src/coap/router.ts";
import type { IncomingRequest } from "../../src/coap/request.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { Pair } from "./pair.ts";

export const sha = (bytes: Uint8Array): Uint8Array => nobleCrypto.sha256(bytes);

/** Bytes that differ from block to block. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff);
}

/** Two endpoints, the server with `resources` by path. */
export function routed(
  resources: Record<string, ResourceHandler>,
  options: { server?: Partial<EndpointOptions>; client?: Partial<EndpointOptions>; seed?: number } = {},
): { pair: Pair; client: CoapEndpoint; server: CoapEndpoint; router: Router } {
  const router = new Router(6, sha);
  for (const [path, resource] of Object.entries(resources)) router.add(path.split("/"), resource);
  const seed = options.seed ?? 1;
  const server = new CoapEndpoint({ random: new SeededRandom(seed, "server"), handler: router, ...options.server });
  const client = new CoapEndpoint({ random: new SeededRandom(seed, "client"), ...options.client });
  return { pair: new Pair(client, server), client, server, router };
}

/** A resource that takes bodies and remembers them. */
export function sink(maxBodyBytes: number): {
  bodies: Uint8Array[];
  resource: ResourceHandler & { put: (nowUs: number, request: IncomingRequest) => { code: number } };
} {
  const bodies: Uint8Array[] = [];
  const take = (_nowUs: number, request: IncomingRequest): { code: number } => {
    bodies.push(request.payload);
    return { code: Code.CHANGED };
  };
  return { bodies, resource: { put: take, post: take, maxBodyBytes } };
}

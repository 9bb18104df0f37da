import fastify, { type FastifyInstance } from "fastify";
import { z } from "zod";
import type { Gateway } from "../gateway/gateway.ts";
import { imagePath, manifestPath, componentOf, type Listing } from "../gateway/catalogue.ts";
import type { PublishOutcome, PublishRequest } from "../gateway/publications.ts";
import { addDeviceRoutes, type DevicesControl } from "./devices.ts";
import { refuse } from "./problem.ts";
import { addLifecycleRoutes } from "./lifecycle.ts";
import { addUpdateRoutes } from "./updates.ts";
import { SUIT_LIMITS } from "../suit/envelope.ts";
import { fromHex, toHex } from "../util/bytes.ts";

/** What the API needs of a running gateway. */
export interface GatewayControl {
  readonly gateway: Gateway;
  readonly addresses: readonly string[];
  publish(request: PublishRequest): Promise<PublishOutcome>;
  metrics(): Record<string, number>;
  readonly operate: DevicesControl["operate"];
  readonly probe: DevicesControl["probe"];
  readonly call: DevicesControl["call"];
  /** Milliseconds since 1970. */
  readonly unixMs: () => number;
}

export interface ImageView {
  readonly key: string;
  readonly vendor: string;
  readonly class: string;
  readonly sequenceNumber: number;
  readonly version: string | null;
  readonly digest: string;
  readonly bytes: number;
  readonly source: string | null;
  readonly state: string;
  readonly fetchedBytes: number | null;
  readonly manifestPath: string;
  readonly imagePath: string;
  readonly aliasPath: string | null;
}

const PublishBody = z.strictObject({
  /** The envelope, base64. */
  envelope: z.base64().max(Math.ceil(SUIT_LIMITS.maxEnvelopeBytes / 3) * 4 + 8),
  source: z.string().max(2_048).optional(),
  /** URIs of images by SHA-256 in hex, where the manifest has several. */
  sources: z.record(z.string().regex(/^[0-9a-f]{64}$/), z.string().max(2_048)).optional(),
  alias: z.string().max(64).optional(),
  dialect: z.enum(["draft-37", "riot-09"]).optional(),
  /** Signed tables of images' sectors, base64. */
  tables: z.array(z.base64().max(100_000)).max(16).optional(),
});

/** The operator's API. It listens where only the operator reaches it: a socket in the state folder. */
export function createApi(control: GatewayControl): FastifyInstance {
  const app = fastify({ bodyLimit: 1_024 * 1_024, logger: false });
  app.setErrorHandler<Error & { statusCode?: number }>(async (error, _request, reply) => {
    return refuse(reply, error.statusCode ?? 500, "bad-request", error.message);
  });
  app.get("/healthz", () => ({ status: "ok", addresses: control.addresses }));
  app.get("/v1/metrics", () => ({ ...control.metrics(), ...prefixed("coap_", control.gateway.stats) }));
  app.get("/v1/images", () => [...control.gateway.listings()].map((listing) => viewOf(control.gateway, listing)));
  app.get("/v1/publications", () =>
    [...control.gateway.publications()].map(({ listing }) => viewOf(control.gateway, listing)),
  );
  const { gateway } = control;
  const call = (action: (nowUs: number) => void): void => control.call(action);
  const operate: DevicesControl["operate"] = async (...args) => control.operate(...args);
  addDeviceRoutes(app, { devices: gateway.devices, operate, probe: async (name) => control.probe(name), call });
  addUpdateRoutes(app, { gateway, call });
  addLifecycleRoutes(app, { desk: gateway.desk, call, unixMs: control.unixMs });
  app.get("/v1/transfers", () =>
    [...control.gateway.transfers()].map(
      ({ device, digest, size, blocks, bytes, retransmissions, attempts, served, finished }) =>
        Object.assign(
          {
            device,
            digest,
            size,
            blocks,
            bytes,
            retransmissions,
            attempts,
            finished,
          },
          {
            servedBytes: served.covered,
            firstMissing: finished ? null : served.firstGap(0),
          },
        ),
    ),
  );
  app.post("/v1/images", async (request, reply) => {
    const body = PublishBody.safeParse(request.body);
    if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
    const envelope = new Uint8Array(Buffer.from(body.data.envelope, "base64"));
    const tables = body.data.tables?.map((text) => new Uint8Array(Buffer.from(text, "base64")));
    const outcome = await control.publish({ ...body.data, envelope, tables });
    if (outcome.kind === "published") return reply.code(201).send(viewOf(control.gateway, outcome.listing));
    const { reason, detail } = outcome;
    const status = reason === "disk-full" || reason === "cache-full" ? 507 : 422;
    return refuse(reply, status, reason, detail);
  });
  return app;
}

function viewOf(gateway: Gateway, listing: Listing): ImageView {
  const { release, digest, source, alias } = listing;
  const { state, fetched } = gateway.imageState(digest);
  return {
    key: release.key,
    vendor: toHex(release.vendorId),
    class: toHex(release.classId),
    sequenceNumber: release.sequenceNumber,
    version: release.version ?? null,
    digest,
    bytes: release.imageSize,
    source: source ?? null,
    state,
    fetchedBytes: fetched ?? null,
    manifestPath: `/${manifestPath(release.classId, componentOf(release)).join("/")}`,
    imagePath: `/${imagePath(fromHex(digest)!).join("/")}`,
    aliasPath: alias === undefined ? null : `/${alias}`,
  };
}

function prefixed(prefix: string, values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Gateway } from "../gateway/gateway.ts";
import { FilterError, matches, parseFilter, type Filter } from "../rollout/filter.ts";
import type { FleetDevice } from "../rollout/fleet.ts";
import { pageOfSorted, PAGE_QUERY } from "./page.ts";
import { refuse } from "./problem.ts";
import { etagOf, IfMatch, revisionOf } from "./rollouts.ts";

export interface FleetControl {
  readonly gateway: Gateway;
  readonly call: (action: (nowUs: number) => void) => void;
  readonly unixMs: () => number;
}

const FleetQuery = z.strictObject({ ...PAGE_QUERY, filter: z.string().max(2_000).default("") });
const FactsBody = z.strictObject({
  tags: z
    .array(z.string().regex(/^[\w.:-]{1,64}$/))
    .max(32)
    .optional(),
  /** What class it is of, where the factory has not said so. */
  class: z.string().min(1).max(64).optional(),
  /** Hops to it, for predictions. */
  hops: z.int().min(1).max(64).optional(),
});
const RefreshBody = z.strictObject({ filter: z.string().max(2_000).default("") });
const DEVICE_OBJECT = [3, 0] as const;
const Named = z.object({ endpoint: z.string().min(1).max(255) });

/** Devices with all that is known of them, as rollouts see them. */
export function addFleetRoutes(app: FastifyInstance, control: FleetControl): void {
  const { gateway, call, unixMs } = control;
  const { fleet } = gateway;
  app.get<{ Querystring: z.infer<typeof FleetQuery> }>(
    "/v1/fleet",
    {
      schema: { summary: "Devices that match a filter, by name", querystring: FleetQuery },
      config: { access: "read" },
    },
    async ({ query }, reply) => {
      const filter = filterOf(query.filter);
      if (typeof filter === "string") return refuse(reply, 400, "bad-filter", filter);
      const nowMs = unixMs();
      const make = (endpoint: string): FleetDevice | undefined => {
        const device = fleet.device(endpoint);
        return device !== undefined && matches(filter, device, nowMs) === true ? device : undefined;
      };
      const page = pageOfSorted(fleet.sortedNames(), make, query);
      if (page === undefined) return refuse(reply, 400, "bad-cursor", "cursor is what `next` of the page before was");
      return reply.send(page);
    },
  );
  app.post<{ Body: z.infer<typeof RefreshBody> }>(
    "/v1/fleet/refresh",
    {
      schema: { summary: "Asks devices that match a filter for version and battery (object 3)", body: RefreshBody },
      config: { access: "operate", success: [202] },
    },
    async ({ body }, reply) => {
      const filter = filterOf(body.filter);
      if (typeof filter === "string") return refuse(reply, 400, "bad-filter", filter);
      let asked = 0;
      call((nowUs) => {
        for (const device of fleet.devices())
          if (matches(filter, device, unixMs()) === true && fleet.ask(nowUs, device.endpoint, DEVICE_OBJECT)) asked++;
        gateway.devices.settle(nowUs);
      });
      return reply.code(202).send({ asked });
    },
  );
  addDevice(app, control);
}

/** One device, by its name. */
function addDevice(app: FastifyInstance, { gateway: { fleet }, call }: FleetControl): void {
  app.get<{ Params: { endpoint: string } }>(
    "/v1/fleet/:endpoint",
    { schema: { summary: "One device", params: Named }, config: { access: "read" } },
    async ({ params: { endpoint } }, reply) => {
      const device = fleet.device(endpoint);
      if (device === undefined) return refuse(reply, 404, "no-such-device", `nothing is known of ${endpoint}`);
      return reply.header("etag", etagOf(fleet.inventory.get(endpoint))).send(device);
    },
  );
  app.delete<{ Params: { endpoint: string } }>(
    "/v1/fleet/:endpoint",
    {
      schema: { summary: "Forgets a device that is not registered", params: Named, headers: IfMatch },
      config: { access: "operate" },
    },
    async (request, reply) => {
      const { endpoint } = request.params;
      const stale = staleness(request, reply, fleet.inventory.get(endpoint).revision);
      if (stale !== undefined) return stale;
      const done = await new Promise<boolean | undefined>((resolve) =>
        call(() => {
          if (!fleet.forget(endpoint, resolve)) resolve(undefined);
        }),
      );
      if (done === true) return reply.code(204).send();
      if (done === false) return refuse(reply, 507, "not-stored", "it could not be written: free some disk space");
      return fleet.device(endpoint) === undefined
        ? refuse(reply, 404, "no-such-device", `nothing is known of ${endpoint}`)
        : refuse(reply, 409, "registered", `${endpoint} is registered: it would be known again at once`);
    },
  );
  app.patch<{ Params: { endpoint: string }; Body: z.infer<typeof FactsBody> }>(
    "/v1/fleet/:endpoint",
    {
      schema: { summary: "Says what a device is", params: Named, body: FactsBody, headers: IfMatch },
      config: { access: "operate" },
    },
    async (request, reply) => {
      const { endpoint } = request.params;
      const before = fleet.inventory.get(endpoint);
      const stale = staleness(request, reply, before.revision);
      if (stale !== undefined) return stale;
      const { tags = before.tags, class: named = before.class, hops = before.hops } = request.body;
      const facts = { tags: [...new Set(tags)], class: named, hops };
      const done = await new Promise<boolean>((resolve) => call(() => fleet.describe(endpoint, facts, resolve)));
      if (!done) return refuse(reply, 507, "not-stored", "it could not be written: free some disk space");
      return reply.header("etag", etagOf(fleet.inventory.get(endpoint))).send(fleet.device(endpoint));
    },
  );
}

/** The filter, or what is wrong with it. */
function filterOf(text: string): Filter | string {
  try {
    return parseFilter(text);
  } catch (error) {
    if (error instanceof FilterError) return error.message;
    throw error;
  }
}

/** The refusal of a change to what somebody else has changed meanwhile. */
function staleness(request: FastifyRequest, reply: FastifyReply, at: number): Promise<FastifyReply> | undefined {
  const revision = revisionOf(request);
  if (revision === "bad") return refuse(reply, 400, "bad-if-match", "If-Match is an ETag as a GET has given it");
  if (revision === undefined || revision === at) return undefined;
  return refuse(reply, 412, "changed-meanwhile", `it is at revision ${at} by now`);
}

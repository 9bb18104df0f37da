import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Devices } from "../gateway/devices.ts";
import type { OperationOutcome } from "../lwm2m/device-queue.ts";
import { OPERATION_KINDS, operationOf, type OperationSpec } from "../lwm2m/operation-spec.ts";
import { outcomeText } from "../lwm2m/operation-result.ts";
import { pathText } from "../lwm2m/path.ts";
import type { ProbeReport } from "../lwm2m/probe.ts";
import type { Registration } from "../lwm2m/registration.ts";
import { isObjectLink, linkText, type ResourceValue } from "../lwm2m/values.ts";
import { toBase64Url } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";
import { ListQuery, sendList } from "./page.ts";
import { refuse } from "./problem.ts";

export interface DeviceView {
  readonly endpoint: string;
  readonly location: string;
  readonly peer: string;
  readonly version: string;
  readonly lifetimeS: number;
  readonly binding: string;
  readonly queueMode: boolean;
  readonly awake: boolean;
  readonly sms: string | null;
  readonly others: Readonly<Record<string, string>>;
  readonly formats: readonly number[];
  readonly objects: readonly { readonly path: string; readonly version: string | null }[];
  /** Operations that wait for it. */
  readonly waiting: number;
  /** State of its newest update. */
  readonly update: string | null;
  /** By the gateway's clock, which begins with its process: when it registered or updated last. */
  readonly seenUs: number;
}

export interface OperationOptions {
  readonly priority?: number | undefined;
  readonly deadlineS?: number | undefined;
}

/** What the API needs of the gateway's LwM2M clients. */
export interface DevicesControl {
  readonly devices: Devices;
  /** Makes a call into the core. */
  call(action: (nowUs: number) => void): void;
  /** Has an operation wait for its client: its number once that is on the disk, and its outcome; undefined when it was not taken. */
  operate(
    endpoint: string,
    spec: OperationSpec,
    options: OperationOptions,
  ): Promise<{ readonly id: number; readonly outcome: Promise<OperationOutcome> } | undefined>;
  /** Undefined when there is no such client, or it is being probed already. */
  probe(endpoint: string): Promise<ProbeReport | undefined>;
}

const OperationBody = z.strictObject({
  operation: z.enum(OPERATION_KINDS),
  path: z.string().max(1_024),
  /** See OperationSpec. */
  value: z.string().max(65_536).optional(),
  /** Lower goes first; 5 where none is given. */
  priority: z.int().min(0).max(9).optional(),
  deadlineS: z.number().positive().max(31_536_000).optional(),
  /** False: 202 once it is on the disk, in place of its outcome. */
  wait: z.boolean().default(true),
});

const Endpoint = z.object({ endpoint: z.string().min(1).max(255) });
const NewestQuery = z.strictObject({ limit: z.coerce.number().int().min(1).max(100_000).default(100_000) });
type Newest = z.infer<typeof NewestQuery>;
type Named = { Params: { endpoint: string } };

export function addDeviceRoutes(app: FastifyInstance, control: DevicesControl): void {
  const { devices } = control;
  app.get(
    "/v1/devices",
    {
      schema: { summary: "LwM2M clients that are registered, by name", querystring: ListQuery },
      config: { access: "read" },
    },
    async (request, reply) => {
      let nowUs = 0;
      control.call((now) => (nowUs = now));
      const nameOf = ({ registration }: { registration: Registration }): string => registration.endpoint;
      return sendList(request, reply, devices.all(), nameOf, (one) => viewOf(devices, nowUs, one));
    },
  );
  app.get<Named>(
    "/v1/devices/:endpoint/timeline",
    {
      schema: { summary: "What happened to a device: the newest so many", params: Endpoint, querystring: NewestQuery },
      config: { access: "read" },
    },
    ({ params: { endpoint }, query }) => devices.timelines.of(endpoint).slice(-(query as Newest).limit),
  );
  app.get<Named>(
    "/v1/devices/:endpoint/operations",
    { schema: { summary: "What waits for a device", params: Endpoint }, config: { access: "read" } },
    (request) =>
      devices.waiting(request.params.endpoint).map(({ id, operation, running }) => ({
        id,
        operation: operation.kind,
        path: pathText(operation.path),
        running,
      })),
  );
  addOperationRoutes(app, control);
}

function addOperationRoutes(app: FastifyInstance, control: DevicesControl): void {
  const { devices } = control;
  const unknown = "is not registered, or too much waits for it: see blockferry devices";
  app.delete<{ Params: { endpoint: string; id: string } }>(
    "/v1/devices/:endpoint/operations/:id",
    {
      schema: { summary: "Takes an operation back", params: Endpoint.extend({ id: z.coerce.number().int().min(0) }) },
      config: { access: "operate", success: [200] },
    },
    async (request, reply) => {
      const { endpoint, id } = request.params;
      let done = false;
      control.call((nowUs) => {
        done = devices.withdraw(nowUs, endpoint, Number(id));
        devices.settle(nowUs);
      });
      return done
        ? { id: Number(id) }
        : refuse(reply, 404, "no-such-operation", `no operation ${id} waits for ${endpoint}`);
    },
  );
  app.post<Named>(
    "/v1/devices/:endpoint/operations",
    {
      schema: { summary: "Has a device read, written, executed and so on", params: Endpoint, body: OperationBody },
      config: { access: "operate", success: [200, 202] },
    },
    async (request, reply) => {
      const body = OperationBody.safeParse(request.body);
      if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
      const { wait, priority, deadlineS, ...spec } = body.data;
      const meant = operationOf(spec);
      if (typeof meant === "string") return refuse(reply, 400, "bad-request", meant);
      const { endpoint } = request.params;
      const taken = await control.operate(endpoint, spec, { priority, deadlineS });
      if (taken === undefined) return refuse(reply, 404, "no-such-device", `${endpoint} ${unknown}`);
      if (!wait) return reply.code(202).send({ id: taken.id });
      const { result } = await taken.outcome;
      if (result.kind === "refused") return refuse(reply, 422, "device-refused", outcomeText(result));
      if (result.kind === "failed") return refuse(reply, 504, "device-failed", result.reason);
      return {
        id: taken.id,
        code: result.code,
        readings: result.readings?.map(({ path, value }) => ({ path: pathText(path), value: plain(value) })) ?? [],
        links: result.links ?? [],
      };
    },
  );
  app.post<Named>(
    "/v1/devices/:endpoint/probe",
    { schema: { summary: "Finds out what a device can do", params: Endpoint }, config: { access: "operate" } },
    async (request, reply) => {
      const { endpoint } = request.params;
      const report = await control.probe(endpoint);
      return report ?? refuse(reply, 404, "no-such-device", `${endpoint} ${unknown}, or it is being probed already`);
    },
  );
}

function plain(value: ResourceValue): string | number | boolean {
  if (value instanceof Uint8Array) return toBase64Url(value);
  if (typeof value === "bigint") return String(value);
  return isObjectLink(value) ? linkText(value) : value;
}

function viewOf(
  devices: Devices,
  nowUs: number,
  { registration, seenUs }: { registration: Registration; seenUs: number },
): DeviceView {
  const { endpoint, id, peer, version, lifetimeS, binding, queueMode, sms, others, formats, objects } = registration;
  return {
    endpoint,
    location: `/rd/${id}`,
    peer: peerKey(peer),
    version,
    lifetimeS,
    binding,
    queueMode,
    awake: devices.isAwake(nowUs, endpoint),
    sms: sms ?? null,
    others,
    formats,
    objects: objects.map(({ path, version: of }) => ({ path: pathText(path), version: of ?? null })),
    waiting: devices.waiting(endpoint).length,
    update: devices.updates.get(endpoint)?.state ?? null,
    seenUs,
  };
}

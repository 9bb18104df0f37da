import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Gateway } from "../gateway/gateway.ts";
import { updateTarget, type ComponentInput } from "../gateway/update-target.ts";
import { parsePath, pathText } from "../lwm2m/path.ts";
import { DEFAULT_POLICY, type Component, type UpdateJob, type UpdatePolicy } from "../lwm2m/update/job.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { StartRefusal } from "../lwm2m/update/updates.ts";
import { ListQuery, sendList } from "./page.ts";
import { refuse } from "./problem.ts";

export interface UpdateView extends Omit<UpdateJob, "components"> {
  readonly components: readonly {
    readonly object: string;
    readonly digest: string;
    readonly size: number;
    readonly version: string;
  }[];
  /** Bytes that were served to it, or acknowledged by it, of the component at hand. */
  readonly bytes: number;
  readonly size: number;
}

/** What the API needs of the gateway to update clients. */
export interface UpdatesControl {
  readonly gateway: Gateway;
  readonly call: (action: (nowUs: number) => void) => void;
}

const lwm2mPath = z
  .string()
  .max(64)
  .refine((text) => parsePath(text) !== undefined, "write a path such as /3/0/3");
export const ComponentSchema: z.ZodType<ComponentInput> = z.strictObject({
  /** Key, digest (or its beginning), or version of a published image. */
  image: z.string().min(1).max(256),
  /** What the version resource has to read afterwards; the release's version when absent. */
  version: z.string().min(1).max(255).optional(),
  /** `/5/0`, or an instance of 33629. */
  object: lwm2mPath.default("/5/0"),
  versionPath: lwm2mPath.optional(),
});
const seconds = z.number().min(0).max(31_536_000);
const policyShape = {
  methods: z
    .array(z.enum(["pull", "push", "trigger"]))
    .min(1)
    .max(3)
    .default([...DEFAULT_POLICY.methods]),
  stallIntervals: z.int().min(1).max(100).default(DEFAULT_POLICY.stallIntervals),
  maxStalls: z.int().min(1).max(100).default(DEFAULT_POLICY.maxStalls),
  activeIntervalS: z.number().min(1).max(86_400).default(DEFAULT_POLICY.activeIntervalS),
  graceS: seconds.default(DEFAULT_POLICY.graceS),
  soakS: seconds.default(DEFAULT_POLICY.soakS),
  severity: z.int().min(0).max(2).optional(),
  maxDeferS: seconds.optional(),
  restarts: z.boolean().optional(),
  force: z.boolean().default(false),
};
/** How a device is updated, whoever asks for it. */
export const PolicySchema: z.ZodType<Omit<UpdatePolicy, "deadlineS" | "hold">> = z.strictObject(policyShape);

const UpdateBody = z.strictObject({
  components: z.array(ComponentSchema).min(1).max(16),
  ...policyShape,
  deadlineS: seconds.optional(),
});

const HOW_KNOWN =
  "see blockferry fleet list; blockferry fleet describe makes one known before it comes, so that its update waits for it";
const Endpoint = z.object({ endpoint: z.string().min(1).max(255) });
type Named = { Params: { endpoint: string } };

export function addUpdateRoutes(app: FastifyInstance, control: UpdatesControl): void {
  const { gateway, call } = control;
  const { updates } = gateway.devices;
  addUpdateReports(app, gateway);
  app.post<Named>(
    "/v1/devices/:endpoint/update",
    {
      schema: { summary: "Updates a device", params: Endpoint, body: UpdateBody },
      config: { access: "operate", success: [202] },
    },
    async (request, reply) => {
      const body = UpdateBody.safeParse(request.body);
      if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
      const { components, ...policy } = body.data;
      const targets = components.map((one) => updateTarget(gateway.nameable(), one, policy.methods));
      const wrong = targets.find((target) => typeof target === "string");
      if (wrong !== undefined) return refuse(reply, 422, "no-such-image", wrong);
      const { endpoint } = request.params;
      // Of one that is known it may begin when it registers; a name that is misspelt would be waited for in vain.
      if (
        gateway.fleet.device(endpoint) === undefined &&
        gateway.desk.lifecycle.state.byEndpoint(endpoint) === undefined
      )
        return refuse(reply, 404, "no-such-device", `${endpoint} has never registered here: ${HOW_KNOWN}`);
      const job = await new Promise<UpdateJob | StartRefusal | "not-stored" | Refusal>((resolve) =>
        call((nowUs) => {
          const unixMs = gateway.clock.unixMs(nowUs);
          const refusal = gateway.fleet.refusalToGive(unixMs, endpoint, targets as Component[], policy.methods);
          if (refusal !== undefined) return resolve(refusal);
          const told = (done: boolean): void => resolve(done ? started : "not-stored");
          const started = updates.start(nowUs, endpoint, targets as Component[], policy, told);
          if (typeof started === "string") resolve(started);
          gateway.devices.settle(nowUs);
        }),
      );
      if (job === "not-stored")
        return refuse(
          reply,
          507,
          job,
          "the update could not be written: see the gateway's log, and free some disk space",
        );
      if (typeof job !== "string" && "detail" in job && !("endpoint" in job))
        return refuse(reply, 409, job.reason, job.detail);
      if (typeof job !== "string") return reply.code(202).send(viewOf(gateway, job));
      return refuse(
        reply,
        409,
        job,
        `${endpoint}: wait for the update under way, or cancel it with: blockferry update ${endpoint} --cancel`,
      );
    },
  );
  addCancel(app, control);
}

function addCancel(app: FastifyInstance, { gateway, call }: UpdatesControl): void {
  const { updates } = gateway.devices;
  app.delete<Named>(
    "/v1/devices/:endpoint/update",
    {
      schema: { summary: "Cancels the update under way", params: Endpoint },
      config: { access: "operate", success: [200] },
    },
    async (request, reply) => {
      const { endpoint } = request.params;
      const done = await new Promise<boolean>((resolve) =>
        call((nowUs) => {
          if (!updates.cancel(nowUs, endpoint, () => resolve(true))) resolve(false);
          gateway.devices.settle(nowUs);
        }),
      );
      const job = updates.get(endpoint);
      if (done) return viewOf(gateway, job!);
      const why = job === undefined ? "nothing is under way" : `it is ${job.state}, and too late`;
      return refuse(reply, 409, "cannot-cancel", `${endpoint}: ${why}`);
    },
  );
}

function addUpdateReports(app: FastifyInstance, gateway: Gateway): void {
  const { updates } = gateway.devices;
  app.get(
    "/v1/updates",
    {
      schema: { summary: "The newest update of each client, by name", querystring: ListQuery },
      config: { access: "read" },
    },
    async (request, reply) =>
      sendList(
        request,
        reply,
        updates.all(),
        ({ endpoint }) => endpoint,
        (job) => viewOf(gateway, job),
      ),
  );
  app.get<Named>(
    "/v1/devices/:endpoint/update",
    { schema: { summary: "How the newest update of a device is", params: Endpoint }, config: { access: "read" } },
    async (request, reply) => {
      const job = updates.get(request.params.endpoint);
      return job === undefined
        ? refuse(reply, 404, "no-update", "it has not been updated by this gateway")
        : viewOf(gateway, job);
    },
  );
}

function viewOf(gateway: Gateway, job: UpdateJob): UpdateView {
  const { components, ...rest } = job;
  const at = components[job.component]!;
  return {
    ...rest,
    components: components.map(({ object, digest, size, version }) => ({
      object: pathText(object),
      digest,
      size,
      version,
    })),
    bytes: job.state === "succeeded" && job.executes > 0 ? at.size : gateway.devices.updates.bytesOf(job),
    size: at.size,
  };
}

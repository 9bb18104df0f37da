import { createHash } from "node:crypto";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Seen } from "../lifecycle/census.ts";
import { SUIT_LIMITS } from "../suit/envelope.ts";
import { fromHex } from "../util/bytes.ts";
import { ClassDefinition, hex, PublicKeyRecord } from "./class-schema.ts";
import { answer, settled, whoOf, type DeskControl } from "./desk.ts";
import { lifecycleView } from "./lifecycle-view.ts";
import { refuse } from "./problem.ts";

export interface LifecycleControl extends DeskControl {
  /** Clients that no factory has told of. */
  readonly strangers: () => Iterable<Seen>;
  readonly unixMs: () => number;
  /** What a client runs that is registered; undefined of others. */
  readonly running: (endpoint: string) => string | undefined;
}

const classId = hex(16);
const device = hex(8);
const actor = z.string().min(1).max(64).default("operator");
const leave = z.union([z.enum(["allow", "refuse"]), z.strictObject({ deferUntilMs: z.number().min(0) })]);
const reason = z.string().min(1).max(200);

const EventBody = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("class-defined"), definition: ClassDefinition }),
  z.strictObject({ kind: z.literal("key-revoked"), key: PublicKeyRecord, reason }),
  z.strictObject({ kind: z.literal("device-quarantined"), device, reason }),
  z.strictObject({ kind: z.literal("device-released"), device }),
  z.strictObject({
    kind: z.literal("support-set"),
    classId,
    support: z.strictObject({
      endsMs: z.number().min(0),
      warnDays: z.int().min(0).max(3_650),
      afterwards: z.enum(["warn", "no-new-releases"]),
    }),
  }),
  z.strictObject({
    kind: z.literal("policy-set"),
    classId,
    policy: z.strictObject({ features: leave, security: leave }),
  }),
  z.strictObject({ kind: z.literal("recovery-set"), classId, digest: hex(32) }),
]);
/** `after`: the number of the last entry that is known. */
const AuditQuery = z.strictObject({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(10_000).optional(),
});
const SubmitBody = z.strictObject({ actor, event: EventBody });
const endpoint = z.string().min(1).max(255);
const ProvisionBody = z.strictObject({
  actor,
  device,
  classId,
  endpoint: endpoint.optional(),
  key: hex(32),
});
const AdoptBody = z.strictObject({ actor, classId, endpoint });
const TransferBody = z.strictObject({
  actor,
  classId,
  envelope: z.base64().max(Math.ceil(SUIT_LIMITS.maxEnvelopeBytes / 3) * 4 + 8),
  names: z.array(z.string().min(1).max(64)).max(8).default([]),
});

/** What a client is called that has no name of a factory. */
const adoptedId = (name: string): string => createHash("sha256").update(`adopted ${name}`).digest("hex").slice(0, 16);

/** What is answered by the entry of the audit log that it has become. */
const ENTRY = { access: "administer", success: [201] } as const;

/** Who may do what to which devices; each change is in the audit log before it is answered. */
export function addLifecycleRoutes(app: FastifyInstance, control: LifecycleControl): void {
  const { desk, unixMs } = control;
  app.get(
    "/v1/lifecycle",
    { schema: { summary: "Classes, authorities, orphans, what is held" }, config: { access: "read" } },
    () => lifecycleView(desk, unixMs()),
  );
  app.post(
    "/v1/lifecycle/events",
    {
      schema: { summary: "A change of the lifecycle", body: SubmitBody },
      config: ENTRY,
    },
    async (request, reply) => {
      const body = SubmitBody.safeParse(request.body);
      if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
      const { event } = body.data;
      const who = whoOf(request, body.data.actor);
      return answer(reply, await settled(control, (nowUs, done) => desk.submit(nowUs, who, event, done)));
    },
  );
  app.post(
    "/v1/lifecycle/transfers",
    {
      schema: { summary: "Hands a class over to new authorities", body: TransferBody },
      config: ENTRY,
    },
    async (request, reply) => {
      const body = TransferBody.safeParse(request.body);
      if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
      const { actor: named, classId: id, envelope, names } = body.data;
      const who = whoOf(request, named);
      const bytes = new Uint8Array(Buffer.from(envelope, "base64"));
      return answer(reply, await settled(control, (nowUs, done) => desk.transfer(nowUs, who, id, bytes, names, done)));
    },
  );
  addFactoryRoutes(app, control);
  addClientRoutes(app, control);
  addLifecycleReports(app, control);
}

/** Where devices come from, and where they go to. */
function addFactoryRoutes(app: FastifyInstance, control: LifecycleControl): void {
  const { desk } = control;
  app.post(
    "/v1/lifecycle/devices",
    {
      schema: { summary: "A device that the factory made, with its credential", body: ProvisionBody },
      config: ENTRY,
    },
    async (request, reply) => {
      const body = ProvisionBody.safeParse(request.body);
      if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
      const { actor: named, key: secret, ...about } = body.data;
      const who = whoOf(request, named);
      const event = { kind: "device-provisioned", stage: 2, ...about } as const;
      return answer(
        reply,
        await settled(control, (nowUs, done) => desk.keepCredential(nowUs, who, event, fromHex(secret)!, done)),
      );
    },
  );
  addRetiring(app, control);
}

function addClientRoutes(app: FastifyInstance, control: LifecycleControl): void {
  const { desk } = control;
  app.post(
    "/v1/lifecycle/clients",
    {
      schema: { summary: "A LwM2M client that no factory made, as a device of a class", body: AdoptBody },
      config: ENTRY,
    },
    async (request, reply) => {
      const body = AdoptBody.safeParse(request.body);
      if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
      const { actor: named, ...about } = body.data;
      // Of one that was retired too: nobody sets it free by another name.
      const known = desk.lifecycle.state.byEndpoint(about.endpoint);
      if (known !== undefined)
        return refuse(reply, 409, "already-provisioned", `${about.endpoint} is device ${known.id}, ${known.state}`);
      const event = { kind: "device-provisioned", stage: 1, device: adoptedId(about.endpoint), ...about } as const;
      const who = whoOf(request, named);
      const result = await settled(control, (nowUs, done) => desk.submit(nowUs, who, event, done));
      const version = control.running(about.endpoint);
      if (result.ok && version !== undefined) control.call((nowUs) => desk.heard(nowUs, about.endpoint, version));
      return answer(reply, result);
    },
  );
  app.get<{ Params: { endpoint: string } }>(
    "/v1/lifecycle/clients/:endpoint",
    {
      schema: { summary: "The device that a LwM2M client is", params: z.object({ endpoint }) },
      config: { access: "read" },
    },
    async ({ params }, reply) => {
      const known = desk.lifecycle.state.byEndpoint(params.endpoint);
      if (known === undefined)
        return refuse(reply, 404, "no-such-device", `no factory made ${params.endpoint}, and nobody has adopted it`);
      return reply.send({ device: known.id, endpoint: known.endpoint, classId: known.classId, state: known.state });
    },
  );
}

function addRetiring(app: FastifyInstance, control: LifecycleControl): void {
  const { desk } = control;
  app.delete<{ Params: { device: string } }>(
    "/v1/lifecycle/devices/:device",
    {
      schema: {
        summary: "Retires a device; its credential is erased",
        params: z.object({ device: z.string().max(64) }),
      },
      config: ENTRY,
    },
    async (request, reply) => {
      const id = request.params.device;
      const who = actor.safeParse((request.query as { actor?: string }).actor);
      if (!who.success) return refuse(reply, 400, "bad-request", z.prettifyError(who.error));
      return answer(
        reply,
        await settled(control, (nowUs, done) => desk.decommission(nowUs, whoOf(request, who.data), id, done)),
      );
    },
  );
}

function addLifecycleReports(app: FastifyInstance, { desk, unixMs, strangers }: LifecycleControl): void {
  app.get<{ Querystring: z.infer<typeof AuditQuery> }>(
    "/v1/audit",
    {
      schema: { summary: "The hash-chained log, whole or behind an entry", querystring: AuditQuery },
      config: { access: "audit" },
    },
    ({ query: { after, limit } }) => ({
      head: desk.lifecycle.head ?? null,
      tampered: desk.tampered ?? null,
      lines: desk.lines.slice(after, limit === undefined ? undefined : after + limit),
    }),
  );
  app.get<{ Querystring: { days?: string } }>(
    "/v1/census",
    { schema: { summary: "Which versions run where, in counts" }, config: { access: "read" } },
    (request) => {
      const days = Number(request.query.days ?? 30);
      return desk.census(unixMs(), Number.isFinite(days) && days >= 0 ? days : 30, strangers());
    },
  );
}

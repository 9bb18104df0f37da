import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Gateway } from "../gateway/gateway.ts";
import { ROLLOUT_COMMANDS } from "../rollout/operator.ts";
import { wentBack, type Nameable } from "../gateway/update-target.ts";
import { targetWarnings } from "../rollout/group-plan.ts";
import { hasEnded, type Decision, type GroupRecord, type Member } from "../rollout/record.ts";
import { MEMBER, ROLLOUT } from "../rollout/states.ts";
import type { Counts } from "../rollout/members.ts";
import type { Rollout } from "../rollout/rollout.ts";
import type { RolloutResult } from "../rollout/rollouts.ts";
import type { GroupSpec, RolloutSpec } from "../rollout/spec.ts";
import { isoTime } from "../util/iso-time.ts";
import { pageOf, PAGE_QUERY, type PageOptions } from "./page.ts";
import { refuse } from "./problem.ts";
import { RolloutBody, specOf } from "./rollout-schema.ts";
import type { Prediction, Predictor, SimulatorRun } from "./prediction.ts";

export interface RolloutView {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  /** Why it is in this state. */
  readonly reason: string;
  readonly priority: string;
  readonly revision: number;
  readonly createdBy: string;
  readonly approvedBy: string | null;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly devices: Counts;
  readonly groups: readonly (Omit<GroupSpec, "filter"> &
    Pick<GroupRecord, "state" | "passed"> & { readonly total: number; readonly devices: Counts })[];
  readonly spec: RolloutSpec;
  /** Why nothing more is begun though it runs; null where that is not so. */
  readonly waitsFor: string | null;
  /** What an operator should know before it starts, or while it runs. */
  readonly warnings: readonly string[];
  /** What the simulator said before, beside what happened; null where nobody asked it. */
  readonly prediction: Prediction | null;
}

export interface RolloutsControl {
  readonly gateway: Gateway;
  readonly call: (action: (nowUs: number) => void) => void;
  readonly unixMs: () => number;
  /** Runs a rollout in the simulator; absent where there is none. */
  readonly predict?: Predictor | undefined;
}

type Named = { Params: { id: string } };
const Id = z.object({ id: z.string().max(64) });
const names = (table: { initial: string; rows: readonly { to: string }[] }): [string, ...string[]] =>
  [...new Set([table.initial, ...table.rows.map(({ to }) => to)])] as [string, ...string[]];

const ListQuery = z.strictObject({ ...PAGE_QUERY, state: z.enum(names(ROLLOUT)).optional() });
const DevicesQuery = z.strictObject({
  ...PAGE_QUERY,
  state: z.enum(names(MEMBER)).optional(),
  group: z.coerce.number().int().min(0).optional(),
});
const PageOnly = z.strictObject(PAGE_QUERY);
const CommandBody = z.strictObject({ command: z.enum(ROLLOUT_COMMANDS), why: z.string().max(500).default("") });
export const IfMatch: z.ZodType<{ "if-match"?: string | undefined }> = z.looseObject({
  "if-match": z.string().max(80).optional(),
});

const STATUS: Readonly<Record<string, number>> = {
  "no-such-rollout": 404,
  "no-such-dependency": 422,
  "key-reused": 422,
  "changed-meanwhile": 412,
  "same-person": 403,
  "store-write-failed": 507,
};

/** Rollouts: who gets what, when, how fast, and what became of it. */
export function addRolloutRoutes(app: FastifyInstance, control: RolloutsControl): void {
  addLists(app, control);
  addChanges(app, control);
  addPlanning(app, control);
}

const told = async (
  { call }: RolloutsControl,
  ask: (nowUs: number, tell: (result: RolloutResult) => void) => void,
): Promise<RolloutResult> => await new Promise((resolve) => call((nowUs) => ask(nowUs, resolve)));

async function answer(
  control: RolloutsControl,
  reply: FastifyReply,
  status: number,
  result: RolloutResult,
): Promise<FastifyReply> {
  if (!result.ok) return refuse(reply, STATUS[result.reason] ?? 409, result.reason, result.detail);
  const rollout = control.gateway.fleet.rollouts.get(result.record.id);
  if (rollout === undefined) return reply.code(204).send();
  return reply.code(status).header("etag", etagOf(rollout.record)).send(viewOfOne(rollout, control));
}

const unknown = async (reply: FastifyReply, id: string): Promise<FastifyReply> =>
  refuse(reply, 404, "no-such-rollout", `there is no rollout ${id}`);

function addLists(app: FastifyInstance, control: RolloutsControl): void {
  const { gateway } = control;
  const { rollouts } = gateway.fleet;
  app.get<{ Querystring: z.infer<typeof ListQuery> }>(
    "/v1/rollouts",
    { schema: { summary: "Rollouts, the oldest first", querystring: ListQuery }, config: { access: "read" } },
    async ({ query }, reply) => {
      const all = [...rollouts.all()].filter(({ record }) => query.state === undefined || record.state === query.state);
      const key = ({ record }: Rollout): string => `${String(record.createdMs).padStart(16, "0")}/${record.id}`;
      let known: Nameable | undefined;
      // Whom each would reach is said of one at a time: it looks at the whole fleet.
      return paged(reply, all, key, query, (one) => viewOf(one, control, () => (known ??= gateway.nameable())));
    },
  );
  app.get<Named>(
    "/v1/rollouts/:id",
    { schema: { summary: "One rollout", params: Id }, config: { access: "read" } },
    async ({ params: { id } }, reply) => {
      const rollout = rollouts.get(id);
      if (rollout === undefined) return unknown(reply, id);
      return reply.header("etag", etagOf(rollout.record)).send(viewOfOne(rollout, control));
    },
  );
  app.get<Named & { Querystring: z.infer<typeof DevicesQuery> }>(
    "/v1/rollouts/:id/devices",
    {
      schema: { summary: "Its devices, by name", params: Id, querystring: DevicesQuery },
      config: { access: "read" },
    },
    async ({ params: { id }, query }, reply) => {
      const rollout = rollouts.get(id);
      if (rollout === undefined) return unknown(reply, id);
      const { state, group } = query;
      const all = [...rollout.members.all()].filter(
        (one) => (state === undefined || one.state === state) && (group === undefined || one.group === group),
      );
      return paged(
        reply,
        all,
        ({ endpoint }) => endpoint,
        query,
        (one: Member) => one,
      );
    },
  );
  app.get<Named & { Querystring: PageOptions }>(
    "/v1/rollouts/:id/decisions",
    {
      schema: { summary: "What it decided, and why", params: Id, querystring: PageOnly },
      config: { access: "read" },
    },
    async ({ params: { id }, query }, reply) => {
      if (rollouts.get(id) === undefined) return unknown(reply, id);
      const key = ({ number }: Decision): string => String(number).padStart(8, "0");
      return paged(reply, rollouts.decisions(id), key, query, (one) => one);
    },
  );
}

function addChanges(app: FastifyInstance, control: RolloutsControl): void {
  const { gateway } = control;
  const { rollouts } = gateway.fleet;
  app.post<{ Body: unknown; Headers: { "idempotency-key"?: string } }>(
    "/v1/rollouts",
    {
      schema: { summary: "Creates a rollout; nothing is started", body: RolloutBody },
      config: { access: "operate", isRepeatable: true, success: [201] },
    },
    async (request, reply) => {
      const spec = specOf(gateway, request.body);
      if (typeof spec === "string") return refuse(reply, 422, "no-such-image", spec);
      const by = request.caller.name;
      // The same key names the same rollout, behind a restart of the gateway too.
      const key = request.headers["idempotency-key"];
      const whose = `${request.caller.id} ${key}`; // names may be given twice
      const id = key === undefined ? undefined : createHash("sha256").update(whose).digest("hex").slice(0, 12);
      return answer(
        control,
        reply,
        201,
        await told(control, (nowUs, tell) => rollouts.create(nowUs, spec, by, tell, id)),
      );
    },
  );
  app.post<Named & { Body: z.infer<typeof CommandBody> }>(
    "/v1/rollouts/:id/commands",
    {
      schema: {
        summary: "approve, deny, start, pause, resume, stop, cancel or retry",
        params: Id,
        body: CommandBody,
        headers: IfMatch,
      },
      config: { access: "operate" },
    },
    async (request, reply) => {
      const revision = revisionOf(request);
      if (revision === "bad") return refuse(reply, 400, "bad-if-match", "If-Match is an ETag as a GET has given it");
      const asked = { ...request.body, by: request.caller.name, revision };
      return answer(
        control,
        reply,
        200,
        await told(control, (nowUs, tell) => rollouts.command(nowUs, request.params.id, asked, tell)),
      );
    },
  );
  app.delete<Named>(
    "/v1/rollouts/:id",
    { schema: { summary: "Forgets one that has ended", params: Id, headers: IfMatch }, config: { access: "operate" } },
    async (request, reply) => {
      const revision = revisionOf(request);
      if (revision === "bad") return refuse(reply, 400, "bad-if-match", "If-Match is an ETag as a GET has given it");
      return answer(
        control,
        reply,
        204,
        await told(control, (_nowUs, tell) => rollouts.remove(request.params.id, revision, tell)),
      );
    },
  );
}

function addPlanning(app: FastifyInstance, { gateway, predict, unixMs }: RolloutsControl): void {
  app.get<{ Querystring: PageOptions }>(
    "/v1/simulations",
    {
      schema: { summary: "Plans that the simulator was asked for, the oldest first", querystring: PageOnly },
      config: { access: "read" },
    },
    async ({ query }, reply) => {
      const key = ({ atMs, id }: SimulatorRun): string => `${String(Math.floor(atMs)).padStart(16, "0")}/${id}`;
      return paged(reply, predict?.runs() ?? [], key, query, (one) => one);
    },
  );
  app.post<{ Body: unknown }>(
    "/v1/rollouts/plan",
    {
      schema: { summary: "What a rollout would cost, by the simulator; nothing is changed", body: RolloutBody },
      config: { access: "operate" },
    },
    async (request, reply) => {
      const spec = specOf(gateway, request.body);
      if (typeof spec === "string") return refuse(reply, 422, "no-such-image", spec);
      if (predict === undefined) return refuse(reply, 501, "no-simulator", "this gateway has no simulator");
      const prediction = await predict.plan(spec);
      return prediction === "busy"
        ? refuse(reply, 503, "simulator-busy", "it simulates other rollouts just now: ask again later")
        : {
            ...prediction,
            warnings: [
              ...warningsOf(spec, gateway.nameable()),
              ...targetWarnings(spec, gateway.fleet.devices(), unixMs()),
            ],
          };
    },
  );
}

/** Sends a page, or says that the cursor is none. */
async function paged<T>(
  reply: FastifyReply,
  all: Iterable<T>,
  keyOf: (item: T) => string,
  query: PageOptions,
  view: (item: T) => unknown,
): Promise<FastifyReply> {
  const page = pageOf(all, keyOf, query);
  if (page === undefined) return refuse(reply, 400, "bad-cursor", "cursor is what `next` of the page before was");
  return reply.send({ items: page.items.map(view), next: page.next });
}

export const etagOf = ({ revision }: { readonly revision: number }): string => `"${revision}"`;

/** What `If-Match` names; undefined when it is absent or `*`. */
export function revisionOf({ headers }: FastifyRequest): number | undefined | "bad" {
  const text = headers["if-match"];
  if (text === undefined || text === "*") return undefined;
  const match = /^"(\d{1,15})"$/.exec(text);
  return match === null ? "bad" : Number(match[1]);
}

const at = (ms: number | undefined): string | null => (ms === undefined ? null : isoTime(Math.floor(ms / 1_000)));

const warningsOf = ({ components }: RolloutSpec, nameable: Nameable): string[] =>
  components.flatMap(({ digest }) => wentBack(nameable, digest) ?? []);

/** With whom it would reach if it began now, where it has not. */
function viewOfOne(rollout: Rollout, control: RolloutsControl): RolloutView {
  const { spec, startedMs } = rollout.record;
  const view = viewOf(rollout, control);
  if (startedMs !== undefined || hasEnded(rollout.record)) return view;
  const more = targetWarnings(spec, control.gateway.fleet.devices(), control.unixMs());
  return { ...view, warnings: [...view.warnings, ...more] };
}

/** `nameable`: asked for where somebody may still heed a warning. */
function viewOf(
  rollout: Rollout,
  { gateway, predict, unixMs }: RolloutsControl,
  nameable: () => Nameable = () => gateway.nameable(),
): RolloutView {
  const { record, members } = rollout;
  const { id, spec, state, reason, revision, createdBy, approvedBy, createdMs, startedMs, endedMs } = record;
  const devices = {} as Record<string, number>;
  for (const name of names(MEMBER)) devices[name] = members.count(name as keyof Counts);
  return {
    id,
    name: spec.name,
    state,
    reason,
    priority: spec.priority,
    revision,
    createdBy,
    approvedBy: approvedBy ?? null,
    createdAt: at(createdMs)!,
    startedAt: at(startedMs),
    endedAt: at(endedMs),
    devices: devices as Counts,
    groups: spec.groups.map((group, i) => ({
      ...group,
      state: record.groups[i]!.state,
      passed: record.groups[i]!.passed,
      total: members.total(i),
      devices: { ...members.counts(i) },
    })),
    spec,
    waitsFor: rollout.waitsFor(unixMs()) ?? null,
    warnings: hasEnded(record) ? [] : warningsOf(spec, nameable()),
    prediction: predict?.of(record) ?? null,
  };
}

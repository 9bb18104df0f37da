import { Socket } from "node:net";
import rateLimit from "@fastify/rate-limit";
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from "fastify";
import { validatorCompiler } from "fastify-type-provider-zod";
import type { TokenRecord } from "../gateway/access.ts";
import { addIdempotency, REPLAYED, type AnswersPort } from "./idempotency.ts";
import { addOpenapi } from "./openapi.ts";
import { PROBLEM_TYPE, problemOf, refuse } from "./problem.ts";
import { mayUse, ROLES, type Caller, type Role } from "./roles.ts";

export const HTTP_LIMITS = {
  maxBodyBytes: 1_048_576,
  /** Over the network: a connection on which nothing comes or goes is closed. */
  idleMs: 120_000,
  requestsPerMinute: 1_200,
} as const;

/** How a server is reached. */
export interface ServerOptions {
  /** Through the socket in the state folder: who can open it may do everything. */
  readonly local: boolean;
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly requestsPerMinute?: number | undefined;
}

export interface ServerParts {
  readonly token: (secret: string) => TokenRecord | undefined;
  readonly answers: AnswersPort;
  /** Told of each answer. */
  readonly count: (status: number) => void;
  /** Told of each change that was asked for, and what became of it; it is answered once that is in the log. */
  readonly audit: (caller: Caller, method: string, path: string, status: number) => Promise<void>;
}

/** An empty API: it knows who asks, checks what is asked against its schema, and says what is wrong in one form. */
export async function createServer(options: ServerOptions, parts: ServerParts): Promise<FastifyInstance> {
  const { tls, local, requestsPerMinute = HTTP_LIMITS.requestsPerMinute } = options;
  const common: FastifyServerOptions = {
    bodyLimit: HTTP_LIMITS.maxBodyBytes,
    logger: false,
    ...(local ? {} : { connectionTimeout: HTTP_LIMITS.idleMs }),
    // What is no HTTP at all is told so too.
    clientErrorHandler: (error, socket) => {
      const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : 400;
      const body = JSON.stringify(problemOf(status, "bad-request", "it is no HTTP request"));
      const head = `HTTP/1.1 ${status} Bad Request\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`;
      if (socket.writable) socket.end(head + body);
      else socket.destroy();
    },
    // Names of devices have 255 bytes at most, each of which may take three characters.
    routerOptions: { maxParamLength: 800 },
    frameworkErrors: (error, _request, reply) => {
      void refuse(reply, error.statusCode ?? 400, "bad-request", error.message);
    },
  };
  const app = (tls === undefined ? fastify(common) : fastify({ ...common, https: tls } as never)) as FastifyInstance;
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler<Error & { statusCode?: number; code?: string }>(async (error, _request, reply) => {
    const status = error.statusCode ?? 500;
    const reason = status >= 500 ? "internal-error" : (TITLES[status] ?? "bad-request");
    return refuse(reply, status, reason, status >= 500 ? "a defect: please report what was asked" : error.message);
  });
  tellMethods(app);
  app.decorateRequest("caller");
  app.addHook("onRequest", async (request) => {
    request.caller = local ? localCaller(request) : callerOf(request, parts);
  });
  if (!local) {
    await app.register(rateLimit, { global: false });
    // Before anything else is done: those without a token are counted by their address.
    const keyGenerator = ({ caller, ip }: FastifyRequest): string => caller.id || ip;
    app.addHook("onRequest", app.rateLimit({ max: requestsPerMinute, keyGenerator }));
  }
  app.addHook("onRequest", authorize);
  await addOpenapi(app);
  // Before an answer is kept: what is given once more stands in the log already.
  app.addHook("onSend", async ({ method, url, caller }, reply, payload) => {
    const path = url.split("?")[0]!;
    const isChange = method !== "GET" && method !== "HEAD" && !UNAUDITED.test(path);
    if (isChange && !reply.hasHeader(REPLAYED)) await parts.audit(caller, method, path, reply.statusCode);
    return payload;
  });
  addIdempotency(app, parts.answers);
  // A device that sleeps answers after minutes: only a connection on which nothing is asked is closed for its silence.
  app.addHook("preHandler", (request, _reply, done) => {
    if (!local) closeAfter(request, 0);
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    if (!local) closeAfter(request, HTTP_LIMITS.idleMs);
    parts.count(reply.statusCode);
    done();
  });
  return app;
}

/** After so many ms of silence; 0 never. What is injected by a test has no socket. */
function closeAfter({ raw: { socket } }: FastifyRequest, ms: number): void {
  if (socket instanceof Socket) socket.setTimeout(ms);
}

/** A path that there is by other methods than the one asked by is told so, and by which (RFC 9110 section 15.5.6). */
function tellMethods(app: FastifyInstance): void {
  const routes: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    const path = new RegExp(`^${url.replaceAll(/:[^/]+/g, "[^/]+")}$`);
    for (const one of [method].flat()) routes.push({ method: one, path });
  });
  app.setNotFoundHandler(async ({ method, url }, reply) => {
    const path = url.split("?")[0]!;
    const allowed = routes.filter((route) => route.path.test(path)).map((route) => route.method);
    if (allowed.length === 0) return refuse(reply, 404, "no-such-route", `${method} ${path}: see /v1/openapi.json`);
    void reply.header("allow", allowed.join(", "));
    return refuse(reply, 405, "method-not-allowed", `${path} is asked by ${allowed.join(", ")}`);
  });
}

function localCaller({ headers }: FastifyRequest): Caller {
  const name = headers["blockferry-actor"];
  const actor = typeof name === "string" && name !== "" ? name.slice(0, 64) : "local";
  return { id: "local", name: actor, role: "admin", local: true };
}

function callerOf({ headers }: FastifyRequest, { token }: ServerParts): Caller {
  const secret = /^Bearer (\S{1,200})$/i.exec(headers.authorization ?? "")?.[1];
  const record = secret === undefined ? undefined : token(secret);
  if (record === undefined || !isRole(record.role)) return NOBODY;
  return { id: record.id, name: record.name, role: record.role, local: false };
}

/** What asks for nothing to be changed, and the many pieces of one upload. */
const UNAUDITED = /^\/v1\/(?:rollouts\/plan$|fleet\/refresh$|uploads\/)/;
const TITLES: Readonly<Record<number, string>> = {
  413: "too-long",
  415: "wrong-content-type",
  429: "too-many-requests",
};
const NOBODY: Caller = { id: "", name: "nobody", role: "viewer", local: false };
const isRole = (role: string): role is Role => ROLES.some((known) => known === role);

async function authorize(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  const { caller, routeOptions } = request;
  const access = routeOptions.config.access ?? "administer";
  if (caller === NOBODY && access !== "open") {
    void reply.header("www-authenticate", "Bearer");
    return refuse(reply, 401, "no-token", "send Authorization: Bearer with a token of blockferry token create");
  }
  if (routeOptions.url !== undefined && !mayUse(caller.role, access))
    return refuse(reply, 403, "not-allowed", `the role ${caller.role} may not ${access}`);
  return undefined;
}

import swagger from "@fastify/swagger";
import { jsonSchemaTransform } from "fastify-type-provider-zod";
import type { FastifyInstance, RouteOptions } from "fastify";
import { PROBLEM_TYPE } from "./problem.ts";

/** What swagger makes of one route, as far as it is changed here. */
interface Operation {
  parameters?: object[];
  requestBody?: object;
  responses?: Record<string, object>;
  security?: object[];
}
interface Described {
  readonly paths?: Record<string, Record<string, Operation>>;
  components?: Record<string, unknown>;
}

const IDEMPOTENCY_KEY = {
  in: "header",
  name: "Idempotency-Key",
  required: false,
  description: "Names the request: asked again by the same key, it is done once and answered as it was.",
  schema: { type: "string", maxLength: 255 },
};

const PROBLEM = {
  description: "It was refused; `title` is the reason, `detail` what to do (RFC 9457).",
  content: {
    [PROBLEM_TYPE]: {
      schema: {
        type: "object",
        required: ["type", "title", "status", "detail"],
        properties: {
          type: { type: "string" },
          title: { type: "string" },
          status: { type: "integer" },
          detail: { type: "string" },
        },
      },
    },
  },
};

const MEANINGS: Readonly<Record<number, string>> = {
  200: "Done",
  201: "Made",
  202: "Begun; it goes on when this is answered",
  204: "Done; there is nothing to say",
};

/** The document of all routes that are added behind this, made from their schemas. */
export async function addOpenapi(app: FastifyInstance): Promise<void> {
  const describeAll = describeRoutes(app);
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "blockferry", version: "1", description: "Update gateway for constrained networks." },
      components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
      security: [{ token: [] }],
    },
    transform: jsonSchemaTransform,
    transformObject: (given) =>
      describeAll("openapiObject" in given ? given.openapiObject : given.swaggerObject) as never,
  });
}

/** Adds to the OpenAPI document what no schema says: how a route answers, who may ask, and what headers it takes. */
function describeRoutes(app: FastifyInstance): (document: object) => object {
  const routes = new Map<string, RouteOptions>();
  app.addHook("onRoute", (route) => {
    const path = route.url.replaceAll(/:([^/]+)/g, "{$1}");
    for (const method of [route.method].flat()) routes.set(`${method.toLowerCase()} ${path}`, route);
  });
  return (document) => {
    const described = document as Described;
    for (const [path, operations] of Object.entries(described.paths ?? {}))
      for (const [method, operation] of Object.entries(operations)) {
        const route = routes.get(`${method} ${path}`);
        if (route !== undefined) describe(operation, method, route);
      }
    described.components = { ...described.components, responses: { Problem: PROBLEM } };
    return document;
  };
}

function describe(operation: Operation, method: string, { config = {} }: RouteOptions): void {
  const {
    access,
    success = [method === "delete" ? 204 : 200],
    gives = "application/json",
    takes,
    showsSecret,
  } = config;
  const answer = (status: number): object => ({
    description: MEANINGS[status],
    ...(status === 204 ? {} : { content: { [gives]: { schema: gives === "application/json" ? {} : BYTES } } }),
  });
  operation.responses = {
    ...Object.fromEntries(success.map((status) => [status, answer(status)])),
    default: { $ref: "#/components/responses/Problem" },
  };
  if (access === "open") operation.security = [];
  if (takes !== undefined) operation.requestBody = { required: true, content: { [takes]: { schema: BYTES } } };
  // A secret is shown once, whoever asks again.
  if (method === "post" && showsSecret !== true)
    operation.parameters = [...(operation.parameters ?? []), IDEMPOTENCY_KEY];
}

const BYTES = { type: "string" };

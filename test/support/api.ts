import type { FastifyInstance, LightMyRequestResponse } from "fastify";
import { createApi, type GatewayControl } from "../../src/http/api.ts";
import { EventLog } from "../../src/http/event-log.ts";
import type { Role } from "../../src/http/roles.ts";
import type { Lwm2mSite } from "./lwm2m-site.ts";

/** How a route answers. */
interface Answers {
  readonly method: string;
  readonly path: RegExp;
  readonly responses: Record<string, { readonly content?: object }>;
}

function answersOf(document: object): Answers[] {
  const { paths } = document as { paths: Record<string, Record<string, Pick<Answers, "responses">>> };
  return Object.entries(paths).flatMap(([template, operations]) => {
    const path = new RegExp(`^${template.replaceAll(/\{[^}]+\}/g, "[^/]+")}$`);
    return Object.entries(operations).map(([method, { responses }]) => ({ method, path, responses }));
  });
}

/** The API of a simulated site, its clock run for as long as an answer needs. */
export class ApiBench {
  readonly events: EventLog = new EventLog("run");
  readonly site: Lwm2mSite;
  local!: FastifyInstance;
  remote!: FastifyInstance;
  readonly tokens: Record<Role, string> = { admin: "", operator: "", viewer: "", auditor: "" };
  readonly #more: Partial<GatewayControl>;
  #said: readonly Answers[] | undefined;

  private constructor(site: Lwm2mSite, more: Partial<GatewayControl>) {
    this.site = site;
    this.#more = more;
  }

  static async open(site: Lwm2mSite, more: Partial<GatewayControl> = {}): Promise<ApiBench> {
    const bench = new ApiBench(site, more);
    await bench.start();
    for (const role of ["admin", "operator", "viewer", "auditor"] as const) {
      const made = await bench.ask("POST", "/v1/tokens", { name: `${role}-name`, role });
      bench.tokens[role] = (made.json as { token: string }).token;
    }
    return bench;
  }

  async start(): Promise<void> {
    const { bench } = this.site;
    const control: GatewayControl = {
      gateway: bench.gateway,
      addresses: ["127.0.0.1:5683"],
      events: this.events,
      unixMs: () => bench.engine.nowUs() / 1_000,
      metrics: () => bench.counters.snapshot(),
      call: (action) => bench.loop.call(action),
      operate: async () => Promise.resolve(undefined),
      probe: async () => Promise.resolve(undefined),
      publish: async ({ envelope, source }) => Promise.resolve(bench.publishEnvelope(envelope, source ?? "")!),
      ...this.#more,
    };
    this.local = await createApi(control);
    this.remote = await createApi(control, { local: false });
  }

  /** Each answer is one that the API's own document tells of. */
  #compare(method: string, url: string, { statusCode: status, headers }: LightMyRequestResponse): void {
    this.#said ??= answersOf(this.local.swagger());
    const path = url.split("?")[0]!;
    const said = this.#said.find((one) => one.method === method.toLowerCase() && one.path.test(path));
    if (said === undefined) return;
    const type = String(headers["content-type"] ?? "").split(";")[0]!;
    const own = said.responses[status];
    const types = own === undefined ? ["application/problem+json"] : Object.keys(own.content ?? { "": 0 });
    const isTold = own !== undefined || status >= 400;
    if (!isTold || !types.includes(type))
      throw new Error(`${method} ${url} answered ${status} ${type}, of which OpenAPI does not tell`);
  }

  async ask(
    method: string,
    url: string,
    body?: unknown,
    { as, headers = {}, raw }: { as?: Role | "nobody"; headers?: Record<string, string>; raw?: string } = {},
  ): Promise<{ status: number; json: unknown; headers: Record<string, unknown>; text: string }> {
    const app = as === undefined ? this.local : this.remote;
    const token: Record<string, string> =
      as === undefined || as === "nobody" ? {} : { authorization: `Bearer ${this.tokens[as]}` };
    const content: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
    const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const asked = app.inject({
      method: method as "GET",
      url,
      headers: { ...content, ...token, ...headers },
      ...(payload === undefined ? {} : { payload }),
    });
    const state = { open: true };
    const answer = asked.finally(() => (state.open = false));
    // What waits for the disk needs time to pass.
    while (state.open) {
      await new Promise((resolve) => setImmediate(resolve));
      this.site.bench.run(0.01);
    }
    const response = await answer;
    const text = response.body;
    if (as !== "nobody") this.#compare(method, url, response);
    const isJson = String(response.headers["content-type"] ?? "").includes("json");
    return {
      status: response.statusCode,
      headers: response.headers,
      text,
      json: isJson ? JSON.parse(text) : undefined,
    };
  }
}

import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { PROBLEMS } from "../../src/http/problem-codes.ts";
import { ApiBench } from "../support/api.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { arbitraryOf, type Schema } from "../support/schema-fuzz.ts";
import { temporaryUploads } from "../support/uploads.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly schema: Schema;
}
interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}

const RUNS = Number(process.env["FUZZ_API"] ?? 60);
/** Defects answer 500; these say what they mean. */
const TOLD: ReadonlySet<number> = new Set([501, 503, 504, 507]);

describe("any request to any route", () => {
  let api: ApiBench;
  const routes: { method: string; path: string; operation: Operation }[] = [];

  beforeAll(async () => {
    const site = new Lwm2mSite();
    for (let i = 0; i < 3; i++) site.addMote(`m${i}`);
    site.bench.run(30);
    api = await ApiBench.open(site, { uploads: temporaryUploads() });
    const { paths } = (await api.ask("GET", "/v1/openapi.json")).json as {
      paths: Record<string, Record<string, Operation>>;
    };
    for (const [path, methods] of Object.entries(paths))
      for (const [method, operation] of Object.entries(methods))
        routes.push({ method: method.toUpperCase(), path, operation });
  });

  /** A request by the schema of its route, with what the schema does not allow now and then. */
  const requestOf = ({
    method,
    path,
    operation,
  }: (typeof routes)[number]): fc.Arbitrary<{
    method: string;
    url: string;
    body: unknown;
    headers: Record<string, string>;
  }> => {
    const of = (where: string): Record<string, fc.Arbitrary<unknown>> =>
      Object.fromEntries(
        (operation.parameters ?? [])
          .filter((one) => one.in === where)
          .map(({ name, schema }) => [name, arbitraryOf(schema)]),
      );
    const schema = operation.requestBody?.content["application/json"]?.schema;
    const body = schema === undefined ? fc.constant(undefined) : arbitraryOf(schema, 0.05);
    return fc
      .record({
        path: fc.record(of("path")),
        query: fc.record(of("query"), { requiredKeys: [] }),
        body,
        match: fc.constantFrom('"1"', "*", "x", ""),
      })
      .map((drawn) => {
        const text = (value: unknown): string =>
          encodeURIComponent(typeof value === "string" ? value : JSON.stringify(value));
        const filled = path.replaceAll(/\{([^}]+)\}/g, (_all, name: string) => text(drawn.path[name] ?? "x"));
        const query = Object.entries(drawn.query)
          .map(([key, value]) => `${key}=${text(value)}`)
          .join("&");
        const headers: Record<string, string> = drawn.match === "" ? {} : { "if-match": drawn.match };
        return { method, url: query === "" ? filled : `${filled}?${query}`, body: drawn.body, headers };
      });
  };

  it("is answered by what it asked for, or by a problem that the table has; never by a defect", async () => {
    let [good, bad] = [0, 0];
    for (const route of routes) {
      if (route.path === "/v1/events") continue; // it does not end
      for (const request of fc.sample(requestOf(route), { numRuns: RUNS, seed: 7 })) {
        const { method, url, body, headers } = request;
        const answer = await api.ask(method, url, body, { headers });
        const where = `${method} ${url.slice(0, 300)} ${JSON.stringify(body)?.slice(0, 500)} -> ${answer.status} ${answer.text.slice(0, 300)}`;
        if (answer.status < 400) good++;
        else {
          bad++;
          expect(answer.status < 500 || TOLD.has(answer.status), where).toBe(true);
          expect(String(answer.headers["content-type"]), where).toContain("application/problem+json");
          const { title, status } = answer.json as { title: string; status: number };
          expect(status, where).toBe(answer.status);
          if (!LIFECYCLE.test(url) && !(method === "POST" && url === "/v1/images"))
            expect(Object.keys(PROBLEMS), where).toContain(title);
        }
      }
    }
    expect((await api.ask("GET", "/healthz")).status).toBe(200);
    expect(good).toBeGreaterThan(200);
    expect(bad).toBeGreaterThan(200);
  });

  it.each(["{", "[", "null", '"text"', "1", '{"a":', "\u0000", '{"__proto__":{"a":1}}'])(
    "a body that is %j is told to be none",
    async (raw) => {
      for (const url of ["/v1/rollouts", "/v1/images", "/v1/tokens", "/v1/lifecycle/events"])
        expect((await api.ask("POST", url, {}, { raw })).status).toBe(400);
    },
  );
});

/** What it refuses has reasons of its own. */
const LIFECYCLE = /^\/v1\/lifecycle\//;

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COUNTERS, GAUGES, type MetricName } from "../../src/http/metric-names.ts";
import { PROBLEMS } from "../../src/http/problem-codes.ts";
import { ApiBench } from "../support/api.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { temporaryUploads } from "../support/uploads.ts";

/*
 * docs/openapi.json, docs/http-api.md and docs/metrics.md are made from what the code asks. When that changes, these
 * fail; `npx vitest run --project unit test/docs -u` writes them anew.
 */

interface Route {
  readonly summary?: string;
}

interface Operation extends Route {
  readonly responses: Record<string, object>;
  readonly security?: readonly object[];
  readonly parameters?: readonly { readonly name: string }[];
  readonly requestBody?: object;
}

const sourcesOf = (folder: string): string[] =>
  readdirSync(new URL(`../../${folder}`, import.meta.url), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(new URL(`../../${folder}/${name}`, import.meta.url), "utf8"));

const openapi = async (): Promise<{ paths: Record<string, Record<string, Route>> }> => {
  const api = await ApiBench.open(new Lwm2mSite(), { uploads: temporaryUploads() });
  return (await api.ask("GET", "/v1/openapi.json")).json as { paths: Record<string, Record<string, Route>> };
};

describe("the API's documents", () => {
  it("docs/openapi.json is what the gateway serves", async () => {
    const text = `${JSON.stringify(await openapi(), undefined, 1)}\n`;
    await expect(text).toMatchFileSnapshot("../../docs/openapi.json");
  });

  it("each route says what it is for", async () => {
    for (const [path, methods] of Object.entries((await openapi()).paths))
      for (const [method, { summary }] of Object.entries(methods)) expect(summary, `${method} ${path}`).toBeTruthy();
  });

  it("the document says how each route answers, what it takes, and who may ask", async () => {
    const { paths } = (await openapi()) as unknown as { paths: Record<string, Record<string, Operation>> };
    for (const [path, methods] of Object.entries(paths))
      for (const [method, { responses, security, parameters = [] }] of Object.entries(methods)) {
        const codes = Object.keys(responses);
        expect(codes.length, `${method} ${path}`).toBeGreaterThan(1);
        expect(codes.at(-1)).toBe("default");
        expect(security === undefined).toBe(!/^\/(healthz|readyz|v1\/openapi\.json)$/.test(path));
        const isNamed = parameters.some(({ name }) => name === "Idempotency-Key");
        expect(isNamed, `${method} ${path}`).toBe(method === "post" && path !== "/v1/tokens");
      }
    expect(paths["/v1/uploads/{id}"]!["patch"]!.requestBody).toMatchObject({
      content: { "application/offset+octet-stream": {} },
    });
  });

  it("docs/http-api.md has each route and each problem", async () => {
    const routes = Object.entries((await openapi()).paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { summary }]) => `| \`${method.toUpperCase()} ${path}\` | ${summary} |`),
    );
    const problems = Object.entries(PROBLEMS).map(
      ([title, [status, meaning]]) => `| \`${title}\` | ${status} | ${meaning} |`,
    );
    const text = [
      HEAD,
      "## Routes",
      "",
      "| route | what it does |",
      "|---|---|",
      ...routes.toSorted(),
      "",
      "## Problems",
      "",
      "What is refused is answered by `application/problem+json` (RFC 9457): `title` is one of these, `detail` says what to do.",
      "Publishing and the lifecycle refuse for reasons of their own besides, which [trust.md](trust.md) has.",
      "",
      "| title | status | meaning |",
      "|---|---|---|",
      ...problems,
      "",
    ].join("\n");
    await expect(text).toMatchFileSnapshot("../../docs/http-api.md");
  });

  it("each problem of src/http is in the table", () => {
    const titles = sourcesOf("src/http").flatMap((text) =>
      [...text.matchAll(/refuse\(\s*reply,\s*\d{3},\s*"([a-z-]+)"/g)].map(([, title]) => title!),
    );
    expect(titles.length).toBeGreaterThan(20);
    for (const title of titles) expect(Object.keys(PROBLEMS)).toContain(title);
  });

  it("each counter of the code is in the table of metrics, and docs/metrics.md has them all", async () => {
    const counted = sourcesOf("src").flatMap((text) =>
      [...text.matchAll(/(?:metrics|#metrics|Metrics)\.count\(\s*"([a-z0-9_]+)"/g)].map(([, name]) => name!),
    );
    expect(counted.length).toBeGreaterThan(30);
    for (const name of counted) expect(Object.keys(COUNTERS)).toContain(name);
    const row = (name: string, { type, help, label }: MetricName): string =>
      `| \`${name}${label === undefined ? "" : `{${label}}`}\` | ${type} | ${help} |`;
    const text = [
      "# Metrics",
      "",
      "What `GET /metrics` tells Prometheus. Made from src/http/metric-names.ts; config/grafana.json draws it.",
      "",
      "| name | type | what |",
      "|---|---|---|",
      ...Object.entries(COUNTERS).map(([name, metric]) => row(`blockferry_${name}_total`, metric)),
      ...Object.entries(GAUGES).map(([name, metric]) => row(`blockferry_${name}`, metric)),
      "",
    ].join("\n");
    await expect(text).toMatchFileSnapshot("../../docs/metrics.md");
  });

  it("the dashboard asks for metrics that there are", async () => {
    const text = readFileSync(new URL("../../config/grafana.json", import.meta.url), "utf8");
    const names = [...text.matchAll(/blockferry_[a-z0-9_A-Z]+/g)].map(([name]) => name);
    const known = [
      ...Object.keys(COUNTERS).map((name) => `blockferry_${name}_total`),
      ...Object.keys(GAUGES).map((name) => `blockferry_${name}`),
    ];
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) expect(known).toContain(name);
    expect(() => JSON.parse(text) as unknown).not.toThrow();
    const api = await ApiBench.open(new Lwm2mSite());
    const served = (await api.ask("GET", "/metrics")).text;
    for (const name of Object.keys(GAUGES)) expect(served).toContain(`# TYPE blockferry_${name} gauge`);
  });
});

const HEAD = `# HTTP API

OpenAPI 3.1 of it is in [openapi.json](openapi.json), and at \`/v1/openapi.json\`. It listens on a socket in the state
folder, where only its owner comes and may do everything, and with \`--api-listen\` (or \`api.listen\`) on the network:

\`\`\`sh
npx blockferry serve --state gw --trust author.pub.pem --api-listen 127.0.0.1:8080 &
TOKEN=$(npx blockferry token create ann --role operator --state gw --json | node -p 'JSON.parse(require("fs").readFileSync(0)).token')
curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/v1/rollouts
\`\`\`

- **Roles**: \`viewer\` reads; \`operator\` publishes, updates, runs rollouts; \`auditor\` reads, and the audit log; \`admin\`
  does everything, tokens and the lifecycle too. Tokens expire, and only a hash of them is kept.
- **Lists** of rollouts, their devices and decisions, and of the fleet come in pages: \`{"items": […], "next": "…"}\`; \`cursor\` takes the \`next\`. Devices, updates,
  transfers and tokens are arrays, whole or with \`limit\` and a \`Link\` to the next page; the audit log takes \`after\` and \`limit\`.
- **Writes** of what has an \`ETag\` take it as \`If-Match\`; 412 means that somebody else was there first.
- **\`Idempotency-Key\`** on a POST: the same key gets the same answer for a day, and the thing is done once, behind a
  restart too. Where the gateway was killed while it did it, the key is answered by \`outcome-unknown\` (rollouts and images
  are simply asked for once more, which does nothing twice). Of the last 2,000 keys answers of up to 128 KiB are kept.
- **Events**: \`GET /v1/events\` is a stream of server-sent events (\`rollout\`, \`update\`, \`device\`, \`support\`); it goes on behind
  \`Last-Event-ID\`, and says \`gap\` where some are not there any more.
- **Uploads**: \`POST /v1/uploads\` with length and SHA-256, then \`PATCH\` from \`Upload-Offset\` on, as often as the line
  breaks; published as \`"source": "upload:<id>"\`.
- **Webhooks** (\`api.webhooks\`): each event is POSTed until it is answered 2xx, in order, at least once. The header
  \`blockferry-signature: t=<seconds>,v1=<hex>\` is HMAC-SHA-256 over \`<seconds>.<body>\` by the key in \`secretFile\`.
- **TLS**: \`api.tls\`; SIGHUP reads the certificate again.
- **Audit log**: who changed something is answered once its entry is on the disk. Not in it: pieces of uploads, plans and
  questions to devices, and answers that are given once more.
`;

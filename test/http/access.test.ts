import { beforeAll, describe, expect, it } from "vitest";
import { mayUse, ROLES, type Access, type Role } from "../../src/http/roles.ts";
import { AUDIT_PREFIX } from "../../src/gateway/lifecycle-desk.ts";
import type { Command } from "../../src/ports/commands.ts";
import { ApiBench } from "../support/api.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { temporaryUploads } from "../support/uploads.ts";

/** What each route is for: the whole API, route by route. A new route has to be put here. */
const ROUTES: Readonly<Record<string, Access>> = {
  "GET /healthz": "open",
  "GET /readyz": "open",
  "GET /metrics": "read",
  "GET /v1/metrics": "read",
  "GET /v1/openapi.json": "open",
  "GET /v1/images": "read",
  "GET /v1/images/replaced": "read",
  "POST /v1/images": "operate",
  "GET /v1/images/{key}/manifest": "read",
  "GET /v1/publications": "read",
  "GET /v1/transfers": "read",
  "GET /v1/devices": "read",
  "GET /v1/devices/{endpoint}/timeline": "read",
  "GET /v1/devices/{endpoint}/operations": "read",
  "POST /v1/devices/{endpoint}/operations": "operate",
  "DELETE /v1/devices/{endpoint}/operations/{id}": "operate",
  "POST /v1/devices/{endpoint}/probe": "operate",
  "GET /v1/devices/{endpoint}/update": "read",
  "POST /v1/devices/{endpoint}/update": "operate",
  "DELETE /v1/devices/{endpoint}/update": "operate",
  "GET /v1/updates": "read",
  "GET /v1/fleet": "read",
  "POST /v1/fleet/refresh": "operate",
  "GET /v1/fleet/{endpoint}": "read",
  "PATCH /v1/fleet/{endpoint}": "operate",
  "DELETE /v1/fleet/{endpoint}": "operate",
  "GET /v1/simulations": "read",
  "GET /v1/rollouts": "read",
  "POST /v1/rollouts": "operate",
  "POST /v1/rollouts/plan": "operate",
  "GET /v1/rollouts/{id}": "read",
  "DELETE /v1/rollouts/{id}": "operate",
  "POST /v1/rollouts/{id}/commands": "operate",
  "GET /v1/rollouts/{id}/devices": "read",
  "GET /v1/rollouts/{id}/decisions": "read",
  "GET /v1/lifecycle": "read",
  "GET /v1/lifecycle/clients/{endpoint}": "read",
  "POST /v1/lifecycle/clients": "administer",
  "POST /v1/lifecycle/events": "administer",
  "POST /v1/lifecycle/devices": "administer",
  "DELETE /v1/lifecycle/devices/{device}": "administer",
  "POST /v1/lifecycle/transfers": "administer",
  "GET /v1/audit": "audit",
  "GET /v1/census": "read",
  "GET /v1/credentials": "read",
  "GET /v1/credentials/{device}": "read",
  "PUT /v1/credentials/{device}": "administer",
  "GET /v1/tokens": "administer",
  "POST /v1/tokens": "administer",
  "DELETE /v1/tokens/{id}": "administer",
  "GET /v1/events": "read",
  "GET /v1/uploads": "operate",
  "POST /v1/uploads": "operate",
  "GET /v1/uploads/{id}": "operate",
  "PATCH /v1/uploads/{id}": "operate",
  "DELETE /v1/uploads/{id}": "operate",
};

describe("who may do what", () => {
  let api: ApiBench;
  beforeAll(async () => void (api = await ApiBench.open(new Lwm2mSite(), { uploads: temporaryUploads() })));

  it("the table has each route of the API, and no other", async () => {
    const { paths } = (await api.ask("GET", "/v1/openapi.json")).json as { paths: Record<string, object> };
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.toSorted()).toEqual(Object.keys(ROUTES).toSorted());
  });

  const cases = Object.entries(ROUTES).flatMap(([route, access]) =>
    ([...ROLES, "nobody"] as const).map((role) => [route, role, access] as const),
  );
  it.each(cases)("%s by %s", async (route, role, access) => {
    if (route === "GET /v1/events") return; // it never ends; events.test.ts has it
    const [method, path] = route.split(" ") as [string, string];
    const url = path.replaceAll(/\{[^}]+\}/g, "0123456789abcdef");
    const { status, json } = await api.ask(method, url, method === "GET" ? undefined : {}, { as: role });
    if (role === "nobody" && access !== "open") expect(status).toBe(401);
    else if (role !== "nobody" && !mayUse(role, access))
      expect(json).toMatchObject({ status: 403, title: "not-allowed" });
    else expect([401, 403]).not.toContain(status);
  });

  it("a token that has expired, was revoked, or is nobody's, is none", async () => {
    const made = (await api.ask("POST", "/v1/tokens", { name: "brief", role: "viewer", days: 0.001 })).json as {
      id: string;
      token: string;
    };
    const use = async (token: string): Promise<number> =>
      (await api.ask("GET", "/v1/images", undefined, { as: "nobody", headers: { authorization: `Bearer ${token}` } }))
        .status;
    expect(await use(made.token)).toBe(200);
    expect(await use(made.token.slice(0, -1) + (made.token.endsWith("0") ? "1" : "0"))).toBe(401);
    api.site.bench.run(100);
    expect(await use(made.token)).toBe(401);
    const other = (await api.ask("POST", "/v1/tokens", { name: "other", role: "viewer" })).json as typeof made;
    expect((await api.ask("DELETE", `/v1/tokens/${other.id}`)).status).toBe(204);
    expect(await use(other.token)).toBe(401);
  });

  it("secrets are neither on the disk nor in a list", async () => {
    const { token } = (await api.ask("POST", "/v1/tokens", { name: "x", role: "admin" })).json as { token: string };
    const secret = token.split("_")[2]!;
    for (const value of api.site.bench.disk.entries.values())
      expect(Buffer.from(value).toString("utf8")).not.toContain(secret);
    expect((await api.ask("GET", "/v1/tokens")).text).not.toContain(secret);
  });

  it("what somebody changed is in the audit log, by the token's name, whatever they say", async () => {
    await api.ask(
      "PATCH",
      "/v1/fleet/m1",
      { tags: ["a"] },
      { as: "operator", headers: { "blockferry-actor": "root" } },
    );
    api.site.bench.run(1);
    const { lines } = (await api.ask("GET", "/v1/audit", undefined, { as: "auditor" })).json as { lines: string[] };
    const entry = lines.map((line) => JSON.parse(line) as { actor: string; event: object }).at(-1)!;
    const tail = (await api.ask("GET", `/v1/audit?after=${lines.length - 1}&limit=5`, undefined, { as: "auditor" }))
      .json;
    expect((tail as { lines: string[] }).lines).toEqual(lines.slice(-1));
    expect(entry).toMatchObject({
      actor: "operator-name",
      event: { kind: "operator-action", method: "PATCH", path: "/v1/fleet/m1", role: "operator" satisfies Role },
    });
  });

  it("nobody is answered before what they changed is in the log on the disk", async () => {
    const own = await ApiBench.open(new Lwm2mSite());
    const { bench } = own.site;
    const held: Command[] = [];
    bench.intercept = (command) => {
      const isEntry = command.kind === "store" && command.ops.some(({ key }) => key.startsWith(AUDIT_PREFIX));
      if (!isEntry) return undefined;
      held.push(command);
      return "never";
    };
    let answered = false;
    const url = "/v1/fleet/m1";
    void own.local.inject({ method: "PATCH", url, payload: { tags: ["a"] } }).then(() => (answered = true));
    for (let i = 0; i < 2_000 && held.length === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      bench.run(0.1);
    }
    expect(held.length).toBe(1);
    bench.run(60);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(answered).toBe(false);
  });

  it("what was begun on a device that has not answered is in the log too; what cannot be logged is counted", async () => {
    const { bench } = api.site;
    const note = (status: number): void =>
      bench.loop.call((nowUs) =>
        bench.gateway.desk.noteOperator(
          nowUs,
          "ann",
          { method: "POST", path: "/v1/devices/m", role: "admin", status },
          () => {},
        ),
      );
    const before = bench.gateway.desk.lines.length;
    for (const status of [200, 403, 500, 504]) note(status);
    bench.run(1);
    expect(bench.gateway.desk.lines.slice(before).map((line) => /"status":(\d+)/.exec(line)?.[1])).toEqual([
      "200",
      "504",
    ]);
    bench.intercept = ({ kind }) =>
      kind === "store" ? { kind: "failed", reason: "disk-full", detail: "", retryable: true } : undefined;
    note(201);
    bench.run(1);
    bench.intercept = () => undefined;
    expect(bench.counters.snapshot()).toMatchObject({ "audit_entries_lost.store-write-failed": 1 });
  });

  it("files of the gateway's machine are not for those who come over the network", async () => {
    for (const source of ["file:///etc/passwd", "FILE:///etc/passwd", " file:///etc/passwd", "File:/etc/passwd"])
      expect(await api.ask("POST", "/v1/images", { envelope: "AAAA", source }, { as: "admin" })).toMatchObject({
        status: 403,
      });
  });

  it("a token is shown once, whatever key it was asked for by", async () => {
    const headers = { "idempotency-key": "t1" };
    const ask = async (): Promise<unknown> =>
      ((await api.ask("POST", "/v1/tokens", { name: "y", role: "viewer" }, { headers })).json as { token: string })
        .token;
    expect(await ask()).not.toBe(await ask());
  });
});

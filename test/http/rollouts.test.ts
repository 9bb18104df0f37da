import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ApiBench } from "../support/api.ts";
import { makeImage } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

const body = (change: object = {}): object => ({
  name: "two",
  components: [{ image: "2.0.0" }],
  groups: [
    { name: "canary", size: 1, onSuccess: "pause" },
    { name: "rest", errorThreshold: 50 },
  ],
  ...change,
});

async function setUp(count = 4): Promise<ApiBench> {
  const site = new Lwm2mSite();
  for (let i = 0; i < count; i++) site.addMote(`m${i}`);
  site.bench.run(30);
  return ApiBench.open(site);
}

interface View {
  id: string;
  state: string;
  reason: string;
  revision: number;
  warnings: string[];
  devices: Record<string, number>;
}

describe("rollouts by HTTP", () => {
  let api: ApiBench;
  beforeAll(async () => void (api = await setUp()));

  const create = async (change: object = {}, as?: "operator"): Promise<View> =>
    (await api.ask("POST", "/v1/rollouts", body(change), as === undefined ? {} : { as })).json as View;
  const command = async (id: string, what: string, options = {}): ReturnType<ApiBench["ask"]> =>
    api.ask("POST", `/v1/rollouts/${id}/commands`, { command: what }, options);
  const look = async (id: string): Promise<View> => (await api.ask("GET", `/v1/rollouts/${id}`)).json as View;

  it("is created, started, pauses behind its canary, is resumed, and finishes", async () => {
    const { id, state } = await create();
    expect(state).toBe("ready");
    expect((await command(id, "start")).status).toBe(200);
    api.site.bench.run(600);
    expect(await look(id)).toMatchObject({
      state: "paused",
      reason: "group-done",
      devices: { succeeded: 1, pending: 3 },
    });
    await command(id, "resume");
    api.site.bench.run(600);
    expect(await look(id)).toMatchObject({ state: "finished", devices: { succeeded: 4 } });
    const decisions = (await api.ask("GET", `/v1/rollouts/${id}/decisions`)).json as {
      items: { what: string; why: string }[];
    };
    expect(decisions.items.map(({ what }) => what)).toContain("group-done");
    for (const { why } of decisions.items) expect(why).not.toBe("");
    const fleet = (await api.ask("GET", "/v1/fleet?filter=version%3D%3D2.0.0")).json as { items: object[] };
    expect(fleet.items.length).toBe(4);
  });

  it("needs another person where it says so", async () => {
    const made = await create({ approval: true }, "operator");
    expect(made.state).toBe("waiting-for-approval");
    expect(await command(made.id, "start")).toMatchObject({ status: 409, json: { title: "wrong-state" } });
    expect(await command(made.id, "approve", { as: "operator" })).toMatchObject({
      status: 403,
      json: { title: "same-person" },
    });
    expect(await command(made.id, "approve", { as: "admin" })).toMatchObject({ status: 200, json: { state: "ready" } });
  });

  it("by a key that somebody else of the same name has used is another one; one's own key says one thing", async () => {
    const token = async (): Promise<string> =>
      ((await api.ask("POST", "/v1/tokens", { name: "ci", role: "operator" })).json as { token: string }).token;
    const tokens = [await token(), await token()];
    const made = async (which: number, name: string): Promise<{ status: number; json: unknown }> => {
      api.tokens.operator = tokens[which]!;
      const headers = { "idempotency-key": "deploy-1" };
      return await api.ask("POST", "/v1/rollouts", body({ name }), { as: "operator", headers });
    };
    const before = api.tokens.operator;
    expect(await made(0, "one")).toMatchObject({ status: 201, json: { name: "one" } });
    expect(await made(1, "other")).toMatchObject({ status: 201, json: { name: "other" } });
    api.site.bench.run(2 * 86_400); // its answers are kept for a day; the rollout is there still
    expect(await made(0, "one")).toMatchObject({ status: 201, json: { name: "one" } });
    api.site.bench.run(2 * 86_400);
    expect(await made(0, "another")).toMatchObject({ status: 422, json: { title: "key-reused" } });
    api.tokens.operator = before;
  });

  it("a revision that is not the newest changes nothing", async () => {
    const { id } = await create();
    const shown = await api.ask("GET", `/v1/rollouts/${id}`);
    const etag = String(shown.headers["etag"]);
    expect((await command(id, "start", { headers: { "if-match": '"999"' } })).status).toBe(412);
    expect((await command(id, "start", { headers: { "if-match": "nonsense" } })).status).toBe(400);
    expect((await look(id)).state).toBe("ready");
    expect((await command(id, "start", { headers: { "if-match": etag } })).status).toBe(200);
    expect((await api.ask("DELETE", `/v1/rollouts/${id}`)).status).toBe(409);
    await command(id, "cancel");
    api.site.bench.run(600);
    expect((await api.ask("DELETE", `/v1/rollouts/${id}`)).status).toBe(204);
    expect((await api.ask("GET", `/v1/rollouts/${id}`)).status).toBe(404);
  });

  it("the same key makes one rollout, and another body by it none", async () => {
    const headers = { "idempotency-key": "k1" };
    const first = await api.ask("POST", "/v1/rollouts", body({ name: "once" }), { headers });
    const again = await api.ask("POST", "/v1/rollouts", body({ name: "once" }), { headers });
    expect(again).toMatchObject({ status: 201, json: first.json, headers: { etag: first.headers["etag"] } });
    const long = { "idempotency-key": "k".repeat(256) };
    expect((await api.ask("POST", "/v1/rollouts", body(), { headers: long })).status).toBe(400);
    expect(again.headers["idempotency-replayed"]).toBe("true");
    expect((await api.ask("POST", "/v1/rollouts", body({ name: "else" }), { headers })).status).toBe(422);
    api.site.bench.restart();
    await api.start(); // what was answered is forgotten; the rollout is there
    const later = await api.ask("POST", "/v1/rollouts", body({ name: "once" }), { headers });
    expect((later.json as View).id).toBe((first.json as View).id);
  });

  it("warns where nobody, or somebody unknown, is meant; a filter and names are not given together", async () => {
    const own = await setUp(1);
    const warned = async (change: object): Promise<unknown> =>
      ((await own.ask("POST", "/v1/rollouts", body(change))).json as View).warnings;
    const nobody = "no device matches it now: it would end at once";
    expect(await warned({ target: "endpoint==x*" })).toEqual([nobody]);
    expect(await warned({ endpoints: ["m0", "m1"] })).toEqual(["devices are named that are not known here: m1"]);
    expect(await warned({ endpoints: ["m1"] })).toEqual([nobody, "devices are named that are not known here: m1"]);
    expect(await warned({})).toEqual([]);
    const both = await own.ask("POST", "/v1/rollouts", body({ endpoints: ["m0"], target: "endpoint==m1" }));
    expect(both).toMatchObject({ status: 400, json: { detail: expect.stringContaining("not both") as string } });
  });

  it("warns who goes back to an image that another release has taken the place of", async () => {
    const own = await setUp(1);
    const { bench } = own.site;
    const post = async (version: string): Promise<unknown> =>
      ((await own.ask("POST", "/v1/rollouts", { name: "back", components: [{ image: version }] })).json as View)
        .warnings;
    expect(await post("2.0.0")).toEqual([]);
    bench.publish(makeImage(6, 500), 3, { change: { version: "3.0.0" } });
    expect(await post("3.0.0")).toEqual([]);
    expect(await post("2.0.0")).toEqual([
      expect.stringMatching(/is of number 2 for class \w{32}, and 3 is on offer there: devices/),
    ]);
    const { items } = (await own.ask("GET", "/v1/rollouts")).json as { items: View[] };
    expect(items.map(({ warnings }) => warnings.length).toSorted((a, b) => a - b)).toEqual([0, 1, 1]);
  });

  it("lists page by page, each once", async () => {
    for (let i = 0; i < 5; i++) await create({ name: `n${i}` });
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const page = (await api.ask("GET", `/v1/rollouts?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`)).json as {
        items: View[];
        next: string | null;
      };
      expect(page.items.length).toBeLessThanOrEqual(2);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next;
      if (seen.length === 2) await create({ name: "meanwhile" });
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.length).toBe([...api.site.bench.gateway.fleet.rollouts.all()].length);
    expect((await api.ask("GET", "/v1/rollouts?cursor=!!")).status).toBe(400);
  });

  it.each([
    ["a filter that is none", { target: "version==" }, "a value is missing"],
    ["an attribute that is none", { target: "colour==red" }, "colour is none of"],
    [
      "a window in no zone",
      { window: { schedule: "0 2 * * *", durationS: 60, timeZone: "Mars/Phobos" } },
      "no such window",
    ],
    [
      "a schedule that is none",
      { window: { schedule: "99 2 * * *", durationS: 60, timeZone: "UTC" } },
      "no such window",
    ],
    [
      "a window that never comes",
      { window: { schedule: "0 2 30 2 *", durationS: 60, timeZone: "UTC" } },
      "never comes",
    ],
    ["an unknown key", { colour: "red" }, "colour"],
    ["percent and size", { groups: [{ name: "a", percent: 1, size: 2 }] }, "not both"],
  ])("%s is refused with what is wrong", async (_what, change, detail) => {
    const answer = await api.ask("POST", "/v1/rollouts", body(change));
    expect(answer.status).toBe(400);
    expect((answer.json as { detail: string }).detail).toContain(detail);
  });

  it("an image that nobody has published is refused", async () => {
    const answer = await api.ask("POST", "/v1/rollouts", body({ components: [{ image: "9.9.9" }] }));
    expect(answer).toMatchObject({ status: 422, json: { title: "no-such-image" } });
  });

  it("the example of config/ is a rollout", async () => {
    const example: unknown = parse(readFileSync(new URL("../../config/rollout.yaml", import.meta.url), "utf8"));
    expect((await api.ask("POST", "/v1/rollouts", example)).status).toBe(201);
  });

  it("a device that was named amiss can be forgotten, one that is registered not", async () => {
    const other = await setUp(1);
    const forget = async (name: string): Promise<number> => (await other.ask("DELETE", `/v1/fleet/${name}`)).status;
    expect((await other.ask("PATCH", "/v1/fleet/typo", { tags: ["lab"] })).status).toBe(200);
    other.site.bench.intercept = ({ kind }) =>
      kind === "store" ? { kind: "failed", reason: "disk-full", detail: "", retryable: true } : undefined;
    expect(await forget("typo")).toBe(507);
    other.site.bench.intercept = () => undefined;
    expect((await other.ask("GET", "/v1/fleet/typo")).json).toMatchObject({ tags: ["lab"] });
    expect([await forget("typo"), await forget("typo"), await forget("m0")]).toEqual([204, 404, 409]);
    other.site.bench.restart();
    await other.start();
    expect((await other.ask("GET", "/v1/fleet/typo")).status).toBe(404);
  });

  it("devices tell their version and battery when they are asked", async () => {
    const other = await setUp(2);
    expect((await other.ask("GET", "/v1/fleet/m0")).json).not.toHaveProperty("version");
    expect((await other.ask("POST", "/v1/fleet/refresh", { filter: "endpoint==m0" })).json).toEqual({ asked: 1 });
    other.site.bench.run(5);
    expect((await other.ask("GET", "/v1/fleet/m0")).json).toMatchObject({ version: "1.0.0", battery: 90 });
    expect((await other.ask("GET", "/v1/fleet/m1")).json).not.toHaveProperty("version");
    expect((await other.ask("POST", "/v1/fleet/refresh", { filter: "(" })).status).toBe(400);
  });

  it("a list that is an array has a Link to its next page, and is whole where nobody asks for less", async () => {
    const whole = (await api.ask("GET", "/v1/devices")).json as { endpoint: string }[];
    expect(whole.map(({ endpoint }) => endpoint)).toEqual(["m0", "m1", "m2", "m3"]);
    const names: string[] = [];
    for (let url: string | undefined = "/v1/devices?limit=3"; url !== undefined;) {
      const page = await api.ask("GET", url);
      names.push(...(page.json as typeof whole).map(({ endpoint }) => endpoint));
      url = /^<([^>]+)>; rel="next"$/.exec((page.headers["link"] as string | undefined) ?? "")?.[1];
    }
    expect(names).toEqual(["m0", "m1", "m2", "m3"]);
    expect((await api.ask("GET", "/v1/updates?limit=0")).status).toBe(400);
    expect((await api.ask("GET", "/v1/tokens?limit=1&cursor=!")).status).toBe(400);
  });

  it("tags outlive the gateway, and a stale write is refused", async () => {
    expect((await api.ask("PATCH", "/v1/fleet/m1", { tags: ["roof"], hops: 3 })).json).toMatchObject({
      tags: ["roof"],
    });
    expect((await api.ask("PATCH", "/v1/fleet/m1", { tags: [] }, { headers: { "if-match": '"0"' } })).status).toBe(412);
    const stale = { headers: { "if-match": '"999"' } };
    expect((await api.ask("DELETE", "/v1/fleet/m1", undefined, stale)).status).toBe(412);
    api.site.bench.restart();
    await api.start();
    const found = (await api.ask("GET", `/v1/fleet?filter=${encodeURIComponent("tag==roof;hops=gt=2")}`)).json;
    expect(found).toEqual({ items: [expect.objectContaining({ endpoint: "m1" })], next: null });
  });
});

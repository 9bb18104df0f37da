import { beforeAll, describe, expect, it } from "vitest";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { toHex } from "../../src/util/bytes.ts";
import { ApiBench } from "../support/api.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

let api: ApiBench;
beforeAll(async () => {
  const site = new Lwm2mSite();
  site.addMote("meter");
  site.bench.run(5);
  api = await ApiBench.open(site);
});

const post = async (url: string, body: object): ReturnType<ApiBench["ask"]> => api.ask("POST", url, body);

describe("an update of a client", () => {
  const update = async (endpoint: string): ReturnType<ApiBench["ask"]> =>
    post(`/v1/devices/${endpoint}/update`, { components: [{ image: "2.0.0" }] });

  it("that nobody knows is refused; of one that is known it waits", async () => {
    expect(await update("meteor")).toMatchObject({ status: 404, json: { title: "no-such-device" } });
    await api.ask("PATCH", "/v1/fleet/meteor", { tags: ["lab"] });
    expect(await update("meteor")).toMatchObject({ status: 202, json: { state: "waiting" } });
    expect((await update("meter")).status).toBe(202);
    api.site.settle(["meter"]);
  });
});

describe("a client that no factory made", () => {
  const adopt = async (endpoint: string): ReturnType<ApiBench["ask"]> =>
    post("/v1/lifecycle/clients", { endpoint, classId: toHex(classId) });

  it("is adopted into a class, once, and then held and retired as any device", async () => {
    expect(await adopt("meter")).toMatchObject({ status: 409, json: { title: "no-such-class" } });
    expect((await api.ask("GET", "/v1/lifecycle/clients/meter")).status).toBe(404);
    const definition = {
      id: toHex(classId),
      vendorId: toHex(vendorId),
      name: "sensor",
      escrow: [],
      operators: [],
      hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 },
      authorities: [{ ...keyRecord(author.publicKey), name: "author" }],
    };
    const event = async (one: object): Promise<number> => (await post("/v1/lifecycle/events", { event: one })).status;
    expect(await event({ kind: "class-defined", definition })).toBe(201);
    const census = async (): Promise<object[]> => (await api.ask("GET", "/v1/census")).json as object[];
    const before = await census();
    expect((await adopt("meter")).status).toBe(201);
    api.site.bench.run(1);
    const known = { version: "2.0.0", devices: 1, notSeen: 0 };
    expect(before).toContainEqual({ ...known, classId: "unknown" });
    expect(await census()).toContainEqual({ ...known, classId: toHex(classId) });
    expect(await adopt("meter")).toMatchObject({ status: 409, json: { title: "already-provisioned" } });
    const shown = (await api.ask("GET", "/v1/lifecycle/clients/meter")).json as { device: string };
    expect(shown).toEqual({
      device: expect.stringMatching(/^[0-9a-f]{16}$/),
      endpoint: "meter",
      classId: toHex(classId),
      state: "provisioned",
    });
    const { device } = shown;
    api.site.bench.publish(makeImage(8, 700), 3, { change: { version: "3.0.0" } });
    const old = { components: [{ image: "2.0.0" }], force: true };
    expect((await post("/v1/devices/meter/update", old)).status).toBe(202);
    expect(await event({ kind: "device-quarantined", device, reason: "odd" })).toBe(201);
    expect(await post("/v1/devices/meter/update", old)).toMatchObject({ status: 409, json: { title: "quarantined" } });
    expect((await api.ask("DELETE", `/v1/lifecycle/devices/${device}`)).status).toBe(201);
    expect((await adopt("meter")).status).toBe(409);
    const made = { device: "11".repeat(8), classId: toHex(classId), endpoint: "made", key: "00".repeat(32) };
    expect((await post("/v1/lifecycle/devices", made)).status).toBe(201);
    expect((await api.ask("DELETE", `/v1/lifecycle/devices/${made.device}`)).status).toBe(201);
    expect(await adopt("made")).toMatchObject({ status: 409, json: { title: "already-provisioned" } });
    const { bench } = api.site;
    const components = [{ digest: api.site.target.digest }];
    expect(bench.gateway.fleet.refusalToGive(0, "made", components, ["push"])?.reason).toBe("decommissioned");
    expect((await adopt("n".repeat(200))).status).toBe(201);
  });
});

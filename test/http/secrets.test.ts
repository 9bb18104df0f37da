import { utimesSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { ApiBench } from "../support/api.ts";
import { author, classId, vendorId } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { temporaryUploads } from "../support/uploads.ts";
import { ofOrigins } from "../../src/cli/origins.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { toHex } from "../../src/util/bytes.ts";

const DEVICE = "0011223344556677";
const SECRET = "5e".repeat(32);
const OTHER = "6f".repeat(32);

describe("credentials of devices", () => {
  let api: ApiBench;
  beforeAll(async () => {
    api = await ApiBench.open(new Lwm2mSite());
    const hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 65_536 };
    const authorities = [{ name: "author", ...keyRecord(author.publicKey) }];
    const definition = { id: toHex(classId), name: "sensor", vendorId: toHex(vendorId), hardware, authorities };
    const event = { kind: "class-defined", definition };
    expect((await api.ask("POST", "/v1/lifecycle/events", { event })).status).toBe(201);
    const made = { device: DEVICE, classId: toHex(classId), endpoint: "m0", key: SECRET };
    expect((await api.ask("POST", "/v1/lifecycle/devices", made)).status).toBe(201);
  });

  it("go in, and never come out", async () => {
    const view = { device: DEVICE, classId: toHex(classId), endpoint: "m0", state: "active", kind: "confirmation-key" };
    expect((await api.ask("GET", "/v1/credentials", undefined, { as: "viewer" })).json).toEqual([view]);
    expect((await api.ask("GET", `/v1/credentials/${DEVICE}`)).json).toEqual(view);
    const put = await api.ask("PUT", `/v1/credentials/${DEVICE}`, { key: OTHER }, { as: "admin" });
    expect(put.status).toBe(200);
    const all = [
      put.text,
      (await api.ask("GET", "/v1/credentials")).text,
      (await api.ask("GET", "/v1/lifecycle")).text,
      (await api.ask("GET", "/v1/audit")).text,
    ];
    expect(all.join()).not.toMatch(new RegExp(`${SECRET}|${OTHER}`));
    const { lines } = (await api.ask("GET", "/v1/audit")).json as { lines: string[] };
    const entry = JSON.parse(lines.at(-1)!) as object;
    expect(entry).toMatchObject({ actor: "admin-name", event: { kind: "credential-replaced", device: DEVICE } });
  });

  it("are those of devices that there are", async () => {
    const stranger = "/v1/credentials/ffffffffffffffff";
    expect((await api.ask("GET", stranger)).json).toMatchObject({ status: 404, title: "no-such-credential" });
    expect((await api.ask("PUT", stranger, { key: OTHER })).status).toBe(404);
    expect((await api.ask("PUT", `/v1/credentials/${DEVICE}`, { key: "short" })).status).toBe(400);
    expect((await api.ask("DELETE", `/v1/lifecycle/devices/${DEVICE}`)).status).toBe(201);
    expect((await api.ask("GET", "/v1/credentials")).json).toEqual([]);
    expect((await api.ask("PUT", `/v1/credentials/${DEVICE}`, { key: OTHER })).status).toBe(404);
  });
});

describe("uploads that nobody goes on with", () => {
  it("are listed, and thrown away after a week unless a release names them", async () => {
    let nowMs = Date.now();
    const needed = "ab".repeat(32);
    const uploads = temporaryUploads({ unixMs: () => nowMs, isNeeded: (sha256) => sha256 === needed });
    const api = await ApiBench.open(new Lwm2mSite(), { uploads });
    const create = async (sha256: string): Promise<string> =>
      ((await api.ask("POST", "/v1/uploads", { bytes: 10, sha256 })).json as { id: string }).id;
    const [old, named] = [await create("00".repeat(32)), await create(needed)];
    const ids = async (): Promise<string[]> =>
      ((await api.ask("GET", "/v1/uploads", undefined, { as: "operator" })).json as { id: string }[]).map(
        ({ id }) => id,
      );
    expect(await ids()).toEqual([old, named].toSorted());
    nowMs += 8 * 86_400_000;
    const fresh = await create("11".repeat(32));
    utimesSync(join(uploads.folder, fresh), nowMs / 1_000, nowMs / 1_000);
    expect(await ids()).toEqual([named, fresh].toSorted());
    expect((await api.ask("GET", `/v1/uploads/${old}`)).status).toBe(404);
  });
});

describe("what is asked amiss", () => {
  it("by a method that a path does not have is told which it has", async () => {
    const api = await ApiBench.open(new Lwm2mSite());
    const { status, json, headers } = await api.ask("PUT", "/v1/rollouts/abc");
    expect(status).toBe(405);
    expect(json).toMatchObject({ title: "method-not-allowed" });
    expect(headers["allow"]).toBe("GET, HEAD, DELETE");
    expect((await api.ask("PUT", "/v1/rollouts", {}, { as: "nobody" })).status).toBe(401);
    expect((await api.ask("GET", "/v1/nothing")).status).toBe(404);
  });

  it("over the network is a source of another origin than the configuration names", async () => {
    const mayName = ofOrigins(["https://releases.example", "coap://[fd00::5]:5683"]);
    const api = await ApiBench.open(new Lwm2mSite(), { mayName });
    const ask = async (source: string, as?: "operator"): Promise<number> =>
      (await api.ask("POST", "/v1/images", { envelope: "AAAA", source }, as === undefined ? {} : { as })).status;
    for (const source of [
      "http://169.254.169.254/latest",
      "https://releases.example.evil/a",
      "https://releases.example@evil/a",
      "https://releases.example:444/a",
      "http://releases.example/a",
      "HTTPS://releases.example/a",
      "coap://[fd00::6]/a",
      "coap+tcp://[fd00::5]/a",
    ])
      expect(await ask(source, "operator"), source).toBe(403);
    expect(await ask("https://u@releases.example:443/a", "operator")).toBe(400); // and nobody's password
    expect(await ask("https://:p@releases.example/a")).toBe(400);
    for (const source of ["https://releases.example/a", "https://releases.example:443/a", "coap://[fd00:0::5]/a"])
      expect(await ask(source, "operator"), source).toBe(422); // the envelope is none
    expect(await ask("http://169.254.169.254/latest")).toBe(422);
  });
});

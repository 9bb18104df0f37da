import { beforeEach, describe, expect, it } from "vitest";
import { ANSWER_LIMITS, ANSWER_PREFIX } from "../../src/gateway/answers.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import type { Command } from "../../src/ports/commands.ts";
import { fromUtf8 } from "../../src/util/bytes.ts";
import { sign } from "../support/gateway.ts";
import { ApiBench } from "../support/api.ts";
import { keyOf } from "../support/trust-bench.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

const URL = "/v1/lifecycle/events";
const revocation = (seed: number): object => ({
  actor: "somebody",
  event: { kind: "key-revoked", key: keyRecord(keyOf(seed).publicKey), reason: "stolen" },
});

let api: ApiBench;
beforeEach(async () => (api = await ApiBench.open(new Lwm2mSite())));

const post = async (body: unknown, key = "k1", url = URL): ReturnType<ApiBench["ask"]> =>
  api.ask("POST", url, body, { headers: { "idempotency-key": key } });
const restart = async (): Promise<void> => {
  api.site.bench.restart();
  await api.start();
};
const entries = (): number => api.site.bench.gateway.desk.lines.filter((line) => line.includes("key-revoked")).length;
const kept = (): string[] => [...api.site.bench.disk.entries.keys()].filter((key) => key.startsWith(ANSWER_PREFIX));

/** A store's write that somebody waits for and whose records `is` finds. */
const isWriteOf = (command: Command, is: (key: string, value: string) => boolean): boolean =>
  command.kind === "store" &&
  command.ops.some((op) => is(op.key, op.kind === "put" ? (fromUtf8(op.value) ?? "?") : ""));

describe("Idempotency-Key", () => {
  it("gets the same answer behind a restart, and nothing is done twice", async () => {
    const first = await post(revocation(1));
    expect(first.status).toBe(201);
    await restart();
    const again = await post(revocation(1));
    expect([again.status, again.json, again.headers["idempotency-replayed"]]).toEqual([201, first.json, "true"]);
    expect((await post(revocation(2))).status).toBe(422);
    expect(entries()).toBe(1);
  });

  it.each([
    ["before it is done", 0, (key: string, value: string) => key.startsWith("audit/") && value !== ""],
    ["behind it", 1, (key: string, value: string) => key.startsWith(ANSWER_PREFIX) && value.includes("201")],
  ])("a gateway that is killed %s does not do it unasked once more", async (_when, done, is) => {
    const { bench } = api.site;
    // That write is never heard of, and so nobody is told.
    const held = { count: 0 };
    bench.intercept = (command) => {
      if (!isWriteOf(command, is)) return undefined;
      held.count++;
      return "never";
    };
    void api.local.inject({ method: "POST", url: URL, payload: revocation(1), headers: { "idempotency-key": "k1" } });
    for (let i = 0; i < 1_000 && held.count === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      bench.run(0.1);
    }
    expect(held.count).toBe(1);
    bench.intercept = () => undefined;
    await restart();
    expect(entries()).toBe(done);
    expect(await post(revocation(1))).toMatchObject({ status: 409, json: { title: "outcome-unknown" } });
    expect(entries()).toBe(done);
    expect((await post(revocation(1), "k2")).status).toBe(201);
  });

  it("a publication that a kill has left unanswered is answered as the release that it has become", async () => {
    const { bench } = api.site;
    const image = new Uint8Array(512).fill(3);
    bench.disk.upstream.set("sim:1", image);
    const envelope = Buffer.from(sign(image, 9)).toString("base64");
    const publish = async (key: string): ReturnType<typeof post> =>
      post({ envelope, source: "sim:1" }, key, "/v1/images");
    const held = { count: 0 };
    bench.intercept = (command) => {
      if (!isWriteOf(command, (key, value) => key.startsWith(ANSWER_PREFIX) && value.includes("201"))) return undefined;
      held.count++;
      return "never";
    };
    void publish("p1").catch(() => {});
    for (let i = 0; i < 2_000 && held.count === 0; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(held.count).toBe(1);
    bench.intercept = () => undefined;
    await restart();
    const again = await publish("p1");
    expect([again.status, again.json]).toMatchObject([201, { sequenceNumber: 9, state: "disk" }]);
    expect((await publish("p1")).json).toEqual(again.json);
    expect(await publish("p2")).toMatchObject({ status: 422, json: { title: "replayed" } });
  });

  it("is not begun where that cannot be written", async () => {
    api.site.bench.intercept = (command) =>
      isWriteOf(command, (key) => key.startsWith(ANSWER_PREFIX))
        ? { kind: "failed", reason: "disk-full", detail: "ENOSPC", retryable: false }
        : undefined;
    expect(await post(revocation(1))).toMatchObject({ status: 507, json: { title: "store-write-failed" } });
    expect(entries()).toBe(0);
    api.site.bench.intercept = () => undefined;
    expect((await post(revocation(1))).status).toBe(201);
  });

  it.each(["/v1/tokens", "/v1/%74okens", "http://localhost/v1/tokens"])(
    "no secret gets to the disk by it: %s",
    async (url) => {
      const ask = async (): Promise<{ token: string }> =>
        (await post({ name: "x", role: "admin" }, "k1", url)).json as { token: string };
      expect((await ask()).token).not.toBe((await ask()).token);
      expect(kept()).toEqual([]);
    },
  );

  it("what is done is not done again because its answer was too long to keep", async () => {
    const { bench } = api.site;
    const payload = "x".repeat(ANSWER_LIMITS.maxAnswerBytes + 1);
    bench.loop.call((nowUs) => {
      const { answers } = bench.gateway;
      answers.begin(nowUs, "k", "print", () =>
        answers.end("k", { status: 200, type: "text/plain", payload }, () => {}),
      );
    });
    bench.run(1);
    const known = (): object | undefined => bench.gateway.answers.known("k", bench.engine.nowUs() / 1_000);
    expect(known()).toMatchObject({ answer: undefined, isRunning: false });
    bench.restart();
    expect(known()).toMatchObject({ answer: undefined, isRunning: false });
  });

  it("of too many the oldest answers go, from the disk too", async () => {
    for (let i = 0; i < ANSWER_LIMITS.maxAnswers + 5; i++)
      api.site.bench.loop.call((nowUs) => {
        const { answers } = api.site.bench.gateway;
        answers.begin(nowUs, `${i}`, "print", () =>
          answers.end(`${i}`, { status: 200, type: "text/plain", payload: "" }, () => {}),
        );
      });
    api.site.bench.run(60);
    expect(kept().length).toBe(ANSWER_LIMITS.maxAnswers);
    expect(kept()).not.toContain(`${ANSWER_PREFIX}0`);
  });

  it("of too many those go first whose answers are there: what was begun must not be done once more", async () => {
    const { loop } = api.site.bench;
    const { answers } = api.site.bench.gateway;
    const begin = (key: string, then: () => void): void =>
      loop.call((nowUs) => answers.begin(nowUs, key, "print", then));
    begin("begun", () => answers.end("begun", "unkept", () => {}));
    for (let i = 0; i < ANSWER_LIMITS.maxAnswers + 5; i++) {
      begin(`${i}`, () => answers.end(`${i}`, { status: 200, type: "text/plain", payload: "" }, () => {}));
      if (i % 50 === 0) api.site.bench.run(1);
    }
    api.site.bench.run(60);
    expect(kept().length).toBe(ANSWER_LIMITS.maxAnswers);
    expect(kept()).toContain(`${ANSWER_PREFIX}begun`);
  });

  it("a record that is damaged is told of, and forgotten; one of yesterday is no longer known", async () => {
    await post(revocation(1));
    await post(revocation(2), "k2");
    const [one] = kept();
    expect(fromUtf8(api.site.bench.disk.entries.get(one!)!)).toContain("201");
    api.site.bench.disk.entries.set(one!, new Uint8Array([1, 2, 3]));
    await restart();
    expect(api.site.bench.events).toContainEqual({ event: "record-not-recovered", reason: "record-damaged" });
    api.site.bench.run(ANSWER_LIMITS.keepMs / 1_000);
    expect((await post(revocation(9), "k2")).status).toBe(201);
  });
});

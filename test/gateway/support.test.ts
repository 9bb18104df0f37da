import { beforeEach, expect, it } from "vitest";
import type { FleetNews } from "../../src/gateway/fleet-desk.ts";
import { toHex } from "../../src/util/bytes.ts";
import { classId } from "../support/gateway.ts";
import { TrustBench } from "../support/trust-bench.ts";

const DAY_S = 86_400;
let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

const nowMs = (): number => site.bench.gateway.desk.unixMs(site.bench.engine.nowUs());
const ends = (inDays: number, warnDays: number): unknown => {
  const support = { endsMs: nowMs() + inDays * DAY_S * 1_000, warnDays, afterwards: "warn" } as const;
  return site.submit({ kind: "support-set", classId: toHex(classId), support });
};
const logged = (): string[] =>
  site.bench.events.filter(({ event }) => event === "support-ends").map(({ reason }) => reason);
function news(): FleetNews[] {
  const all: FleetNews[] = [];
  for (let one = site.bench.gateway.fleet.pollNews(); one !== undefined; one = site.bench.gateway.fleet.pollNews())
    all.push(one);
  return all;
}

it("the end of a class's support is told when it comes near, and when it has come; once each", () => {
  site.define();
  ends(3, 2);
  site.bench.run(0.9 * DAY_S);
  expect(logged()).toEqual([]);
  site.bench.run(0.2 * DAY_S);
  expect(logged()).toEqual(["ending"]);
  expect(news()).toMatchObject([{ kind: "support", data: { name: "sensor", state: "ending" } }]);
  site.bench.run(1.8 * DAY_S);
  expect(logged()).toEqual(["ending"]);
  site.bench.run(0.3 * DAY_S);
  expect(logged()).toEqual(["ending", "ended"]);
  site.bench.run(5 * DAY_S);
  expect(logged()).toEqual(["ending", "ended"]);
});

it("at once where it is near, again where it is put off and comes near again, and behind a restart", () => {
  site.define();
  ends(1, 180);
  expect(logged()).toEqual(["ending"]);
  ends(400, 180);
  ends(100, 180);
  expect(logged()).toEqual(["ending", "ending"]);
  site.bench.restart();
  expect(logged()).toEqual(["ending", "ending", "ending"]);
});

it("nothing waits for it where no class has an end", () => {
  site.define();
  expect(site.bench.gateway.fleet.pollTimeout()).toBeUndefined();
});

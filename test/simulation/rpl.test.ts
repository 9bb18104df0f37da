import { describe, expect, it } from "vitest";
import { Engine } from "../../simulator/engine/engine.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { RplRouter } from "../../simulator/network/rpl.ts";
import { readRpl, rplDatagram, type RplMessage } from "../../simulator/network/rpl-messages.ts";

const [SELF, PARENT, CHILD] = [5, 1, 9];
const BELOW = Array.from({ length: 100 }, (_, i) => 100 + i);

/** A router with a parent, below which one child has said of many that they are behind it. */
function routerWithMany() {
  const engine = new Engine();
  const sent: { readonly atUs: number; readonly message: RplMessage }[] = [];
  const router: RplRouter = new RplRouter({
    id: SELF,
    root: false,
    engine,
    random: new SeededRandom(1, "rpl"),
    send: ({ payload }) => sent.push({ atUs: engine.nowUs(), message: readRpl(payload)! }),
    firstEtx: () => 1,
  });
  const hear = (from: number, message: RplMessage): void => router.onControl(from, rplDatagram(message, from, SELF));
  router.start();
  hear(PARENT, { kind: "dio", rank: 256, root: 0, version: 1 });
  for (let at = 0; at < BELOW.length; at += 4)
    hear(CHILD, { kind: "dao", targets: BELOW.slice(at, at + 4), sequence: at, lifetime: 30 });
  const run = (seconds: number): void => engine.run(engine.nowUs() + seconds * 1e6, () => false);
  return { router, sent, run, hear };
}

const targetsOf = (message: RplMessage): readonly number[] => (message.kind === "dao" ? message.targets : []);

describe("a router with many below it", () => {
  it("tells its parent of all of them, one message after the other: a queue has room for few", () => {
    const { sent, run } = routerWithMany();
    sent.length = 0;
    run(60);
    const daos = sent.filter(({ message }) => message.kind === "dao");
    expect(new Set(daos.flatMap(({ message }) => targetsOf(message)))).toEqual(new Set([SELF, ...BELOW]));
    expect(new Set(daos.map(({ atUs }) => atUs)).size).toBe(daos.length);
  });

  it("forgets those that are not said again: their end may have been lost", () => {
    const { router, run, hear } = routerWithMany();
    expect([router.nextHop(100), router.nextHop(199)]).toEqual([CHILD, CHILD]);
    run(1_000);
    hear(CHILD, { kind: "dao", targets: [100], sequence: 1, lifetime: 30 });
    run(1_000);
    expect([router.nextHop(100), router.nextHop(199)]).toEqual([CHILD, PARENT]);
  });
});

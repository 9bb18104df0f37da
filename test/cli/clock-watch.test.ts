import { expect, it } from "vitest";
import { ClockWatch } from "../../src/cli/clock-watch.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import { WallClock } from "../../src/util/wall-clock.ts";

it("a gateway that was started at a wrong time learns the right one, and reckons anew what is due", async () => {
  const clock = new WallClock(5_000_000, 0); // 1970, as on a machine without a clock
  const set: number[] = [];
  const gateway = { clock, fleet: { rollouts: { clockSet: (nowUs: number) => set.push(clock.unixMs(nowUs)) } } };
  const logged: unknown[] = [];
  const log = { event: (_level: string, name: string, fields: object) => logged.push({ name, ...fields }) };
  let nowUs = 5_000_000;
  const watch = new ClockWatch(gateway as unknown as Gateway, (action) => action(nowUs), log as never, 1);
  for (let i = 0; i < 1_000 && set.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 2));
  nowUs = 5_500_000; // half a second is let be
  await new Promise((resolve) => setTimeout(resolve, 20));
  watch.stop();
  expect(set.length).toBe(1);
  expect(Math.abs(set[0]! - Date.now())).toBeLessThan(60_000);
  expect(logged).toMatchObject([{ name: "clock-set" }]);
});

import { expect, it } from "vitest";
import { TimerQueue } from "../../src/util/timer-queue.ts";

it("gives items by time, equal times in the order in which they were scheduled, and none that was cancelled", () => {
  const queue = new TimerQueue<string>();
  queue.schedule(20, "c");
  queue.schedule(10, "a");
  const gone = queue.schedule(10, "gone");
  queue.schedule(10, "b");
  gone.cancel();
  gone.cancel();
  expect(queue.size).toBe(3);
  expect(queue.nextUs()).toBe(10);
  expect(queue.popDue(9)).toBeUndefined();
  expect([queue.popDue(15), queue.popDue(15), queue.popDue(15)]).toEqual(["a", "b", undefined]);
  expect(queue.popDue(20)).toBe("c");
  expect(queue.nextUs()).toBeUndefined();
});

it("keeps no more than what is scheduled, however much is cancelled", () => {
  const queue = new TimerQueue<number>();
  for (let i = 0; i < 100_000; i++) queue.schedule(i, i).cancel();
  queue.schedule(5, 42);
  expect(queue.size).toBe(1);
  expect(queue.popDue(5)).toBe(42);
});

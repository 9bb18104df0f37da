import { expect, it } from "vitest";
import { parseFilter } from "../../src/rollout/filter.ts";
import { withoutQuery } from "../../src/util/uri-text.ts";

it.each([
  ["battery=ge=30%", "at 1: battery is a number, not 30%"],
  ["battery=in=(1,abc)", "at 1: battery is a number, not abc"],
  ['tag==a;hops=lt=""', "at 8: hops is a number, not "],
  ["registered==True", "at 1: registered is true or false, not True"],
  ["class=lt=x", "at 1: class has no order (== != =in= and =out= compare it), not x"],
  ["tag<3", "at 1: tag has no order (== != =in= and =out= compare it), not 3"],
])("a filter that no device can pass is none: %s", (text, message) => {
  expect(() => parseFilter(text)).toThrow(message);
});

it.each([
  "battery=ge=30",
  "loss=lt=0.1",
  "hops==2",
  "registered==true",
  "version=lt=2.0.0",
  "queueMode!=false",
  "notSeenDays=gt=1e1",
])("and this is one: %s", (text) => {
  expect(parseFilter(text)).toMatchObject({ kind: "compare" });
});

it("a URI for logs and viewers has no query", () => {
  expect(["https://a/b?key=1?2", "coap://[::1]/a"].map(withoutQuery)).toEqual(["https://a/b?…", "coap://[::1]/a"]);
});

import { describe, expect, it } from "vitest";
import { happened } from "../../src/cli/rollout-report.ts";

const at = (seconds: number): number => 1_000_000 + seconds * 1_000;
const iso = (seconds: number): string => new Date(at(seconds)).toISOString();
const done = (seconds: number): { readonly state: "succeeded"; readonly endedMs: number } => ({
  state: "succeeded",
  endedMs: at(seconds),
});

describe("what happened in a rollout", () => {
  it("is counted without the time in which it was paused", () => {
    const decisions = [
      { what: "started", atMs: at(0) },
      { what: "group-passed", atMs: at(100) },
      { what: "group-done", atMs: at(100) },
      { what: "resumed", atMs: at(700) },
      { what: "paused", atMs: at(750) },
      { what: "error-threshold", atMs: at(760) },
      { what: "retried", atMs: at(850) },
      { what: "finished", atMs: at(1_000) },
    ];
    const members = [done(50), done(100), done(710), done(1_000), { state: "failed", endedMs: at(20) } as const];
    expect(happened({ startedAt: iso(0), endedAt: iso(1_000) }, decisions, members)).toEqual({
      durationS: 300,
      pausedS: 700,
      completionP50S: 100,
      completionP99S: 300,
    });
  });

  it("is counted without the time between its end and a retry", () => {
    const decisions = [
      { what: "finished", atMs: at(100) },
      { what: "retried", atMs: at(86_400) },
      { what: "finished", atMs: at(86_500) },
    ];
    const told = happened({ startedAt: iso(0), endedAt: iso(86_500) }, decisions, [done(100), done(86_500)]);
    expect(told).toEqual({ durationS: 200, pausedS: 86_300, completionP50S: 100, completionP99S: 200 });
  });

  it("is nothing while it runs, and has no half where nobody succeeded", () => {
    expect(happened({ startedAt: iso(0), endedAt: null }, [], [])).toBeUndefined();
    expect(happened({ startedAt: iso(0), endedAt: iso(9) }, [], [])).toEqual({
      durationS: 9,
      pausedS: 0,
      completionP50S: undefined,
      completionP99S: undefined,
    });
  });
});

import type { FastifyInstance } from "fastify";
import { Counter, Gauge, Registry } from "prom-client";
import { z } from "zod";
import type { Gateway } from "../gateway/gateway.ts";
import { hasEnded } from "../rollout/record.ts";
import { COUNTERS, GAUGES } from "./metric-names.ts";
import { refuse } from "./problem.ts";

export interface MetricsControl {
  readonly gateway: Gateway;
  readonly addresses: readonly string[];
  readonly metrics: () => Record<string, number>;
  readonly unixMs: () => number;
}

/** Whether it lives, whether it is ready, and figures of how it does. */
export function addMetricsRoutes(app: FastifyInstance, { gateway, addresses, metrics, unixMs }: MetricsControl): void {
  const open = { config: { access: "open" } } as const;
  app.get("/healthz", { schema: { summary: "Alive" }, ...open }, () => ({ status: "ok", addresses }));
  app.get("/readyz", { schema: { summary: "Ready to serve" }, ...open }, async (_request, reply) => {
    const failing = metrics()["store_write_failed.disk-full"] ?? 0;
    if (addresses.length === 0) return refuse(reply, 503, "not-listening", "no address is bound yet");
    if (gateway.desk.tampered !== undefined) return refuse(reply, 503, "audit-log-tampered", gateway.desk.tampered);
    return reply.send({ status: "ready", diskFullSinceStart: failing });
  });
  app.get(
    "/metrics",
    {
      schema: { summary: "Figures, as Prometheus reads them", response: { 200: z.string() } },
      config: { access: "read", gives: "text/plain" },
    },
    async (_request, reply) => {
      const registry = new Registry();
      addCounters(registry, metrics());
      addGauges(registry, gateway, unixMs());
      return reply
        .type(registry.contentType)
        .serializer(String)
        .send(await registry.metrics());
    },
  );
  app.get("/v1/metrics", { schema: { summary: "The same counters, as JSON" }, config: { access: "read" } }, () => ({
    ...metrics(),
    ...Object.fromEntries(Object.entries(gateway.stats).map(([name, value]) => [`coap_${name}`, value])),
  }));
}

function addCounters(registry: Registry, snapshot: Record<string, number>): void {
  const made = new Map<string, Counter>();
  for (const [key, value] of Object.entries(snapshot)) {
    const dot = key.indexOf(".");
    const [name, label] = dot < 0 ? [key, ""] : [key.slice(0, dot), key.slice(dot + 1)];
    const { help = name, label: labelName } = COUNTERS[name] ?? {};
    const labelNames = labelName === undefined ? [] : [labelName];
    const full = `blockferry_${name}_total`;
    const one = made.get(name) ?? new Counter({ name: full, help, labelNames, registers: [registry] });
    made.set(name, one);
    if (labelName === undefined) one.inc(value);
    else one.inc({ [labelName]: label }, value);
  }
}

function addGauges(registry: Registry, gateway: Gateway, unixMs: number): void {
  const values: Record<string, number | Record<string, number>> = {
    ...Object.fromEntries(Object.entries(gateway.stats).map(([name, value]) => [`coap_${name}`, value])),
    ...figuresOf(gateway, unixMs),
    process_rss_bytes: process.memoryUsage.rss(),
    process_uptime_seconds: process.uptime(),
  };
  for (const [name, { help, label }] of Object.entries(GAUGES)) {
    const value = values[name] ?? 0;
    const labelNames = label === undefined ? [] : [label];
    const one = new Gauge({ name: `blockferry_${name}`, help, labelNames, registers: [registry] });
    if (typeof value === "number") one.set(value);
    else for (const [of, figure] of Object.entries(value)) one.set({ [label!]: of }, figure);
  }
}

function figuresOf(gateway: Gateway, unixMs: number): Record<string, number | Record<string, number>> {
  const { fleet, devices, desk } = gateway;
  const rollouts: Record<string, number> = {};
  const members: Record<string, number> = {};
  const add = (to: Record<string, number>, key: string): void => void (to[key] = (to[key] ?? 0) + 1);
  for (const { record, members: of } of fleet.rollouts.all()) {
    add(rollouts, record.state);
    if (!hasEnded(record)) for (const { state } of of.all()) add(members, state);
  }
  const updates: Record<string, number> = {};
  for (const { state } of devices.updates.all()) add(updates, state);
  return {
    devices: [...devices.all()].length,
    fleet: fleet.sortedNames().length,
    releases: gateway.listings().length,
    rollouts,
    rollout_devices: members,
    updates,
    support_ending: desk.lifecycle.warnings(unixMs).length,
    audit_entries: desk.lines.length,
  };
}

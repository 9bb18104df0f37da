import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { BIN, cli, json, reasonOf, Served, temporaryFolder } from "../support/process.ts";

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);

const motes: ChildProcess[] = [];
afterAll(() => motes.forEach((child) => child.kill("SIGKILL")));
function mote(port: number, ...args: string[]): void {
  const server = `coap://127.0.0.1:${port}`;
  motes.push(spawn(process.execPath, [BIN, "mote", "--server", server, ...args], { stdio: "ignore" }));
}

it("the census counts who the factory made, heard of or not, and clients that it knows nothing of; no name is in it", async () => {
  await cli("key", "new", "--out", at("author"));
  const keys = ["--trust", at("author.pub.pem")];
  await json("factory", "stage-one", "--count", "3", "--out", at("batch"));
  const two = ["factory", "stage-two", "--vendor", "example.com", "--class", "sensor-a", ...keys];
  await json(...two, "--in", at("batch"), "--out", at("product"));
  writeFileSync(
    at("sensor.yaml"),
    `name: sensor-a
vendor: example.com
hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 65536 }
authorities: [{ name: author, publicKey: author.pub.pem }]
`,
  );
  const gateway = await Served.start(at("gw"), { trust: at("author.pub.pem") });
  const on = ["--state", at("gw")];
  const { class: classId } = await json("class", "define", at("sensor.yaml"), ...on);
  await json("factory", "import", at("product"), ...on);
  mote(gateway.port, "--flash", join(at("product"), "flash.jsonl"), "--count", "2");
  mote(gateway.port, "--endpoint", "somebody-else", ...keys);
  let rows: unknown;
  const wanted = [
    { classId, version: expect.any(String) as string, devices: expect.any(Number) as number, notSeen: 0 },
    { classId: "unknown", version: "1.0.0", devices: 1, notSeen: 0 },
  ];
  for (let tries = 0; tries < 60; tries++) {
    await json("fleet", "refresh", ...on); // which versions they run nobody has asked yet
    ({ rows } = await json("census", "--days", "1", ...on));
    const counted = rows as { version: string; devices: number }[];
    if (counted.filter(({ version }) => version === "1.0.0").reduce((sum, row) => sum + row.devices, 0) === 3) break;
    await sleep(250);
  }
  expect(rows).toEqual([
    { ...wanted[0], version: "1.0.0", devices: 2 },
    { ...wanted[0], version: "unknown", devices: 1, notSeen: 1 },
    wanted[1],
  ]);
  const { stdout } = await cli("census", ...on);
  expect(stdout).toMatch(/^sensor-a +1\.0\.0 +2 +0$/m);
  const [device] = (await json("devices", ...on))["devices"] as { endpoint: string }[];
  expect(JSON.stringify(rows)).not.toContain(device!.endpoint);
  await gateway.stop();
}, 60_000);

it("a device whose anchors were changed behind the factory is none", async () => {
  const file = join(at("product"), "flash.jsonl");
  const [line] = readFileSync(file, "utf8").split("\n");
  const device = JSON.parse(line!) as Record<string, string>;
  writeFileSync(at("forged.jsonl"), `${JSON.stringify({ ...device, class: "0".repeat(32) })}\n`);
  const start = ["mote", "--server", "coap://127.0.0.1:9", "--flash"];
  expect(await reasonOf(...start, at("forged.jsonl"))).toBe("seal-broken");
  expect(await reasonOf(...start, file, "--count", "4")).toBe("bad-count");
  expect(await reasonOf(...start, file, "--endpoint", "x")).toBe("option-missing");
});

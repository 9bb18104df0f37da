import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { szxOf } from "../../coap/blockwise/block.ts";
import { imagePath } from "../../gateway/catalogue.ts";
import { hasEnded } from "../../lwm2m/update/job.ts";
import { createEnvelope, signEnvelope } from "../../suit/author.ts";
import { toHex } from "../../util/bytes.ts";
import type { UpdateView } from "../../http/updates.ts";
import { parsePeer } from "../../util/peer.ts";
import { callGateway } from "../control-client.ts";
import { DemoMote, type FleetOptions } from "../demo/fleet.ts";
import { GatewayChild } from "../demo/gateway-child.ts";
import { fleetTable, FleetProgress } from "../demo/show.ts";
import { ExitCode, UserError, usageError } from "../errors.ts";
import { newKey, writeKeyFiles } from "../keys.ts";
import { readProfile } from "../simulation/load.ts";
import { identifiers } from "../identifiers.ts";

interface DemoOptions {
  motes: string;
  loss: string;
  blockSize: string;
  ackTimeoutMs: string;
  seed: string;
  json?: boolean;
}

const LIMIT_S = 120;
/** Longer than a mote takes for a pause between two blocks. */
const LEAST_ABSENCE_MS = 1_000;
const TARGET_SEQUENCE = 2;

export function addDemo(program: Command): void {
  program
    .command("demo")
    .description("the whole way once: sign, publish, 20 motes behind bad links, the gateway killed half-way")
    .option("--motes <number>", "motes, each with its own UDP socket", "20")
    .option("--loss <share>", "datagrams lost in each direction", "0.2")
    .option("--block-size <bytes>", "what the motes ask for", "256")
    .option("--ack-timeout-ms <ms>", "the motes' ACK_TIMEOUT", "50")
    .option("--seed <number>", "of the links' losses", "1")
    .option("--json", "print one JSON object on the last line, and nothing else")
    .addHelpText("after", "\nExample:\n  npm run demo\n  npm run demo -- --loss 0.4 --json")
    .action(async (options: DemoOptions) => demo(options));
}

async function demo(options: DemoOptions): Promise<void> {
  const [motes, loss, seed] = [Number(options.motes), Number(options.loss), Number(options.seed)];
  const [blockBytes, ackTimeoutMs] = [Number(options.blockSize), Number(options.ackTimeoutMs)];
  if (!Number.isInteger(motes) || motes < 1 || motes > 200) throw usageError("bad-motes", "--motes is 1 to 200");
  if (!(loss >= 0 && loss <= 0.8)) throw usageError("bad-loss", "--loss is 0 to 0.8");
  if (szxOf(blockBytes) === undefined)
    throw usageError("bad-block-size", "--block-size is 16, 32, 64, 128, 256, 512 or 1024");
  if (!(ackTimeoutMs >= 1)) throw usageError("bad-ack-timeout", "--ack-timeout-ms is 1 or more");
  const say = (text: string): void => {
    if (options.json !== true) console.log(text);
  };
  const folder = mkdtempSync(join(tmpdir(), "blockferry-demo-"));
  const startedMs = performance.now();
  try {
    const site = await setUp(folder, ackTimeoutMs, say);
    say(
      `${motes} LwM2M motes run image 1 (${site.factoryImage.length} bytes), and half of them only take what they are given. Their links lose ${loss * 100} % each way, double 5 % and reorder 5 %.`,
    );
    say(
      `block size ${blockBytes} bytes, ACK_TIMEOUT ${ackTimeoutMs} ms: picked for loopback (RFC 7252 section 4.8); on 802.15.4 it would be 2 s.\n`,
    );
    const fleetOptions = {
      motes,
      seed,
      blockBytes,
      ackTimeoutMs,
      gateway: parsePeer(site.child.address)!,
      targetSequence: TARGET_SEQUENCE,
      classId: site.classId,
      anchor: site.anchor,
      factoryImage: site.factoryImage,
      newImage: site.newImage,
      quality: {
        loss,
        duplicate: 0.05,
        reorder: 0.05,
        reorderMs: 20,
      },
      profile: readProfile("nrf52840"),
    };
    const fleet = await runFleet(fleetOptions, site, options.json === true);
    report(fleet, fleetOptions, (performance.now() - startedMs) / 1_000, options.json === true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Site {
  child: GatewayChild;
  readonly state: string;
  readonly trust: string;
  readonly classId: Uint8Array;
  readonly anchor: FleetOptions["anchor"];
  readonly factoryImage: Uint8Array;
  readonly newImage: Uint8Array;
}

/** Key, gateway, signature, publication: what an author and an operator do. */
async function setUp(folder: string, ackTimeoutMs: number, say: (text: string) => void): Promise<Site> {
  const image = (version: number): string =>
    fileURLToPath(new URL(`../../../../firmware/sensor-${version}.bin`, import.meta.url));
  const newImage = readFileSync(image(2));
  const key = newKey("ES256");
  const { publicFile: trust } = writeKeyFiles(join(folder, "author"), key);
  say("made an author key (ES256)");
  const state = join(folder, "state");
  const child = await GatewayChild.start(state, "127.0.0.1:0", trust, ackTimeoutMs);
  say(`the gateway runs on ${child.address} with an empty state folder`);
  try {
    const { vendorId, classId } = identifiers("example.com", "sensor-a");
    const imageDigest = nodeCrypto.sha256(newImage);
    const uri = `/${imagePath(imageDigest).join("/")}`;
    const description = {
      sequenceNumber: TARGET_SEQUENCE,
      vendorId,
      classId,
      imageDigest,
      imageSize: newImage.length,
      uri,
      version: "2.0.0",
    };
    const envelope = signEnvelope(nodeCrypto, key, createEnvelope(nodeCrypto, description));
    writeFileSync(join(folder, "sensor-2.suit"), envelope);
    const body = { envelope: Buffer.from(envelope).toString("base64"), source: pathToFileURL(image(2)).href };
    await callGateway(state, "POST", "/v1/images", body);
    say(
      `signed and published image 2: ${newImage.length} bytes, SHA-256 ${toHex(imageDigest).slice(0, 16)}…, at ${uri}`,
    );
    return { child, state, trust, classId, anchor: key.publicKey, factoryImage: readFileSync(image(1)), newImage };
  } catch (error) {
    await child.kill();
    throw error;
  }
}

async function runFleet(options: FleetOptions, site: Site, quiet: boolean): Promise<DemoMote[]> {
  const fleet = Array.from({ length: options.motes }, (_, i) => new DemoMote(i + 1, options));
  const progress = new FleetProgress(fleet, quiet);
  try {
    for (const mote of fleet) await mote.start();
    await until(() => fleet.every(({ mote }) => mote.client.isRegistered));
    progress.say(`all have registered; each is told to update to 2.0.0`);
    for (const mote of fleet) await startUpdate(site, mote);
    const stored = (): number => fleet.reduce((sum, mote) => sum + mote.blocks.stored, 0);
    const half = (fleet.length * fleet[0]!.blocks.total) / 2;
    await until(() => stored() >= half);
    await site.child.kill();
    for (const mote of fleet) mote.atKill = { resumes: mote.mote.resumesAtNonZero, blocks: mote.blocks.stored };
    progress.say(
      `killed the gateway (SIGKILL) with ${stored()} of ${half * 2} blocks stored; it stays away until every mote that fetches has noticed`,
    );
    await sleep(LEAST_ABSENCE_MS);
    await until(() => fleet.every((mote) => mote.done || mote.isPaused));
    site.child = await GatewayChild.start(site.state, site.child.address, site.trust, options.ackTimeoutMs);
    progress.say("started it again on the same state folder: it goes on with every update");
    await until(async () => {
      const updates = (await callGateway(site.state, "GET", "/v1/updates")) as UpdateView[];
      for (const mote of fleet) mote.update = updates.find(({ endpoint }) => endpoint === mote.endpoint);
      return fleet.every(({ update }) => update !== undefined && hasEnded(update));
    });
  } finally {
    progress.stop();
    await site.child.stop();
    for (const mote of fleet) await mote.close();
  }
  return fleet;
}

async function startUpdate({ state, newImage }: Site, { endpoint }: DemoMote): Promise<void> {
  const image = toHex(nodeCrypto.sha256(newImage));
  const body = { components: [{ image }], activeIntervalS: 2, stallIntervals: 3, maxStalls: 100 };
  await callGateway(state, "POST", `/v1/devices/${endpoint}/update`, body);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + LIMIT_S * 1_000;
  while (!(await condition())) {
    if (performance.now() > deadlineMs)
      throw new UserError(ExitCode.FAILED, "demo-timeout", `the fleet did not get there within ${LIMIT_S} s`);
    await sleep(50);
  }
}

function report(fleet: readonly DemoMote[], options: FleetOptions, seconds: number, json: boolean): void {
  const count = (test: (mote: DemoMote) => boolean): number => fleet.filter(test).length;
  const result = {
    motes: fleet.length,
    updated: count((mote) => mote.runsNewImage && mote.update?.state === "succeeded"),
    resumedAtNonZero: count((mote) => mote.resumedAfterKill),
    refetchedBlocks: fleet.reduce((sum, { mote }) => sum + mote.refetch.violations, 0),
    gatewayKills: 1,
    lossRate: options.quality.loss,
    imageBytes: options.newImage.length,
    seconds: Number(seconds.toFixed(1)),
    pull: count((mote) => mote.runsNewImage && mote.update?.method === "pull"),
    push: count((mote) => mote.runsNewImage && mote.update?.method === "push"),
  };
  if (!json) {
    console.log(`\n${fleetTable(fleet)}\n`);
    console.log(
      "est. mJ: frames, CPU and flash on an nRF52840; waiting with the receiver on is left out (blockferry simulate counts it).",
    );
    console.log(
      `${result.updated} of ${result.motes} motes run image 2 (${result.pull} by pull, ${result.push} by push), digest checked, and the gateway knows it; ${result.resumedAtNonZero} went on behind block 0 after the kill; ${result.refetchedBlocks} stored blocks were fetched again; ${result.seconds} s.`,
    );
  } else console.log(JSON.stringify(result));
  if (result.updated !== result.motes || result.refetchedBlocks > 0) {
    throw new UserError(
      ExitCode.FAILED,
      "demo-failed",
      "not every mote runs image 2, or a stored block was fetched again",
    );
  }
}

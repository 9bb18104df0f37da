import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { systemRandom } from "../../adapters/system.ts";
import { szxOf } from "../../coap/blockwise/block.ts";
import { DEFAULT_PARAMETERS } from "../../coap/parameters.ts";
import { nobleCrypto } from "../../crypto/noble-crypto.ts";
import { STATE_NAMES } from "../../lwm2m/firmware.ts";
import { parsePath } from "../../lwm2m/path.ts";
import { toHex, utf8 } from "../../util/bytes.ts";
import { SeededRandom } from "../../../simulator/engine/random.ts";
import type { ClientParts } from "../../../simulator/mote/lwm2m/client-parts.ts";
import { BEHAVIOURS } from "../../../simulator/mote/lwm2m/behaviour.ts";
import { Lwm2mMote } from "../../../simulator/mote/lwm2m/lwm2m-mote.ts";
import { parseCoapUri, resolvePeer } from "../coap-uri.ts";
import { LossyLink } from "../demo/lossy-link.ts";
import { usageError, whyUnreadable } from "../errors.ts";
import { readFlash } from "../factory-files.ts";
import { readPublicKey } from "../keys.ts";
import { readProfile } from "../simulation/load.ts";
import { UdpClient } from "../udp-client.ts";
import { identifiers } from "../identifiers.ts";

interface MoteOptions {
  server: string;
  endpoint?: string;
  flash?: string;
  loss: string;
  lifetime: string;
  queue?: string;
  behaviour: string;
  object: string;
  trust: string;
  vendor: string;
  class: string;
  image?: string;
  blockSize: string;
  ackTimeoutMs: string;
  maxImageBytes: string;
  seed?: string;
  count: string;
  json?: boolean;
}

export function addMote(program: Command): void {
  program
    .command("mote")
    .description("be a LwM2M device on this machine, with flash, a boot loader and a bad link, until SIGINT")
    .requiredOption("--server <uri>", "the gateway: coap://host[:port]")
    .option("--endpoint <name>", "its endpoint name")
    .option(
      "--flash <file>",
      "in its place: devices as factory stage-two made them (flash.jsonl), with their names, class and anchors",
    )
    .option("--count <number>", "so many of them, named <name>-1 and on, or the first ones of the flash", "1")
    .option("--loss <share>", "datagrams lost in each direction", "0")
    .option("--lifetime <seconds>", "of its registration", "300")
    .option(
      "--queue <interval:awake>",
      "Queue Mode: it sleeps, wakes every so many seconds, and hears for so many behind its last message",
    )
    .option(
      "--behaviour <name>",
      `what it does otherwise than it should: ${Object.keys(BEHAVIOURS).join(", ")}`,
      "good",
    )
    .option("--object <path>", "its firmware object: /5/0, or an instance of 33629", "/5/0")
    .option("--trust <file>", "public key whose signatures it takes", "author.pub.pem")
    .option("--vendor <domain|uuid>", "its vendor identifier", "example.com")
    .option("--class <name|uuid>", "its class identifier", "sensor-a")
    .option("--image <file>", "what it runs at first, as version 1.0.0")
    .option("--max-image-bytes <bytes>", "room for an image", "1048576")
    .option("--block-size <bytes>", "of its requests, and the largest that it takes", "256")
    .option("--ack-timeout-ms <ms>", "ACK_TIMEOUT of RFC 7252 section 4.8", "2000")
    .option("--seed <number>", "of its losses and numbers; other ones each time when absent")
    .option("--json", "print one JSON object for each thing that happens")
    .addHelpText(
      "after",
      `
Its flash lives in this process: it survives the device's restarts, not this command's end.

Example:
  blockferry mote --server coap://127.0.0.1:5683 --endpoint mote-1 --loss 0.2
  blockferry mote --server coap://127.0.0.1:5683 --endpoint mote --count 10
  blockferry mote --server coap://127.0.0.1:5683 --flash product/flash.jsonl --count 3
  blockferry mote --server coap://127.0.0.1 --endpoint sleepy --queue 60:10 --behaviour push-only`,
    )
    .action(async (options: MoteOptions) => run(options));
}

async function run(options: MoteOptions): Promise<void> {
  const server = await resolvePeer(parseCoapUri(options.server));
  const count = Number(options.count);
  if (!(Number.isInteger(count) && count >= 1 && count <= MAX_MOTES))
    throw usageError("bad-count", `--count is 1 to ${MAX_MOTES}`);
  const motes: { readonly client: UdpClient; readonly mote: Lwm2mMote; readonly say: Say }[] = [];
  for (const [i, identity] of identitiesOf(options, count).entries()) {
    const seed = options.seed === undefined ? undefined : `${options.seed}/${i + 1}`;
    const own = { ...options, ...(seed === undefined ? {} : { seed }) };
    motes.push(await startMote(own, identity, server, count > 1));
  }
  await new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
  for (const { client, mote } of motes) client.loop.call((nowUs) => mote.client.deregister(nowUs));
  motes[0]!.say("stopping", "it has told the gateway");
  setTimeout(() => process.exit(0), 300);
}

/** Who a device is, and whom it believes. */
interface Identity {
  readonly endpoint: string;
  readonly classId: Uint8Array;
  readonly anchors: ClientParts["anchors"];
}

function identitiesOf(options: MoteOptions, count: number): Identity[] {
  const { endpoint, flash, trust, vendor, class: className } = options;
  if ((endpoint === undefined) === (flash === undefined))
    throw usageError("option-missing", "give --endpoint, or --flash with devices that a factory made");
  if (flash !== undefined) return factoryMade(flash, count);
  const trusted = existsSync(trust);
  if (!trusted)
    console.error(
      `warning: there is no ${trust}: this device refuses every image (Update Result 5). Name the author's public key with --trust.`,
    );
  const anchors = trusted ? [readPublicKey(trust)] : [];
  const { classId } = identifiers(vendor, className);
  const nameOf = (i: number): string => (count === 1 ? endpoint! : `${endpoint}-${i + 1}`);
  return Array.from({ length: count }, (_, i) => ({ endpoint: nameOf(i), classId, anchors }));
}

/** The first devices of a flash image whose seals hold: whoever changed their anchors does not get far. */
function factoryMade(file: string, count: number): Identity[] {
  const made = readFlash(file);
  if (made.length < count) throw usageError("bad-count", `${file} has ${made.length} devices, not ${count}`);
  return made.slice(0, count).map(({ kid, classId, vendorId, trust }) => ({
    endpoint: toHex(kid),
    classId,
    anchors: { vendorId, trust, unixS: () => Date.now() / 1_000 },
  }));
}

const MAX_MOTES = 1_000;
type Say = (event: string, text: string) => void;

async function startMote(
  options: MoteOptions,
  identity: Identity,
  server: { address: string; port: number },
  several: boolean,
): Promise<{ client: UdpClient; mote: Lwm2mMote; say: Say }> {
  const { endpoint } = identity;
  const say: Say = (event, text) =>
    console.log(
      options.json === true
        ? JSON.stringify({ at: new Date().toISOString(), endpoint, event, text })
        : `${new Date().toISOString().slice(11, 19)}  ${(several ? endpoint : event).padEnd(12)} ${text}`,
    );
  const mote = makeMote(options, identity, server);
  const quality = { loss: share(options.loss), duplicate: 0, reorder: 0, reorderMs: 50 };
  const random = options.seed === undefined ? systemRandom : new SeededRandom(options.seed, "link");
  let before = "";
  const tell = (): void => {
    const { firmware, isRegistered, asleep } = mote.client;
    const state = firmware === undefined ? "no image boots" : (STATE_NAMES[firmware.state] ?? "");
    const now = [
      `runs ${firmware?.runningVersion ?? "nothing"}`,
      mote.gone ? "gone for good" : asleep ? "asleep" : isRegistered ? "registered" : "not registered",
      state,
      `boot ${mote.boots}`,
    ].join(", ");
    if (now === before) return;
    before = now;
    say("mote", `${now}, ${mote.imageBytesReceived} bytes received`);
  };
  const host = server.address.includes(":") ? "::" : "0.0.0.0";
  const client = await UdpClient.open(mote, host, tell, new LossyLink(quality, random));
  client.loop.call((nowUs) => mote.start(nowUs));
  return { client, mote, say };
}

function makeMote(
  options: MoteOptions,
  { endpoint, classId, anchors }: Identity,
  server: { address: string; port: number },
): Lwm2mMote {
  const behaviour = BEHAVIOURS[options.behaviour];
  if (behaviour === undefined)
    throw usageError("bad-behaviour", `--behaviour is one of ${Object.keys(BEHAVIOURS).join(", ")}`);
  const szx = szxOf(Number(options.blockSize));
  if (szx === undefined) throw usageError("bad-block-size", "--block-size is 16, 32, 64, 128, 256, 512 or 1024");
  const object = parsePath(options.object);
  if (object?.length !== 2) throw usageError("bad-object", "--object is an instance such as /5/0 or /33629/0");
  const [wakeIntervalS, awakeS] = (options.queue ?? "").split(":").map(Number);
  const queue = options.queue !== undefined;
  if (queue && !(wakeIntervalS! > awakeS! && awakeS! > 0))
    throw usageError("bad-queue", "--queue is the interval and the time awake, such as 300:10");
  const lifetimeS = Number(options.lifetime);
  const ackTimeoutUs = Number(options.ackTimeoutMs) * 1_000;
  if (!(lifetimeS >= 1 && ackTimeoutUs >= 1_000))
    throw usageError("bad-number", "--lifetime and --ack-timeout-ms are 1 or more");
  return new Lwm2mMote({
    profile: readProfile("nrf52840"),
    crypto: nobleCrypto,
    object,
    szx,
    server,
    lifetimeS,
    behaviour,
    classId,
    anchors,
    endpointName: endpoint,
    version: "1.1",
    queueMode: queue ? { wakeIntervalS: wakeIntervalS!, awakeS: awakeS! } : undefined,
    blockBytes: Number(options.blockSize),
    parameters: { ...DEFAULT_PARAMETERS, ackTimeoutUs },
    policy: { backoffUs: 2e6, maxBackoffUs: 6e7, maxFailures: 10_000 },
    maxImageBytes: Number(options.maxImageBytes),
    factoryImage: { bytes: factoryImage(options.image), sequenceNumber: 1 },
    random: options.seed === undefined ? systemRandom : new SeededRandom(options.seed, "mote"),
  });
}

function factoryImage(file: string | undefined): Uint8Array {
  if (file === undefined) return utf8("blockferry factory image".padEnd(1_024, "."));
  try {
    return new Uint8Array(readFileSync(file));
  } catch (error) {
    throw usageError("image-unreadable", `${file}: ${whyUnreadable(error)}; correct --image`);
  }
}

function share(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 0.95)) throw usageError("bad-loss", "--loss is 0 to 0.95");
  return value;
}

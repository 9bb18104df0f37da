// Where the time of one block goes: the gateway's layers one upon the other, without sockets.
import { nodeCrypto } from "../src/adapters/node-crypto.ts";
import { systemClock } from "../src/adapters/system.ts";
import { BlockPath } from "../src/coap/blockwise/block-path.ts";
import { encodeBlock, type Szx } from "../src/coap/blockwise/block.ts";
import { encodeMessage } from "../src/coap/encode.ts";
import { CoapEndpoint } from "../src/coap/endpoint.ts";
import { Code, MessageType, Option } from "../src/coap/numbers.ts";
import { textOptions } from "../src/coap/options.ts";
import { TransmitQueue } from "../src/coap/transmit-queue.ts";
import { provenAddresses } from "../src/cli/network-policy.ts";
import { keyPairOf } from "../src/crypto/noble-crypto.ts";
import { Gateway } from "../src/gateway/gateway.ts";
import { RunLoop } from "../src/host/run-loop.ts";
import type { PeerAddress } from "../src/ports/datagram.ts";
import { createEnvelope, signEnvelope } from "../src/suit/author.ts";
import { Counters } from "../src/util/counters.ts";
import { Engine } from "../simulator/engine/engine.ts";
import { SeededRandom } from "../simulator/engine/random.ts";
import { SimDisk, SimExecutor } from "../simulator/world/sim-disk.ts";
import { median } from "./median.ts";

const IMAGE_BYTES = 262_144;
const PEERS = 1_000;
const BLOCKS = 400_000;
const ROUNDS = 5;

export interface ProfileRow {
  readonly layer: string;
  readonly block: number;
  /** This layer and all below it. */
  readonly nsPerBlock: number;
  readonly nsOfItsOwn: number;
}

type Take = (nowUs: number, bytes: Uint8Array, peer: PeerAddress) => void;

/** `nsPerBlock` of each layer, the median of so many rounds in turns. */
export function profileRows(rounds: number = ROUNDS, blocks: number = BLOCKS): ProfileRow[] {
  const rows: ProfileRow[] = [];
  for (const szx of [2, 6] as const) {
    const layers = layersOf();
    const requests = requestsOf(szx);
    const times = layers.map((): number[] => []);
    for (let round = 0; round <= rounds; round++)
      for (const [i, [, take]] of layers.entries()) {
        const ns = timeOf(take, requests, blocks);
        if (round > 0) times[i]!.push(ns); // the first round warms up
      }
    let below = 0;
    for (const [i, [layer]] of layers.entries()) {
      const nsPerBlock = Math.round(median(times[i]!));
      rows.push({ layer, block: 16 << szx, nsPerBlock, nsOfItsOwn: nsPerBlock - below });
      below = nsPerBlock;
    }
  }
  return rows;
}

function timeOf(take: Take, requests: readonly Uint8Array[], blocks: number): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < blocks; i++) {
    const peer = i % PEERS;
    // As from a socket: each address is an object with a text of its own.
    take(i, requests[Math.floor(i / PEERS) % requests.length]!, {
      address: `127.0.0.${1 + (i & 1)}`,
      port: 20_000 + peer,
    });
  }
  return Number(process.hrtime.bigint() - start) / blocks;
}

function requestsOf(szx: Szx): Uint8Array[] {
  return Array.from({ length: IMAGE_BYTES / (16 << szx) }, (_, num) =>
    encodeMessage({
      type: MessageType.CON,
      code: Code.GET,
      messageId: num & 0xffff,
      token: Uint8Array.of(num & 0xff, 1),
      options: [
        ...textOptions(Option.URI_PATH, ["fw"]),
        { number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx }) },
      ],
      payload: new Uint8Array(0),
    }),
  );
}

function layersOf(): [string, Take][] {
  const bytes = new Uint8Array(IMAGE_BYTES);
  const path = new BlockPath();
  path.register(["fw"], { etag: new Uint8Array(8), size: bytes.length, bytes: () => bytes, served: () => {} });
  const queue = new TransmitQueue();
  const isTrusted = provenAddresses(["127.0.0.0/8"]);
  const endpoint = new CoapEndpoint({ random: new SeededRandom(1, "e"), blockPath: path, isTrusted });
  const [gateway, loop] = [publishedGateway(), publishedGateway()];
  const drain = (from: { pollTransmit(): unknown }): void => {
    while (from.pollTransmit() !== undefined);
  };
  return [
    ["nothing: the loop of this bench", () => {}],
    [
      "block-path.ts: parse, find, write",
      (nowUs, request, peer) => {
        path.tryServe(nowUs, request, peer, queue);
        while (queue.poll() !== undefined);
      },
    ],
    [
      "endpoint.ts: is the address proven",
      (nowUs, request, peer) => {
        endpoint.handleDatagram(nowUs, request, peer);
        drain(endpoint);
      },
    ],
    [
      "gateway.ts: transfer and checkpoint",
      (nowUs, request, peer) => {
        gateway.gateway.handleDatagram(nowUs, request, peer);
        drain(gateway.gateway);
      },
    ],
    ["run-loop.ts: clock, deadlines, commands", (_nowUs, request, peer) => loop.loop.datagram(request, peer)],
  ];
}

/** A gateway with an image at /fw, whose clock is the system's from then on. */
function publishedGateway(): { gateway: Gateway; loop: RunLoop } {
  const [engine, disk] = [new Engine(), new SimDisk()];
  const author = keyPairOf("ES256", new Uint8Array(32).fill(7));
  const image = new Uint8Array(IMAGE_BYTES);
  disk.upstream.set("sim:fw", image);
  const budget = { maxImageBytes: IMAGE_BYTES, diskBytes: 4 * IMAGE_BYTES, memoryBytes: 2 * IMAGE_BYTES };
  const gateway = new Gateway(
    {
      crypto: nodeCrypto,
      random: new SeededRandom(1, "gateway"),
      log: { event: () => {} },
      metrics: new Counters(),
      budget,
      anchors: [author.publicKey],
      preferredSzx: 2,
      isTrusted: provenAddresses(["127.0.0.0/8"]),
    },
    { entries: disk.entries, blobs: disk.list() },
  );
  let live = false;
  const loop = new RunLoop(gateway, {
    clock: { nowUs: () => (live ? systemClock.nowUs() : engine.nowUs()) },
    executor: new SimExecutor(engine, disk),
    send: () => {},
    setTimer: (atUs) => void (live || atUs === undefined || engine.at(atUs, () => loop.wake())),
  });
  const description = {
    vendorId: new Uint8Array(16),
    classId: new Uint8Array(16),
    sequenceNumber: 1,
    imageDigest: nodeCrypto.sha256(image),
    imageSize: image.length,
    uri: "/fw",
  };
  const envelope = signEnvelope(nodeCrypto, author, createEnvelope(nodeCrypto, description));
  loop.call((nowUs) => gateway.publish(nowUs, 1, { envelope, source: "sim:fw", alias: "fw" }));
  engine.run(10_000_000, () => false);
  if (gateway.pollOutcome()?.kind !== "published") throw new Error("the image was not published");
  live = true;
  return { gateway, loop };
}

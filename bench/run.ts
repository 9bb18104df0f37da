import { randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { median } from "./median.ts";
import { profileRows } from "./profile.ts";
import { codecRows } from "./codec.ts";
import { transfersRow } from "./transfers.ts";
import { compileGenerator, load, startLibcoap, startServer, type LoadResult } from "./load.ts";

// npm run bench -- blocks [--json]: block-wise GETs of a 1 MiB image by 64 clients, beside a bare
// node:dgram echo of datagrams of the same size, in turns.
// npm run bench -- peers [--json]: the same in blocks of 64 bytes beside node-coap's server, a
// server on coap-packet and libcoap's (docs/adr/0002).
// npm run bench -- profile [--json]: what each of the gateway's layers adds to one block.
// npm run bench -- codec [--json]: parse and serialise beside coap-packet.
// npm run bench -- transfers [--json]: heap and timers of 10,000 transfers at once.
// The ratio is what counts; the absolute figures are this machine's.

const CLIENTS = [64, 1_000];
const BLOCKS = [64, 512, 1_024];
const IMAGE_BYTES = 1_048_576;
const ROUNDS = 3;
const BIN = fileURLToPath(new URL("../../bin/blockferry.js", import.meta.url));
const script = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));
const MACHINE = `${cpus().length} x ${cpus()[0]!.model.trim()}, Node ${process.version}`;
const DURATION = ["-d", 4, "-w", 1] as const;

interface Site {
  readonly generator: string;
  readonly image: string;
  readonly port: number;
  readonly pid: number;
}

/** Sets gateway, generator and image up, runs `measure`, and takes all down again. */
async function withSite(measure: (site: Site) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "blockferry-bench-"));
  try {
    const generator = compileGenerator(folder);
    if (generator === undefined) {
      console.error(
        "bench: needs gcc and the load generator coapload.c (set BLOCKFERRY_SHARED to the folder that has tools/coapload.c)",
      );
      process.exitCode = 2;
      return;
    }
    const image = join(folder, "image.bin");
    writeFileSync(image, randomBytes(IMAGE_BYTES));
    const { server, port } = await startGateway(folder, image);
    try {
      await measure({ generator, image, port, pid: server.pid! });
    } finally {
      server.kill("SIGTERM");
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function withServer(
  args: readonly string[],
  measure: (port: number, pid: number) => Promise<void>,
): Promise<void> {
  const { child, ready } = await startServer(args);
  try {
    await measure(ready["port"] as number, child.pid!);
  } finally {
    child.kill("SIGTERM");
  }
}

const loadArgs = (port: number, pid: number, block: number, clients = CLIENTS[0]!): (string | number)[] => [
  "-p",
  port,
  "-P",
  pid,
  "-n",
  clients,
  "-b",
  block,
  "-l",
  IMAGE_BYTES,
  ...DURATION,
];

async function blocks(json: boolean): Promise<void> {
  await withSite(async ({ generator, image, port, pid }) => {
    await withServer([script("echo")], async (echoPort, echoPid) => {
      for (const clients of CLIENTS) {
        for (const block of BLOCKS) {
          const [ours, ceiling]: [LoadResult[], LoadResult[]] = [[], []];
          for (let round = 0; round < ROUNDS; round++) {
            ceiling.push(await load(generator, [...loadArgs(echoPort, echoPid, block, clients), "-E", block]));
            ours.push(await load(generator, [...loadArgs(port, pid, block, clients), "-f", image]));
          }
          print({ block, clients }, ours, ceiling, json);
        }
      }
    });
  });
}

async function peers(json: boolean): Promise<void> {
  const block = 64;
  await withSite(async ({ generator, image, port, pid }) => {
    const compare = async (peer: string, peerPort: number, peerPid: number): Promise<void> => {
      const [ours, theirs]: [LoadResult[], LoadResult[]] = [[], []];
      for (let round = 0; round < ROUNDS; round++) {
        ours.push(await load(generator, [...loadArgs(port, pid, block), "-f", image]));
        theirs.push(await load(generator, [...loadArgs(peerPort, peerPid, block), "-f", image]));
      }
      printPeer(peer, block, ours, theirs, json);
    };
    for (const peer of ["coap-packet-server", "node-coap-server"])
      await withServer([script(peer), image], async (peerPort, peerPid) => compare(peer, peerPort, peerPid));
    const libcoap = await startLibcoap(image);
    if (libcoap === undefined)
      console.error("bench: libcoap is not installed (apt-get install libcoap3-bin): left out");
    else {
      try {
        await compare("libcoap's coap-server", libcoap.port, libcoap.child.pid!);
      } finally {
        libcoap.child.kill("SIGTERM");
      }
    }
  });
}

function printPeer(
  peer: string,
  block: number,
  ours: readonly LoadResult[],
  theirs: readonly LoadResult[],
  json: boolean,
): void {
  const rate = (results: readonly LoadResult[]): number => median(results.map(({ reqPerS }) => reqPerS));
  const memory = (results: readonly LoadResult[]): number => Math.max(...results.map(({ rssMiB }) => rssMiB));
  const row = {
    peer,
    block,
    reqPerS: rate(ours),
    peerReqPerS: rate(theirs),
    timesThePeer: Number((rate(ours) / rate(theirs)).toFixed(2)),
    rssMiB: memory(ours),
    peerRssMiB: memory(theirs),
    machine: MACHINE,
  };
  const text = `${row.timesThePeer} times ${peer} (${row.reqPerS} to ${row.peerReqPerS} requests/s, ${row.rssMiB} to ${row.peerRssMiB} MiB; ${MACHINE})`;
  console.log(json ? JSON.stringify(row) : text);
}

async function startGateway(
  folder: string,
  image: string,
): Promise<{ server: Awaited<ReturnType<typeof startServer>>["child"]; port: number }> {
  const cli = (...args: string[]): void => void execFileSync(process.execPath, [BIN, ...args], { stdio: "ignore" });
  const [author, envelope, state] = [join(folder, "author"), join(folder, "fw.suit"), join(folder, "gw")];
  cli("key", "new", "--out", author);
  cli(
    "sign",
    image,
    "--key",
    `${author}.key.pem`,
    "--vendor",
    "example.com",
    "--class",
    "bench",
    "--sequence",
    "1",
    "--out",
    envelope,
  );
  const serve = [
    BIN,
    "serve",
    "--json",
    "--state",
    state,
    "--listen",
    "127.0.0.1:0",
    "--trust",
    `${author}.pub.pem`,
    "--log-level",
    "error",
  ];
  const { child, ready } = await startServer(serve);
  cli("publish", envelope, "--image", image, "--alias", "fw", "--state", state);
  return { server: child, port: Number((ready["addresses"] as string[])[0]!.split(":").at(-1)) };
}

function print(
  { block, clients }: { block: number; clients: number },
  ours: readonly LoadResult[],
  ceiling: readonly LoadResult[],
  json: boolean,
): void {
  const reqPerS = median(ours.map((result) => result.reqPerS));
  const ceilingReqPerS = median(ceiling.map((result) => result.reqPerS));
  const row = {
    block,
    reqPerS,
    ceilingReqPerS,
    ratioToCeiling: Number((reqPerS / ceilingReqPerS).toFixed(3)),
    p99Us: median(ours.map((result) => result.p99Us)),
    ceilingP99Us: median(ceiling.map((result) => result.p99Us)),
    rssMiB: Math.max(...ours.map((result) => result.rssMiB)),
    badReplies: ours.reduce((sum, result) => sum + result.bad, 0),
    retransmissions: ours.reduce((sum, result) => sum + result.retransmissions, 0),
    clients,
    imageBytes: IMAGE_BYTES,
    machine: MACHINE,
  };
  if (json) console.log(JSON.stringify(row));
  else {
    console.log(
      `${block} B blocks, ${clients} clients: ${row.reqPerS} requests/s, ${row.ratioToCeiling} of a bare node:dgram echo (${ceilingReqPerS}/s); p99 ${row.p99Us} us (${row.ceilingP99Us}), ${row.rssMiB} MiB; ${row.machine}`,
    );
  }
}

const [what, ...flags] = process.argv.slice(2);
const json = flags.includes("--json");
if (what === "blocks") await blocks(json);
else if (what === "peers") await peers(json);
else if (what === "codec") {
  for (const row of codecRows()) {
    const text = `${row.what} a ${row.message}: ${row.nsPerMessage} ns, ${row.timesThePeer} times as fast as coap-packet`;
    console.log(json ? JSON.stringify({ ...row, machine: MACHINE }) : `${text} (${MACHINE})`);
  }
} else if (what === "transfers") {
  const row = transfersRow();
  const text = `${row.transfers} transfers: ${row.heapBytesPerTransfer} bytes of heap and ${row.timers} timers each`;
  console.log(json ? JSON.stringify({ ...row, machine: MACHINE }) : `${text} (${MACHINE})`);
} else if (what === "profile") {
  for (const row of profileRows()) {
    const text = `${row.block} B: ${row.nsPerBlock} ns up to ${row.layer} (${row.nsOfItsOwn} ns of its own)`;
    console.log(json ? JSON.stringify({ ...row, machine: MACHINE }) : text);
  }
} else {
  console.error("usage: npm run bench -- blocks|peers|profile|codec|transfers [--json]");
  process.exitCode = 2;
}

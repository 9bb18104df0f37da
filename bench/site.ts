import { randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileGenerator, load, startLibcoap, startServer, type LoadResult } from "./load.ts";

const IMAGE_BYTES = 1_048_576;
const BIN = fileURLToPath(new URL("../../bin/blockferry.js", import.meta.url));
const script = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url));
export const MACHINE: string = `${cpus().length} x ${cpus()[0]!.model.trim()}, Node ${process.version}`;
const DURATION = ["-d", 2, "-w", 1] as const;

/** Something that answers datagrams on the first core. */
export interface Server {
  readonly port: number;
  readonly pid: number;
}

/** The servers of one run, and the generator that asks them in turns. */
export interface Site {
  readonly gateway: Server;
  readonly echo: Server;
  readonly nodeCoap: Server;
  readonly coapPacket: Server;
  /** Undefined where it is not installed. */
  readonly libcoap: Server | undefined;
  /** One measurement of block-wise GETs, or of an echo of that many bytes. */
  measure(server: Server, clients: number, block: number): Promise<LoadResult>;
}

/** Sets all servers, generator and image up, runs `measure`, and takes all down again. */
export async function withSite(measure: (site: Site) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "blockferry-bench-"));
  const children: { kill(signal: "SIGTERM"): boolean }[] = [];
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
    const start = async (name: string, ...args: string[]): Promise<Server> => {
      const { child, ready } = await startServer([script(name), ...args]);
      children.push(child);
      return { port: ready["port"] as number, pid: child.pid! };
    };
    const { server, port } = await startGateway(folder, image);
    children.push(server);
    const libcoap = await startLibcoap(image);
    if (libcoap === undefined)
      console.error("bench: libcoap is not installed (apt-get install libcoap3-bin): left out");
    else children.push(libcoap.child);
    const echo = await start("echo");
    await measure({
      gateway: { port, pid: server.pid! },
      echo,
      nodeCoap: await start("node-coap-server", image),
      coapPacket: await start("coap-packet-server", image),
      libcoap: libcoap && { port: libcoap.port, pid: libcoap.child.pid! },
      measure: async (asked, clients, block) => {
        const args = ["-p", asked.port, "-P", asked.pid, "-n", clients, "-b", block, "-l", IMAGE_BYTES, ...DURATION];
        return load(generator, [...args, ...(asked === echo ? ["-E", block] : ["-f", image])]);
      },
    });
  } finally {
    for (const child of children) child.kill("SIGTERM");
    rmSync(folder, { recursive: true, force: true });
  }
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

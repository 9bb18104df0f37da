import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { systemRandom } from "../../adapters/system.ts";
import { blockSize, szxOf } from "../../coap/blockwise/block.ts";
import { DEFAULT_PARAMETERS } from "../../coap/parameters.ts";
import { BodyDownload } from "../../transfer/body-download.ts";
import { imagePath } from "../../gateway/catalogue.ts";
import { fromHex, toHex } from "../../util/bytes.ts";
import { parseCoapUri, resolvePeer, type CoapTarget } from "../coap-uri.ts";
import { ExitCode, UserError, usageError } from "../errors.ts";
import { Progress } from "../progress.ts";
import { ResumeFile } from "../resume-file.ts";
import { UdpClient } from "../udp-client.ts";

interface GetOptions {
  out: string;
  blockSize: string;
  sha256?: string;
  ackTimeoutMs: string;
  json?: boolean;
}

export function addGet(program: Command): void {
  program
    .command("get <uri>")
    .description("fetch an image or any other resource block by block; a second run goes on where the first stopped")
    .requiredOption("--out <file>", "where the body goes, once it is whole")
    .option("--block-size <bytes>", "16 to 1024", "1024")
    .option("--sha256 <hex>", "the digest that the body must have")
    .option("--ack-timeout-ms <ms>", "ACK_TIMEOUT of RFC 7252 section 4.8", "2000")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
What has arrived is in <file>.part until the body is whole.

Example:
  blockferry get coap://[fd00::1]/i/gy1tQqfs --out image.bin --block-size 64`,
    )
    .action(async (uri: string, options: GetOptions) => get(uri, options));
}

async function get(uri: string, options: GetOptions): Promise<void> {
  const szx = szxOf(Number(options.blockSize));
  if (szx === undefined) throw usageError("bad-block-size", "--block-size is 16, 32, 64, 128, 256, 512 or 1024");
  const ackTimeoutUs = Math.round(Number(options.ackTimeoutMs) * 1_000);
  if (!(ackTimeoutUs > 0 && ackTimeoutUs <= 600e6))
    throw usageError("bad-ack-timeout", "--ack-timeout-ms is above 0, at most 600000");
  const target = parseCoapUri(uri);
  const peer = await resolvePeer(target);
  const file = new ResumeFile(options.out, uri);
  // The last block is fetched again, so that there is one to compare the ETag with even when all is there.
  const offset =
    file.etag === undefined ? 0 : Math.floor(Math.max(0, file.bytes - 1) / blockSize(szx)) * blockSize(szx);
  file.truncate(offset);
  const download = new BodyDownload({
    random: systemRandom,
    peer,
    path: target.path,
    query: target.query,
    szx,
    offset,
    etag: file.etag,
    parameters: {
      ...DEFAULT_PARAMETERS,
      ackTimeoutUs,
    },
    policy: {
      backoffUs: 1e6,
      maxBackoffUs: 8e6,
      maxFailures: 3,
    },
  });
  const progress = new Progress(options.json !== true);
  const startedMs = performance.now();
  try {
    await run(download, file, peer.address.includes(":") ? "::" : "0.0.0.0", progress);
  } catch (error) {
    file.close();
    throw error;
  } finally {
    progress.stop();
  }
  const digest = toHex(nodeCrypto.sha256(file.content()));
  checkDigest(digest, target, options.sha256, file);
  const { bytes } = file;
  file.commit();
  const seconds = (performance.now() - startedMs) / 1_000;
  const result = { file: options.out, bytes, resumedAt: offset, sha256: digest, seconds: Number(seconds.toFixed(3)) };
  if (options.json === true) console.log(JSON.stringify(result));
  else console.log(`${options.out}: ${bytes} bytes${offset > 0 ? `, gone on at ${offset}` : ""}, SHA-256 ${digest}`);
}

/** The digest must be the one asked for, and the one that a content-addressed path names. */
function checkDigest(digest: string, { path }: CoapTarget, expected: string | undefined, file: ResumeFile): void {
  const named = path[0] === "i" && path.length === 2 ? path[1]! : undefined;
  const fits =
    (expected === undefined || expected.toLowerCase() === digest) &&
    (named === undefined || named === imagePath(fromHex(digest)!)[1]);
  if (fits) return;
  file.discard();
  const wanted = expected ?? `the one that /i/${named} names`;
  throw new UserError(
    ExitCode.FAILED,
    "digest-mismatch",
    `the body has SHA-256 ${digest}, not ${wanted}; it was thrown away`,
  );
}

/** Runs the download to its end, writing each block as it comes. */
async function run(download: BodyDownload, file: ResumeFile, host: string, progress: Progress): Promise<void> {
  let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  const finished = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
  let shown = false;
  const onSettled = (): void => {
    try {
      for (let event = download.pollEvent(); event !== undefined; event = download.pollEvent()) {
        if (event.kind === "block") {
          file.write(event.offset, event.bytes, download.etag);
          if (!shown && download.size !== undefined) progress.start("fetching", download.size);
          shown ||= download.size !== undefined;
          progress.update(file.bytes);
          if (event.last) settle?.resolve();
        } else if (event.kind === "changed") file.restart();
        else if (event.kind === "failed") settle?.reject(failure(event.reason));
      }
    } catch (error) {
      settle?.reject(error as Error);
    }
  };
  const client = await UdpClient.open(download, host, onSettled);
  client.loop.call((nowUs) => download.start(nowUs));
  await finished.finally(async () => client.close());
}

function failure(reason: string): UserError {
  if (reason === "timeout" || reason === "reset" || reason === "server-error") {
    return new UserError(
      ExitCode.UNREACHABLE,
      reason,
      `the server does not answer (${reason}). Run the same command again: it goes on where it stopped.`,
    );
  }
  return new UserError(
    ExitCode.REFUSED,
    "coap-error",
    `the server answered ${reason}; \`blockferry images\` lists what a gateway offers`,
  );
}

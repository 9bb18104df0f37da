import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import type { ImageView } from "../../http/images.ts";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { toHex } from "../../util/bytes.ts";
import { readInput } from "../authoring/input.ts";
import { callGateway } from "../control-client.ts";
import { usageError } from "../errors.ts";
import { Progress } from "../progress.ts";
import { aliasField, RELEASE_OPTIONS } from "../release-options.ts";

export function addPublish(program: Command): void {
  program
    .command("publish <envelope>")
    .description("give a signed manifest to a running gateway, which fetches and verifies its image")
    .option(
      "--image <file|uri...>",
      "where the gateway fetches the image: a local file, or a file:, http(s): or coap: URI; files for each of several",
    )
    .addOption(RELEASE_OPTIONS.dependency)
    .option(
      "--sector-table <file...>",
      "signed tables of the images' sectors, from `blockferry sign --sector-table`",
      [],
    )
    .option("--dialect <name>", "encoding of the manifest: draft-37, or riot-09 for devices that run RIOT")
    .addOption(RELEASE_OPTIONS.alias)
    .addOption(RELEASE_OPTIONS.noAlias)
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
The command returns when the image is verified and the record is on the disk; what it has
acknowledged survives a crash of the gateway.

Example:
  blockferry publish app-2.suit --image build/app.bin --state gw`,
    )
    .action(
      async (
        file: string,
        options: {
          image?: string[];
          dependency?: string[];
          sectorTable: string[];
          alias?: string | false;
          dialect?: string;
          state: string;
          json?: boolean;
        },
      ) => {
        const body = {
          envelope: base64Of(file),
          ...(options.dependency === undefined ? {} : { dependencies: options.dependency.map(base64Of) }),
          ...sourcesOf(options.image ?? []),
          ...(options.dialect === undefined ? {} : { dialect: options.dialect }),
          tables: options.sectorTable.map(base64Of),
          ...aliasField(options),
        };
        const image = await withProgress(options.state, options.json !== true, body);
        if (options.json === true) console.log(JSON.stringify(image));
        else {
          const { sequenceNumber, version, images, patches, aliasPath, manifestPath } = image;
          console.log(`published: sequence ${sequenceNumber}${version === null ? "" : `, version ${version}`}`);
          for (const { path, bytes } of images)
            console.log(`  image    ${path}${aliasPath === null ? "" : `  and ${aliasPath}`}, ${bytes} bytes`);
          for (const { path, bytes } of patches) console.log(`  patch    ${path}, ${bytes} bytes`);
          console.log(`  manifest ${manifestPath}`);
        }
      },
    );
}

const base64Of = (file: string): string => Buffer.from(readInput(file)).toString("base64");

/** Publishes; meanwhile the gateway is asked twice a second how much it has fetched. */
async function withProgress(state: string, show: boolean, body: object): Promise<ImageView> {
  const progress = new Progress(show);
  let started = false;
  const look = async (): Promise<void> => {
    const underWay = (await callGateway(state, "GET", "/v1/publications")) as ImageView[];
    const first = underWay.find(({ fetchedBytes }) => fetchedBytes !== null);
    if (first === undefined) return;
    if (!started) progress.start("fetching and verifying", first.bytes);
    started = true;
    progress.update(first.fetchedBytes!);
  };
  // How it goes is only told; how it ends is what the publication itself answers.
  const timer = setInterval(() => void look().catch(() => {}), 500);
  try {
    return (await callGateway(state, "POST", "/v1/images", body)) as ImageView;
  } finally {
    clearInterval(timer);
    progress.stop();
  }
}

/** One image is the manifest's first; of several it is told by its digest which is which, so they must be files. */
function sourcesOf(images: readonly string[]): object {
  const [first, ...others] = images;
  if (first === undefined) return {};
  if (others.length === 0) return { source: toUri(first) };
  const entries = images.map((image) => {
    if (!existsSync(image))
      throw usageError("file-unreadable", `${image}: of several images each must be a local file`);
    return [toHex(nodeCrypto.sha256(readInput(image))), toUri(image)];
  });
  return { sources: Object.fromEntries(entries) as Record<string, string> };
}

function toUri(image: string): string {
  if (/^[a-z][a-z0-9+.-]+:/i.test(image)) return image;
  if (!existsSync(image)) throw usageError("file-unreadable", `${image} does not exist; give --image a file or a URI`);
  return pathToFileURL(resolve(image)).href;
}

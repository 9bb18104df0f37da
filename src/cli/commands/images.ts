import type { Command } from "commander";
import type { ImageView } from "../../http/images.ts";
import { callGateway } from "../control-client.ts";
import { formatTable } from "../table.ts";

interface TransferView {
  readonly device: string;
  readonly digest: string;
  readonly size: number;
  readonly servedBytes: number;
  readonly blocks: number;
  readonly retransmissions: number;
  readonly attempts: number;
  readonly finished: boolean;
}

export function addImages(program: Command): void {
  program
    .command("images")
    .description("list what a running gateway offers, and how far each device has got")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--replaced", "list what others took the place of instead: an update or a rollback may name it still")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry images --state gw")
    .action(async (options: { state: string; replaced?: boolean; json?: boolean }) => {
      const path = options.replaced === true ? "/v1/images/replaced" : "/v1/images";
      const images = (await callGateway(options.state, "GET", path)) as ImageView[];
      const transfers = (await callGateway(options.state, "GET", "/v1/transfers")) as TransferView[];
      if (options.json === true) {
        console.log(JSON.stringify({ images, transfers }));
        return;
      }
      if (images.length === 0)
        console.log(
          options.replaced === true
            ? "no image was replaced yet"
            : "no images are published yet: blockferry publish --help shows how",
        );
      else {
        const rows = images.flatMap(({ images: all, sequenceNumber, version }) =>
          all.map(({ path: where, classes, bytes, state }) => [
            where,
            classes.join(" "),
            sequenceNumber,
            version ?? "-",
            bytes,
            state,
          ]),
        );
        console.log(formatTable(["image", "class", "sequence", "version", "bytes", "state"], rows));
      }
      if (transfers.length === 0) return;
      const rows = transfers.map((t) => {
        const percent = `${Math.floor((100 * t.servedBytes) / t.size)}%`;
        return [t.device, t.digest.slice(0, 12), percent, t.blocks, t.retransmissions, t.attempts];
      });
      console.log(`\n${formatTable(["device", "image", "served", "blocks", "repeated", "attempts"], rows)}`);
    });
}

// 10,000 motes in the middle of a transfer at once: what each costs the gateway's heap, and how many timers.
import { CoapEndpoint } from "../src/coap/endpoint.ts";
import { BlockPath } from "../src/coap/blockwise/block-path.ts";
import { encodeBlock } from "../src/coap/blockwise/block.ts";
import { encodeMessage } from "../src/coap/encode.ts";
import { Code, MessageType, Option } from "../src/coap/numbers.ts";
import { textOptions } from "../src/coap/options.ts";
import { TransferTable } from "../src/transfer/transfer-table.ts";
import { SeededRandom } from "../simulator/engine/random.ts";

const MOTES = 10_000;
const BLOCKS_EACH = 20;

export interface TransfersRow {
  readonly transfers: number;
  readonly blocksEach: number;
  readonly heapBytesPerTransfer: number;
  readonly openExchanges: number;
  readonly timers: number;
}

/** Needs `--expose-gc`, so that what is counted is what is held. */
export function transfersRow(): TransfersRow {
  const image = { digest: "ab".repeat(32), size: 65_536, sources: [] };
  const bytes = new Uint8Array(image.size);
  const table = new TransferTable();
  const blockPath = new BlockPath();
  blockPath.register(["fw"], {
    etag: new Uint8Array(8),
    size: image.size,
    bytes: () => bytes,
    served: (nowUs, peer, offset, length) => table.record(nowUs, peer, image, offset, length),
  });
  const endpoint = new CoapEndpoint({ random: new SeededRandom(1, "bench"), blockPath });
  const before = heap();
  for (let num = 0; num < BLOCKS_EACH; num++) {
    for (let mote = 0; mote < MOTES; mote++) {
      // As from a socket: each datagram and each address is an object of its own.
      const peer = { address: `fd00::${(mote + 1).toString(16)}`, port: 5_683 };
      endpoint.handleDatagram(num * 1_000_000 + mote, get(num, mote), peer);
      while (endpoint.pollTransmit() !== undefined);
    }
    table.takeWrites(num * 1_000_000, true);
  }
  const perTransfer = Math.round((heap() - before) / MOTES);
  return {
    transfers: [...table.all()].length,
    blocksEach: BLOCKS_EACH,
    heapBytesPerTransfer: perTransfer,
    openExchanges: endpoint.stats.openExchanges,
    timers: endpoint.pollTimeout() === undefined ? 0 : 1,
  };
}

function get(num: number, mote: number): Uint8Array {
  return encodeMessage({
    type: MessageType.CON,
    code: Code.GET,
    messageId: (num * 7 + mote) & 0xffff,
    token: Uint8Array.of(num, mote & 0xff),
    options: [
      ...textOptions(Option.URI_PATH, ["fw"]),
      { number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx: 2 }) },
    ],
    payload: new Uint8Array(0),
  });
}

function heap(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

import cliProgress from "cli-progress";
import { STATE_NAMES } from "../../lwm2m/firmware.ts";
import { formatTable } from "../table.ts";
import type { DemoMote } from "./fleet.ts";

/** A live line per mote on a terminal; elsewhere one plain line every two seconds. */
export class FleetProgress {
  readonly #motes: readonly DemoMote[];
  readonly #quiet: boolean;
  readonly #multi: cliProgress.MultiBar | undefined;
  readonly #bars: cliProgress.SingleBar[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(motes: readonly DemoMote[], quiet: boolean) {
    this.#motes = motes;
    this.#quiet = quiet;
    const terminal = !quiet && process.stdout.isTTY;
    if (terminal) {
      const format = "mote {id} [{bar}] {value}/{total} blocks  {state}";
      this.#multi = new cliProgress.MultiBar(
        { format, hideCursor: true, barsize: 30, forceRedraw: true },
        cliProgress.Presets.legacy,
      );
      for (const mote of motes) {
        this.#bars.push(this.#multi.create(mote.blocks.total, 0, { id: String(mote.id).padStart(2), state: "" }));
      }
    }
    this.#timer = setInterval(() => this.#draw(), terminal ? 100 : 2_000);
  }

  /** A line about what happens to the gateway. */
  say(text: string): void {
    if (this.#quiet) return;
    if (this.#multi === undefined) console.log(text);
    else this.#multi.log(`${text}\n`);
  }

  stop(): void {
    clearInterval(this.#timer);
    if (this.#multi === undefined) return;
    this.#draw();
    this.#multi.stop();
  }

  #draw(): void {
    for (const [i, bar] of this.#bars.entries()) {
      const mote = this.#motes[i]!;
      bar.update(mote.blocks.stored, { id: String(mote.id).padStart(2), state: stateOf(mote) });
    }
    if (this.#quiet || this.#multi !== undefined) return;
    const [stored, total, done] = [
      this.#motes.reduce((sum, mote) => sum + mote.blocks.stored, 0),
      this.#motes.reduce((sum, mote) => sum + mote.blocks.total, 0),
      this.#motes.filter((mote) => mote.done).length,
    ];
    console.log(
      `${Math.floor((100 * stored) / total)} % of the blocks are stored, ${done} of ${this.#motes.length} motes are done`,
    );
  }
}

function stateOf(mote: DemoMote): string {
  if (mote.done) return "runs image 2";
  const { firmware, isRegistered } = mote.mote.client;
  if (firmware === undefined || !isRegistered) return "not registered";
  if (firmware.isPaused && mote.method === "pull" && mote.blocks.stored > 0) return "no answer from the gateway";
  return `${STATE_NAMES[firmware.state]}, by ${mote.method}`;
}

export function fleetTable(motes: readonly DemoMote[]): string {
  const rows = motes.map(({ id, method, mote, link, energy, seconds, runsNewImage }) => [
    id,
    method,
    runsNewImage ? "image 2" : "image 1",
    mote.imageBytesReceived,
    mote.repeatedBlocks,
    link.lost,
    mote.retransmitted,
    mote.resumesAtNonZero,
    seconds.toFixed(1),
    energy.mj.toFixed(0),
  ]);
  const header = [
    "mote",
    "by",
    "runs",
    "bytes",
    "sent again",
    "lost",
    "retransmitted",
    "resumes",
    "seconds",
    "est. mJ",
  ];
  return formatTable(header, rows);
}

import cliProgress from "cli-progress";

/** A bar on a terminal; elsewhere a plain line at most every five seconds. Standard error, so that output stays clean. */
export class Progress {
  readonly #enabled: boolean;
  readonly #bar: cliProgress.SingleBar | undefined;
  #label = "";
  #total = 0;
  #lastLineMs = 0;
  #startMs = 0;

  constructor(enabled: boolean) {
    this.#enabled = enabled;
    if (!enabled || !process.stderr.isTTY) return;
    this.#bar = new cliProgress.SingleBar(
      {
        format: "{label} [{bar}] {percentage}% {value}/{total} {unit}, {eta_formatted} left",
        hideCursor: true,
        clearOnComplete: true,
        stream: process.stderr,
      },
      cliProgress.Presets.legacy,
    );
  }

  /** `total` 0 is unknown: the label alone is shown. */
  start(label: string, total: number, unit = "bytes"): void {
    this.#label = label;
    this.#total = total;
    this.#lastLineMs = this.#startMs = performance.now();
    if (total > 0) this.#bar?.start(total, 0, { label, unit });
    else if (this.#enabled && process.stderr.isTTY) process.stderr.write(`${label}…\r`);
  }

  update(value: number): void {
    this.#bar?.update(value);
    if (!this.#enabled || this.#bar !== undefined || performance.now() - this.#lastLineMs < 5_000) return;
    this.#lastLineMs = performance.now();
    const elapsedS = (performance.now() - this.#startMs) / 1_000;
    const left = value > 0 ? `, about ${Math.round((elapsedS / value) * (this.#total - value))} s left` : "";
    process.stderr.write(`${this.#label}: ${value} of ${this.#total}${left}\n`);
  }

  stop(): void {
    this.#bar?.stop();
    if (this.#enabled && this.#bar !== undefined) process.stderr.write("\u001b[K");
  }
}

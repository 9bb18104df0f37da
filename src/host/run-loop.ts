import type { Command, CommandEvent, CommandExecutor } from "../ports/commands.ts";
import type { Clock } from "../ports/clock.ts";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";

/** The shape that every core shares: calls in, polls out. */
export interface Core {
  /** True promises that datagrams are all that came of it, and that no deadline has moved. */
  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress, toGroup?: boolean): boolean | void;
  handleTimeout(nowUs: number): void;
  handleEvent?(nowUs: number, id: number, event: CommandEvent): void;
  pollTransmit(): Transmit | undefined;
  pollCommand?(): Command | undefined;
  pollTimeout(): number | undefined;
}

export interface LoopPorts {
  readonly clock: Clock;
  /** Sends a datagram; the bytes are only valid during the call. */
  readonly send: (transmit: Transmit) => void;
  /** Asks for one call of `RunLoop.wake` at `atUs`; a new call replaces the one before. */
  readonly setTimer: (atUs: number | undefined) => void;
  readonly executor?: CommandExecutor;
  /** Called when the core has come to rest: the place to take its events. */
  readonly onSettled?: () => void;
}

/**
 * The one driver of a core, under real sockets and in virtual time alike: after each call into the
 * core everything that it has to say is taken out before the next call is made. What comes in
 * meanwhile waits its turn.
 */
export class RunLoop {
  readonly #core: Core;
  readonly #ports: LoopPorts;
  readonly #pending: ((nowUs: number) => void)[] = [];
  #running = false;
  #timerUs: number | undefined;
  /** The latest time that the core was told. */
  #latestUs = -Infinity;

  constructor(core: Core, ports: LoopPorts) {
    this.#core = core;
    this.#ports = ports;
  }

  /** `atUs`: when it came, for a host that looks at the clock once for several; the core's time never goes back for it. */
  datagram(bytes: Uint8Array, peer: PeerAddress, toGroup = false, atUs: number = this.#ports.clock.nowUs()): void {
    if (this.#running) this.#pending.push((nowUs) => this.#core.handleDatagram(nowUs, bytes, peer, toGroup));
    else {
      this.#running = true;
      let quiet = false;
      try {
        const nowUs = Math.max(atUs, this.#latestUs);
        quiet = this.#core.handleDatagram(nowUs, bytes, peer, toGroup) === true;
        if (quiet) this.#sendAll();
      } finally {
        this.#running = false;
        // After an exception too: what waits, and the next deadline, are not lost with it.
        if (!quiet || this.#pending.length > 0) this.call(() => {});
      }
    }
  }

  /** The timer went off. */
  wake(): void {
    this.#timerUs = undefined;
    this.call((nowUs) => this.#core.handleTimeout(nowUs));
  }

  /** Makes any other call into the core. */
  call(action: (nowUs: number) => void): void {
    this.#pending.push(action);
    if (this.#running) return;
    this.#running = true;
    this.#finish();
  }

  #sendAll(): void {
    const core = this.#core;
    const { send } = this.#ports;
    for (let out = core.pollTransmit(); out !== undefined; out = core.pollTransmit()) send(out);
  }

  #finish(): void {
    try {
      this.#drain();
      for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift()) {
        next((this.#latestUs = this.#ports.clock.nowUs()));
        this.#drain();
      }
    } finally {
      this.#running = false;
      const nextUs = this.#core.pollTimeout();
      if (nextUs !== this.#timerUs) {
        this.#timerUs = nextUs;
        this.#ports.setTimer(nextUs);
      }
    }
    this.#ports.onSettled?.();
  }

  #drain(): void {
    const core = this.#core;
    this.#sendAll();
    for (let command = core.pollCommand?.(); command !== undefined; command = core.pollCommand?.())
      this.#execute(command);
  }

  #execute(command: Command): void {
    const { id } = command;
    this.#ports.executor!.execute(command, (event) => this.call((nowUs) => this.#core.handleEvent!(nowUs, id, event)));
  }
}

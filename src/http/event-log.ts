/** Something that happened, for whoever listens. */
export interface GatewayEvent {
  /** Run of the gateway, and number within it: `<run>.<number>`. */
  readonly id: string;
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export const EVENT_LIMITS = { kept: 5_000, listeners: 200 } as const;

/** The newest events of this run, and who listens to them. */
export class EventLog {
  readonly #run: string;
  readonly #events: GatewayEvent[] = [];
  readonly #listeners = new Set<(event: GatewayEvent) => void>();
  #next = 1;

  /** `run`: differs from one run of the gateway to the next. */
  constructor(run: string) {
    this.#run = run;
  }

  add(kind: string, data: Readonly<Record<string, unknown>>): void {
    const event = { id: `${this.#run}.${this.#next++}`, kind, data };
    this.#events.push(event);
    if (this.#events.length > EVENT_LIMITS.kept) this.#events.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** What came behind that event; `gap`: some of it is not there any more. */
  since(id: string | undefined): { readonly events: readonly GatewayEvent[]; readonly gap: boolean } {
    if (id === undefined) return { events: [], gap: false };
    const [run, number] = id.split(".");
    if (run !== this.#run) return { events: this.#events, gap: true };
    const first = this.#next - this.#events.length;
    const from = Number(number) + 1;
    return { events: this.#events.slice(Math.max(0, from - first)), gap: from < first };
  }

  /** Undefined when too many listen; otherwise what ends it. */
  listen(listener: (event: GatewayEvent) => void): (() => void) | undefined {
    if (this.#listeners.size >= EVENT_LIMITS.listeners) return undefined;
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

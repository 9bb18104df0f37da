const PORTS = 65_536;

/**
 * What belongs to the peer that was heard last behind each UDP port. To load by the port and compare an address is
 * cheaper than to build a key of both, and touches less memory than a Map: with 1,000 peers that is most of its cost.
 */
export class RecentByPort<T> {
  /** Half a megabyte, made when it is first needed. */
  #values: (T | undefined)[] | undefined;

  get(port: number): T | undefined {
    return this.#values?.[port];
  }

  set(port: number, value: T): void {
    this.#values ??= Array.from<T | undefined>({ length: PORTS }).fill(undefined);
    if (port < PORTS) this.#values[port] = value;
  }

  /** Forgets `value`, if it is the one behind `port`. */
  delete(port: number, value: T): void {
    if (this.#values?.[port] === value) this.#values[port] = undefined;
  }
}

import { UdpSocket } from "../adapters/udp-socket.ts";
import type { Transmit } from "../ports/datagram.ts";
import { copyPeer, parsePeer } from "../util/peer.ts";
import { environmentError } from "./errors.ts";

type OnDatagram = (bytes: Uint8Array, peer: Transmit["peer"], toGroup: boolean, atUs: number) => void;

/**
 * The gateway's sockets: one per address that it listens on, so that an answer leaves from the
 * address that was asked (RFC 7252 section 5.2), and one per group, which only hears.
 */
export class Sockets {
  readonly addresses: string[] = [];
  readonly #onDatagram: OnDatagram;
  readonly #bound: { readonly v6: boolean; readonly address: string; readonly socket: UdpSocket }[] = [];
  readonly #groups: UdpSocket[] = [];
  /** The first of each kind: most answers leave by one of these. */
  #v4: UdpSocket | undefined;
  #v6: UdpSocket | undefined;

  constructor(onDatagram: OnDatagram) {
    this.#onDatagram = onDatagram;
  }

  async bind(listen: readonly string[], groups: readonly string[]): Promise<void> {
    try {
      for (const text of listen) {
        const { address, port } = parsePeer(text)!;
        const v6 = address.includes(":");
        // Only where there are several of one kind does it matter which one was asked.
        const via = this.#bound.some((other) => other.v6 === v6) ? this.#bound.length : undefined;
        const socket = await bindSocket({ host: address, port }, (bytes, peer, atUs) =>
          this.#onDatagram(bytes, via === undefined ? peer : { ...copyPeer(peer), via }, false, atUs),
        );
        this.#bound.push({ v6, address, socket });
        if (v6) this.#v6 ??= socket;
        else this.#v4 ??= socket;
        this.addresses.push(v6 ? `[${address}]:${socket.port}` : `${address}:${socket.port}`);
      }
      for (const group of groups) await this.#join(group);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  send(transmit: Transmit): void {
    const { via, address } = transmit.peer;
    const first = address.includes(":") ? this.#v6 : this.#v4;
    (via === undefined ? first : this.#bound[via]?.socket)?.send(transmit);
  }

  async close(): Promise<void> {
    for (const socket of [...this.#bound.map((one) => one.socket), ...this.#groups]) await socket.close();
    this.#bound.length = 0;
    this.#groups.length = 0;
  }

  async #join(group: string): Promise<void> {
    const v6 = group.includes(":");
    const beside = this.#bound.find((one) => one.v6 === v6);
    const port = beside?.socket.port ?? 5683;
    // An IPv6 group says with %interface where it is; an IPv4 one is where its listen address is.
    const [address, scope] = group.split("%") as [string, string | undefined];
    const on = v6 ? scope && `::%${scope}` : beside?.address;
    const socket = await bindSocket({ host: group, port, group: { address, on } }, (bytes, peer, atUs) =>
      this.#onDatagram(bytes, peer, true, atUs),
    );
    this.#groups.push(socket);
  }
}

async function bindSocket(
  at: Parameters<typeof UdpSocket.bind>[0],
  onDatagram: Parameters<typeof UdpSocket.bind>[1],
): Promise<UdpSocket> {
  try {
    return await UdpSocket.bind(at, onDatagram);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE") {
      throw environmentError(
        "port-in-use",
        `UDP port ${at.port} of ${at.host} is in use. Stop what uses it, or choose another one with --listen.`,
      );
    }
    throw environmentError(
      "cannot-bind",
      `cannot listen on ${at.host} port ${at.port}: ${message}. Choose an address of this machine with --listen.`,
    );
  }
}

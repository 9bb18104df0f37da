/** Where a datagram came from or goes to. `node:dgram`'s RemoteInfo has this shape. */
export interface PeerAddress {
  /** IP address in text form, without brackets; a zone identifier may follow a `%`. */
  readonly address: string;
  readonly port: number;
  /** The socket, where there are several for one kind of address: answers leave by the one that was asked. */
  readonly via?: number;
}

/**
 * A datagram that a core wants sent. `bytes` is a view that stays valid only until the next call
 * into the core: a host that keeps it longer copies it.
 */
export interface Transmit {
  readonly peer: PeerAddress;
  readonly bytes: Uint8Array;
}

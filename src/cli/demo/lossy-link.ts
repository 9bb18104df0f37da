import type { PeerAddress, Transmit } from "../../ports/datagram.ts";
import type { Random } from "../../ports/random.ts";
import { unitFloat } from "../../util/random.ts";
import type { Link } from "../udp-client.ts";

export interface LinkQuality {
  /** Share of the datagrams that are lost, in each direction. */
  readonly loss: number;
  readonly duplicate: number;
  /** Share that is held back, so that later ones overtake it. */
  readonly reorder: number;
  readonly reorderMs: number;
}

/** A bad link in front of a socket: loses, doubles and reorders datagrams, in both directions alike. */
export class LossyLink implements Link {
  readonly #quality: LinkQuality;
  readonly #random: Random;
  lost = 0;
  duplicated = 0;
  reordered = 0;

  constructor(quality: LinkQuality, random: Random) {
    this.#quality = quality;
    this.#random = random;
  }

  outgoing(transmit: Transmit, send: (transmit: Transmit) => void): void {
    const copy = { peer: transmit.peer, bytes: transmit.bytes.slice() };
    this.#carry(() => send(copy));
  }

  incoming(bytes: Uint8Array, peer: PeerAddress, deliver: (bytes: Uint8Array, peer: PeerAddress) => void): void {
    this.#carry(() => deliver(bytes, peer));
  }

  #carry(deliver: () => void): void {
    const { loss, duplicate, reorder, reorderMs } = this.#quality;
    if (unitFloat(this.#random) < loss) {
      this.lost++;
      return;
    }
    const copies = unitFloat(this.#random) < duplicate ? 2 : 1;
    this.duplicated += copies - 1;
    for (let i = 0; i < copies; i++) {
      if (unitFloat(this.#random) < reorder) {
        this.reordered++;
        setTimeout(deliver, reorderMs * (0.5 + unitFloat(this.#random)));
      } else deliver();
    }
  }
}

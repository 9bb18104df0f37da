import type { Frame } from "../radio/frame.ts";
import { MAC_OVERHEAD_BYTES } from "../mac/link-layer.ts";
import { FRAG1_BYTES, FRAGN_BYTES, readFragment, readHeader } from "../network/sixlowpan.ts";
import { readRfrag, readRfragAck, RFRAG_BYTES } from "../network/rfrag.ts";
import { PHY } from "../radio/phy.ts";

/** Bytes on air by the layer that they belong to. */
export interface LayerBytes {
  /** Preambles, MAC headers and checks, acknowledgements, polls. */
  mac: number;
  security: number;
  sixlowpan: number;
  routing: number;
  /** UDP payload: CoAP headers, and in them image bytes. */
  coap: number;
}

export class AirLayers {
  readonly bytes: LayerBytes = { mac: 0, security: 0, sixlowpan: 0, routing: 0, coap: 0 };
  readonly #securityBytes: number;

  constructor(securityBytes: number) {
    this.#securityBytes = securityBytes;
  }

  count(frame: Frame): void {
    const { payload } = frame;
    if (frame.kind === "ack" || payload.length === 0) {
      this.bytes.mac += PHY.headerBytes + frame.psduBytes;
      return;
    }
    this.bytes.mac += PHY.headerBytes + MAC_OVERHEAD_BYTES;
    this.bytes.security += this.#securityBytes;
    const header = headerBytes(payload);
    if (header === undefined) this.bytes.routing += payload.length;
    else {
      this.bytes.sixlowpan += header;
      this.bytes.coap += payload.length - header;
    }
  }
}

/** Bytes of 6LoWPAN, IP and UDP headers in a packet; undefined for the routing protocol. */
function headerBytes(packet: Uint8Array): number | undefined {
  const fragment = readFragment(packet);
  if (fragment !== undefined) {
    if (!fragment.first) return FRAGN_BYTES;
    return FRAG1_BYTES + (readHeader(packet.subarray(FRAG1_BYTES), 0, 0)?.headerBytes ?? 0);
  }
  const recoverable = readRfrag(packet);
  if (recoverable !== undefined)
    return RFRAG_BYTES + (recoverable.sequence === 0 ? (readHeader(recoverable.data, 0, 0)?.headerBytes ?? 0) : 0);
  if (readRfragAck(packet) !== undefined) return RFRAG_BYTES;
  const header = readHeader(packet, 0, 0);
  return header?.ports === undefined ? undefined : header.headerBytes;
}

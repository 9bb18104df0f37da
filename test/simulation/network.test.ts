import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CsmaMac } from "../../simulator/mac/csma.ts";
import { DEFAULT_CSMA, MAC_MAX_PAYLOAD_BYTES } from "../../simulator/mac/link-layer.ts";
import { HOP_LIMIT, udpChecksum, type Datagram } from "../../simulator/network/datagram.ts";
import { Reassembler } from "../../simulator/network/reassembler.ts";
import { toPackets } from "../../simulator/network/sixlowpan.ts";
import { Engine } from "../../simulator/engine/engine.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { fullMesh, GilbertElliottLinks, IidLinks, perForLength } from "../../simulator/radio/links.ts";
import { Medium } from "../../simulator/radio/medium.ts";
import { airtimeUs } from "../../simulator/radio/phy.ts";

const port = fc.oneof(
  fc.nat(65_535),
  fc.integer({ min: 0xf000, max: 0xf0ff }),
  fc.integer({ min: 0xf0b0, max: 0xf0bf }),
);

function datagramOf(source: number, destination: number, payload: Uint8Array, from = 0, to = 1): Datagram {
  return { from, to, scope: "link", hopLimit: HOP_LIMIT, ports: { source, destination }, payload };
}

const linksOf = (per: number, random: SeededRandom): IidLinks => new IidLinks(per, fullMesh(2), random);

describe("6LoWPAN", () => {
  it("brings every datagram across, in fragments of any order", () => {
    fc.assert(
      fc.property(
        port,
        port,
        fc.uint8Array({ minLength: 1, maxLength: 1_200 }),
        fc.nat(),
        (sourcePort, destinationPort, payload, shuffle) => {
          const datagram = datagramOf(sourcePort, destinationPort, payload, 3, 7);
          const packets = toPackets(datagram, 77, MAC_MAX_PAYLOAD_BYTES);
          for (const packet of packets) expect(packet.length).toBeLessThanOrEqual(MAC_MAX_PAYLOAD_BYTES);
          const order = packets
            .map((packet, i) => ({ packet, key: (i * 7919 + shuffle) % 104_729 }))
            .toSorted((a, b) => a.key - b.key);
          const reassembler = new Reassembler(7, 2);
          const out = order
            .map(({ packet }) => reassembler.accept(0, 3, packet))
            .filter((result) => result !== undefined);
          expect(out).toEqual([{ ...datagram, checksum: udpChecksum(datagram) }]);
        },
      ),
      { numRuns: 1_000, seed: 1 },
    );
  });

  it("has the header sizes of RFC 6282: 9 bytes with port 5683, 8 and 6 with ports of 0xf0XX and 0xf0bX", () => {
    const size = (sourcePort: number, destinationPort: number): number =>
      toPackets(datagramOf(sourcePort, destinationPort, new Uint8Array(20)), 0, 116)[0]!.length - 20;
    expect([size(5683, 5683), size(5683, 0xf012), size(0xf012, 5683), size(0xf0b1, 0xf0b2)]).toEqual([9, 8, 8, 6]);
  });

  it("counts fragments as RFC 4944 sets them: 4 bytes of header first, 5 later, payloads in eights", () => {
    const sizes = toPackets(datagramOf(5683, 5683, new Uint8Array(300)), 1, 116).map(({ length }) => length);
    // 300 + 48 uncompressed: the first ends at 144 (96 of payload), the others carry 104 and 100.
    expect(sizes).toEqual([4 + 9 + 96, 5 + 104, 5 + 100]);
  });

  it("bounds its buffers and gives half datagrams up", () => {
    const reassembler = new Reassembler(1, 2);
    const [first] = toPackets(datagramOf(1, 2, new Uint8Array(300)), 1, 116);
    for (let tag = 0; tag < 10; tag++) {
      const packet = first!.slice();
      packet[3] = tag;
      reassembler.accept(0, 0, packet);
    }
    expect(reassembler.dropped).toBe(8);
  });
});

describe("links", () => {
  it("lose at the rate given for the longest frame, and shorter ones less", () => {
    const links = linksOf(0.3, new SeededRandom(1, "links"));
    const lossOf = (bytes: number): number =>
      Array.from({ length: 40_000 }, () => links.isLost(0, 1, bytes)).filter(Boolean).length / 40_000;
    expect(lossOf(133)).toBeCloseTo(0.3, 1.7);
    expect(lossOf(11)).toBeCloseTo(perForLength(0.3, 11), 2);
    expect(perForLength(0.3, 11)).toBeCloseTo(0.029, 3);
  });

  it("Gilbert-Elliott has its mean rate and its burst length", () => {
    const parameters = { perGood: 0, perBad: 1, meanBadFrames: 20, fractionBad: 0.2 };
    const links = new GilbertElliottLinks(parameters, fullMesh(2), new SeededRandom(1, "bursts"));
    const lost = Array.from({ length: 200_000 }, () => links.isLost(0, 1, 133));
    const bursts = lost.filter((bad, i) => bad && lost[i - 1] !== true).length;
    const total = lost.filter(Boolean).length;
    expect(total / lost.length).toBeCloseTo(0.2, 1.3);
    expect(total / bursts).toBeGreaterThan(18);
    expect(total / bursts).toBeLessThan(22);
  });

  it("one direction's draws do not move another's", () => {
    const draw = (noise: boolean): boolean[] => {
      const links = linksOf(0.5, new SeededRandom(1, "links"));
      return Array.from({ length: 50 }, () => {
        if (noise) links.isLost(1, 0, 20);
        return links.isLost(0, 1, 100);
      });
    };
    expect(draw(true)).toEqual(draw(false));
  });
});

describe("CSMA-CA", () => {
  it("a loss-free exchange takes the mean back-off, CCA, turnaround, frame, turnaround and acknowledgement: 6.24 ms", () => {
    const engine = new Engine();
    const medium = new Medium(engine, linksOf(0, new SeededRandom(1, "x")));
    const mac = (id: number): CsmaMac =>
      new CsmaMac({ id, engine, medium, random: new SeededRandom(1, `mac-${id}`), parameters: DEFAULT_CSMA });
    const [a, b] = [mac(0), mac(1)];
    let received = 0;
    b.onPayload = () => received++;
    const frames = 2_000;
    for (let i = 0; i < frames; i++) {
      a.send(1, new Uint8Array(116));
      engine.run(Infinity, () => false);
    }
    expect(received).toBe(frames);
    expect(engine.nowUs() / frames).toBeGreaterThan(6_240 * 0.98);
    expect(engine.nowUs() / frames).toBeLessThan(6_240 * 1.02);
    expect(airtimeUs(127)).toBe(4_256);
  });

  it("retries what is not acknowledged, drops it in the end, and delivers nothing twice", () => {
    const engine = new Engine();
    const medium = new Medium(engine, linksOf(0.6, new SeededRandom(4, "x")));
    const mac = (id: number): CsmaMac =>
      new CsmaMac({ id, engine, medium, random: new SeededRandom(1, `mac-${id}`), parameters: DEFAULT_CSMA });
    const [a, b] = [mac(0), mac(1)];
    const seen: number[] = [];
    b.onPayload = (_from, payload) => seen.push(payload[0]!);
    for (let i = 0; i < 200; i++) {
      const payload = new Uint8Array(100);
      payload[0] = i;
      a.send(1, payload);
      engine.run(Infinity, () => false);
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(a.counters.noAck).toBeGreaterThan(5);
    expect(a.counters.retries).toBeGreaterThan(100);
    expect(b.counters.duplicates).toBeGreaterThan(0);
  });
});

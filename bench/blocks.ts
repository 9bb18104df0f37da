import type { LoadResult } from "./load.ts";
import { median } from "./median.ts";
import { MACHINE, withSite, type Server, type Site } from "./site.ts";

const CLIENTS = [64, 1_000];
const BLOCKS = [64, 512, 1_024];
/** Of the echo and of the gateway, one behind the other. */
const PAIRS = 7;
/** Of these, with which the peers are measured as well. */
const PEER_ROUNDS = 3;

interface Measured {
  readonly reqPerS: number;
  readonly p99Us: number;
  readonly rssMiB: number;
  readonly badReplies: number;
  readonly retransmissions: number;
}

export interface BlocksRow {
  readonly block: number;
  readonly clients: number;
  readonly gateway: Measured;
  readonly echo: Measured;
  readonly libcoap: Measured | undefined;
  readonly nodeCoap: Measured;
  /**
   * The gateway's rate and p99 by those of node:dgram's bare echo: the median of what each pair of measurements says,
   * since a machine that is shared may be half as fast a minute later.
   */
  readonly rateToEcho: number;
  readonly p99ToEcho: number;
  readonly timesLibcoap: number | undefined;
  readonly timesNodeCoap: number;
  readonly machine: string;
}

/** One row per number of clients and size of block, medians of rounds in turns, all on the same servers. */
export async function blocks(onRow: (row: BlocksRow) => void): Promise<void> {
  await withSite(async (site) => {
    for (const clients of CLIENTS) for (const block of BLOCKS) onRow(await blocksRow(site, clients, block));
  });
}

async function blocksRow(site: Site, clients: number, block: number): Promise<BlocksRow> {
  const { gateway: ours, echo: ceiling, libcoap, nodeCoap } = site;
  const asked: Server[] = [ceiling, ours, ...(libcoap === undefined ? [] : [libcoap]), nodeCoap];
  const results = new Map(asked.map((server): [Server, LoadResult[]] => [server, []]));
  for (let round = 0; round < PAIRS; round++)
    for (const server of round < PEER_ROUNDS ? asked : [ceiling, ours])
      results.get(server)!.push(await site.measure(server, clients, block));
  const of = (server: Server): Measured => measured(results.get(server)!);
  const toEcho = (figure: (result: LoadResult) => number): number =>
    medianRatio(results.get(ours)!.map(figure), results.get(ceiling)!.map(figure));
  const [gateway, echo, peer] = [of(ours), of(ceiling), libcoap && of(libcoap)];
  return {
    block,
    clients,
    gateway,
    echo,
    libcoap: peer,
    nodeCoap: of(nodeCoap),
    rateToEcho: toEcho(({ reqPerS }) => reqPerS),
    p99ToEcho: toEcho(({ p99Us }) => p99Us),
    timesLibcoap: peer && ratio(gateway.reqPerS, peer.reqPerS),
    timesNodeCoap: ratio(gateway.reqPerS, of(nodeCoap).reqPerS),
    machine: MACHINE,
  };
}

const ratio = (a: number, b: number): number => Number((a / b).toFixed(3));
const medianRatio = (a: readonly number[], b: readonly number[]): number =>
  Number(median(a.map((one, i) => one / b[i]!)).toFixed(3));

function measured(results: readonly LoadResult[]): Measured {
  return {
    reqPerS: median(results.map(({ reqPerS }) => reqPerS)),
    p99Us: median(results.map(({ p99Us }) => p99Us)),
    rssMiB: Math.max(...results.map(({ rssMiB }) => rssMiB)),
    badReplies: results.reduce((sum, { bad }) => sum + bad, 0),
    retransmissions: results.reduce((sum, { retransmissions }) => sum + retransmissions, 0),
  };
}

export function blocksText({ block, clients, gateway, echo, libcoap, nodeCoap, ...row }: BlocksRow): string {
  const beside = libcoap === undefined ? "" : `, ${row.timesLibcoap} times libcoap (${libcoap.reqPerS}/s)`;
  return (
    `${block} B blocks, ${clients} clients: ${gateway.reqPerS} requests/s, ${row.rateToEcho} of a bare node:dgram ` +
    `echo (${echo.reqPerS}/s)${beside}, ${row.timesNodeCoap} times node-coap (${nodeCoap.reqPerS}/s); ` +
    `p99 ${gateway.p99Us} us, ${row.p99ToEcho} of the echo's; ${gateway.rssMiB} MiB; ${row.machine}`
  );
}

/** The gateway beside a server on coap-packet, as docs/adr/0002 has it. */
export async function packetRow(onRow: (row: object, text: string) => void): Promise<void> {
  await withSite(async (site) => {
    const [ours, theirs]: [LoadResult[], LoadResult[]] = [[], []];
    for (let round = 0; round < PEER_ROUNDS; round++) {
      ours.push(await site.measure(site.gateway, 64, 64));
      theirs.push(await site.measure(site.coapPacket, 64, 64));
    }
    const [gateway, peer] = [measured(ours), measured(theirs)];
    const timesThePeer = ratio(gateway.reqPerS, peer.reqPerS);
    const row = { peer: "coap-packet", block: 64, clients: 64, gateway, theirs: peer, timesThePeer, machine: MACHINE };
    onRow(
      row,
      `${timesThePeer} times a server on coap-packet (${gateway.reqPerS} to ${peer.reqPerS} requests/s; ${MACHINE})`,
    );
  });
}

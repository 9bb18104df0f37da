import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
import type { Channel } from "../radio/channel.ts";
import { parseEdges } from "../radio/edges.ts";
import { parseK7 } from "../radio/k7.ts";
import { K7Links } from "../radio/k7-links.ts";
import { EdgeLinks, fullMesh, GilbertElliottLinks, IidLinks, type Adjacency } from "../radio/links.ts";
import { PathLossChannel, type Position } from "../radio/path-loss.ts";
import type { ScenarioFiles } from "../scenarios/files.ts";
import type { Case, TopologySpec } from "../scenarios/case.ts";

/** Where everybody is, and who hears whom. Node 0 is the gateway's border router, then come motes, then further border routers. */
export interface Topology {
  readonly nodes: number;
  readonly positions: readonly Position[];
  readonly channel: Channel;
  /** Border routers; the first is the gateway itself. */
  readonly roots: readonly number[];
}

export function buildTopology(run: Case, random: Random, files: ScenarioFiles): Topology {
  const nodes = run.motes + run.network.borderRouters;
  const positions = place(run, nodes, random.fork("placement"));
  const roots = [0, ...Array.from({ length: run.network.borderRouters - 1 }, (_, i) => run.motes + 1 + i)];
  return { nodes, positions, roots, channel: channelOf(run, positions, random.fork("links"), files) };
}

function channelOf(run: Case, positions: readonly Position[], random: Random, files: ScenarioFiles): Channel {
  const { link, receiver } = run;
  const nodes = positions.length;
  if (link.model === "iid") return new IidLinks(link.per, adjacencyOf(run, nodes), random);
  if (link.model === "gilbert-elliott")
    return new GilbertElliottLinks(link.gilbertElliott, adjacencyOf(run, nodes), random);
  if (link.model === "path-loss") return new PathLossChannel(link, receiver, positions, random);
  if (link.model === "edges") return new EdgeLinks(parseEdges(fileOf(files, link.file)), nodes, random);
  const links = new K7Links(parseK7(fileOf(files, link.file)), link.channel, random);
  if (links.nodes < nodes) throw new RangeError(`${link.file} has ${links.nodes} nodes, the scenario ${nodes}`);
  return links;
}

function fileOf(files: ScenarioFiles, name: string): string {
  const text = files[name];
  if (text === undefined) throw new RangeError(`${name} is not given`);
  return text;
}

/** Without geometry neighbours are those of the figure: the next on a line, the four around on a grid. */
function adjacencyOf({ topology }: Case, nodes: number): Adjacency {
  if (topology.kind === "cell") return fullMesh(nodes);
  if (topology.kind === "line") return near(nodes, (a, b) => Math.abs(a - b) === 1);
  if (topology.kind === "disc")
    throw new RangeError("a disc has distances and no neighbours: give it link.model path-loss");
  const { columns } = topology;
  const [x, y] = [(id: number): number => id % columns, (id: number): number => Math.floor(id / columns)];
  return near(nodes, (a, b) => Math.abs(x(a) - x(b)) + Math.abs(y(a) - y(b)) === 1);
}

function near(nodes: number, linked: (a: number, b: number) => boolean): Adjacency {
  return fullMesh(nodes).map((others, id) => others.filter((other) => linked(id, other)));
}

/** Further border routers stand at the far end of a line, in the corners of a grid, on the rim of a disc. */
function place({ topology, motes }: Case, nodes: number, random: Random): Position[] {
  const all = (at: (id: number) => Position): Position[] => Array.from({ length: nodes }, (_, id) => at(id));
  if (topology.kind === "line") return all((id) => ({ x: id * topology.spacingM, y: 0 }));
  if (topology.kind === "grid") return all((id) => onGrid(topology, motes, id));
  if (topology.kind === "cell") return all((id) => around((2 * Math.PI * id) / nodes, id === 0 ? 0 : 10));
  return all((id) => {
    if (id === 0) return { x: 0, y: 0 };
    const stream = random.fork(`${id}`);
    const radius = topology.radiusM * (id > motes ? 1 : Math.sqrt(unitFloat(stream)));
    return around(2 * Math.PI * unitFloat(stream), radius);
  });
}

const around = (angle: number, radius: number): Position => ({
  x: radius * Math.cos(angle),
  y: radius * Math.sin(angle),
});

function onGrid({ columns, spacingM }: TopologySpec & { kind: "grid" }, motes: number, id: number): Position {
  if (id <= motes) return { x: (id % columns) * spacingM, y: Math.floor(id / columns) * spacingM };
  const [right, far] = [(columns - 1) * spacingM, (Math.ceil((motes + 1) / columns) - 1) * spacingM];
  const corners = [
    { x: right, y: far },
    { x: right, y: 0 },
    { x: 0, y: far },
  ];
  const { x, y } = corners[(id - motes - 1) % corners.length]!;
  return { x: x + 1, y: y + 1 };
}

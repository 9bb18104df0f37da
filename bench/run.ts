import { blocks, blocksText, packetRow } from "./blocks.ts";
import { apiRows, fleetRow } from "./fleet.ts";
import { codecRows } from "./codec.ts";
import { profileRows } from "./profile.ts";
import { MACHINE } from "./site.ts";
import { caseDRows, scenarioRows } from "./simulator.ts";
import { suitRows } from "./suit.ts";
import { transfersRow } from "./transfers.ts";

// npm run bench -- blocks [--json]: block-wise GETs of a 1 MiB image by 64 and 1,000 clients, beside a
// bare node:dgram echo of datagrams of the same size, libcoap's server and node-coap's, in turns.
// npm run bench -- packet [--json]: the same beside a server on coap-packet (docs/adr/0002).
// npm run bench -- profile [--json]: what each of the gateway's layers adds to one block.
// npm run bench -- codec [--json]: parse and serialise beside coap-packet.
// npm run bench -- simulator [--json]: case D of ns-3's lr-wpan benchmark at 100, 500 and 2,000 nodes; S4 and a day of S6.
// npm run bench -- transfers [--json]: heap and timers of 10,000 transfers at once.
// npm run bench -- suit [--json]: verify and plan a manifest, beside the bare signature check of node:crypto.
// npm run bench -- api [--json]: the API by autocannon, with 10,000 registered devices.
// npm run bench -- fleet [--json]: 10,000 registered devices, 1,000 transfers at once from another process.
// The ratio is what counts; the absolute figures are this machine's.

const [what, ...flags] = process.argv.slice(2);
const json = flags.includes("--json");
const show = (row: object, text: string): void => console.log(json ? JSON.stringify(row) : text);
if (what === "blocks") await blocks((row) => show(row, blocksText(row)));
else if (what === "packet") await packetRow(show);
else if (what === "codec") {
  for (const row of codecRows()) {
    const text = `${row.what} a ${row.message}: ${row.nsPerMessage} ns, ${row.timesThePeer} times as fast as coap-packet`;
    show({ ...row, machine: MACHINE }, `${text} (${MACHINE})`);
  }
} else if (what === "transfers") {
  const row = transfersRow();
  const text = `${row.transfers} transfers: ${row.heapBytesPerTransfer} bytes of heap and ${row.timers} timers each`;
  show({ ...row, machine: MACHINE }, `${text} (${MACHINE})`);
} else if (what === "simulator") {
  for (const row of caseDRows()) {
    const speed = `${Math.round(row.framesPerS)} frames/s, ${row.usPerFrame.toFixed(1)} us a frame, ${Math.round(row.simSPerS)} s/s, ${Math.round(row.rssMb)} MiB`;
    const text = `case D, ${row.nodes} nodes: ${speed}; ${row.replies} of ${row.requests} replies, ${row.frames} frames (${MACHINE})`;
    show({ case: "D", ...row, machine: MACHINE }, text);
  }
  for (const row of scenarioRows()) {
    const { scenario, wallS, simS, frames, updated } = row;
    const text = `${scenario}: ${simS.toFixed(0)} s of it in ${wallS.toFixed(1)} s, ${frames} frames, ${updated} motes (${MACHINE})`;
    show({ ...row, machine: MACHINE }, text);
  }
} else if (what === "suit") {
  for (const row of suitRows()) {
    const text = `${row.manifest}, ${row.algorithm}, ${row.bytes} bytes: ${row.usPerManifest} us to verify and plan, ${row.timesBare} times one bare signature check (${row.bareVerifyUs} us)`;
    show({ ...row, machine: MACHINE }, `${text} (${MACHINE})`);
  }
} else if (what === "fleet") {
  const row = await fleetRow();
  const speed = `${row.blocksPerS} blocks/s, p99 ${row.p99Ms} ms (an echo: ${row.echoP99Ms} ms), ${row.lost} lost, ${Math.round(row.rssMb)} MiB`;
  const text = `${row.devices} devices (${row.registrationsPerS} registrations/s), ${row.transfers} transfers: ${speed}; Leshan is not here`;
  show({ ...row, machine: MACHINE }, `${text} (${MACHINE})`);
} else if (what === "api") {
  await apiRows((row) => {
    const text = `${row.route}: ${row.requestsPerS} requests/s, p99 ${row.p99Ms} ms, ${row.kibPerAnswer} KiB each, ${row.not2xx} failed`;
    show({ ...row, machine: MACHINE }, `${text} (${MACHINE})`);
  });
} else if (what === "profile") {
  for (const row of profileRows()) {
    const text = `${row.block} B: ${row.nsPerBlock} ns up to ${row.layer} (${row.nsOfItsOwn} ns of its own)`;
    show({ ...row, machine: MACHINE }, text);
  }
} else {
  console.error("usage: npm run bench -- blocks|packet|profile|codec|transfers|simulator|suit|api|fleet [--json]");
  process.exitCode = 2;
}

// Makes simulator/scenarios/synthetic-50.k7.gz: a trace in k7's format that nobody measured. 50 nodes in a hall of
// 60 m x 25 m, log-distance loss with shadowing per link and channel, some links that come and go, and no row
// where nothing was heard, as in the real ones. Deterministic: node scripts/make-k7.js writes the same bytes again.
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const NODES = 50;
const CHANNELS = [11, 15, 20, 26];
const VISITS = 6;
const TX_COUNT = 100;
const VISIT_S = 3_600;

/** mulberry32 */
let state = 0x5eed;
function uniform() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

const at = Array.from({ length: NODES }, () => ({ x: 60 * uniform(), y: 25 * uniform() }));
const offset = Array.from({ length: NODES }, () => ({ tx: normal(), rx: normal() }));
const shadow = at.map(() => at.map(() => 5 * normal()));
const rows = [];
const stamp = (s) => new Date(Date.UTC(2026, 0, 1) + Math.round(s * 1000)).toISOString().replace("T", " ").slice(0, 23);

for (let visit = 0; visit < VISITS; visit++) {
  for (let src = 0; src < NODES; src++) {
    for (const [c, channel] of CHANNELS.entries()) {
      const seconds = visit * VISIT_S + (src * CHANNELS.length + c) * 12;
      for (let dst = 0; dst < NODES; dst++) {
        if (dst === src) continue;
        const [low, high] = src < dst ? [src, dst] : [dst, src];
        const distance = Math.max(1, Math.hypot(at[src].x - at[dst].x, at[src].y - at[dst].y));
        const loss = 46.67 + 35 * Math.log10(distance) - shadow[low][high] - 2.3 * normal();
        const rssi = -loss + offset[src].tx + offset[dst].rx;
        // The cliff of the M3 nodes' radio: from nothing to all within 4 dB.
        const pdr = Math.round(100 / (1 + Math.exp(-(rssi + 88) * 1.5))) / 100;
        if (pdr < 0.01 || uniform() < 0.03) continue;
        const heard = Math.min(
          1,
          Math.max(0.01, Math.round(TX_COUNT * (pdr + 0.02 * normal() * (1 - pdr))) / TX_COUNT),
        );
        rows.push([stamp(seconds), `n${src}`, `n${dst}`, channel, rssi.toFixed(1), heard, TX_COUNT].join(","));
      }
    }
  }
}
const header = { location: "synthetic", node_count: NODES, channels: CHANNELS, tx_length: 100, tx_count: TX_COUNT };
const text = [JSON.stringify(header), "datetime,src,dst,channel,mean_rssi,pdr,tx_count", ...rows, ""].join("\n");
const target = new URL("../simulator/scenarios/synthetic-50.k7.gz", import.meta.url);
writeFileSync(target, gzipSync(text, { level: 9 }));
console.log(`${rows.length} rows`);

/** Readable on a phone, in the dark and in print. */
export const STYLE = `
:root{color-scheme:light dark;--fg:#1d2530;--bg:#fff;--line:#d5dbe2;--soft:#5d6a79;--shade:#0004}
@media (prefers-color-scheme:dark){:root{--fg:#e8ecf1;--bg:#14181d;--line:#333c47;--soft:#9aa7b5;--shade:#fff5}}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);margin:0 auto;max-width:860px;padding:1rem}
h1{margin:.2rem 0}h2{margin:2rem 0 .5rem;font-size:1.25rem}h3{margin:1.2rem 0 .3rem;font-size:1rem}
.facts,.legend,p{color:var(--soft)}.facts{font-size:.85rem}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line);stroke-width:1}.line{fill:none;stroke-width:2}.limit{stroke:var(--fg);stroke-width:1.5;stroke-dasharray:5 3}
.link{stroke:var(--soft);opacity:.6}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.2rem 0;font-size:.85rem}.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.4em;border-radius:2px}
.wide{overflow-x:auto;background:linear-gradient(90deg,var(--bg) 2rem,transparent) left,linear-gradient(270deg,var(--bg) 2rem,transparent) right,linear-gradient(90deg,var(--shade),transparent 1rem) left,linear-gradient(270deg,var(--shade),transparent 1rem) right;background-size:3rem 100%,3rem 100%,1rem 100%,1rem 100%;background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}th:first-child{text-align:left;font-weight:600}thead th{color:var(--soft)}
td:last-child:nth-child(5){text-align:left}td i{display:inline-block;height:.7em;margin-right:.4em}.less{background:#2e8b57}.more{background:#d1495b}
details{border-top:1px solid var(--line);margin-top:1.5rem;padding-top:.5rem}summary{font-size:1.25rem;font-weight:600;cursor:pointer}
select{font:inherit;max-width:100%}.bad{color:#d1495b;font-weight:600}
.blocks{display:grid;grid-template-columns:repeat(32,1fr);gap:2px;margin:.5rem 0}.blocks i{aspect-ratio:1;border-radius:2px}
@media (max-width:600px){svg text{font-size:18px}.wide{scrollbar-width:thin}th,td{padding:.3rem .45rem;white-space:nowrap}td:last-child:nth-child(5){white-space:normal;min-width:16rem}}
@media print{body{max-width:none}select,label{display:none}svg,table{break-inside:avoid}}
`;

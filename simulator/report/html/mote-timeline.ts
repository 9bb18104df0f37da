import { ENERGY_STATES } from "../../mote/energy.ts";
import type { CaseResult } from "../case-report.ts";
import { nameOf, STATE_COLOURS } from "./charts.ts";

/** What the page's script draws the timeline of a chosen mote from, as JSON that is safe inside a script element. */
export function motesData(results: readonly CaseResult[]): string {
  const cases = results.map(({ report, motes }) => ({
    name: nameOf(report),
    seconds: report.simSeconds,
    motes: motes.map(({ id, hops, outcome, startedS, finishedS, arrivalS, bootS, energyMj }) => ({
      id,
      hops,
      outcome,
      startedS: round(startedS),
      finishedS: finishedS === undefined ? null : round(finishedS),
      arrivalS: arrivalS.map(round),
      bootS: bootS.map(round),
      energyMj: ENERGY_STATES.map((state) => round(energyMj[state])),
    })),
  }));
  const states = ENERGY_STATES.map((state) => [state, STATE_COLOURS[state]]);
  return JSON.stringify({ cases, states }).replaceAll("<", "\\u003c");
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** Draws progress over time, restarts, and the map of the image's parts, of the mote that is chosen. */
export const MOTE_SCRIPT = `
const data=JSON.parse(document.getElementById("data").textContent),pick=id=>document.getElementById(id);
const caseBox=pick("case"),moteBox=pick("mote"),out=pick("timeline");
data.cases.forEach((c,i)=>caseBox.add(new Option(c.name,i)));
function fill(){moteBox.length=0;(data.cases[caseBox.value]||{motes:[]}).motes.forEach((m,i)=>moteBox.add(new Option(m.id+" ("+m.hops+" hops, "+m.outcome+")",i)));draw()}
function draw(){const c=data.cases[caseBox.value],m=c&&c.motes[moteBox.value];if(!m){out.textContent="no mote to show";return}
const end=m.finishedS===null?c.seconds:m.finishedS,from=m.startedS,span=Math.max(end-from,1e-6),x=t=>50+570*(t-from)/span,y=p=>190-170*p/32;
let d="M"+x(from)+" "+y(0);m.arrivalS.forEach((t,i)=>{d+="L"+x(t).toFixed(1)+" "+y(i+1).toFixed(1)});
const boots=m.bootS.slice(1).map(t=>'<line class="limit" x1="'+x(t)+'" x2="'+x(t)+'" y1="20" y2="190"><title>restart at '+t+' s</title></line>').join("");
const ticks=[0,.25,.5,.75,1].map(f=>'<text x="'+(50+570*f)+'" y="208" text-anchor="middle">'+(from+span*f).toPrecision(4)+' s</text><line class="grid" x1="50" x2="620" y1="'+y(32*f)+'" y2="'+y(32*f)+'"/><text x="44" y="'+(y(32*f)+4)+'" text-anchor="end">'+100*f+' %</text>').join("");
const cells=Array.from({length:32},(_,i)=>{const t=m.arrivalS[i];return '<i title="part '+(i+1)+': '+(t===undefined?"never":t+" s")+'" style="background:'+(t===undefined?"var(--line)":"hsl("+Math.round(200-160*(t-from)/span)+" 60% 45%)")+'"></i>'}).join("");
const total=m.energyMj.reduce((a,b)=>a+b,0),energy=data.states.map((s,i)=>'<span><i style="background:'+s[1]+'"></i>'+s[0]+" "+m.energyMj[i]+" mJ</span>").join("");
out.innerHTML='<svg viewBox="0 0 640 220" role="img" aria-label="progress of one mote">'+ticks+boots+'<path class="line" stroke="#1b6ca8" d="'+d+'"/></svg><p>The 32 parts of the image in their order, early ones blue, late ones orange:</p><div class="blocks">'+cells+'</div><p class="legend">'+energy+"<span>total "+total.toFixed(1)+" mJ</span></p>"}
caseBox.onchange=fill;moteBox.onchange=draw;fill();
`;

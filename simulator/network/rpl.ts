import type { Random } from "../../src/ports/random.ts";
import { uintBelow } from "../../src/util/random.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import type { Engine } from "../engine/engine.ts";
import type { Datagram } from "./datagram.ts";
import type { Router } from "./router.ts";
import { ALL_NODES, INFINITE_RANK, MAX_TARGETS, readRpl, rplDatagram, type RplMessage } from "./rpl-messages.ts";
import { Trickle } from "./trickle.ts";

/** Ranks are in 128ths of an expected transmission (RFC 6719 section 5). */
const ETX_UNIT = 128;
const ROOT_RANK = 256;
const SWITCH_THRESHOLD = 192;
/** Ways that cost more than this are none. */
const MAX_RANK = 256 * ETX_UNIT;
/** What a frame that nobody acknowledged counts as, and the weight of one sample: as in Contiki-NG's estimator, slower. */
const NO_ACK_ETX = 8;
const EWMA_ALPHA = 0.08;
const MAX_LINK_ETX = 8;
const TRICKLE = { minUs: 4_096_000, doublings: 8, redundancy: 10 };
const DIS_US = 5_000_000;
const DAO_DELAY_US = 1_000_000;
const DAO_GAP_US = 100_000;
const DAO_REFRESH_US = 600_000_000;
/** What was not said again so long is forgotten: its end may have been lost (RFC 6550 section 9.2.2). */
const ROUTE_US = 3 * DAO_REFRESH_US;
const DAO_LIFETIME = ROUTE_US / 60_000_000;

interface Neighbour {
  rank: number;
  root: number;
  etx: number;
}

export interface RplParts {
  readonly id: number;
  readonly root: boolean;
  readonly engine: Engine;
  readonly random: Random;
  readonly send: (datagram: Datagram) => void;
  /** What a link is taken to cost before anything was sent on it: from the power that it was heard with. */
  readonly firstEtx: (neighbour: number) => number;
  /** A root hears of a node that can be reached through it. */
  readonly onRoute?: (target: number) => void;
  readonly onParent?: (parent: number | undefined) => void;
}

/** RPL in storing mode with MRHOF over ETX: DIOs by Trickle, DAOs up the tree, a parent is left when its link gets worse. */
export class RplRouter implements Router {
  readonly #parts: RplParts;
  readonly #neighbours = new Map<number, Neighbour>();
  readonly #routes = new Map<number, { readonly via: number; readonly untilUs: number }>();
  readonly #trickle: Trickle;
  #rank: number;
  #parent: number | undefined;
  #sequence = 0;
  #daoTimer: Timer | undefined;
  #disTimer: Timer | undefined;
  #running = false;
  parentChanges = 0;

  constructor(parts: RplParts) {
    this.#parts = parts;
    this.#rank = parts.root ? ROOT_RANK : INFINITE_RANK;
    this.#trickle = new Trickle(parts.engine, parts.random, TRICKLE, () => this.#sendDio(ALL_NODES));
  }

  get parent(): number | undefined {
    return this.#parent;
  }

  get rank(): number {
    return this.#rank;
  }

  start(): void {
    this.#running = true;
    if (this.#parts.root) this.#trickle.reset();
    else this.#solicit();
  }

  /** The node went down: what it knew is gone. */
  stop(): void {
    this.#running = false;
    this.#trickle.stop();
    for (const timer of [this.#daoTimer, this.#disTimer]) timer?.cancel();
    this.#neighbours.clear();
    this.#routes.clear();
    this.#parent = undefined;
    this.#rank = this.#parts.root ? ROOT_RANK : INFINITE_RANK;
  }

  nextHop(to: number, from?: number): number | undefined {
    const down = this.#routeTo(to);
    if (down !== undefined && down !== from) return down;
    if (from === undefined || (down === undefined && from !== this.#parent)) return this.#parent;
    // What came down must not go up again: that route is stale, and who has it is told so (RFC 6550 section 11.2.2.3).
    this.#routes.delete(to);
    this.#sendDao(from, [to], 0);
    return undefined;
  }

  /** The child through which a node is reached. */
  #routeTo(to: number): number | undefined {
    const route = this.#routes.get(to);
    if (route === undefined || route.untilUs > this.#parts.engine.nowUs()) return route?.via;
    this.#routes.delete(to);
    return undefined;
  }

  onControl(from: number, datagram: Datagram): void {
    const message = this.#running ? readRpl(datagram.payload) : undefined;
    if (message?.kind === "dio") this.#onDio(from, message);
    else if (message?.kind === "dao") this.#onDao(from, message);
    else if (message?.kind === "dis" && this.#rank !== INFINITE_RANK) this.#trickle.reset();
  }

  onSent(id: number, acknowledged: boolean, transmissions: number): void {
    const neighbour = this.#neighbours.get(id);
    if (neighbour === undefined) return;
    const sample = acknowledged ? transmissions : NO_ACK_ETX;
    neighbour.etx += EWMA_ALPHA * (sample - neighbour.etx);
    if (!acknowledged) this.#forgetBehind(id);
    this.#choose();
  }

  #onDio(from: number, { rank, root }: RplMessage & { kind: "dio" }): void {
    const known = this.#neighbours.get(from);
    if (known === undefined) this.#neighbours.set(from, { rank, root, etx: this.#parts.firstEtx(from) });
    else Object.assign(known, { rank, root });
    if (rank === INFINITE_RANK && this.#rank !== INFINITE_RANK) this.#trickle.reset();
    else this.#trickle.consistent();
    this.#choose();
  }

  #onDao(from: number, { targets, lifetime }: RplMessage & { kind: "dao" }): void {
    const news = targets.filter((target) => {
      if (target === this.#parts.id) return false;
      const via = this.#routeTo(target);
      if (lifetime === 0) return via === from && this.#routes.delete(target); // it may have come another way meanwhile
      this.#routes.set(target, { via: from, untilUs: this.#parts.engine.nowUs() + ROUTE_US });
      return via !== from;
    });
    if (this.#parts.root) for (const target of lifetime === 0 ? [] : targets) this.#parts.onRoute?.(target);
    // What is known above is said again from time to time.
    else if (this.#parent !== undefined && news.length > 0) this.#sendDao(this.#parent, news, lifetime);
  }

  /** A child that does not hear us is no way down; it will say so itself when it has found another. */
  #forgetBehind(child: number): void {
    if ((this.#neighbours.get(child)?.etx ?? 0) < MAX_LINK_ETX) return;
    for (const [target, { via }] of this.#routes) if (via === child) this.#routes.delete(target);
  }

  #costBy({ rank, etx }: Neighbour): number {
    return rank === INFINITE_RANK || etx > MAX_LINK_ETX ? Infinity : rank + etx * ETX_UNIT;
  }

  #choose(): void {
    if (this.#parts.root) return;
    let best: number | undefined;
    let cost = MAX_RANK;
    for (const [id, neighbour] of this.#neighbours) {
      const by = this.#costBy(neighbour);
      // One that is no nearer to the root may be behind this node (RFC 6550 section 8.2.1: a parent's rank is lower).
      const behind = id !== this.#parent && this.#rank !== INFINITE_RANK && neighbour.rank >= this.#rank;
      if (by < cost && !behind && this.#routeTo(id) !== id) [best, cost] = [id, by];
    }
    const current = this.#parent === undefined ? Infinity : this.#costBy(this.#neighbours.get(this.#parent)!);
    if (best === this.#parent || current - cost < SWITCH_THRESHOLD) {
      if (best !== undefined) this.#rank = Math.min(INFINITE_RANK - 1, Math.round(Math.min(current, MAX_RANK)));
      return;
    }
    this.#changeParent(best, cost);
  }

  #changeParent(parent: number | undefined, cost: number): void {
    const before = this.#parent;
    this.#parent = parent;
    this.#rank = parent === undefined ? INFINITE_RANK : Math.round(cost);
    this.parentChanges++;
    this.#parts.onParent?.(parent);
    if (before !== undefined) this.#sendDao(before, [this.#parts.id], 0);
    if (parent === undefined) {
      this.#sendDio(ALL_NODES);
      this.#solicit();
    } else this.#announce(DAO_DELAY_US);
    // A better way is told with the next DIO; that there is one, or none any more, at once.
    if (before === undefined || parent === undefined) this.#trickle.reset();
  }

  /** Tells the parent of all that is reached through this node, soon and then from time to time. */
  #announce(inUs: number): void {
    this.#daoTimer?.cancel();
    this.#daoTimer = this.#parts.engine.after(Math.floor(inUs / 2) + uintBelow(this.#parts.random, inUs), () => {
      if (this.#parent === undefined) return;
      const below = [...this.#routes.keys()].filter((target) => this.#routeTo(target) !== undefined);
      this.#sendDao(this.#parent, [this.#parts.id, ...below], DAO_LIFETIME);
      this.#announce(DAO_REFRESH_US);
    });
  }

  #solicit(): void {
    this.#disTimer?.cancel();
    this.#disTimer = this.#parts.engine.after(uintBelow(this.#parts.random, DIS_US), () => {
      if (this.#parent !== undefined) return;
      this.#send({ kind: "dis" }, ALL_NODES);
      this.#disTimer = this.#parts.engine.after(DIS_US, () => this.#solicit());
    });
  }

  #sendDio(to: number): void {
    const root = this.#parts.root ? this.#parts.id : (this.#neighbours.get(this.#parent ?? -1)?.root ?? 0);
    this.#send({ kind: "dio", rank: this.#rank, root, version: 1 }, to);
  }

  #sendDao(to: number, targets: readonly number[], lifetime: number): void {
    for (let at = 0; at < targets.length; at += MAX_TARGETS) {
      const some = targets.slice(at, at + MAX_TARGETS);
      const send = (): void => {
        this.#sequence = (this.#sequence + 1) & 0xff;
        this.#send({ kind: "dao", targets: some, sequence: this.#sequence, lifetime }, to);
      };
      // All at once the last ones would never find room in the queue.
      if (at === 0) send();
      else this.#parts.engine.after((at / MAX_TARGETS) * DAO_GAP_US, () => this.#parent === to && send());
    }
  }

  #send(message: RplMessage, to: number): void {
    this.#parts.send(rplDatagram(message, this.#parts.id, to));
  }
}

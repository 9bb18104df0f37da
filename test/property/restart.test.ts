import { expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath, sectorTablePath } from "../../src/gateway/catalogue.ts";
import { keyRecord, type Authority, type DeviceClass } from "../../src/lifecycle/classes.ts";
import { signSectorTable } from "../../src/suit/sector-table.ts";
import { toHex } from "../../src/util/bytes.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { classId, makeImage, vendorId } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";

/*
 * What a gateway offers is decided by what is on its disk: after any history of definitions, publications, revocations,
 * crashes and writes that failed, one that is started anew offers what the one that ran did.
 */

const HISTORIES = 150;
const KEYS = [keyOf(81), keyOf(82)];
const CLASSES = [classId, new Uint8Array(16).fill(0xee)];
const ALIASES = ["fw", "gx"];
const images = new Map<number, Uint8Array>();
const imageOf = (n: number): Uint8Array => images.get(n) ?? images.set(n, makeImage(100 + n, 1_000 + n)).get(n)!;

class History {
  readonly site: TrustBench = new TrustBench();
  readonly log: string[] = [];
  readonly #random: SeededRandom;
  #number = 0;
  #isFailing = true;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed, "history");
    this.site.bench.intercept = (command) =>
      this.#isFailing && command.kind === "store" && this.#chance(0.12)
        ? { kind: "failed", reason: "io", detail: "the disk does not take it", retryable: true }
        : undefined;
  }

  /** Goes on until everything has ended, with a disk that takes whatever there is. */
  run(steps: number): void {
    for (const id of CLASSES) this.#define(id);
    for (let i = 0; i < steps; i++) this.#step();
    this.site.bench.run(2);
    this.#isFailing = false;
    this.site.bench.run(2);
  }

  /** What anybody can see. */
  view(): Record<string, string> {
    const seen: Record<string, string> = {};
    const { site } = this;
    for (const [i, id] of CLASSES.entries()) seen[`manifest ${i}`] = site.ask(manifestPath(id, "00"));
    for (const alias of ALIASES) seen[alias] = site.ask([alias]);
    for (let n = 1; n <= this.#number; n++) {
      const digest = sha256(imageOf(n));
      seen[`image ${n}`] = site.ask(imagePath(digest));
      seen[`table ${n}`] = site.ask(sectorTablePath(digest));
      const refusal = site.bench.gateway.fleet.refusalToGive(0, "x", [{ digest: toHex(digest) }], ["push"]);
      seen[`given ${n}`] = refusal?.reason ?? "yes";
    }
    const numbers = site.bench.gateway.listings().map(({ release }) => release.sequenceNumber);
    return { ...seen, listed: numbers.toSorted((a, b) => a - b).join(" ") };
  }

  #step(): void {
    const what = uintBelow(this.#random, 20);
    if (what < 9) this.#define(this.#one(CLASSES));
    else if (what < 17) this.#publish();
    else if (what < 19) {
      this.log.push("restart");
      this.site.bench.restart();
    } else if (this.#chance(0.15)) {
      this.log.push("revoke 0");
      this.site.revoke(KEYS[0]);
    }
  }

  #define(id: Uint8Array): void {
    const definition = this.#definition(id);
    this.site.submit({ kind: "class-defined", definition });
  }

  #definition(id: Uint8Array): DeviceClass {
    const keys = this.#some(KEYS);
    const authorities: Authority[] = [];
    for (const { publicKey } of keys) authorities.push({ ...keyRecord(publicKey), name: "k" });
    this.log.push(`class ${CLASSES.indexOf(id)} by ${keys.map((key) => KEYS.indexOf(key)).join(" ")}`);
    const hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 };
    const fixed = { id: toHex(id), name: "c", vendorId: toHex(vendorId), hardware };
    return { ...fixed, authorities, escrow: [], operators: [], epoch: 0 };
  }

  #publish(): void {
    const { bench } = this.site;
    const number = ++this.#number;
    const image = this.#chance(0.5) ? number : 1 + uintBelow(this.#random, number);
    const [bytes, uri] = [imageOf(image), `sim:${image}`];
    bench.disk.upstream.set(uri, bytes);
    const [classIds, keys] = [this.#some(CLASSES), this.#some(KEYS)];
    const payloads = [{ image: { digest: sha256(bytes), size: bytes.length }, uri }];
    const components = [{ id: [Uint8Array.of(0)], payloads }];
    const envelope = this.site.update({ sequenceNumber: number, classIds, components }, ...keys);
    const alias = this.#chance(0.25) ? { alias: this.#one(ALIASES) } : {};
    const signer = this.#one(KEYS);
    const tables = this.#chance(0.3) ? [signSectorTable(nodeCrypto, signer, bytes, 1_024)] : [];
    const [of, by] = [classIds.map((id) => CLASSES.indexOf(id)), keys.map((key) => KEYS.indexOf(key))];
    this.log.push(`publish ${number} of image ${image} for ${of.join(" ")} by ${by.join(" ")} ${alias.alias ?? ""}`);
    const racing = this.#chance(0.3) ? this.#definition(this.#one(CLASSES)) : undefined;
    bench.loop.call((nowUs) => {
      if (racing !== undefined)
        bench.gateway.desk.submit(nowUs, "o", { kind: "class-defined", definition: racing }, () => {});
      bench.gateway.publish(nowUs, number, { envelope, source: uri, tables, ...alias });
    });
    if (this.#chance(0.7)) bench.run(0.5);
  }

  #chance(share: number): boolean {
    return unitFloat(this.#random) < share;
  }

  #one<T>(of: readonly T[]): T {
    return of[uintBelow(this.#random, of.length)]!;
  }

  #some<T>(of: readonly T[]): T[] {
    const some = of.filter(() => this.#chance(0.6));
    return some.length > 0 ? some : [this.#one(of)];
  }
}

it(`a restart changes nothing that anybody can see: ${HISTORIES} histories`, () => {
  let offered = 0;
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const history = new History(seed);
    history.run(6 + (seed % 14));
    const before = history.view();
    history.site.bench.restart();
    expect(history.view(), `seed ${seed}: ${history.log.join("; ")}`).toEqual(before);
    offered += Object.values(before).filter((code) => code === "2.05").length;
  }
  expect(offered).toBeGreaterThan(HISTORIES); // it is not that nothing was ever on offer
}, 120_000);

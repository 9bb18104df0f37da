import { expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath, sectorTablePath } from "../../src/gateway/catalogue.ts";
import { isSameKey, keyRecord, type Authority, type DeviceClass, type KeyRecord } from "../../src/lifecycle/classes.ts";
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

const HISTORIES = 100;
const KEYS = [keyOf(81), keyOf(82)];
const CLASSES = [classId, new Uint8Array(16).fill(0xee), new Uint8Array(16).fill(0x11)];
const COMPONENTS = [0, 0, 0, 1];
const ALIASES = ["fw", "gx"];
const images = new Map<number, Uint8Array>();
const imageOf = (n: number): Uint8Array => images.get(n) ?? images.set(n, makeImage(100 + n, 1_000 + n)).get(n)!;

/** What was published, or was tried to. */
interface Attempt {
  readonly number: number;
  readonly image: number;
  readonly classIds: readonly Uint8Array[];
  readonly signers: readonly KeyRecord[];
}

class History {
  readonly site: TrustBench = new TrustBench();
  readonly log: string[] = [];
  readonly #random: SeededRandom;
  readonly attempts: Attempt[] = [];
  #number = 0;
  #isFailing = false;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed, "history");
    this.site.bench.intercept = (command) =>
      this.#isFailing && command.kind === "store" && this.#chance(0.12)
        ? { kind: "failed", reason: "io", detail: "the disk does not take it", retryable: true }
        : undefined;
  }

  /** Goes on until everything has ended, with a disk that takes whatever there is. */
  run(steps: number): void {
    for (const [i, id] of CLASSES.entries()) {
      this.#define(id);
      const device = { device: `0${i}`.repeat(8), classId: toHex(id), endpoint: `e${i}` };
      this.site.submit({ kind: "device-provisioned", ...device, stage: 2 });
    }
    this.#isFailing = true;
    for (let i = 0; i < steps; i++) this.#step();
    this.site.bench.run(2);
    this.#isFailing = false;
    this.site.bench.run(2);
  }

  /** What anybody can see. */
  view(): Record<string, string> {
    const seen: Record<string, string> = {};
    const { site } = this;
    for (const [i, id] of CLASSES.entries())
      for (const component of ["00", "01"]) seen[`manifest ${i} ${component}`] = site.ask(manifestPath(id, component));
    for (const alias of ALIASES) seen[alias] = site.ask([alias]);
    for (let n = 1; n <= this.#number; n++) {
      const digest = sha256(imageOf(n));
      seen[`image ${n}`] = site.ask(imagePath(digest));
      seen[`table ${n}`] = site.ask(sectorTablePath(digest));
      for (const endpoint of ["x", "e0", "e1", "e2"])
        for (const method of ["push", "trigger"] as const) {
          const refusal = site.bench.gateway.fleet.refusalToGive(0, endpoint, [{ digest: toHex(digest) }], [method]);
          seen[`given ${n} to ${endpoint} by ${method}`] = refusal?.reason ?? "yes";
        }
    }
    const numbers = site.bench.gateway.listings().map(({ release }) => release.sequenceNumber);
    return { ...seen, listed: numbers.toSorted((a, b) => a - b).join(" ") };
  }

  /** Whether somebody stands for what was published, as the definitions of its classes are now. */
  stands({ classIds, signers }: Attempt): boolean {
    const { state } = this.site.bench.gateway.desk.lifecycle;
    const counting = signers.filter((key) => !state.isRevoked(key));
    const isOne = (keys: readonly KeyRecord[]): boolean =>
      keys.some((key) => counting.some((one) => isSameKey(one, key)));
    return classIds.every((id) => {
      const { authorities, operators } = state.classes.get(toHex(id))!;
      return isOne(authorities) && (operators.length === 0 || isOne(operators));
    });
  }

  /** Whether an operator was told that it was published. */
  isPublished({ number }: Attempt): boolean {
    return this.site.bench.outcomes.some(({ kind, operation }) => kind === "published" && operation === number);
  }

  #step(): void {
    const what = uintBelow(this.#random, 22);
    if (what < 9) this.#define(this.#one(CLASSES));
    else if (what < 17) this.#publish();
    else if (what < 19) {
      this.log.push("restart");
      this.site.bench.restart();
    } else if (what < 21) this.#recover();
    else if (this.#chance(0.3)) {
      this.log.push("revoke 0");
      this.site.revoke(KEYS[0]);
    }
  }

  #recover(): void {
    const [id, image] = [this.#one(CLASSES), 1 + uintBelow(this.#random, this.#number + 1)];
    this.log.push(`image ${image} is the recovery of ${CLASSES.indexOf(id)}`);
    this.site.submit({ kind: "recovery-set", classId: toHex(id), digest: toHex(sha256(imageOf(image))) });
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
    const operators = this.#chance(0.1) ? [keyRecord(KEYS[1]!.publicKey)] : [];
    return { ...fixed, authorities, escrow: [], operators, epoch: 0 };
  }

  #publish(): void {
    const { bench } = this.site;
    const number = ++this.#number;
    const image = this.#chance(0.5) ? number : 1 + uintBelow(this.#random, number);
    const [bytes, uri] = [imageOf(image), `sim:${image}`];
    bench.disk.upstream.set(uri, bytes);
    const [classIds, keys] = [this.#some(CLASSES), this.#some(KEYS)];
    const integrated = this.#chance(0.15) ? bytes : undefined;
    const described = { digest: sha256(bytes), size: bytes.length };
    const payloads = [{ image: described, uri: integrated === undefined ? uri : "#", integrated }];
    const components = [{ id: [Uint8Array.of(this.#one(COMPONENTS))], payloads }];
    const envelope = this.site.update({ sequenceNumber: number, classIds, components }, ...keys);
    this.attempts.push({ number, image, classIds, signers: keys.map(({ publicKey }) => keyRecord(publicKey)) });
    const alias = this.#chance(0.25) ? { alias: this.#one([...ALIASES, null]) } : {};
    const signer = this.#one(KEYS);
    const tables = this.#chance(0.3) ? [signSectorTable(nodeCrypto, signer, bytes, 1_024)] : [];
    const [of, by] = [classIds.map((id) => CLASSES.indexOf(id)), keys.map((key) => KEYS.indexOf(key))];
    this.log.push(`publish ${number} of image ${image} for ${of.join(" ")} by ${by.join(" ")} ${alias.alias ?? ""}`);
    const racing = this.#chance(0.3) ? this.#definition(this.#one(CLASSES)) : undefined;
    bench.loop.call((nowUs) => {
      if (racing !== undefined)
        bench.gateway.desk.submit(nowUs, "o", { kind: "class-defined", definition: racing }, () => {});
      const source = integrated === undefined ? { source: uri } : {};
      bench.gateway.publish(nowUs, number, { envelope, ...source, tables, ...alias });
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

/** Nobody is given what nobody stands for, and everybody what somebody does and was told to be published. */
function judge(history: History, view: Record<string, string>): number {
  let judged = 0;
  const check = (what: string, yes: string, fitting: readonly Attempt[]): void => {
    const standing = fitting.filter((one) => history.stands(one));
    const about = `${what}: ${history.log.join("; ")}`;
    if (view[what] === yes) expect(standing.length, about).toBeGreaterThan(0);
    if (standing.some((one) => history.isPublished(one))) expect(view[what], about).toBe(yes);
    judged += standing.length;
  };
  for (const image of new Set(history.attempts.map((one) => one.image))) {
    const having = history.attempts.filter((one) => one.image === image);
    check(`image ${image}`, "2.05", having);
    for (const [i, id] of CLASSES.entries())
      check(
        `given ${image} to e${i} by push`,
        "yes",
        having.filter(({ classIds }) => classIds.includes(id)),
      );
  }
  return judged;
}

it(`a restart changes nothing that anybody can see: ${HISTORIES} histories`, () => {
  let [offered, judged] = [0, 0];
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const history = new History(seed);
    history.run(6 + (seed % 14));
    const before = history.view();
    history.site.bench.restart();
    expect(history.view(), `seed ${seed}: ${history.log.join("; ")}`).toEqual(before);
    judged += judge(history, before);
    offered += Object.values(before).filter((code) => code === "2.05").length;
  }
  expect(judged).toBeGreaterThan(HISTORIES);
  expect(offered).toBeGreaterThan(HISTORIES); // it is not that nothing was ever on offer
}, 120_000);

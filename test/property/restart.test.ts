import { afterAll, beforeAll, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath, releasePath, sectorTablePath, type Listing } from "../../src/gateway/catalogue.ts";
import { GATEWAY_LIMITS } from "../../src/gateway/limits.ts";
import { isSameKey, keyRecord, type Authority, type DeviceClass, type KeyRecord } from "../../src/lifecycle/classes.ts";
import { signSectorTable } from "../../src/suit/sector-table.ts";
import { toHex } from "../../src/util/bytes.ts";
import { uintBelow, unitFloat } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { classId, makeImage, vendorId } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";
import { effort } from "../support/effort.ts";

/*
 * What a gateway offers is decided by what is on its disk: after any history of definitions, publications, revocations,
 * crashes and writes that failed, one that is started anew offers what the one that ran did.
 */

const HISTORIES = effort(60, 400);
const KEYS = [keyOf(81), keyOf(82)];
/** The last one is defined late, or never: until then the anchor of the configuration speaks for it. */
const CLASSES = [classId, new Uint8Array(16).fill(0xee), new Uint8Array(16).fill(0x11), new Uint8Array(16).fill(0x77)];
const ANCHOR = KEYS[0]!;
/** So that histories are long enough for some to go. */
const MAX_REPLACED = 2;
const ROOMY = { maxImageBytes: 10_000, diskBytes: 100_000, memoryBytes: 20_000 };
const TIGHT = { ...ROOMY, diskBytes: 6_000, memoryBytes: 4_000 };
const COMPONENTS = [0, 0, 0, 1];
const ALIASES = ["fw", "gx"];
const images = new Map<number, Uint8Array>();
const imageOf = (n: number): Uint8Array => images.get(n) ?? images.set(n, makeImage(100 + n, 1_000 + n)).get(n)!;

/** What was published, or was tried to. */
interface Attempt {
  readonly number: number;
  /** What releases have in common that take each other's place. */
  readonly key: string;
  readonly images: readonly number[];
  readonly classIds: readonly Uint8Array[];
  readonly signers: readonly KeyRecord[];
}

class History {
  readonly site: TrustBench;
  readonly log: string[] = [];
  readonly #random: SeededRandom;
  readonly attempts: Attempt[] = [];
  readonly #provisioned = new Set<string>();
  #number = 0;
  #isFailing = false;
  /** Images go from the disk; that a record cannot be deleted then brings one back, so the disk takes everything. */
  readonly isTight: boolean;
  /** Hardly a class is defined before releases come for it. */
  readonly #startsBare: boolean;

  constructor(seed: number) {
    this.isTight = seed % 4 === 0;
    this.#startsBare = seed % 3 === 0;
    this.site = new TrustBench({ anchors: [ANCHOR.publicKey], budget: this.isTight ? TIGHT : ROOMY });
    this.#random = new SeededRandom(seed, "history");
    this.site.bench.intercept = (command) =>
      this.#isFailing && command.kind === "store" && this.#chance(0.12)
        ? { kind: "failed", reason: "io", detail: "the disk does not take it", retryable: true }
        : undefined;
  }

  /** Goes on until everything has ended, with a disk that takes whatever there is. */
  run(steps: number): void {
    const early = CLASSES.slice(0, 3).filter(() => this.#chance(this.#startsBare ? 0.1 : 0.8));
    for (const id of early) this.#define(id);
    this.#isFailing = !this.isTight;
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
      for (const component of ["00", "01"]) seen[`manifest ${i} ${component}`] = site.look(manifestPath(id, component));
    for (const alias of ALIASES) seen[alias] = site.look([alias]);
    for (let n = 1; n <= this.#number; n++) {
      const digest = sha256(imageOf(n));
      seen[`image ${n}`] = site.look(imagePath(digest));
      seen[`table ${n}`] = site.look(sectorTablePath(digest));
      for (const [i, id] of CLASSES.entries()) seen[`manifest of ${n} for ${i}`] = site.look(releasePath(id, digest));
      for (const endpoint of ["x", ...CLASSES.map((_, i) => `e${i}`)])
        for (const method of ["push", "trigger"] as const) {
          const refusal = site.bench.gateway.fleet.refusalToGive(0, endpoint, [{ digest: toHex(digest) }], [method]);
          seen[`given ${n} to ${endpoint} by ${method}`] = refusal?.reason ?? "yes";
        }
    }
    const { gateway } = site.bench;
    const numbersOf = (listings: readonly Listing[]): string =>
      listings
        .map(({ release }) => release.sequenceNumber)
        .toSorted((a, b) => a - b)
        .join(" ");
    return { ...seen, listed: numbersOf(gateway.listings()), replaced: numbersOf(gateway.replaced()) };
  }

  /** Whether somebody stands for what was published, as the definitions of its classes are now. */
  stands({ classIds, signers }: Attempt): boolean {
    const { state } = this.site.bench.gateway.desk.lifecycle;
    const counting = signers.filter((key) => !state.isRevoked(key));
    const isOne = (keys: readonly KeyRecord[]): boolean =>
      keys.some((key) => counting.some((one) => isSameKey(one, key)));
    return classIds.every((id) => {
      const definition = state.classes.get(toHex(id));
      if (definition === undefined) return isOne([keyRecord(ANCHOR.publicKey)]);
      const { authorities, operators } = definition;
      return isOne(authorities) && (operators.length === 0 || isOne(operators));
    });
  }

  /** Whether an operator was told that it was published. */
  isPublished({ number }: Attempt): boolean {
    return this.site.bench.outcomes.some(({ kind, operation }) => kind === "published" && operation === number);
  }

  isProvisioned(id: Uint8Array): boolean {
    return this.#provisioned.has(toHex(id));
  }

  /** Whether it stays, whoever needs it or not. */
  isKept({ number, key }: Attempt): boolean {
    const later = this.attempts.filter((one) => one.key === key && one.number > number && this.isPublished(one));
    return later.length <= (this.isTight ? 0 : MAX_REPLACED);
  }

  #step(): void {
    const what = uintBelow(this.#random, 22);
    if (what < 9) this.#define(this.#chance(0.1) ? CLASSES[3]! : this.#one(CLASSES.slice(0, 3)));
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
    const i = CLASSES.indexOf(id);
    const device = { device: `0${i}`.repeat(8), classId: toHex(id), endpoint: `e${i}` };
    if (
      !this.#provisioned.has(toHex(id)) &&
      this.site.submit({ kind: "device-provisioned", ...device, stage: 2 })[0]?.ok
    )
      this.#provisioned.add(toHex(id));
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
    const some = (): number => 1 + uintBelow(this.#random, number);
    const list = [this.#chance(0.5) ? number : some(), ...(this.#chance(0.2) ? [some()] : [])];
    const [classIds, keys] = [this.#some(CLASSES), this.#some(KEYS)];
    const payloads = list.map((image, slot) => {
      const bytes = imageOf(image);
      bench.disk.upstream.set(`sim:${image}`, bytes);
      const integrated = this.#chance(0.15) ? bytes : undefined;
      const described = { digest: sha256(bytes), size: bytes.length };
      const payload = { image: described, uri: integrated === undefined ? `sim:${image}` : `#${slot}`, integrated };
      return list.length === 1 ? payload : { ...payload, slot };
    });
    const component = this.#one(COMPONENTS);
    const components = [{ id: [Uint8Array.of(component)], payloads }];
    const envelope = this.site.update({ sequenceNumber: number, classIds, components }, ...keys);
    const place = `${classIds.map(toHex).toSorted()[0]} ${component}`;
    const signers = keys.map(({ publicKey }) => keyRecord(publicKey));
    this.attempts.push({ number, key: place, images: list, classIds, signers });
    const alias = this.#chance(0.25) ? { alias: this.#one([...ALIASES, null]) } : {};
    const signer = this.#one(KEYS);
    const tables = this.#chance(0.3) ? [signSectorTable(nodeCrypto, signer, imageOf(list[0]!), 1_024)] : [];
    const [of, by] = [classIds.map((id) => CLASSES.indexOf(id)), keys.map((key) => KEYS.indexOf(key))];
    this.log.push(
      `publish ${number} of image ${list.join("+")} for ${of.join(" ")} by ${by.join(" ")} ${alias.alias ?? ""}`,
    );
    const racing = this.#chance(0.3) ? this.#definition(this.#one(CLASSES)) : undefined;
    bench.loop.call((nowUs) => {
      if (racing !== undefined)
        bench.gateway.desk.submit(nowUs, "o", { kind: "class-defined", definition: racing }, () => {});
      bench.gateway.publish(nowUs, number, { envelope, tables, ...alias });
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
    if (view[what]?.startsWith(yes)) expect(standing.length, about).toBeGreaterThan(0);
    const isSure = (one: Attempt): boolean => history.isPublished(one) && history.isKept(one);
    if (standing.some(isSure)) expect(view[what], about).toMatch(new RegExp(`^${yes}`));
    judged += standing.length;
  };
  for (const image of new Set(history.attempts.flatMap(({ images: some }) => some))) {
    const having = history.attempts.filter((one) => one.images.includes(image));
    check(`image ${image}`, "2.05", having);
    for (const [i, id] of CLASSES.entries()) {
      const fitting = having.filter(({ classIds }) => classIds.includes(id));
      check(`manifest of ${image} for ${i}`, "2.05", fitting);
      if (history.isProvisioned(id)) check(`given ${image} to e${i} by push`, "yes", fitting);
    }
  }
  return judged;
}

const limits = GATEWAY_LIMITS as { maxReplaced: number };
const { maxReplaced } = limits;
beforeAll(() => (limits.maxReplaced = MAX_REPLACED));
afterAll(() => (limits.maxReplaced = maxReplaced));

it(`a restart changes nothing that anybody can see: ${HISTORIES} histories`, () => {
  let [offered, judged] = [0, 0];
  for (let seed = 1; seed <= HISTORIES; seed++) {
    const history = new History(seed);
    history.run(6 + (seed % 14));
    const before = history.view();
    history.site.bench.disk.upstream.clear(); // what is lost is not fetched again
    history.site.bench.restart();
    expect(history.view(), `seed ${seed}: ${history.log.join("; ")}`).toEqual(before);
    judged += judge(history, before);
    offered += Object.values(before).filter((code) => code.startsWith("2.05")).length;
  }
  expect(judged).toBeGreaterThan(HISTORIES);
  expect(offered).toBeGreaterThan(HISTORIES); // it is not that nothing was ever on offer
}, 600_000);

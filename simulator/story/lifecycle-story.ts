import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import type { Listing } from "../../src/gateway/catalogue.ts";
import { AUDIT_PREFIX } from "../../src/gateway/lifecycle-desk.ts";
import { verifyChain } from "../../src/lifecycle/audit-log.ts";
import { censusOf } from "../../src/lifecycle/census.ts";
import { keyRecord, type DeviceClass } from "../../src/lifecycle/classes.ts";
import { exportCredential, isSealed, stageOne, stageTwo, type StageTwo } from "../../src/lifecycle/factory.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope } from "../../src/suit/build.ts";
import type { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import { anchorsOf, transferUpdate, type DeviceTrust } from "../../src/suit/trust.ts";
import { bytesEqual, fromHex, fromUtf8, toHex } from "../../src/util/bytes.ts";
import { randomBytes } from "../../src/util/random.ts";
import { Mote } from "../mote/mote.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { GATEWAY, StorySite } from "./site.ts";

/** What the story came to. */
export interface StoryResult {
  readonly devices: number;
  /** Devices that run an image that an authority of its time signed. */
  readonly authentic: number;
  readonly refused: readonly { readonly what: string; readonly reason: string }[];
  /** Devices without a living authority, between the vendor's end and the hand-over, and at the end. */
  readonly orphans: number;
  readonly orphansBeforeHandOver: number;
  readonly auditOk: boolean;
  readonly tamperFound: boolean;
  readonly quarantined: string;
  readonly support: string;
  readonly decommissioned: boolean;
}

/** The device that sleeps through a change of keys. */
const SLEEPER = 4;
const DAY_MS = 86_400_000;

interface Product {
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
}

/** The life of five devices of a vendor that does not last as long as they do. */
export class LifecycleStory {
  readonly site: StorySite;
  readonly motes: Mote[] = [];
  readonly made: StageTwo[] = [];
  readonly refused: { what: string; reason: string }[] = [];
  readonly #images: Uint8Array[] = [];
  readonly #asleep = new Set<number>();
  readonly #tell: (line: string) => void;
  readonly #profile: ChipProfile;
  readonly #product: Product;
  readonly #old: Product;
  readonly a1: PrivateKey;
  readonly a2: PrivateKey;
  readonly b: PrivateKey;
  readonly escrow: PrivateKey;

  constructor(seed: number, profile: ChipProfile, tell: (line: string) => void) {
    this.site = new StorySite(seed);
    this.#tell = tell;
    this.#profile = profile;
    const random = this.site.random.fork("keys");
    const key = (): PrivateKey => keyPairOf("Ed25519", randomBytes(random, 32));
    [this.a1, this.a2, this.b, this.escrow] = [key(), key(), key(), key()];
    const vendorId = randomBytes(random, 16);
    this.#product = { vendorId, classId: randomBytes(random, 16) };
    this.#old = { vendorId, classId: randomBytes(random, 16) };
  }

  run(): StoryResult {
    this.#factory();
    this.#ship("1.0", 2, this.a1);
    this.#ship("1.1", 3, this.a1);
    this.#rotate();
    this.#theft();
    const orphansBeforeHandOver = this.#bankruptcy();
    this.#handOver();
    const quarantined = this.#quarantine();
    const support = this.#endOfSupport();
    const authentic = this.#authentic();
    const decommissioned = this.#decommission();
    return { ...this.#audit(), authentic, orphansBeforeHandOver, quarantined, support, decommissioned };
  }

  #event(what: string, event: LifecycleEvent): void {
    const result = this.site.onDesk((desk, nowUs, done) => desk.submit(nowUs, "operator", event, done));
    this.#tell(result.ok ? what : `${what}: refused, ${result.reason}`);
    if (!result.ok) this.refused.push({ what, reason: result.reason });
  }

  #factory(): void {
    const trust: DeviceTrust = {
      epoch: 0,
      authorities: [this.a1.publicKey],
      escrow: [this.escrow.publicKey],
      quorum: undefined,
      operators: [],
    };
    const hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 };
    for (const [name, { vendorId, classId }] of Object.entries({ sensor: this.#product, "old sensor": this.#old })) {
      const definition: DeviceClass = {
        id: toHex(classId),
        name,
        vendorId: toHex(vendorId),
        hardware,
        authorities: [{ ...keyRecord(this.a1.publicKey), name: "author A" }],
        escrow: [keyRecord(this.escrow.publicKey)],
        operators: [],
        epoch: 0,
      };
      this.#event(`class ${name} is defined`, { kind: "class-defined", definition });
    }
    const line = this.site.random.fork("line");
    const factory = randomBytes(this.site.random.fork("image"), 3_000);
    this.#images.push(factory);
    for (let i = 0; i < 5; i++) {
      const product = i === 4 ? this.#old : this.#product;
      const device = stageTwo(nobleCrypto, stageOne(line), { ...product, trust });
      if (!isSealed(nobleCrypto, device)) throw new Error("the seal of a new device does not hold");
      this.made.push(device);
      this.#provision(device);
      this.#power(i, device, factory);
    }
    this.#tell("five devices leave the factory, each with a key of its own and sealed anchors");
    this.site.settle();
  }

  #provision(device: StageTwo): void {
    const { confirmation, device: id } = exportCredential(nobleCrypto, device);
    const event = { kind: "device-provisioned", device: id, classId: toHex(device.classId), stage: 2 } as const;
    this.site.onDesk((desk, nowUs, done) =>
      desk.keepCredential(nowUs, "factory", event, fromHex(confirmation.key)!, done),
    );
  }

  #power(i: number, device: StageTwo, factory: Uint8Array): void {
    const { confirmation } = exportCredential(nobleCrypto, device);
    const mote = new Mote({
      profile: this.#profile,
      crypto: nobleCrypto,
      random: this.site.random.fork(`mote-${i}`),
      vendorId: device.vendorId,
      classId: device.classId,
      anchors: device.trust,
      credential: { kid: device.kid, key: fromHex(confirmation.key)! },
      gateway: GATEWAY,
      blockBytes: 64,
      szx: 2,
      parameters: DEFAULT_PARAMETERS,
      policy: { backoffUs: 5e6, maxBackoffUs: 6e7, maxFailures: 3 },
      maxImageBytes: 8_192,
      factoryImage: { bytes: factory, sequenceNumber: 1 },
      unixS: (nowUs) => nowUs / 1e6,
    });
    this.motes.push(mote);
    this.site.attach(`fd00::${i + 10}`, mote).call((nowUs) => mote.start(nowUs));
  }

  #release(product: Product, version: string, sequenceNumber: number, key: PrivateKey, useBefore?: number): Uint8Array {
    const image = randomBytes(this.site.random.fork(`image-${version}-${toHex(product.classId)}`), 3_000);
    this.#images.push(image);
    const digest = nobleCrypto.sha256(image);
    const uri = `sim:${version}-${toHex(product.classId)}`;
    this.site.disk.upstream.set(uri, image);
    const payloads = [{ image: { digest, size: image.length }, uri }];
    const components = [{ id: [Uint8Array.of(0)], payloads, version }];
    const { vendorId, classId } = product;
    const update = { sequenceNumber, vendorId, classIds: [classId], components, useBefore };
    return signEnvelope(nobleCrypto, key, buildEnvelope(nobleCrypto, update));
  }

  /** Publishes for both classes; devices that ask get it. */
  #ship(version: string, sequenceNumber: number, key: PrivateKey): void {
    for (const product of [this.#product, this.#old]) {
      const envelope = this.#release(product, version, sequenceNumber, key);
      const outcome = this.site.publish({ envelope });
      if (outcome.kind === "refused") {
        this.refused.push({ what: `${version} at the gateway`, reason: outcome.reason });
        this.#tell(`${version} is refused: ${outcome.detail}`);
      }
    }
    this.#ask();
    const versions = this.motes.map(({ agent }) => agent.booted?.info.sequenceNumber);
    this.#tell(`${version}: the devices run ${versions.join(", ")}`);
  }

  /** Every device asks for its manifest, as it does now and then. */
  #ask(): void {
    this.motes.forEach((mote, i) => {
      if (!this.#asleep.has(i)) this.site.attach(`fd00::${i + 10}`, mote).call((nowUs) => mote.reboot(nowUs));
    });
    this.site.settle();
  }

  #transfer(what: string, product: Product, epoch: number, to: readonly PrivateKey[], by: PrivateKey): void {
    const transfer = { epoch, authorities: to.map(({ publicKey }) => publicKey) };
    const update = transferUpdate(product.vendorId, [product.classId], transfer);
    const envelope = signEnvelope(nobleCrypto, by, buildEnvelope(nobleCrypto, update));
    const result = this.site.onDesk((desk, nowUs, done) =>
      desk.transfer(nowUs, "operator", toHex(product.classId), envelope, [what], done),
    );
    this.#tell(result.ok ? what : `${what}: refused, ${result.detail}`);
    if (!result.ok) this.refused.push({ what, reason: result.reason });
  }

  /** A second key beside the first, then in its place: no day on which nothing can be signed. One device sleeps through it. */
  #rotate(): void {
    this.#asleep.add(SLEEPER);
    for (const product of [this.#product, this.#old])
      this.#transfer("A's new key is trusted beside the old one", product, 1, [this.a1, this.a2], this.a1);
    this.#ship("1.2", 4, this.a2);
    for (const product of [this.#product, this.#old])
      this.#transfer("A's old key is trusted no longer", product, 2, [this.a2], this.a2);
    this.#asleep.clear();
    this.#ask();
    const { epoch } = this.motes[SLEEPER]!.agent.trust;
    this.#tell(`a device that slept through both follows: it is at transfer ${epoch}`);
  }

  #theft(): void {
    this.#event("A's old key is stolen, and revoked", {
      kind: "key-revoked",
      key: keyRecord(this.a1.publicKey),
      reason: "stolen",
    });
    const envelope = this.#release(this.#product, "evil", 5, this.a1);
    const outcome = this.site.publish({ envelope });
    const reason = outcome.kind === "refused" ? outcome.reason : "accepted";
    this.refused.push({ what: "an image by the stolen key, at the gateway", reason });
    this.#atDevices("an image by the stolen key, at the devices", envelope);
    this.#tell(`an image by the stolen key: ${reason}`);
  }

  /** What the devices themselves say, where no gateway stands between. */
  #atDevices(what: string, envelope: Uint8Array): void {
    const reasons = new Set(this.motes.map(({ agent }) => reasonOf(envelope, agent.trust)));
    for (const reason of reasons) this.refused.push({ what, reason });
  }

  #bankruptcy(): number {
    this.#event("A is bankrupt: nobody answers for its key any more", {
      kind: "key-revoked",
      key: keyRecord(this.a2.publicKey),
      reason: "vendor gone",
    });
    const orphans = this.site.desk.lifecycle.orphans().length;
    this.#tell(`${orphans} devices have no living authority`);
    return orphans;
  }

  #handOver(): void {
    const stranger = this.site.random.fork("stranger");
    const thief = keyPairOf("Ed25519", randomBytes(stranger, 32));
    this.#transfer("somebody hands A's devices to himself", this.#product, 3, [thief], thief);
    for (const product of [this.#product, this.#old])
      this.#transfer("escrow hands over to maintainer B", product, 3, [this.b], this.escrow);
    this.#ship("2.0", 6, this.b);
    const envelope = this.#release(this.#product, "1.9 by A", 7, this.a2);
    const outcome = this.site.publish({ envelope });
    if (outcome.kind === "refused") this.refused.push({ what: "A's later image", reason: outcome.reason });
    this.#atDevices("A's later image, at the devices", envelope);
    this.#ask();
  }

  #quarantine(): string {
    const device = toHex(this.made[0]!.kid);
    this.#event("the first device is put in quarantine", {
      kind: "device-quarantined",
      device,
      reason: "sends odd traffic",
    });
    this.site.restart();
    const old = toHex(nobleCrypto.sha256(this.#images[0]!));
    const mayHave = (digest: string): boolean => this.site.desk.mayHave("fd00::10", undefined, digest);
    return !mayHave(old) && mayHave(this.#current(this.#product.classId)) ? "current image only" : "not kept";
  }

  /** Digest of the image that is on offer for a class. */
  #current(classId: Uint8Array): string {
    const isFor = ({ release }: Listing): boolean => release.classIds.some((id) => bytesEqual(id, classId));
    return this.site.gateway.listings().find(isFor)!.digest;
  }

  #endOfSupport(): string {
    const classId = toHex(this.#old.classId);
    const support = { endsMs: this.site.unixMs - DAY_MS, warnDays: 90, afterwards: "warn" } as const;
    this.#event("support of the old sensor has ended", { kind: "support-set", classId, support });
    const expiring = this.#release(this.#old, "2.1", 8, this.b, Math.ceil(this.site.unixMs / 1_000) + 86_400);
    const outcome = this.site.publish({ envelope: expiring });
    if (outcome.kind === "refused") this.refused.push({ what: "a last image that expires", reason: outcome.reason });
    return this.site.desk.lifecycle
      .warnings(this.site.unixMs)
      .map(({ name, state }) => `${name}: ${state}`)
      .join(", ");
  }

  #decommission(): boolean {
    const [i, device] = [3, toHex(this.made[3]!.kid)];
    this.motes[i]!.eraseSecrets();
    const result = this.site.onDesk((desk, nowUs, done) => desk.decommission(nowUs, "operator", device, done));
    this.#tell("the fourth device is decommissioned: its keys are erased on both sides");
    const gone = ![...this.site.disk.entries.keys()].includes(`credential/${device}`);
    return result.ok && gone && this.motes[i]!.secretsErased;
  }

  /** Devices that run, byte for byte, the image that B signed last. */
  #authentic(): number {
    return this.motes.filter(({ agent }, i) => {
      const digest = this.#current(this.made[i]!.classId);
      const image = this.#images.find((bytes) => toHex(nobleCrypto.sha256(bytes)) === digest);
      return image !== undefined && agent.state === "up-to-date" && this.motes[i]!.runs(image);
    }).length;
  }

  #audit(): Pick<StoryResult, "devices" | "refused" | "orphans" | "auditOk" | "tamperFound"> {
    this.site.restart();
    const keys = [...this.site.disk.entries.keys()].filter((key) => key.startsWith(AUDIT_PREFIX)).toSorted();
    const lines = keys.map((key) => fromUtf8(this.site.disk.entries.get(key)!)!);
    const head = this.site.desk.lifecycle.head;
    const auditOk = this.site.desk.tampered === undefined && verifyChain(nobleCrypto, lines, head).ok;
    // Somebody else's name in one line, one line cut off at the end, one left out: each is found.
    const at = lines.findIndex((line, i) => i > 0 && line.includes('"actor":"operator"'));
    const forged = lines.map((line, i) => (i === at ? line.replace('"actor":"operator"', '"actor":"nobody"') : line));
    const found = verifyChain(nobleCrypto, forged, head);
    const others = [lines.slice(0, -1), lines.filter((_, i) => i !== at)];
    const tamperFound =
      !found.ok && found.line === at + 1 && others.every((log) => !verifyChain(nobleCrypto, log, head).ok);
    const seen = this.motes.map((mote, i) => ({
      classId: toHex(this.made[i]!.classId),
      version: `${mote.agent.booted?.info.sequenceNumber}`,
      lastSeenMs: this.site.unixMs,
    }));
    for (const row of censusOf(seen, this.site.unixMs, 30))
      this.#tell(`census: class ${row.classId.slice(0, 8)}, number ${row.version}: ${row.devices}`);
    const { refused } = this;
    return {
      devices: this.made.length,
      refused,
      orphans: this.site.desk.lifecycle.orphans().length,
      auditOk,
      tamperFound,
    };
  }
}

function reasonOf(envelope: Uint8Array, trust: DeviceTrust): string {
  try {
    openEnvelope(nobleCrypto, envelope, { anchors: anchorsOf(trust) });
    return "accepted";
  } catch (error) {
    return (error as EnvelopeError).reason;
  }
}

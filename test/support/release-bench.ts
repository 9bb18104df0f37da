import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath, releasePath, sectorTablePath } from "../../src/gateway/catalogue.ts";
import { keyRecord, type DeviceClass } from "../../src/lifecycle/classes.ts";
import type { DeskResult } from "../../src/gateway/audit-writer.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import type { UpdateDescription } from "../../src/suit/build.ts";
import { signSectorTable } from "../../src/suit/sector-table.ts";
import { toHex } from "../../src/util/bytes.ts";
import { classId, makeImage, vendorId } from "./gateway.ts";
import { envelopeOf, override, seq, sha256, suitDigest } from "./suit-build.ts";
import { TrustBench } from "./trust-bench.ts";

/** Two classes; a release for both has the key of A. */
const [A, B] = [classId, new Uint8Array(16).fill(0xee)].toSorted((a, b) => (toHex(a) < toHex(b) ? -1 : 1)) as [
  Uint8Array,
  Uint8Array,
];
export const CLASSES: { readonly A: Uint8Array; readonly B: Uint8Array } = { A, B };

export const named = (...keys: PrivateKey[]): DeviceClass["authorities"] => {
  const authorities: DeviceClass["authorities"][number][] = [];
  for (const [i, { publicKey }] of keys.entries()) authorities.push({ ...keyRecord(publicKey), name: `key ${i}` });
  return authorities;
};
export const imageOf = (n: number): Uint8Array => makeImage(100 + n, 2_000 + n);

/** A release that has devices of each class fetch an image of their own. */
export function branching(
  n: number,
  key: PrivateKey,
  branches: readonly (readonly [classId: Uint8Array, image: Uint8Array, uri: string])[],
  component = "two",
): Uint8Array {
  const branch = ([id, bytes, uri]: readonly [Uint8Array, Uint8Array, string]): Uint8Array => {
    const image = [
      [P.IMAGE_DIGEST, suitDigest(bytes)],
      [P.IMAGE_SIZE, bytes.length],
      [P.URI, uri],
    ] as const;
    return seq(...override([P.CLASS_IDENTIFIER, id]), C.CLASS_IDENTIFIER, 15, ...override(...image));
  };
  const sections = { 20: [D.TRY_EACH, branches.map(branch), D.FETCH, 15, C.IMAGE_MATCH, 15] };
  const shared = [...override([P.VENDOR_IDENTIFIER, vendorId]), C.VENDOR_IDENTIFIER, 15];
  return envelopeOf({ key, sequenceNumber: n, components: [[component]], shared, sections });
}

export interface ReleaseRequest {
  readonly alias?: string | null;
  /** That of its own number unless given. */
  readonly image?: number;
  readonly table?: PrivateKey;
  readonly component?: number;
  /** The envelope brings the image along. */
  readonly integrated?: boolean;
  /** Where the image is said to be; there, unless another place is named. */
  readonly uri?: string;
  readonly over?: Partial<UpdateDescription>;
}

/** Numbered releases of numbered images, for classes that various keys sign for. */
export class ReleaseBench extends TrustBench {
  defineFor(id: Uint8Array, keys: PrivateKey[], over: Partial<DeviceClass> = {}): DeskResult {
    return this.define({ id: toHex(id), name: toHex(id).slice(0, 4), authorities: named(...keys), ...over });
  }

  /** Starts a publication. */
  begin(n: number, ids: Uint8Array[], keys: PrivateKey[], request: ReleaseRequest = {}): void {
    const { alias, image = n, table, component = 0, integrated = false, over = {} } = request;
    const bytes = imageOf(image);
    const { uri = `sim:${image}` } = request;
    this.bench.disk.upstream.set(`sim:${image}`, bytes);
    const payload = { image: { digest: sha256(bytes), size: bytes.length } };
    const payloads = [integrated ? { ...payload, uri: "#", integrated: bytes } : { ...payload, uri }];
    const components = [{ id: [Uint8Array.of(component)], payloads }];
    const envelope = this.update({ sequenceNumber: n, classIds: ids, components, ...over }, ...keys);
    const tables = table === undefined ? [] : [signSectorTable(nodeCrypto, table, bytes, 1_024)];
    const source = integrated ? {} : { source: uri };
    this.bench.loop.call((nowUs) =>
      this.bench.gateway.publish(nowUs, n, { envelope, ...source, tables, ...(alias === undefined ? {} : { alias }) }),
    );
  }

  /** Publishes; how that ended. */
  release(n: number, ids: Uint8Array[], keys: PrivateKey[], request: ReleaseRequest = {}): string {
    const before = this.bench.outcomes.length;
    this.begin(n, ids, keys, request);
    this.bench.run(1);
    const outcome = this.bench.outcomes[before];
    return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
  }

  image(n: number): string {
    return this.ask(imagePath(sha256(imageOf(n))));
  }

  table(n: number): string {
    return this.ask(sectorTablePath(sha256(imageOf(n))));
  }

  manifest(id: Uint8Array): string {
    return this.ask(manifestPath(id, "00"));
  }

  /** The manifest by which devices of a class come to have an image. */
  manifestOf(id: Uint8Array, n: number): string {
    return this.ask(releasePath(id, sha256(imageOf(n))));
  }

  given(n: number, endpoint = "somebody", method: "push" | "trigger" = "push"): string {
    const components = [{ digest: toHex(sha256(imageOf(n))) }];
    return this.bench.gateway.fleet.refusalToGive(0, endpoint, components, [method])?.reason ?? "given";
  }

  /** Devices of classes as clients `e0`, `e1`. */
  provision(...ids: Uint8Array[]): void {
    for (const [i, id] of ids.entries()) {
      const event = { kind: "device-provisioned", device: `0${i}`.repeat(8), classId: toHex(id), stage: 2 } as const;
      this.submit({ ...event, endpoint: `e${i}` });
    }
  }

  /** Holds for the gateway that runs and for one that was started on its disk. */
  both(check: () => void): void {
    check();
    this.bench.restart();
    check();
  }
}

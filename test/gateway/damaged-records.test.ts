import { expect, it } from "vitest";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { TrustBench } from "../support/trust-bench.ts";

const NUMBERS = [1, 2, 3, 4];
const imageOf = (n: number): Uint8Array => makeImage(n, 500 + n);

/** Four releases, each in the place of the one before; the second brings its image along. */
function site(): TrustBench {
  const made = new TrustBench();
  made.define();
  for (const n of NUMBERS) {
    const bytes = imageOf(n);
    made.bench.disk.upstream.set(`sim:${n}`, bytes);
    const integrated = n === 2 ? bytes : undefined;
    const image = { digest: sha256(bytes), size: bytes.length };
    const payloads = [{ image, uri: integrated === undefined ? `sim:${n}` : "#", integrated }];
    const components = [{ id: [Uint8Array.of(0)], payloads }];
    const envelope = made.update({ sequenceNumber: n, classIds: [classId], components }, author);
    made.bench.publishEnvelope(envelope, undefined, { seconds: 0.5 });
  }
  return made;
}

/** One record each is lost, torn, emptied, or has what belongs to another. */
const DAMAGE: Readonly<Record<string, (value: Uint8Array, other: Uint8Array) => Uint8Array | undefined>> = {
  lost: () => undefined,
  torn: (value) => value.subarray(0, value.length >> 1),
  empty: () => new Uint8Array(0),
  "another's": (_value, other) => other,
};

it.each(Object.entries(DAMAGE))("a record of a release that is %s costs one image at most", (how, damage) => {
  const made = site();
  const { bench } = made;
  const missing = (): number[] => NUMBERS.filter((n) => made.ask(imagePath(sha256(imageOf(n)))) !== "2.05");
  expect(missing()).toEqual([]);
  const { entries } = bench.disk;
  const whole = new Map(entries);
  const keys = [...whole.keys()].filter((key) => /^(?:replaced|release)\//.test(key));
  expect(keys).toHaveLength(3 + 1);
  for (const key of keys) {
    const kind = key.split("/")[0]!;
    const other = keys.find((one) => one !== key && one.startsWith(kind)) ?? key;
    const value = damage(whole.get(key)!, whole.get(other)!);
    entries.clear();
    for (const [name, record] of whole) if (name !== key) entries.set(name, record);
    if (value !== undefined) entries.set(key, value);
    bench.disk.blobs.clear(); // so that all are fetched again
    for (let restart = 1; restart <= 2; restart++) {
      bench.restart();
      const gone = missing();
      expect(gone.length, `${key} ${how}: ${gone.join(" ")}`).toBeLessThanOrEqual(1);
    }
  }
});

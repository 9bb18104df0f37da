import { Tag } from "cbor-x";
import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { decodeCbor, encodeCbor, isArray, isBytes, isMap, type CborMap, type CborValue } from "../../src/codec/cbor.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope, type UpdateDescription } from "../../src/suit/build.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { inspectEnvelope } from "../../src/suit/inspect.ts";
import { Condition as C, Directive as D, Parameter as P, WaitEvent } from "../../src/suit/keys.ts";
import { utf8 } from "../../src/util/bytes.ts";
import {
  AUTHOR,
  CLASS,
  envelopeOf,
  identity,
  open,
  override,
  seq,
  sha256,
  suitDigest,
  VENDOR,
  imageOf,
} from "../support/suit-build.ts";

const [a, b] = [utf8("one image"), utf8("another one")];
const one = { sequenceNumber: 7, vendorId: VENDOR, classIds: [CLASS] };
const app = { id: [utf8("app")], payloads: [{ image: imageOf(a), uri: "/a" }] };
const slots = {
  id: [utf8("app")],
  payloads: [a, b].map((bytes, slot) => ({ slot, image: imageOf(bytes), uri: `/${slot}` })),
};
const encrypted = (slot?: number) => ({
  slot,
  image: imageOf(a),
  uri: "/c",
  encryption: { info: utf8("info"), ciphertext: imageOf(b) },
});
const child = (): Uint8Array =>
  signEnvelope(
    nodeCrypto,
    AUTHOR,
    buildEnvelope(nodeCrypto, { ...one, components: [{ ...app, id: [utf8("radio")] }], invoke: false }),
  );

const UPDATES: Readonly<Record<string, () => UpdateDescription>> = {
  "one image": () => ({ ...one, components: [app] }),
  "two slots of one": () => ({ ...one, components: [slots] }),
  "one slot of one": () => ({ ...one, components: [{ ...slots, payloads: slots.payloads.slice(1) }] }),
  "two components and two classes": () => ({
    ...one,
    classIds: [CLASS, VENDOR],
    components: [app, { ...slots, id: [utf8("radio")] }],
    invoke: 1,
  }),
  "nothing to start": () => ({ ...one, components: [app], invoke: false }),
  "an encrypted image": () => ({ ...one, components: [{ ...app, payloads: [encrypted()] }] }),
  "encrypted slots beside a plain component": () => ({
    ...one,
    components: [
      { ...slots, payloads: [encrypted(0), encrypted(1)] },
      { ...app, id: [utf8("x")] },
    ],
  }),
  "patches beside the slots that they lead to": () => ({
    ...one,
    components: [
      {
        ...slots,
        payloads: slots.payloads.map((payload, i) => ({
          ...payload,
          patches: [a, b].map((old, j) => ({
            from: imageOf(old),
            patch: imageOf(utf8(`${i}${j}`)),
            uri: `/p${i}${j}`,
          })),
        })),
      },
    ],
  }),
  "an image in the envelope": () => ({
    ...one,
    components: [{ ...app, payloads: [{ image: imageOf(a), uri: "#a", integrated: a }] }],
  }),
  "a few bytes to write": () => ({
    ...one,
    components: [],
    write: { component: [utf8("settings")], content: utf8("on") },
    invoke: false,
  }),
  "bytes to write beside an image": () => ({
    ...one,
    components: [app],
    write: { component: [utf8("settings")], content: utf8("on") },
  }),
  "all that an author may say": () => ({
    ...one,
    components: [
      {
        ...app,
        version: "2.1.0",
        description: "the app",
        requires: [
          { comparison: 2, version: [1, 0] },
          { comparison: 5, version: [3, -1, 2] },
        ],
      },
    ],
    setVersion: [2, 1, 0],
    referenceUri: "https://example.com/m",
    description: "of the manifest",
    updateDescription: "of the update",
    priority: -5,
    useBefore: 2_000_000_000,
    minimumBatteryMwh: 120,
    wait: new Map<CborValue, CborValue>([
      [WaitEvent.AUTHORIZATION, 3],
      [WaitEvent.TIME, 1_900_000_000],
    ]),
  }),
  severed: () => ({ ...one, components: [{ ...app, version: "1" }], description: "text", sever: true }),
  "dependencies, one of them in the envelope": () => {
    const inner = child();
    const digest = digestOf(decodeEnvelope(inner));
    return {
      ...one,
      components: [app, slots.payloads.length > 0 ? { ...app, id: [utf8("y")] } : app],
      dependencies: [
        { id: [utf8("child")], digest, uri: "#child", integrated: inner },
        { id: [utf8("far")], digest, uri: "/far", prefix: [utf8("under")] },
      ],
    };
  },
};

/** Numbers and bytes as the diagnostic notation of CBOR has them; encoded items within byte strings opened. */
function notation(value: CborValue, depth = 0): string {
  const pad = "  ".repeat(depth + 1);
  if (isBytes(value)) {
    const inner = opened(value);
    return inner === undefined ? `h'${Buffer.from(value).toString("hex")}'` : `<< ${notation(inner, depth)} >>`;
  }
  if (isArray(value))
    return value.length === 0 ? "[]" : `[\n${value.map((item) => pad + notation(item, depth + 1)).join(",\n")}]`;
  if (isMap(value))
    return `{\n${[...value].map(([key, item]) => `${pad}${notation(key, depth + 1)}: ${notation(item, depth + 1)}`).join(",\n")}}`;
  return value instanceof Tag ? `${value.tag}(${notation(value.value as CborValue, depth)})` : JSON.stringify(value);
}

function opened(bytes: Uint8Array): CborValue | undefined {
  try {
    const item = decodeCbor(bytes, new Set([107, 18]), "any");
    return isArray(item) || isMap(item) || item instanceof Tag ? item : undefined;
  } catch {
    return undefined;
  }
}

/** What an inspection tells people, without what changes with a signature. */
function told(envelope: Uint8Array): string {
  const {
    signers: _random,
    manifestDigest,
    ...rest
  } = inspectEnvelope(nodeCrypto, open(envelope), envelope.length, { open });
  return JSON.stringify({ manifestDigest, ...rest }, undefined, 1);
}

describe("an update as its author means it", () => {
  it.each(Object.keys(UPDATES))("becomes the same manifest each time, and is told the same way: %s", async (name) => {
    const built = buildEnvelope(nodeCrypto, UPDATES[name]!());
    const members = (decodeCbor(built, new Set([107]), "any") as Tag).value as CborMap;
    const shown = [...members].filter(([key]) => key !== 2 && typeof key === "number");
    const file = name.replaceAll(/\W+/g, "-");
    const text = `${notation(new Map(shown))}\n\n${told(signEnvelope(nodeCrypto, AUTHOR, built))}\n`;
    // The signature of a dependency is another one each time.
    const steady = text.replaceAll(/18\(\[[^)]*\)/g, "a signature");
    if (name.startsWith("dependencies")) expect(steady).toContain('"child (another manifest)"');
    else await expect(text).toMatchFileSnapshot(`golden/build-${file}.txt`);
  });

  it("is told of dependencies, of which one is another device's business", () => {
    const update = UPDATES["dependencies, one of them in the envelope"]!();
    const [inner] = update.dependencies!;
    const envelope = signEnvelope(nodeCrypto, AUTHOR, buildEnvelope(nodeCrypto, { ...update, dependencies: [inner!] }));
    const { components, dependencies, ways, missing } = inspectEnvelope(nodeCrypto, open(envelope), 0, { open });
    const names = ["app", "y", "child (another manifest)", "radio (by another manifest)"];
    expect(components.map(({ name }) => name)).toEqual(names);
    expect(dependencies).toMatchObject([{ signers: [{ algorithm: "ES256" }] }]);
    expect(missing).toEqual([]);
    expect(ways).toMatchObject([
      {
        when: ["the class is c1c1c1c1-c1c1-c1c1-c1c1-c1c1c1c1c1c1"],
        steps: expect.arrayContaining([
          expect.stringMatching(/^write \d+ bytes that the envelope brings into child$/),
          expect.stringMatching(/^fetch 9 bytes from \/a into radio, with SHA-256 [0-9a-f]{64}$/),
        ]),
      },
    ]);
    const all = signEnvelope(nodeCrypto, AUTHOR, buildEnvelope(nodeCrypto, update));
    expect(inspectEnvelope(nodeCrypto, open(all), 0, { open }).ways[0]!.fails).toMatch(
      /dependency 3 is not in the envelope/,
    );
  });
});

describe("what people are told", () => {
  const what = [[P.IMAGE_DIGEST, suitDigest(a)] as const, [P.IMAGE_SIZE, a.length] as const];
  const inspected = (
    components: readonly (readonly string[])[],
    sections: Record<number, readonly CborValue[]>,
    shared = identity(...what),
  ) => inspectEnvelope(nodeCrypto, open(envelopeOf({ components, shared, sections })), 0);

  it("does not let a URI move the cursor, or look like another line", () => {
    const { ways } = inspected([["app"]], {
      20: [...override([P.URI, "/i into app\n  2. check\u001b[8m"]), D.FETCH, 15],
    });
    expect(ways[0]!.steps).toEqual([
      `fetch 9 bytes from /i into app   2. check [8m into app, with SHA-256 ${Buffer.from(sha256(a)).toString("hex")}`,
    ]);
  });

  it("tells components apart that are written alike", () => {
    const names = inspected([["a/b"], ["a", "b"], ["0x00"], ["\0"], ['a"b'], ["é"], []], {}, [
      D.SET_COMPONENT_INDEX,
      0,
      ...identity(),
    ]).components;
    expect(names.map(({ name }) => name)).toEqual([
      '"a/b"',
      "a/b",
      '"0x00"',
      "0x00",
      '"a\\"b"',
      "0xc3a9",
      "the device itself",
    ]);
  });

  it("has what must not be there, what must be, and who is told apart by it", () => {
    const version = (...numbers: number[]) => override([P.VERSION, encodeCbor([2, numbers])]);
    const branches = [
      seq(...version(3), C.VERSION, 15, ...override([P.URI, "/new"])),
      seq(...override([P.CONTENT, utf8("old")]), C.CHECK_CONTENT, 15, ...override([P.URI, "/old"])),
      seq(...override([P.CONTENT, new Uint8Array(33)]), C.CHECK_CONTENT, 15, ...override([P.URI, "/long"])),
      seq(...override([P.IMAGE_DIGEST, suitDigest(b)]), C.IMAGE_NOT_MATCH, 15, ...override([P.URI, "/not"])),
    ];
    const { ways, stopsWhen } = inspected([["app"]], { 20: [D.TRY_EACH, branches, D.FETCH, 15] });
    const digest = Buffer.from(sha256(b)).toString("hex");
    const known = "the class is c1c1c1c1-c1c1-c1c1-c1c1-c1c1c1c1c1c1";
    expect(ways.slice(0, 4).map(({ when }) => when)).toEqual([
      [known, "app is at least version 3"],
      [known, "app is the bytes 6f6c64"],
      [known, "app is certain 33 bytes"],
      [known, `app is not the image with SHA-256 ${digest}`],
    ]);
    expect(ways[3]!.steps[0]).toBe(`go on only if app is not the image with SHA-256 ${digest}`);
    expect(stopsWhen).toEqual([
      "vendor or class is another one",
      "app is not at least version 3",
      "app is not the bytes 6f6c64",
      "app is not certain 33 bytes",
      `app is the image with SHA-256 ${digest} already`,
    ]);
  });

  it("has what is done each time that it starts, and when it is removed; and nothing where there is nothing", () => {
    const sections = {
      8: [...override([P.CONTENT, utf8("boot")]), D.WRITE, 15],
      9: [D.INVOKE, 15],
      24: [D.UNLINK, 15],
    };
    const { starts, removal, ways } = inspected([["app"]], sections);
    expect(starts.map(({ steps }) => steps)).toEqual([
      ["write 4 bytes that the envelope brings into app", "start app"],
    ]);
    expect(removal.map(({ steps }) => steps)).toEqual([["give up app"]]);
    expect(ways).toMatchObject([{ steps: [] }]);
    const plain = inspected([["app"]], { 20: [C.IMAGE_MATCH, 15] });
    expect([plain.starts, plain.removal]).toEqual([[], []]);
    expect(inspected([["app"]], { 24: [D.WRITE, 15] }).removal).toMatchObject([
      { fails: "uninstall: write lacks its content" },
    ]);
  });

  it("says what is waited for, in words", () => {
    const events = Object.values(WaitEvent).map((event): [CborValue, CborValue] => [
      event,
      event === WaitEvent.OTHER_DEVICE_VERSION ? [1] : 86_400,
    ]);
    const wait = override([P.WAIT_INFO, encodeCbor(new Map(events))]);
    expect(inspected([["app"]], { 20: [...wait, D.WAIT, 15] }).ways[0]!.steps[0]!.split(" and ")).toEqual([
      "wait for leave to update with priority 86400",
      "power state 86400",
      "network state 86400",
      "a version of another device",
      "1970-01-02T00:00:00Z",
      "second 86400 of the local day",
      "day 86400 of the local week, Sunday being 0",
      "second 86400 of the day in UTC",
      "day 86400 of the week in UTC, Sunday being 0",
    ]);
  });
});

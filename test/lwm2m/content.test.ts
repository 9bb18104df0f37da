import fc from "fast-check";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeSenmlCbor, encodeSenmlCbor } from "../../src/codec/senml.ts";
import { decodeContent, decodePaths, encodeContent, encodePaths, Format } from "../../src/lwm2m/content.ts";
import { definedResources, typeOf } from "../../src/lwm2m/definitions.ts";
import type { Reading } from "../../src/lwm2m/reading.ts";
import { parsePath, pathText } from "../../src/lwm2m/path.ts";
import { ContentError, isObjectLink, type ResourceValue } from "../../src/lwm2m/values.ts";
import { randomBytes, uintBelow } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { corpus } from "../support/corpus.ts";
import { mutate } from "../support/mutate.ts";
import { noShared, SHARED } from "../support/shared.ts";
import { effort } from "../support/effort.ts";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
const reading = (text: string, value: ResourceValue): Reading => ({ path: parsePath(text)!, value });

/** The device of the examples in LwM2M 1.0 sections 6.4.3 and 6.4.4. */
const DEVICE: Reading[] = [
  reading("/3/0/0", "Open Mobile Alliance"),
  reading("/3/0/1", "Lightweight M2M Client"),
  reading("/3/0/2", "345000123"),
  reading("/3/0/3", "1.0"),
  reading("/3/0/6/0", 1),
  reading("/3/0/6/1", 5),
  reading("/3/0/7/0", 3_800),
  reading("/3/0/7/1", 5_000),
  reading("/3/0/8/0", 125),
  reading("/3/0/8/1", 900),
  reading("/3/0/9", 100),
  reading("/3/0/10", 15),
  reading("/3/0/11/0", 0),
  reading("/3/0/13", 1_367_491_215),
  reading("/3/0/14", "+02:00"),
  reading("/3/0/16", "U"),
];
const DEVICE_TLV = hex(`
  C8 00 14 4F 70 65 6E 20 4D 6F 62 69 6C 65 20 41 6C 6C 69 61 6E 63 65
  C8 01 16 4C 69 67 68 74 77 65 69 67 68 74 20 4D 32 4D 20 43 6C 69 65 6E 74
  C8 02 09 33 34 35 30 30 30 31 32 33  C3 03 31 2E 30
  86 06 41 00 01 41 01 05  88 07 08 42 00 0E D8 42 01 13 88  87 08 41 00 7D 42 01 03 84
  C1 09 64  C1 0A 0F  83 0B 41 00 00  C4 0D 51 82 42 8F  C6 0E 2B 30 32 3A 30 30  C1 10 55`);

describe("TLV (LwM2M 1.0 section 6.4.3)", () => {
  it("reads and writes the device of the example", () => {
    expect(decodeContent(Format.TLV, DEVICE_TLV, [3, 0])).toEqual(DEVICE);
    expect(encodeContent(Format.TLV, [3, 0], DEVICE)).toEqual(DEVICE_TLV);
  });

  it("the same wrapped in its instance, one resource of it, and one of its instances", () => {
    const wrapped = encodeContent(Format.TLV, [3], DEVICE);
    expect([...wrapped.subarray(0, 3)]).toEqual([0x08, 0x00, DEVICE_TLV.length]);
    expect(decodeContent(Format.TLV, wrapped, [3])).toEqual(DEVICE);
    expect(decodeContent(Format.TLV, wrapped, [3, 0])).toEqual(DEVICE);
    expect(decodeContent(Format.TLV, hex("C1 09 64"), [3, 0, 9])).toEqual([reading("/3/0/9", 100)]);
    expect(decodeContent(Format.TLV, hex("41 01 05"), [3, 0, 6])).toEqual([reading("/3/0/6/1", 5)]);
    expect(decodeContent(Format.TLV, hex("86 06 41 00 01 41 01 05"), [3, 0, 6])).toHaveLength(2);
  });

  it("IDs of 16 bits, lengths of 24, negative and large integers, links, unknown types", () => {
    const readings = [
      reading("/5/0/0", new Uint8Array(70_000).fill(7)),
      reading("/33629/300/16/2", { object: 33_629, instance: 1 }),
      reading("/1/0/1", -5),
      reading("/3/0/13", -9_000_000_000),
      reading("/0/0/13", 0xffff_ffff),
      reading("/9999/0/1234", hex("0102")),
    ];
    for (const one of readings)
      expect(decodeContent(Format.TLV, encodeContent(Format.TLV, [one.path[0]!], [one]), [one.path[0]!])).toEqual([
        one,
      ]);
  });

  it.each(["C1", "C1 09", "C8 09 05 01", "48 00 02 01", "E0 00", "00 00", "08 00 03 41 00 01"])(
    "%s is refused",
    (text) => {
      if (text === "00 00") expect(decodeContent(Format.TLV, hex(text), [3])).toEqual([]);
      else expect(() => decodeContent(Format.TLV, hex(text), [3, 0])).toThrow(ContentError);
    },
  );

  it("what is not in the path that was asked for is refused", () => {
    expect(() => decodeContent(Format.TLV, hex("C1 0A 0F"), [3, 0, 9])).toThrow(ContentError);
    expect(() => decodeContent(Format.TLV, hex("08 01 03 C1 09 64"), [3, 0])).toThrow(ContentError);
  });
});

describe("SenML (RFC 8428, LwM2M 1.1 section 7.4.4)", () => {
  it("JSON with a base name, in one record with the first value or in one of its own", () => {
    const first = '[{"bn":"/3/0/","n":"0","vs":"Open"},{"n":"9","v":95},{"n":"22/0","vlo":"66:0"}]';
    const alone = '[{"bn":"/3/0/"},{"n":"0","vs":"Open"},{"n":"9","v":95},{"n":"22/0","vlo":"66:0"}]';
    const expected = [
      reading("/3/0/0", "Open"),
      reading("/3/0/9", 95),
      reading("/3/0/22/0", { object: 66, instance: 0 }),
    ];
    for (const text of [first, alone])
      expect(decodeContent(Format.SENML_JSON, Buffer.from(text), [3, 0])).toEqual(expected);
    expect(Buffer.from(encodeContent(Format.SENML_JSON, [3, 0], expected)).toString()).toBe(first);
  });

  it("times, base times, base values and data in base64url", () => {
    const text = '[{"bn":"/5/0/","bt":1000,"n":"12","t":5,"v":1},{"n":"0","vd":"-_8"},{"n":"3","bv":1,"v":1}]';
    expect(decodeContent(Format.SENML_JSON, Buffer.from(text), [5])).toEqual([
      { ...reading("/5/0/12", 1), timeS: 1_005 },
      { ...reading("/5/0/0", Uint8Array.of(0xfb, 0xff)), timeS: 1_000 },
      { ...reading("/5/0/3", 2), timeS: 1_000 },
    ]);
  });

  it.each([
    '{"n":"/3/0/9"}',
    '[{"n":"/3/0/9"}]',
    '[{"n":"/3/0/9","v":1,"vs":"1"}]',
    '[{"n":"/3/0/9","v":"1"}]',
    '[{"n":"/3/0/9","v":1.5}]',
    '[{"n":"/3/0/65536","v":1}]',
    '[{"n":"/3/00/9","v":1}]',
    '[{"n":"/3/0/9","v":1,"must_":1}]',
    '[{"n":"/5/0/0","vd":"a"}]',
    "[",
  ])("%s is refused", (text) => {
    expect(() => decodeContent(Format.SENML_JSON, Buffer.from(text), [])).toThrow(ContentError);
  });

  it.skipIf(noShared)("reads the CBOR of RFC 8428 section 6", () => {
    const text = readFileSync(`${SHARED}/standards/rfc/rfc8428.txt`, "utf8").split("\n6.  CBOR").at(-1)!;
    const dump = [...text.split("7.  XML")[0]!.matchAll(/^ 00[0-9a-c]0 ((?:[0-9a-f]{2} ){1,16})/gm)]
      .map(([, line]) => line)
      .join("");
    const records = decodeSenmlCbor(hex(dump));
    expect(records).toHaveLength(7);
    expect(records[0]).toEqual({ name: "urn:dev:ow:10e2073a0108006:voltage", value: 120.1, timeS: 1_276_020_076.001 });
    expect(records[6]).toMatchObject({
      name: "urn:dev:ow:10e2073a0108006:current",
      value: 1.7,
      timeS: 1_276_020_076.001,
    });
    expect(decodeSenmlCbor(encodeSenmlCbor("", records))).toEqual(records);
  });

  it("CBOR of any well-formed encoding is read: floats of 16 bits, indefinite lengths, wide heads", () => {
    // [_ {_ 0: "/3/0/9", 2: 95.0_1 }, {0_1: "/3/0/10", 2: 15_3}]
    const wide = hex("9F BF 00 66 2F332F302F39 02 F9 55F0 FF A2 1800 7807 2F332F302F3130 02 1B 000000000000000F FF");
    expect(decodeContent(Format.SENML_CBOR, wide, [3])).toEqual([reading("/3/0/9", 95), reading("/3/0/10", 15)]);
  });

  it.each([
    "9B FFFFFFFFFFFFFFFF",
    "BA 7FFFFFFF",
    "5A 7FFFFFFF 00",
    "C2 41 01",
    "81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 81 80",
    "DF",
    "FF",
  ])("%s is refused before anything of its size is made", (text) => {
    expect(() => decodeContent(Format.SENML_CBOR, hex(text), [])).toThrow(ContentError);
  });
});

describe("LwM2M JSON, LwM2M CBOR and the single values", () => {
  it("JSON of LwM2M 1.0 section 6.4.4", () => {
    const text = '{"bn":"/3/0/","e":[{"n":"0","sv":"Open Mobile Alliance"},{"n":"6/0","v":1},{"n":"9","v":100}]}';
    const readings = [DEVICE[0]!, DEVICE[4]!, DEVICE[10]!];
    expect(decodeContent(Format.JSON, Buffer.from(text), [3, 0])).toEqual(readings);
    expect(Buffer.from(encodeContent(Format.JSON, [3, 0], readings)).toString()).toBe(text);
  });

  it("LwM2M CBOR with maps in maps, and with parts of a path as a key (1.2 section 7.4.7)", () => {
    const expected = [reading("/3/0/9", 95), reading("/3/0/6/0", 1)];
    expect(decodeContent(Format.LWM2M_CBOR, hex("A1 03 A1 00 A2 09 18 5F 06 A1 00 01"), [3])).toEqual(expected);
    expect(decodeContent(Format.LWM2M_CBOR, hex("A1 82 03 00 A2 09 18 5F 82 06 00 01"), [3])).toEqual(expected);
    expect(() => decodeContent(Format.LWM2M_CBOR, hex("A1 03 01"), [])).toThrow(ContentError);
    expect(() => decodeContent(Format.LWM2M_CBOR, hex("A1 80 A0"), [])).toThrow(ContentError);
  });

  it("text, octets and CBOR of one value", () => {
    const cases: [string, ResourceValue, string][] = [
      ["/3/0/9", 95, "95"],
      ["/1/0/6", true, "1"],
      ["/3/0/3", "1.2.3", "1.2.3"],
      ["/5/0/0", Uint8Array.of(1, 2, 3, 4), "AQIDBA=="],
      ["/0/0/17", { object: 21, instance: 0 }, "21:0"],
    ];
    for (const [path, value, text] of cases) {
      const at = parsePath(path)!;
      expect(Buffer.from(encodeContent(Format.TEXT, at, [reading(path, value)])).toString()).toBe(text);
      for (const format of [Format.TEXT, Format.CBOR, Format.LWM2M_CBOR]) {
        const bytes = encodeContent(format, at, [reading(path, value)]);
        expect(decodeContent(format, bytes, at)).toEqual([reading(path, value)]);
      }
    }
    expect(decodeContent(Format.OPAQUE, Uint8Array.of(9), [5, 0, 0])[0]!.value).toEqual(Uint8Array.of(9));
    expect(() => decodeContent(Format.TEXT, Buffer.from("95"), [3, 0])).toThrow(/more than one/);
    for (const text of ["", "1.5", "x", "0x10"])
      expect(() => decodeContent(Format.TEXT, Buffer.from(text), [3, 0, 9])).toThrow(ContentError);
    expect(() => decodeContent(77, Uint8Array.of(1), [3])).toThrow(/77/);
  });

  it("paths of composite operations", () => {
    const paths = [[3, 0, 0], [1, 0], [5]];
    for (const format of [Format.SENML_JSON, Format.SENML_CBOR])
      expect(decodePaths(format, encodePaths(format, paths))).toEqual(paths);
    expect(Buffer.from(encodePaths(Format.SENML_JSON, [[3, 0, 9]])).toString()).toBe('[{"n":"/3/0/9"}]');
  });
});

describe("all formats", () => {
  const FORMATS = [Format.TLV, Format.JSON, Format.SENML_JSON, Format.SENML_CBOR, Format.LWM2M_CBOR];
  const valueOf = (path: readonly number[]): fc.Arbitrary<ResourceValue> => {
    switch (typeOf(path)) {
      case "string":
        return fc.string({ unit: "grapheme" });
      case "boolean":
        return fc.boolean();
      case "opaque":
        return fc.uint8Array({ maxLength: 300 });
      case "objlnk":
        return fc.record({ object: fc.nat(65_535), instance: fc.nat(65_535) });
      case "unsigned":
        return fc.nat(Number.MAX_SAFE_INTEGER);
      case "integer":
      case "time":
      case "float":
      case "corelnk":
      case "none":
      case undefined:
        break;
    }
    return fc.maxSafeInteger();
  };
  const anyReading = fc.constantFrom(0, 1, 3, 4, 5, 33_629).chain((object) => {
    const known = [...definedResources(object)!].filter(([, { type }]) => type !== "none");
    return fc.constantFrom(...known).chain(([resource, { multiple }]) => {
      const path = multiple ? [object, 0, resource, 1] : [object, 0, resource];
      return valueOf(path).map((value): Reading => ({ path, value }));
    });
  });

  it("carry every kind of value there and back", () => {
    fc.assert(
      fc.property(anyReading, (one) => {
        for (const format of FORMATS) {
          const at = [one.path[0]!, 0];
          const bytes = encodeContent(format, at, [one]);
          const [back, ...more] = decodeContent(format, bytes, at);
          expect(more).toEqual([]);
          expect({ ...back, format }).toEqual({ ...one, format });
        }
      }),
      { numRuns: 3_000, seed: 4 },
    );
  });

  it("refuse whatever is not theirs with a ContentError", () => {
    const random = new SeededRandom(11, "content");
    const seeds = [
      ...FORMATS.map((format) => encodeContent(format, [3, 0], DEVICE)),
      ...corpus().slice(0, 20),
      randomBytes(random, 50),
    ];
    let accepted = 0;
    for (let i = 0; i < effort(25_000, 100_000); i++) {
      const which = uintBelow(random, 9);
      const bytes = mutate(random, which < FORMATS.length ? [seeds[which]!] : seeds);
      const others = [Format.TEXT, Format.CBOR, Format.TLV, Format.SENML_CBOR];
      const format = FORMATS[which] ?? others[which - FORMATS.length]!;
      try {
        const readings = decodeContent(format, bytes, [3, 0].slice(0, uintBelow(random, 3)));
        accepted++;
        for (const { path, value } of readings) {
          expect(pathText(path)).toMatch(/^(?:\/\d{1,5}){3,4}$/);
          if (isObjectLink(value)) expect(value.object).toBeLessThanOrEqual(65_535);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ContentError);
      }
    }
    expect(accepted).toBeGreaterThan(effort(250, 1_000));
  });
});

describe.skipIf(noShared)("the table of definitions", () => {
  it.each([0, 1, 3, 4, 5])("object %i is as the registry has it", (object) => {
    const file = `${SHARED}/standards/lwm2m/${object}.xml`;
    expect(existsSync(file)).toBe(true);
    const types: Record<string, string> = {
      objlnk: "objlnk",
      "unsigned integer": "unsigned",
      "": "none",
      none: "none",
    };
    const registry = [...readFileSync(file, "utf8").matchAll(/<Item ID="(\d+)">([^]*?)<\/Item>/g)].map(
      ([, id, item]) => {
        const type = (/<Type>(.*?)<\/Type>/.exec(item!)?.[1] ?? "").toLowerCase();
        return [Number(id), { type: types[type] ?? type, multiple: item!.includes("<MultipleInstances>Multiple") }];
      },
    );
    expect([...definedResources(object)!]).toEqual(registry);
  });
});

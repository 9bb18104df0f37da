import type { Path } from "./path.ts";

/** Data types of LwM2M (1.1 Core, appendix C); "none" of what can only be executed. */
export type DataType =
  | "string"
  | "integer"
  | "unsigned"
  | "float"
  | "boolean"
  | "opaque"
  | "time"
  | "objlnk"
  | "corelnk"
  | "none";

export interface ResourceDefinition {
  readonly type: DataType;
  readonly multiple: boolean;
}

/**
 * Types of the resources that a text or a TLV does not tell (OMA registry: 0 Security, 1 Server, 2 Access Control,
 * 3 Device, 4 Connectivity Monitoring, 5 Firmware Update, 6 Location, 7 Connectivity Statistics, 9 Software
 * Management, 16 Portfolio, 19 BinaryAppDataContainer; AVSystem's 33629 Advanced Firmware Update). One word per
 * resource: ID and letter, `*` where it has instances.
 */
const OBJECTS: Readonly<Record<number, string>> = {
  0: "0s 1b 2i 3x 4x 5x 6i 7x 8x 9s 10i 11i 12i 13u 14s 15u 16u* 17l 18u* 19u* 20u* 21u* 22u 23u 24u 25s* 26l 27l* 28i 29i 30s",
  1: "0i 1i 2i 3i 4- 5i 6b 7s 8- 9- 10l 11u 12t 13u 14u 15b 16b 17u 18u 19u 20u 21b 22s 23b 24l* 25s* 26i 27u",
  2: "0i 1i 2i* 3i",
  3: "0s 1s 2s 3s 4- 5- 6i* 7i* 8i* 9i 10i 11i* 12- 13t 14s 15s 16s 17s 18s 19s 20i 21i 22l*",
  4: "0i 1i* 2i 3i 4s* 5s* 6i 7s* 8i 9i 10i 11i 12i 13i",
  5: "0x 1s 2- 3i 5i 6s 7s 8i* 9i 10- 11i 12t 13u 14b",
  6: "0f 1f 2f 3f 4x 5t 6f",
  7: "0i 1i 2i 3i 4i 5i 6- 7- 8i",
  9: "0s 1s 2x 3s 4- 5l 6- 7i 8b 9i 10- 11- 12b 13l 14s 15s 16s 17l* 18i",
  16: "0s* 1- 2x* 3i",
  19: "0x* 1i 2t 3s 4s 5i",
  33629: "0x 1s 2- 3i 5i 6s 7s 8i* 9i 10- 11i 12t 13u 14s 15s 16l* 17l*",
};

const TYPES: Readonly<Record<string, DataType>> = {
  s: "string",
  i: "integer",
  u: "unsigned",
  f: "float",
  b: "boolean",
  x: "opaque",
  t: "time",
  l: "objlnk",
  c: "corelnk",
  "-": "none",
};

const DEFINITIONS = new Map(
  Object.entries(OBJECTS).map(([object, text]) => [
    Number(object),
    new Map(
      text.split(" ").map((word): [number, ResourceDefinition] => {
        const [, id, letter, star] = /^(\d+)(.)(\*?)$/.exec(word)!;
        return [Number(id), { type: TYPES[letter!]!, multiple: star === "*" }];
      }),
    ),
  ]),
);

/** Reusable resources of the IPSO objects: each ID has one type, whatever object it is in. */
const REUSABLE = new Map(
  Object.entries({
    string: [5506, 5527, 5530, 5531, 5545, 5701, 5706, 5750],
    integer: [5525, 5526, 5534, 5544, 5547, 5548, 5551, 5702, 5851, 5852, 5903],
    float: [5600, 5601, 5602, 5603, 5604, 5700, 5703, 5704, 5705, 5805, 5815, 5820, 5821],
    boolean: [5500, 5532, 5550, 5850],
    time: [5518],
    none: [5505, 5523, 5524, 5605, 5650],
  } satisfies Partial<Record<DataType, number[]>>).flatMap(([type, ids]) =>
    ids.map((id): [number, ResourceDefinition] => [id, { type: type as DataType, multiple: false }]),
  ),
);
const isIpso = (object: number): boolean => object >= 3_200 && object < 3_500;

/** Undefined for an object or resource that is not in the table: its bytes are left as they are. */
export function definitionOf(object: number, resource: number): ResourceDefinition | undefined {
  return DEFINITIONS.get(object)?.get(resource) ?? (isIpso(object) ? REUSABLE.get(resource) : undefined);
}

/** The type of the resource at a path, or above it; undefined where it names none, or none that is known. */
export function typeOf([object, , resource]: Path): DataType | undefined {
  return resource === undefined ? undefined : definitionOf(object!, resource)?.type;
}

/** Objects in the table, for tests against the registry. */
export function definedResources(object: number): ReadonlyMap<number, ResourceDefinition> | undefined {
  return DEFINITIONS.get(object);
}

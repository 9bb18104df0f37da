import { decodeTlv, encodeTlv, type Tlv } from "../codec/lwm2m-tlv.ts";
import type { Reading } from "./reading.ts";
import { definitionOf } from "./definitions.ts";
import { isWithin, pathText, type Path } from "./path.ts";
import { ContentError, fromTlvBytes, toTlvBytes } from "./values.ts";

/** TLV content of `path` (LwM2M 1.1 Core, section 7.4.3): the entries say only what is below it. */
export function fromTlv(bytes: Uint8Array, path: Path): Reading[] {
  const out: Reading[] = [];
  for (const tlv of decodeTlv(bytes)) read(tlv, path, out);
  return out;
}

function read(tlv: Tlv, asked: Path, out: Reading[]): void {
  const [object, instance = 0, resource] = asked;
  if (object === undefined) throw new ContentError("TLV says nothing of several objects");
  let path: Path;
  switch (tlv.kind) {
    case "object-instance":
      path = [object, tlv.id];
      for (const child of tlv.children!) read(child, path, out);
      break;
    case "multiple-resource":
      path = [object, instance, tlv.id];
      for (const { id, value } of tlv.children!) push([...path, id], value!, out);
      break;
    case "resource":
      path = [object, instance, tlv.id];
      push(path, tlv.value!, out);
      break;
    case "resource-instance":
      if (resource === undefined) throw new ContentError("an instance of a resource that nobody named");
      path = [object, instance, resource, tlv.id];
      push(path, tlv.value!, out);
  }
  const upTo = Math.min(path.length, asked.length);
  if (!isWithin(path.slice(0, upTo), asked.slice(0, upTo)))
    throw new ContentError(`${pathText(path)} is not in ${pathText(asked)}`);
}

function push(path: Path, bytes: Uint8Array, out: Reading[]): void {
  out.push({ path, value: fromTlvBytes(bytes, definitionOf(path[0]!, path[2]!)?.type) });
}

/** As a Read of `path` is answered: instances of an object, or the resources of an instance. */
export function toTlv(path: Path, readings: readonly Reading[]): Uint8Array {
  const byInstance = grouped(readings, 1);
  const all = [...byInstance].map(([id, inside]): Tlv => ({
    kind: "object-instance",
    id,
    children: resources(inside),
  }));
  if (path.length < 2) return encodeTlv(all);
  if (byInstance.size > 1) throw new ContentError(`${pathText(path)} is one instance`);
  const inside = all[0]?.children ?? [];
  // Of a resource instance: that, and not the resource around it.
  return encodeTlv(path.length === 4 ? (inside[0]?.children ?? inside) : inside);
}

function resources(readings: readonly Reading[]): Tlv[] {
  return [...grouped(readings, 2)].map(([id, inside]): Tlv => {
    const [{ path }] = inside as [Reading];
    const definition = definitionOf(path[0]!, id);
    if (path.length < 4 && definition?.multiple !== true)
      return { kind: "resource", id, value: toTlvBytes(inside[0]!.value, definition?.type) };
    const children = inside.map((reading): Tlv => ({
      kind: "resource-instance",
      id: reading.path[3] ?? 0,
      value: toTlvBytes(reading.value, definition?.type),
    }));
    return { kind: "multiple-resource", id, children };
  });
}

function grouped(readings: readonly Reading[], depth: number): Map<number, Reading[]> {
  const out = new Map<number, Reading[]>();
  for (const reading of readings) {
    const id = reading.path[depth];
    if (id === undefined) throw new ContentError(`${pathText(reading.path)} is no resource`);
    out.set(id, [...(out.get(id) ?? []), reading]);
  }
  return out;
}

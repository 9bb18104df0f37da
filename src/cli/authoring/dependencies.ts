import { resolve } from "node:path";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import type { Dependency, UpdateDescription } from "../../suit/build.ts";
import { checkSevered, decodeEnvelope, decodeManifestMap, digestOf, EnvelopeError } from "../../suit/envelope.ts";
import { ManifestKey } from "../../suit/keys.ts";
import { componentName, readManifest, type ComponentId, type Manifest } from "../../suit/manifest.ts";
import { labelOf } from "../../suit/text.ts";
import { usageError } from "../errors.ts";
import { componentId, readInput } from "./input.ts";
import type { DependencyFile } from "./schema.ts";

/** A dependency, and what is in it as its author says: nobody's word is taken for it here. */
export interface NamedDependency {
  readonly dependency: Dependency;
  readonly file: string;
  readonly manifest: Manifest;
}

export function dependencyOf(given: DependencyFile, folder: string): NamedDependency {
  const { envelope: file, integrated, prefix } = given;
  const bytes = readInput(resolve(folder, file));
  const { digest, manifest } = opened(bytes, file);
  const dependency = {
    id: componentId(given.id),
    digest,
    uri: given.uri ?? `#${file}`,
    integrated: integrated ? bytes : undefined,
    prefix: prefix && componentId(prefix),
    invokes: manifest.sections.has(ManifestKey.INVOKE),
  };
  return { dependency, file, manifest };
}

function opened(bytes: Uint8Array, file: string): { digest: Uint8Array; manifest: Manifest } {
  try {
    const envelope = decodeEnvelope(bytes);
    const map = decodeManifestMap(envelope);
    checkSevered(nodeCrypto, envelope, map);
    return { digest: digestOf(envelope), manifest: readManifest(map, envelope) };
  } catch (error) {
    if (error instanceof EnvelopeError) throw usageError("bad-dependency", `${file}: ${error.message}`);
    throw error;
  }
}

/** What contradicts itself: two manifests set the parameters of a component that both have, and one of them loses. */
export function clashOf(
  components: UpdateDescription["components"],
  named: readonly NamedDependency[],
): string | undefined {
  const takenBy = new Map(components.map(({ id }) => [componentName(id), "this update has"]));
  const take = (id: ComponentId, who: string): string | undefined => {
    const other = takenBy.get(componentName(id));
    takenBy.set(componentName(id), who);
    return other === undefined
      ? undefined
      : `${who} component ${labelOf(id)}, which ${other} already: give each its own`;
  };
  for (const { dependency, file } of named) {
    const clash = take(dependency.id, `dependency ${file} is kept in`);
    if (clash !== undefined) return clash;
  }
  for (const { dependency, file, manifest } of named)
    for (const [index, id] of manifest.components.entries()) {
      if (manifest.dependencies.has(index)) continue;
      const whole = [...(dependency.prefix ?? []), ...id];
      const clash = take(whole, `dependency ${file} changes`);
      if (clash !== undefined) return clash;
    }
  return undefined;
}

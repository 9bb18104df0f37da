import { beforeEach, describe, expect, it } from "vitest";
import type { CborValue } from "../../src/codec/cbor.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { envelopeOf, override, seq, suitDigest, type Sequence } from "../support/suit-build.ts";
import { TrustBench } from "../support/trust-bench.ts";

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

const [app, before, other] = [3, 4, 5].map((n) => makeImage(n, 1_000)) as [Uint8Array, Uint8Array, Uint8Array];
const at = (index: number): CborValue[] => [D.SET_COMPONENT_INDEX, index];
const isDigest = (image: Uint8Array): CborValue[] => [
  ...override([P.IMAGE_DIGEST, suitDigest(image)], [P.IMAGE_SIZE, image.length]),
  C.IMAGE_MATCH,
  15,
];
const fetchApp: CborValue[] = [
  ...override([P.IMAGE_DIGEST, suitDigest(app)], [P.IMAGE_SIZE, app.length], [P.URI, "sim:app"]),
  D.FETCH,
  15,
  C.IMAGE_MATCH,
  15,
];

/** How a release ends that does so with a running component, and one beside it. */
function publish(install: Sequence, payloadFetch: Sequence = []): string {
  const shared = [
    ...at(0),
    ...override([P.VENDOR_IDENTIFIER, vendorId], [P.CLASS_IDENTIFIER, classId]),
    C.VENDOR_IDENTIFIER,
    15,
    C.CLASS_IDENTIFIER,
    15,
  ];
  const sections = { ...(payloadFetch.length === 0 ? {} : { 16: payloadFetch }), 20: install };
  const envelope = envelopeOf({ key: author, components: [["run"], ["beside"]], shared, sections });
  site.bench.disk.upstream.set("sim:app", app);
  const outcome = site.bench.publishEnvelope(envelope, "sim:app");
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}

describe("a release that looks at what its devices run, or moves it, is one for devices that have it", () => {
  it.each<[string, Sequence]>([
    ["asks for what it replaces", [...at(0), ...isDigest(before), ...at(1), ...fetchApp]],
    [
      "asks for one of two",
      [...at(0), D.TRY_EACH, [seq(...isDigest(before)), seq(...isDigest(other))], ...at(1), ...fetchApp],
    ],
    ["keeps a copy of what runs", [...at(1), ...override([P.SOURCE_COMPONENT, 0]), D.COPY, 15, ...at(0), ...fetchApp]],
    ["swaps it", [...at(1), ...fetchApp, ...override([P.SOURCE_COMPONENT, 0]), D.SWAP, 15, ...at(0), ...isDigest(app)]],
  ])("%s", (_what, install) => {
    expect(publish(install)).toBe("published");
  });

  it.each<[string, Sequence]>([
    [
      "asks for two digests of one component",
      [...at(0), ...isDigest(before), ...isDigest(other), ...at(1), ...fetchApp],
    ],
    ["asks for its own image before it fetches that", [...at(1), ...isDigest(app), ...fetchApp]],
    [
      "asks for one thing of a copy, and for another of what it was copied from",
      [
        ...at(1),
        ...override([P.SOURCE_COMPONENT, 0]),
        D.COPY,
        15,
        ...isDigest(before),
        ...at(0),
        ...isDigest(other),
        ...fetchApp,
      ],
    ],
    ["asks for what it has just overwritten", [...at(0), ...fetchApp, ...isDigest(before)]],
    [
      "swaps, and asks for what is elsewhere then",
      [...at(1), ...fetchApp, ...override([P.SOURCE_COMPONENT, 0]), D.SWAP, 15, ...at(0), ...isDigest(other)],
    ],
    [
      "copies what is gone",
      [...at(0), D.UNLINK, 15, ...at(1), ...override([P.SOURCE_COMPONENT, 0]), D.COPY, 15, ...at(0), ...fetchApp],
    ],
  ])("%s: no device takes that", (_what, install) => {
    expect(publish(install)).not.toBe("published");
  });
});

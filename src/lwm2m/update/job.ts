import { fromUtf8, utf8 } from "../../util/bytes.ts";
import { UPDATE, type UpdateState } from "../states.ts";
import type { Path } from "../path.ts";

export const UPDATE_PREFIX = "update/";

/** How a package gets to a client: it fetches it, it is given it, or its SUIT worker is told of the manifest. */
export type Method = "pull" | "push" | "trigger";

/** One firmware object instance and what is to run there. */
export interface Component {
  /** `/5/0`, or an instance of 33629. */
  readonly object: Path;
  /** SHA-256 of the image in hex. */
  readonly digest: string;
  readonly size: number;
  /** What the version resource has to read, exactly. */
  readonly version: string;
  /** Where the version is read; undefined for the object's own place. */
  readonly versionPath?: Path | undefined;
}

export interface UpdatePolicy {
  /** In the order in which they are tried. */
  readonly methods: readonly Method[];
  /** A transfer that has not moved for so many wake intervals has stalled. */
  readonly stallIntervals: number;
  /** So often a transfer may stall at one place before another method is tried. */
  readonly maxStalls: number;
  /** What counts as a wake interval of a client that never sleeps. */
  readonly activeIntervalS: number;
  /** What a client may be silent beyond its lifetime. */
  readonly graceS: number;
  /** How long the expected version has to stay. */
  readonly soakS: number;
  /** Written to the client where it has the resources: severity 0 to 2, and seconds that it may put the update off. */
  readonly severity?: number | undefined;
  readonly maxDeferS?: number | undefined;
  /** Seconds after which an update that was not executed is given up. */
  readonly deadlineS?: number | undefined;
  /** False: what is updated is applied without a restart, so nobody waits for a new registration. */
  readonly restarts?: boolean | undefined;
  /** Update a client that runs the version already. */
  readonly force: boolean;
  /** What is downloaded waits for `Updates.release` before it is applied. */
  readonly hold?: boolean | undefined;
}

export const DEFAULT_POLICY: UpdatePolicy = {
  methods: ["pull", "push", "trigger"],
  stallIntervals: 3,
  maxStalls: 4,
  activeIntervalS: 30,
  graceS: 120,
  soakS: 0,
  force: false,
};

/** An update of one client as the store keeps it. */
export interface UpdateJob {
  readonly id: string;
  readonly endpoint: string;
  readonly components: readonly Component[];
  readonly policy: UpdatePolicy;
  readonly startedMs: number;
  /** Who asked for it, in the asker's own words; undefined for an operator. */
  readonly origin: string | undefined;
  /** Until when it may be applied, where it is held; undefined while it may not. */
  releasedUntilMs: number | undefined;
  state: UpdateState;
  /** Which component is at it. */
  component: number;
  method: Method | undefined;
  /** Methods that were given up, for the component at hand. */
  tried: Method[];
  /** Location of the client when the package was begun, or executed: another one says that it has restarted. */
  location: string | undefined;
  executes: number;
  /** It has answered that it will install, or was seen to. */
  promised: boolean;
  /** Where the version of each component was read before: only that place tells whether it has changed. */
  versionPaths: Record<number, Path>;
  /** Times that it began its download anew. */
  beginnings: number;
  /** Its lifetime, for when its registration is gone. */
  lifetimeS: number | undefined;
  /** When Update was executed, when the soak is over, when the update ended. */
  executedMs: number | undefined;
  soakUntilMs: number | undefined;
  endedMs: number | undefined;
  quirks: string | undefined;
  versionBefore: string | undefined;
  /** That of each component. */
  versionsBefore: Record<number, string>;
  versionAfter: string | undefined;
  /** The Update Result that was seen last, and the one that was there when Update was executed: that one says nothing of it. */
  result: number | undefined;
  resultBefore: number | undefined;
  /** How pushes go on: block size and token that the client knows. */
  szx: number | undefined;
  token: string | undefined;
  /** Why it ended, in one word, in full, and what to do next. */
  reason: string | undefined;
  detail: string | undefined;
  advice: string | undefined;
}

export function newJob(
  id: string,
  endpoint: string,
  components: readonly Component[],
  policy: UpdatePolicy,
  startedMs: number,
  origin?: string,
): UpdateJob {
  return {
    id,
    endpoint,
    components,
    policy,
    startedMs,
    origin,
    state: UPDATE.initial,
    component: 0,
    tried: [],
    executes: 0,
    promised: false,
    versionPaths: {},
    versionsBefore: {},
    beginnings: 0,
    ...NOTHING_YET,
  };
}

const NOTHING_YET = {
  releasedUntilMs: undefined,
  lifetimeS: undefined,
  method: undefined,
  location: undefined,
  executedMs: undefined,
  soakUntilMs: undefined,
  endedMs: undefined,
  quirks: undefined,
  versionBefore: undefined,
  versionAfter: undefined,
  result: undefined,
  resultBefore: undefined,
  szx: undefined,
  token: undefined,
  reason: undefined,
  detail: undefined,
  advice: undefined,
} as const;

const ENDS: ReadonlySet<UpdateState> = new Set(["succeeded", "failed", "cancelled"]);
export const hasEnded = ({ state }: Pick<UpdateJob, "state">): boolean => ENDS.has(state);

export const jobKey = (endpoint: string): string => UPDATE_PREFIX + encodeURIComponent(endpoint);

export const encodeJob = (job: UpdateJob): Uint8Array => utf8(JSON.stringify(job));

/** Undefined when the record is none. */
export function decodeJob(record: Uint8Array): UpdateJob | undefined {
  try {
    const value = JSON.parse(fromUtf8(record) ?? "") as UpdateJob;
    const { id, endpoint, components, policy, startedMs, state, component, tried } = value;
    const known = state === UPDATE.initial || UPDATE.rows.some(({ to }) => to === state);
    const whole = [id, endpoint].every((text) => typeof text === "string") && Array.isArray(tried) && known;
    const target = Array.isArray(components) && components[component] !== undefined && Array.isArray(policy.methods);
    return whole && target ? { ...newJob(id, endpoint, components, policy, startedMs), ...value } : undefined;
  } catch {
    return undefined;
  }
}

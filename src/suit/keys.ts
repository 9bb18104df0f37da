/**
 * Integer keys of SUIT, all in one place: draft-ietf-suit-manifest-37 section 11, and where marked
 * T draft-ietf-suit-trust-domains, U draft-ietf-suit-update-management, E
 * draft-ietf-suit-firmware-encryption, R draft-ietf-suit-report. Other dialects give these numbers other meanings:
 * see dialect.ts.
 */
export const SuitTag = { ENVELOPE: 107, MANIFEST: 1070, PEN: 112 } as const;

export const EnvelopeKey = {
  AUTHENTICATION_WRAPPER: 2,
  MANIFEST: 3,
  COSWID: 14, // U
  DEPENDENCY_RESOLUTION: 15, // T
  PAYLOAD_FETCH: 16,
  CANDIDATE_VERIFICATION: 18, // T
  INSTALL: 20,
  TEXT: 23,
} as const;

export const ManifestKey = {
  VERSION: 1,
  SEQUENCE_NUMBER: 2,
  COMMON: 3,
  REFERENCE_URI: 4,
  COMPONENT_ID: 5, // T
  SET_VERSION: 6, // U
  VALIDATE: 7,
  LOAD: 8,
  INVOKE: 9,
  COSWID: 14, // U
  DEPENDENCY_RESOLUTION: 15, // T
  PAYLOAD_FETCH: 16,
  CANDIDATE_VERIFICATION: 18, // T
  INSTALL: 20,
  TEXT: 23,
  UNINSTALL: 24, // T
} as const;

export const CommonKey = { DEPENDENCIES: 1 /* T */, COMPONENTS: 2, SHARED_SEQUENCE: 4 } as const;

export const DependencyKey = { PREFIX: 1 } as const; // T

export const Condition = {
  VENDOR_IDENTIFIER: 1,
  CLASS_IDENTIFIER: 2,
  IMAGE_MATCH: 3,
  USE_BEFORE: 4, // U
  COMPONENT_SLOT: 5,
  CHECK_CONTENT: 6,
  DEPENDENCY_INTEGRITY: 7, // T
  IS_DEPENDENCY: 8, // T
  ABORT: 14,
  DEVICE_IDENTIFIER: 24,
  IMAGE_NOT_MATCH: 25, // U
  MINIMUM_BATTERY: 26, // U
  UPDATE_AUTHORIZED: 27, // U
  VERSION: 28, // U
} as const;

export const Directive = {
  PROCESS_DEPENDENCY: 11, // T
  SET_COMPONENT_INDEX: 12,
  TRY_EACH: 15,
  WRITE: 18,
  SET_PARAMETERS: 19, // T
  OVERRIDE_PARAMETERS: 20,
  FETCH: 21,
  COPY: 22,
  INVOKE: 23,
  WAIT: 29, // U
  SWAP: 31,
  RUN_SEQUENCE: 32,
  UNLINK: 33, // T
  OVERRIDE_MULTIPLE: 34, // U
  COPY_PARAMS: 35, // U
} as const;

export const Parameter = {
  VENDOR_IDENTIFIER: 1,
  CLASS_IDENTIFIER: 2,
  IMAGE_DIGEST: 3,
  USE_BEFORE: 4, // U
  COMPONENT_SLOT: 5,
  STRICT_ORDER: 12,
  SOFT_FAILURE: 13,
  IMAGE_SIZE: 14,
  CONTENT: 18,
  ENCRYPTION_INFO: 19, // E
  URI: 21,
  SOURCE_COMPONENT: 22,
  INVOKE_ARGS: 23,
  DEVICE_IDENTIFIER: 24,
  FETCH_ARGUMENTS: 25,
  MINIMUM_BATTERY: 26, // U
  UPDATE_PRIORITY: 27, // U
  VERSION: 28, // U
  WAIT_INFO: 29, // U
  COMPONENT_METADATA: 30, // U
} as const;

export const TextKey = {
  MANIFEST_DESCRIPTION: 1,
  UPDATE_DESCRIPTION: 2,
} as const;

export const ComponentTextKey = {
  VENDOR_NAME: 1,
  MODEL_NAME: 2,
  VENDOR_DOMAIN: 3,
  MODEL_INFO: 4,
  DESCRIPTION: 5,
  VERSION: 6,
  VERSION_REQUIRED: 7, // U
  CURRENT_VERSION: 8, // U
} as const;

/** U, section 4.5. */
export const WaitEvent = {
  AUTHORIZATION: 1,
  POWER: 2,
  NETWORK: 3,
  OTHER_DEVICE_VERSION: 4,
  TIME: 5,
  TIME_OF_DAY: 6,
  DAY_OF_WEEK: 7,
  TIME_OF_DAY_UTC: 8,
  DAY_OF_WEEK_UTC: 9,
} as const;

/** U, section 4.4. */
export const VersionComparison = { GREATER: 1, GREATER_EQUAL: 2, EQUAL: 3, LESSER_EQUAL: 4, LESSER: 5 } as const;

/** R. */
export const ReportKey = {
  NONCE: 2,
  RECORDS: 3,
  RESULT: 4,
  RESULT_CODE: 5,
  RESULT_RECORD: 6,
  RESULT_REASON: 7,
  CAPABILITIES: 8,
  REFERENCE: 99,
} as const;

/** R: why a processor stopped. */
export const ReportReason = {
  ok: 0,
  "cbor-parse": 1,
  "cose-unsupported": 2,
  "alg-unsupported": 3,
  unauthorised: 4,
  "command-unsupported": 5,
  "component-unsupported": 6,
  "component-unauthorised": 7,
  "parameter-unsupported": 8,
  "severing-unsupported": 9,
  "condition-failed": 10,
  "operation-failed": 11,
  "invoke-pending": 12,
} as const;
export type SuitReason = keyof typeof ReportReason;

/** Digest algorithm identifiers of COSE (RFC 9054); SHA-256 is the one that SUIT requires. */
export const DigestAlgorithm = { SHA_256: -16 } as const;

/** Reporting policy: a record and system information on success and on failure (section 8.4.7 of the draft). */
export const REPORT_ALWAYS = 0b1111;
export const ReportPolicy = { RECORD_SUCCESS: 1, RECORD_FAILURE: 2 } as const;

/** Numbers below this are the vendor's own (section 11; -256 itself is named both ways, so it is neither). */
export const PRIVATE_BELOW = -256;

/** The words for a number of one of the tables above: `image-match` for 3. */
export function nameOf(table: Readonly<Record<string, number>>, number: number): string {
  const entry = Object.entries(table).find(([, value]) => value === number);
  return entry === undefined ? String(number) : entry[0].toLowerCase().replaceAll("_", "-");
}

/**
 * Integer keys of SUIT, all in one place: draft-ietf-suit-manifest-37 section 11, and where marked
 * T draft-ietf-suit-trust-domains, U draft-ietf-suit-update-management, E
 * draft-ietf-suit-firmware-encryption. Other dialects give these numbers other meanings.
 */
export const SuitTag = { ENVELOPE: 107, MANIFEST: 1070 } as const;

export const EnvelopeKey = {
  AUTHENTICATION_WRAPPER: 2,
  MANIFEST: 3,
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
  VALIDATE: 7,
  LOAD: 8,
  INVOKE: 9,
  DEPENDENCY_RESOLUTION: 15, // T
  PAYLOAD_FETCH: 16,
  CANDIDATE_VERIFICATION: 18, // T
  INSTALL: 20,
  TEXT: 23,
  UNINSTALL: 24, // T
} as const;

export const CommonKey = { DEPENDENCIES: 1 /* T */, COMPONENTS: 2, SHARED_SEQUENCE: 4 } as const;

export const Condition = { VENDOR_IDENTIFIER: 1, CLASS_IDENTIFIER: 2, IMAGE_MATCH: 3 } as const;

export const Directive = {
  SET_COMPONENT_INDEX: 12,
  TRY_EACH: 15,
  SET_PARAMETERS: 19, // T
  OVERRIDE_PARAMETERS: 20,
  FETCH: 21,
  INVOKE: 23,
  RUN_SEQUENCE: 32,
} as const;

export const Parameter = {
  VENDOR_IDENTIFIER: 1,
  CLASS_IDENTIFIER: 2,
  IMAGE_DIGEST: 3,
  IMAGE_SIZE: 14,
  URI: 21,
  ENCRYPTION_INFO: 19, // E
} as const;

export const TextKey = { COMPONENT_VERSION: 6, COMPONENT_DESCRIPTION: 5 } as const;

/** Digest algorithm identifiers of COSE (RFC 9054); SHA-256 is the one that SUIT requires. */
export const DigestAlgorithm = { SHA_256: -16 } as const;

/** Reporting policy: a record and system information on success and on failure (section 8.4.8 of the draft). */
export const REPORT_ALWAYS = 0b1111;

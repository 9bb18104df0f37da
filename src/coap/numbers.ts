/** Registry numbers of CoAP: RFC 7252 section 12, RFC 7641, 7959, 7967, 8132, 8516, 8768, 9175, 9177. */

export const MessageType = { CON: 0, NON: 1, ACK: 2, RST: 3 } as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** A code is class (3 bits) and detail (5 bits): 2.05 is 0x45. */
export const Code = {
  EMPTY: 0,
  GET: 0x01,
  POST: 0x02,
  PUT: 0x03,
  DELETE: 0x04,
  FETCH: 0x05,
  PATCH: 0x06,
  IPATCH: 0x07,
  CREATED: 0x41,
  DELETED: 0x42,
  VALID: 0x43,
  CHANGED: 0x44,
  CONTENT: 0x45,
  CONTINUE: 0x5f,
  BAD_REQUEST: 0x80,
  UNAUTHORIZED: 0x81,
  BAD_OPTION: 0x82,
  FORBIDDEN: 0x83,
  NOT_FOUND: 0x84,
  METHOD_NOT_ALLOWED: 0x85,
  NOT_ACCEPTABLE: 0x86,
  REQUEST_ENTITY_INCOMPLETE: 0x88,
  CONFLICT: 0x89,
  PRECONDITION_FAILED: 0x8c,
  REQUEST_ENTITY_TOO_LARGE: 0x8d,
  UNSUPPORTED_CONTENT_FORMAT: 0x8f,
  UNPROCESSABLE_ENTITY: 0x96,
  TOO_MANY_REQUESTS: 0x9d,
  INTERNAL_SERVER_ERROR: 0xa0,
  NOT_IMPLEMENTED: 0xa1,
  BAD_GATEWAY: 0xa2,
  SERVICE_UNAVAILABLE: 0xa3,
  GATEWAY_TIMEOUT: 0xa4,
  PROXYING_NOT_SUPPORTED: 0xa5,
  HOP_LIMIT_REACHED: 0xa8,
} as const;

/** `2.05` for 69. */
export function codeText(value: number): string {
  return `${value >> 5}.${String(value & 31).padStart(2, "0")}`;
}

export const codeClass = (value: number): number => value >> 5;
export const isRequestCode = (value: number): boolean => value > 0 && value < 32;
/** Classes 2, 4 and 5 (RFC 7252 section 12.1.2); 1, 6 and 7 are reserved here. */
export function isResponseCode(value: number): boolean {
  const klass = codeClass(value);
  return klass === 2 || klass === 4 || klass === 5;
}

export const Option = {
  IF_MATCH: 1,
  URI_HOST: 3,
  ETAG: 4,
  IF_NONE_MATCH: 5,
  OBSERVE: 6,
  URI_PORT: 7,
  LOCATION_PATH: 8,
  URI_PATH: 11,
  CONTENT_FORMAT: 12,
  MAX_AGE: 14,
  URI_QUERY: 15,
  HOP_LIMIT: 16,
  ACCEPT: 17,
  Q_BLOCK1: 19,
  LOCATION_QUERY: 20,
  BLOCK2: 23,
  BLOCK1: 27,
  SIZE2: 28,
  Q_BLOCK2: 31,
  PROXY_URI: 35,
  PROXY_SCHEME: 39,
  SIZE1: 60,
  ECHO: 252,
  NO_RESPONSE: 258,
  REQUEST_TAG: 292,
} as const;

export const ContentFormat = {
  TEXT_PLAIN: 0,
  LINK_FORMAT: 40,
  OCTET_STREAM: 42,
  /** application/missing-blocks+cbor-seq (RFC 9177 section 12.3). */
  MISSING_BLOCKS: 272,
} as const;

export interface OptionDefinition {
  readonly name: string;
  readonly minLength: number;
  readonly maxLength: number;
  readonly repeatable: boolean;
  /** Methods of the requests in which it means something. */
  readonly requests: "all" | "none" | ReadonlySet<number>;
  /** Whether it means something in a response. */
  readonly responses: boolean;
}

type Where = Partial<Pick<OptionDefinition, "repeatable" | "requests" | "responses">>;

const define = (name: string, minLength: number, maxLength: number, where: Where = {}): OptionDefinition => ({
  name,
  minLength,
  maxLength,
  repeatable: false,
  requests: "all",
  responses: true,
  ...where,
});

/** Methods that have a payload (RFC 7252 section 5.8, RFC 8132). */
const WITH_PAYLOAD: ReadonlySet<number> = new Set([Code.POST, Code.PUT, Code.FETCH, Code.PATCH, Code.IPATCH]);
const SAFE: ReadonlySet<number> = new Set([Code.GET, Code.FETCH]);

/** In requests only, in responses only, and with what is carried in a request. */
const ASKS: Where = { responses: false };
const TELLS: Where = { requests: "none" };
const repeated = (where: Where): Where => ({ ...where, repeatable: true });

/**
 * Lengths, repeatability and where they are defined: RFC 7252 table 4 and sections 5.8 to 5.10,
 * RFC 7641 table 1, RFC 7959 table 1, RFC 7967 table 1, RFC 8768 table 1, RFC 9175 tables 1 and 2,
 * RFC 9177 table 2.
 */
export const OPTION_DEFINITIONS: ReadonlyMap<number, OptionDefinition> = new Map([
  [Option.IF_MATCH, define("If-Match", 0, 8, repeated(ASKS))],
  [Option.URI_HOST, define("Uri-Host", 1, 255, ASKS)],
  [Option.ETAG, define("ETag", 1, 8, { requests: SAFE, repeatable: true })],
  [Option.IF_NONE_MATCH, define("If-None-Match", 0, 0, ASKS)],
  [Option.OBSERVE, define("Observe", 0, 3, { requests: SAFE })],
  [Option.URI_PORT, define("Uri-Port", 0, 2, ASKS)],
  [Option.LOCATION_PATH, define("Location-Path", 0, 255, repeated(TELLS))],
  [Option.URI_PATH, define("Uri-Path", 0, 255, repeated(ASKS))],
  [Option.CONTENT_FORMAT, define("Content-Format", 0, 2, { requests: WITH_PAYLOAD })],
  [Option.MAX_AGE, define("Max-Age", 0, 4, TELLS)],
  [Option.URI_QUERY, define("Uri-Query", 0, 255, repeated(ASKS))],
  [Option.HOP_LIMIT, define("Hop-Limit", 1, 1, ASKS)],
  [Option.ACCEPT, define("Accept", 0, 2, ASKS)],
  [Option.Q_BLOCK1, define("Q-Block1", 0, 3, { requests: WITH_PAYLOAD })],
  [Option.LOCATION_QUERY, define("Location-Query", 0, 255, repeated(TELLS))],
  [Option.BLOCK2, define("Block2", 0, 3)],
  [Option.BLOCK1, define("Block1", 0, 3, { requests: WITH_PAYLOAD })],
  [Option.SIZE2, define("Size2", 0, 4)],
  [Option.Q_BLOCK2, define("Q-Block2", 0, 3, { repeatable: true })],
  [Option.PROXY_URI, define("Proxy-Uri", 1, 1034, ASKS)],
  [Option.PROXY_SCHEME, define("Proxy-Scheme", 1, 255, ASKS)],
  [Option.SIZE1, define("Size1", 0, 4, { requests: WITH_PAYLOAD })],
  [Option.ECHO, define("Echo", 1, 40)],
  [Option.NO_RESPONSE, define("No-Response", 0, 1, ASKS)],
  [Option.REQUEST_TAG, define("Request-Tag", 0, 8, repeated(ASKS))],
]);

/** Whether a message of this code is defined to have a payload (RFC 7252 section 5.5). */
export function hasPayload(code: number): boolean {
  if (isRequestCode(code)) return code !== Code.GET && code !== Code.DELETE;
  return code !== Code.VALID && code !== Code.CONTINUE;
}

/** Critical options have odd numbers (RFC 7252 section 5.4.6). */
export const isCritical = (optionNumber: number): boolean => (optionNumber & 1) === 1;
/** A proxy that does not know an unsafe option must not forward it (RFC 7252 section 5.4.2). */
export const isUnsafe = (optionNumber: number): boolean => (optionNumber & 2) === 2;
/** Options that do not tell one cached response from another (RFC 7252 section 5.4.2). */
export const isNoCacheKey = (optionNumber: number): boolean => (optionNumber & 0x1e) === 0x1c;

/** GET and FETCH ask and change nothing (RFC 7252 section 5.1, RFC 8132 section 2). */
export const isSafe = (method: number): boolean => method === Code.GET || method === Code.FETCH;

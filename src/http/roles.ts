/** What a route is for; each role may do some of it. */
export type Access = "open" | "read" | "operate" | "audit" | "administer";
export const ROLES = ["admin", "operator", "viewer", "auditor"] as const;
export type Role = (typeof ROLES)[number];

const ALLOWED: Readonly<Record<Role, readonly Access[]>> = {
  admin: ["open", "read", "operate", "audit", "administer"],
  operator: ["open", "read", "operate"],
  viewer: ["open", "read"],
  auditor: ["open", "read", "audit"],
};

export const mayUse = (role: Role, access: Access): boolean => ALLOWED[role].includes(access);

/** Who asks. */
export interface Caller {
  /** Of the token: names may be given twice. */
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** Through the socket in the state folder, which only its owner can open. */
  readonly local: boolean;
}

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller;
    /** Asked before by the same `Idempotency-Key`, and what became of it is not known. */
    isRepeated: boolean;
  }
  interface FastifyContextConfig {
    access?: Access;
    /** It may be asked for again where nobody knows whether it is done (`Idempotency-Key`). */
    isRepeatable?: boolean;
    /** Its answer is on no disk. */
    showsSecret?: boolean;
    /** Status codes by which it says that all is well: 204 of a DELETE, 200 of others, unless given. */
    success?: readonly number[];
    /** Media types of its answer and of what it takes, where they are not JSON. */
    gives?: string;
    takes?: string;
  }
}

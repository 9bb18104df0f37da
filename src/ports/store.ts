/** One change of the key-value store. */
export type StoreOp =
  | { readonly kind: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: "delete"; readonly key: string };

/**
 * `durable`: on the disk, through a power cut, before it is reported as done. `lazy`: survives the
 * death of the process, not that of the machine.
 */
export type Durability = "durable" | "lazy";

/** Key-value store of small records. A batch is written whole or not at all. */
export interface Store {
  entries(): Promise<[key: string, value: Uint8Array][]>;
  write(ops: readonly StoreOp[], durability: Durability): Promise<void>;
  close(): Promise<void>;
}

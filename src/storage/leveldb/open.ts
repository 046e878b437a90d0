// Opening a store: in a folder, or in memory for tests.

import type { Storage } from "../storage.ts";
import { formatVersion } from "./chunk.ts";
import { openEngine } from "./engine.ts";
import type { Kv } from "./kv.ts";

/** Microseconds since 1970, UTC. */
export function systemClock(): number {
  return Date.now() * 1_000;
}

export interface MemoryStorageOptions {
  /** The database: over memory-level or a simulated disk. */
  readonly openKv: () => Promise<Kv>;
  readonly clock?: () => number;
  readonly warn?: (message: string, cause?: unknown) => void;
  readonly spareBytes?: () => number;
}

/** A store over a given database, kept no longer than that is. */
export function openStorageOver(options: MemoryStorageOptions): Promise<Storage> {
  const clock = options.clock ?? systemClock;
  return openEngine({
    identity: {
      storeId: crypto.randomUUID(),
      createdAt: clock(),
      engine: "leveldb",
      formatVersion,
      durability: "memory",
    },
    openKv: options.openKv,
    clock,
    warn: options.warn ?? (() => {}),
    ...(options.spareBytes ? { spareBytes: options.spareBytes } : {}),
  });
}

// What the parts of the engine share while it is open: the database, the head, and what is kept in
// memory. What the database says of itself is replaced as a whole when the engine reopens after a
// failed write.

import { AnnalsError } from "../../../domain/errors.ts";
import type { Head, SideValueChange, StorageRead } from "../../storage.ts";
import { firstHash, hashOf, openChunk } from "../format/chunk.ts";
import { chunkKey } from "../format/keys.ts";
import type { Kv, ReadableKv } from "../kv/kv.ts";
import { ChunkTail } from "./chunk-tail.ts";
import { RemovedRuns } from "./removed-runs.ts";
import { StreamLifecycles } from "./stream-lifecycles.ts";
import { Terms } from "./terms.ts";

/** Where the log ends. */
export interface LogEnd {
  head: Head;
  /** The hash of the chunk that ends at the head. */
  headHash: Uint8Array;
}

/** An open database, and what it says of itself. */
export interface OpenDatabase extends LogEnd {
  kv: Kv;
  /** LevelDB's number of the last write that is there. */
  sequence: number;
  /** The lifecycles of all streams, as of the head. */
  lifecycles: StreamLifecycles;
}

export interface OpenStore extends OpenDatabase {
  /** False once the store is closed for good. */
  open: boolean;
  /** Microseconds since 1970, UTC. Ages are measured by `timeOf`. */
  readonly clock: () => number;
  /** The latest time by which events were taken for too old and their space was reclaimed. */
  reclaimedAt: number;
  /**
   * The position of the last event, written or about to be, that records how space was reclaimed. A
   * read as of an older head may meet events whose removal it must not take for granted.
   */
  reclaimedIn: number;
  /** The commit in flight, where it changes side values: readers see all of it or nothing. */
  sideValueCommit: SideValueCommit | undefined;
  readonly terms: Terms;
  readonly tail: ChunkTail;
  readonly removedRuns: RemovedRuns;
}

export interface SideValueCommit {
  readonly changes: readonly SideValueChange[];
  readonly ended: Promise<unknown>;
}

export function openStore(database: OpenDatabase, clock: () => number): OpenStore {
  return {
    ...database,
    open: true,
    clock,
    reclaimedAt: 0,
    reclaimedIn: 0,
    sideValueCommit: undefined,
    terms: new Terms(database.head.position),
    tail: new ChunkTail(),
    removedRuns: new RemovedRuns(),
  };
}

/** A database without events. */
export function emptyDatabase(kv: Kv): OpenDatabase {
  const head = { position: 0, recordedAt: 0 };
  return { kv, sequence: 0, head, headHash: firstHash, lifecycles: new StreamLifecycles() };
}

/** Where the log in a database ends. Throws CORRUPTION. */
export async function logEndOf(kv: ReadableKv): Promise<LogEnd> {
  const first = chunkKey(0);
  const last = chunkKey(Number.MAX_SAFE_INTEGER);
  const [entry] = await kv.page({ first, last, reverse: true, limit: 1 });
  if (entry === undefined) return { head: { position: 0, recordedAt: 0 }, headHash: firstHash };
  const chunk = openChunk(entry[0], entry[1]);
  const head = { position: chunk.last, recordedAt: chunk.recordedAt };
  return { head, headHash: hashOf(chunk) };
}

/**
 * The store's time, by which ages are measured: the clock's, but never before what is recorded, so
 * that events which their age removed do not come back where the clock is set back.
 */
export function timeOf({ clock, head, reclaimedAt }: OpenStore): number {
  return Math.max(clock(), head.recordedAt, reclaimedAt);
}

/**
 * Whether a read skips what says that its events are removed and their space reclaimed. A read as
 * of an older head looks at each event, and is refused where it needs one. To be asked after the
 * bytes that say so were read: a commit that reclaims is told here before it is written.
 */
export function skipsRemoved({ reclaimedIn }: OpenStore, read: StorageRead): boolean {
  const { asOf = Infinity, withRemoved, withRemovedRecords } = read;
  return withRemoved !== true && withRemovedRecords !== true && asOf >= reclaimedIn;
}

/** Throws where the store is closed: what it kept in memory is no answer. */
export function assertOpen(store: OpenStore): void {
  if (!store.open) throw closedError();
}

/** A database that was closed under a read is being reopened: the reader may come again. */
export function readFailure(error: unknown): unknown {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") {
    return new AnnalsError({ reason: "RECOVERING" }, "the store is being reopened", error);
  }
  return error;
}

/** Thrown by everything that writes once the store is closed. */
export function closedError(): AnnalsError {
  return new AnnalsError({ reason: "STOPPING" }, "the store is closed");
}

// What the parts of the engine share while it is open: the database, the head, and what is kept in
// memory. Replaced as a whole when the engine reopens after a failed write.

import { AnnalsError } from "../../../domain/errors.ts";
import type { Head } from "../../storage.ts";
import type { StreamLifecycles } from "./stream-lifecycles.ts";
import type { ChunkTail } from "./chunk-tail.ts";
import type { Kv } from "../kv/kv.ts";
import type { Terms } from "./terms.ts";

/** What an open database says of itself. */
export interface EngineState {
  head: Head;
  /** The hash of the chunk that ends at the head. */
  headHash: Uint8Array;
  /** The lifecycles of all streams, as of the head. */
  lifecycles: StreamLifecycles;
}

export interface OpenStore extends EngineState {
  /** False once the store is closed for good. */
  open: boolean;
  kv: Kv;
  /** Microseconds since 1970, UTC. Ages are measured by `timeOf`. */
  readonly clock: () => number;
  /** The latest time by which events were taken for too old and their space was reclaimed. */
  reclaimedAt: number;
  /** The commit in flight, where it holds notes: what it writes is not seen before it ends. */
  sideValueCommit: Promise<unknown> | undefined;
  readonly terms: Terms;
  readonly tail: ChunkTail;
}

/**
 * The store's time, by which ages are measured: the clock's, but never before what is recorded, so
 * that what is gone for good by its age does not come back where the clock is set back.
 */
export function timeOf({ clock, head, reclaimedAt }: OpenStore): number {
  return Math.max(clock(), head.recordedAt, reclaimedAt);
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

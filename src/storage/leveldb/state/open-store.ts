// What the parts of the engine share while it is open: the database, the head, and the data kept in
// memory. The data about the database is replaced as a whole when the engine reopens after a failed
// write.

import { AnnalsError } from "../../../domain/errors.ts";
import type { Head, SideValueChange, StorageRead } from "../../storage.ts";
import { firstHash, hashOf, openChunk, type Chunk } from "../format/chunk.ts";
import { chunkKey } from "../format/keys.ts";
import type { Kv, Operation, ReadableKv } from "../kv/kv.ts";
import { ChunkPlaces } from "./chunk-places.ts";
import { CommitTail } from "./commit-tail.ts";
import { HotRecords } from "./hot-records.ts";
import type { KnownKeys } from "./known-keys.ts";
import { RemovedRuns } from "./removed-runs.ts";
import { StreamLifecycles } from "./stream-lifecycles.ts";
import { Terms } from "./terms.ts";

const tailBytesMax = 8 * 1024 * 1024;
const tailChunksMax = 4_096;
const hotBytesDefault = 64 * 1024 * 1024;

/** The end of the log. */
export interface LogEnd {
  head: Head;
  /** The hash of the chunk that ends at the head. */
  headHash: Uint8Array;
}

/** An open database and the data about it. */
export interface OpenDatabase extends LogEnd {
  kv: Kv;
  /** LevelDB's sequence number of the last write. */
  sequence: number;
  /** Some records of the first builds must be composed anew on their way out: see upgrade.ts. */
  holdsIrregular: boolean;
  /** What the next commit writes beside itself: see upgrade.ts. */
  withFirstCommit: readonly Operation[];
  /** The lifecycles of all streams, as of the head. */
  lifecycles: StreamLifecycles;
}

export interface OpenStore extends OpenDatabase {
  /** False when the store is closed finally. */
  open: boolean;
  /** Microseconds since 1970, UTC. Ages are measured by `timeOf`. */
  readonly clock: () => number;
  /** The latest that `timeOf` has answered since a stream has a lifecycle. */
  time: number;
  readonly timeKeeper: TimeKeeper | undefined;
  /**
   * The position of the last event, written or about to be, that records how space was reclaimed. A
   * read as of an older head may meet removed records of events that it should still return.
   */
  reclaimedIn: number;
  /** The commit in flight, if it changes side values: readers see all of it or nothing. */
  sideValueCommit: SideValueCommit | undefined;
  readonly terms: Terms;
  readonly known: KnownKeys;
  readonly tail: ChunkTail;
  readonly places: ChunkPlaces;
  readonly commits: CommitTail;
  readonly removedRuns: RemovedRuns;
  readonly hot: HotRecords;
}

/** Where the store's time outlives the process. */
export interface TimeKeeper {
  /** What was kept last; 0: nothing. Microseconds since 1970, UTC. */
  readonly known: number;
  /** Must not throw or wait. */
  keep(time: number): void;
}

export interface SideValueCommit {
  readonly changes: readonly SideValueChange[];
  readonly ended: Promise<unknown>;
}

export interface OpenStoreOptions {
  /** Of the database's keys. */
  readonly known: KnownKeys;
  readonly clock: () => number;
  readonly timeKeeper?: TimeKeeper | undefined;
  /** Bytes of records in memory that were read or written lately. Absent: 64 MiB. 0: none. */
  readonly hotBytesMax?: number | undefined;
}

export function openStore(
  database: OpenDatabase,
  { known, clock, timeKeeper, hotBytesMax = hotBytesDefault }: OpenStoreOptions,
): OpenStore {
  return {
    ...database,
    open: true,
    clock,
    time: timeKeeper?.known ?? 0,
    timeKeeper,
    // What was reclaimed before the store was opened is not remembered.
    reclaimedIn: database.head.position,
    sideValueCommit: undefined,
    terms: new Terms(database.head.position),
    known,
    tail: new ChunkTail(),
    places: new ChunkPlaces(),
    commits: new CommitTail(),
    removedRuns: new RemovedRuns(),
    hot: new HotRecords(hotBytesMax),
  };
}

/** A database without events. */
export function emptyDatabase(kv: Kv): OpenDatabase {
  const head = { position: 0, recordedAt: 0 };
  const lifecycles = new StreamLifecycles();
  return {
    kv,
    sequence: 0,
    head,
    headHash: firstHash,
    holdsIrregular: false,
    withFirstCommit: [],
    lifecycles,
  };
}

/** The end of the log in a database. Throws CORRUPTION. */
export async function logEndOf(kv: ReadableKv): Promise<LogEnd> {
  const first = chunkKey(0);
  const last = chunkKey(Number.MAX_SAFE_INTEGER);
  const [entry] = await kv.page({ first, last, reverse: true, limit: 1 });
  if (entry === undefined) return { head: { position: 0, recordedAt: 0 }, headHash: firstHash };
  const chunk = openChunk(entry[0], entry[1]);
  const head = { position: chunk.last, recordedAt: chunk.recordedAt };
  return { head, headHash: hashOf(chunk) };
}

/** The store's time: see `Storage.now`. Where no stream has a lifecycle, it follows the clock. */
export function timeOf(store: OpenStore): number {
  const time = Math.max(store.clock(), store.head.recordedAt, store.time);
  if (time > store.time && !store.lifecycles.isEmpty) {
    store.time = time;
    store.timeKeeper?.keep(time);
  }
  return time;
}

/**
 * Whether a read skips postings whose events are all removed records. A read as of an older head
 * has to examine each event, and is refused if it needs one. Must be called after such a posting
 * was read: a commit that reclaims sets `reclaimedIn` before it is written.
 */
export function skipsRemoved({ reclaimedIn }: OpenStore, read: StorageRead): boolean {
  const { asOf = Infinity, withRemoved, withRemovedRecords } = read;
  return withRemoved !== true && withRemovedRecords !== true && asOf >= reclaimedIn;
}

/** A database that was closed during a read is being reopened, so the reader may retry. */
export function readFailure(error: unknown): unknown {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN") {
    return new AnnalsError({ reason: "RECOVERING" }, "the store is being reopened", error);
  }
  return error;
}

/** Thrown by everything that is asked of a closed store: its data in memory must not be used. */
export function closedError(): AnnalsError {
  return new AnnalsError({ reason: "STOPPING" }, "the store is closed");
}

/**
 * The newest chunks in memory, for live subscribers. Commits add chunks, so that an event is
 * delivered to any number of subscribers without reading from disk.
 */
export class ChunkTail {
  /** Consecutive chunks. The last one ends at the head. */
  private chunks: Chunk[] = [];
  private start = 0;
  private bytes = 0;

  push(chunk: Chunk): void {
    this.chunks.push(chunk);
    this.bytes += chunk.value.length;
    while (
      this.chunks.length - this.start > 1 &&
      (this.bytes > tailBytesMax || this.chunks.length - this.start > tailChunksMax)
    ) {
      this.bytes -= (this.chunks[this.start] as Chunk).value.length;
      this.start++;
    }
    // What was removed must not stay in memory for long.
    if (this.start > this.chunks.length / 2) {
      this.chunks = this.chunks.slice(this.start);
      this.start = 0;
    }
  }

  /** Chunks in memory, with those that are removed soon. */
  get count(): number {
    return this.chunks.length;
  }

  clear(): void {
    this.chunks = [];
    this.start = 0;
    this.bytes = 0;
  }

  /** Replaces a chunk by its rewritten form, if it is in memory. */
  replace(chunk: Chunk): void {
    const at = this.indexOf(chunk.last);
    const before = this.chunks[at];
    if (before?.last !== chunk.last) return;
    this.bytes += chunk.value.length - before.value.length;
    this.chunks[at] = chunk;
  }

  /** The chunk that contains a position, if it is in memory. */
  holding(position: number): Chunk | undefined {
    const at = this.indexOf(position);
    const chunk = this.chunks[at];
    return chunk && chunk.first <= position ? chunk : undefined;
  }

  /** Some of the chunks from the one with `first` up to the one with `last`, or none. */
  page(first: number, last: number, countMax: number): readonly Chunk[] {
    const from = this.indexOf(first);
    const begin = this.chunks[from];
    if (!begin || begin.first > first) return [];
    const to = Math.min(this.indexOf(last) + 1, this.chunks.length, from + countMax);
    return this.chunks.slice(from, to);
  }

  /** The chunks with these positions, at most so many. Undefined: not all are in memory. */
  covering(first: number, last: number, countMax: number): readonly Chunk[] | undefined {
    const page = this.page(first, last, countMax);
    return (page.at(-1)?.last ?? 0) >= last ? page : undefined;
  }

  /** The index of the first chunk whose last position is at or after the given one. */
  private indexOf(position: number): number {
    let low = this.start;
    let high = this.chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.chunks[middle] as Chunk).last < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

// The storage port: what the log needs from an engine, in terms of the domain. The engine stores
// events, finds them and makes them durable; it decides nothing (see domain/decide/decide.ts). Its
// contract is a test suite that every engine runs: test/storage/contract/contract.ts.
//
// In short: Positions are dense from 1, and versions are dense from 1 in each stream. A commit is
// stored completely or not at all. When its promise resolves, it is durable and visible to every
// later call; before, it is visible to none. Events beyond `head()` are never visible. Bytes that
// fail their check are thrown as CORRUPTION, never returned and never skipped. A read bounded by a
// position is a consistent view for as long as it runs.
//
// Events that the lifecycle of their stream removed (domain/lifecycle/) are in no answer, except
// where a call says otherwise. Their versions, positions and ids are never reused. The lifecycle of
// a stream is the content of the last event in its `$lifecycle-` stream.

import type { AppendCondition } from "../domain/append.ts";
import type { History } from "../domain/epoch.ts";
import type { CommitEvent, StoredEvent } from "../domain/event.ts";
import type { Lifecycle } from "../domain/lifecycle/lifecycle.ts";
import type { Selection } from "../domain/query.ts";
import type { CopyPart, CopyStart, FollowStatus } from "./copy.ts";
import type { StandbyStatus } from "./standby-status.ts";

/** What tells whether an event is removed, beside its stream's lifecycle. */
export type JudgedEvent = Pick<StoredEvent, "stream" | "version" | "recordedAt">;

/** The last durable event. */
export interface Head {
  /** 0: the store has no events. */
  readonly position: number;
  /** Microseconds since 1970, UTC; 0 where there are no events. Never decreases. */
  readonly recordedAt: number;
}

export interface FactsRequest {
  /** Streams whose version is needed. Duplicates are allowed. */
  readonly streams: Iterable<string>;
  /**
   * Those of the streams whose lifecycle is only replaced: one that cannot be read counts as none.
   * Absent: none of them.
   */
  readonly replaced?: ReadonlySet<string>;
  /** Event ids to look up (UUID text, lower case). */
  readonly ids: Iterable<string>;
  /** Conditions: does an event after `after` match? */
  readonly conditions: readonly AppendCondition[];
  /**
   * True: `commit` or `release` follows, and until then no other node commits. One at a time.
   */
  readonly toCommit?: true;
}

/** What is durable as of `head`: everything that `decide` needs. */
export interface Facts {
  readonly head: Head;
  /** The versions of the requested streams: how many events each ever got. 0: none. */
  readonly versions: ReadonlyMap<string, number>;
  /**
   * The lifecycles of the requested streams. Absent for a stream that was never updated or deleted.
   */
  readonly lifecycles: ReadonlyMap<string, Lifecycle>;
  /** The events found by id, including removed ones. Absent for an id that is not stored. */
  readonly events: ReadonlyMap<string, StoredEvent>;
  /** For each condition, the position of a matching event after `after`, or 0. */
  readonly matches: readonly number[];
}

/** The kind of a side value. Names are unique within a space. */
export type SideValueSpace =
  | "checkpoint"
  | "group"
  | "group-progress"
  | "group-parked"
  | "group-gone"
  | "snapshot"
  /** Large snapshots without their states, under the same names. */
  | "snapshot-head"
  /** What a copy keeps about itself. */
  | "copy";

/** A durable value beside the log: one value under one name. Storage does not interpret it. */
export interface SideValue {
  readonly space: SideValueSpace;
  /** At least one character. All characters except U+0000 are allowed. */
  readonly name: string;
  readonly value: Uint8Array;
}

/** A change of a side value. */
export interface SideValueChange {
  readonly space: SideValueSpace;
  readonly name: string;
  /** Undefined: the value is deleted, if it exists. */
  readonly value: Uint8Array | undefined;
  /** Of a group: by which lease of `holdGroups`. If it is over, nothing of the commit is stored. */
  readonly lease?: number;
}

/**
 * Events to store, in order, at the positions directly after `after`, and side values with them.
 */
export interface Commit {
  /** The head on which the events were decided. */
  readonly after: Head;
  /** Of the last event: microseconds since 1970, UTC; at least `after.recordedAt`. */
  readonly recordedAt: number;
  /**
   * The time of each event, never decreasing, and never before `after.recordedAt`. Absent: all have
   * that of the last one.
   */
  readonly times?: readonly number[];
  /**
   * At least one, unless there are side values. `events[i].position` is `after.position + 1 + i`.
   * Without events, the head does not move.
   */
  readonly events: readonly CommitEvent[];
  /** Each name at most once. They become durable and visible together with the events. */
  readonly sideValues?: readonly SideValueChange[];
}

/**
 * `committed`: durable. `stale`: the head had moved, because another node appended; nothing was
 * stored, and the facts have to be gathered again. A failed commit throws: OUTCOME_UNKNOWN if it
 * may be stored after a restart, DISK_FULL and RECOVERING if nothing was stored.
 */
export type CommitResult = "committed" | "stale";

/** First and last, both inclusive; empty where `first > last`. */
export interface Range {
  readonly first: number;
  readonly last: number;
}

export interface StorageRead {
  readonly selection: Selection;
  readonly direction: "forwards" | "backwards";
  /** Only events at these positions. `last` is at most the head's position. */
  readonly positions: Range;
  /** Only events with these versions. Requires a `stream` selection. */
  readonly versions?: Range;
  /**
   * The head of which the read is a view, at least `positions.last`. Events that are removed as of
   * this head, at the time the read begins, are not returned. Absent: events that are removed when
   * the read reaches them are not returned. Events that are removed later are returned until their
   * space is reclaimed; then the read throws READ_OVERTAKEN.
   */
  readonly asOf?: number;
  /** True: removed events are returned as well. Only their header and placement are guaranteed. */
  readonly withRemoved?: boolean;
  /** True: removed events are returned as removed records, with `removed` set. */
  readonly withRemovedRecords?: boolean;
  /**
   * A batch is cut near this many encoded bytes. It has at least one event, or reports progress.
   */
  readonly batchBytes: number;
  /** At most this many events in a batch. Absent: no such limit. */
  readonly batchEvents?: number;
}

/** Some of a read's events, in the order of the read. */
export interface Batch {
  /** Framed records (tag, length, message), one or more in each frame, in the order of the read. */
  readonly frames: readonly Uint8Array[];
  /** The number of records in the frames. May be 0: then the batch only reports progress. */
  readonly count: number;
  /** Of all frames together. */
  readonly bytes: number;
  /** Matching events up to here (backwards: down to here) are in this batch or an earlier one. */
  readonly through: number;
  /** True: the records were examined one by one, although a frame has many. */
  readonly isPicked?: true;
}

export interface StreamFacts {
  readonly stream: string;
  /** How many events it ever got. 0: it only has a lifecycle. */
  readonly version: number;
  /** How many are not removed. If there are none, the first and last values are 0. */
  readonly eventCount: number;
  readonly firstVersion: number;
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** Microseconds since 1970, UTC. */
  readonly firstRecordedAt: number;
  readonly lastRecordedAt: number;
  readonly lifecycle: Lifecycle | undefined;
}

/** Counts every event ever recorded, including removed ones. */
export interface EventTypeFacts {
  readonly type: string;
  /** At least 1. */
  readonly recordedCount: number;
  readonly firstPosition: number;
  readonly lastPosition: number;
}

/** A page of names in the order of their UTF-8 bytes. */
export interface NamePage {
  /** Only names that begin with this. Empty: all names except system names. */
  readonly prefix: string;
  /** Only names after this one (exclusive). Empty: from the first. */
  readonly after: string;
  readonly limit: number;
}

/** A page of a space's side values, in the order of the UTF-8 bytes of their names. */
export interface SideValuePage {
  readonly space: SideValueSpace;
  /** Only names that begin with this. Empty: all. */
  readonly prefix: string;
  /** Only names after this one (exclusive). Empty: from the first. */
  readonly after: string;
  readonly limit: number;
  /** True: the values are not read, and each is empty. */
  readonly namesOnly?: boolean;
}

/**
 * Checkpoints, snapshots, and what consumer groups keep. Side values are only written by commits,
 * so that changes of them are decided in one order with events.
 */
export interface SideValueStore {
  /** The existing values, by name. */
  get(space: SideValueSpace, names: Iterable<string>): Promise<Map<string, Uint8Array>>;
  list(page: SideValuePage): Promise<SideValue[]>;
}

/**
 * `following`: a copy, which is not written to. `unreachable`: the store is elsewhere and does not
 * answer, not even to reads.
 */
export type WriteState =
  | "accepting"
  | "disk-full"
  | "recovering"
  | "failed"
  | "following"
  | "unreachable";

/** What a commit, or another node, added to the log. */
export interface Advance {
  readonly from: Head;
  readonly to: Head;
  /**
   * The events between `from` and `to`, if this engine knows them. Absent: they may be any events.
   */
  readonly events?: readonly CommitEvent[];
}

/** How the space of removed events is being reclaimed, since the store was opened. */
export interface ReclaimStatus {
  readonly phase: "looking" | "reclaiming" | "compacting" | "waiting" | "stopped";
  /** Completed rounds. */
  readonly rounds: number;
  /** Chunks that were rewritten. */
  readonly chunks: number;
  /** Events that became removed records. */
  readonly events: number;
  readonly bytesFreed: number;
  /**
   * Events that are removed and still have their space, as of the last round. The first round only
   * looks, and tells none.
   */
  readonly waitingEvents: number;
  /** Bytes of replaced values that LevelDB has not compacted. */
  readonly waitingBytes: number;
  /** When the last round was completed: microseconds since 1970, UTC. 0: none was. */
  readonly lastFinishedAt: number;
}

/** How the store is being checked for damage, since it was opened. */
export interface ScrubStatus {
  readonly phase: "tables" | "log" | "waiting" | "stopped";
  /** Completed rounds. */
  readonly rounds: number;
  /** The last position that this round has checked. */
  readonly position: number;
  /** Bytes read. */
  readonly bytes: number;
  /** Distinct findings. */
  readonly findingCount: number;
  /** When the last round was completed: microseconds since 1970, UTC. 0: none was. */
  readonly lastFinishedAt: number;
}

/** The store's space on its file system, in bytes. */
export interface SpaceFacts {
  /** Of all files of the store. */
  readonly used: number;
  /** Available to the store. */
  readonly free: number;
  /** While less than this is free, appends are refused. */
  readonly reserve: number;
}

/** A watcher leaves out the methods it does not need. They must not throw or wait. */
export interface StorageWatcher {
  /** Called directly after the head moved, in order and without gaps. */
  advanced?(advance: Advance): void;
  /** Called when the write state has changed. `why`: what an operator should know of it. */
  writeStateChanged?(state: WriteState, why?: string): void;
  /** Called when side values that another store has changed are durable here. */
  sideValuesCopied?(): void;
  /** Called when another node may run the consumer groups by now. */
  groupsLost?(): void;
}

export interface StorageIdentity {
  /** UUID, made when the store was created. */
  readonly storeId: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt: number;
  /** For example `leveldb`. */
  readonly engine: string;
  readonly formatVersion: number;
  readonly durability: "synced" | "memory";
  readonly history: History;
}

export interface Storage {
  readonly identity: StorageIdentity;
  /** What clients hand back is signed with it. Kept with the store, and never shown. */
  readonly secret: Uint8Array;
  readonly sideValues: SideValueStore;

  head(): Head;
  /**
   * The store's time, by which ages are measured: the clock's, but never before what is recorded.
   * Once a stream has a lifecycle it never goes back either, also over a restart, so that what its
   * age has removed does not come back. Microseconds since 1970, UTC.
   */
  now(): number;
  writeState(): WriteState;
  /**
   * Whether reads go on beside what is damaged, although nothing can be written any more. Another
   * start would refuse the store.
   */
  readonly isDamaged?: () => boolean;
  /** Returns a function that ends the watch. */
  watch(watcher: StorageWatcher): () => void;

  facts(request: FactsRequest): Promise<Facts>;
  /** Ends what `facts` with `toCommit` began, if no commit did. Absent: no other node commits. */
  release?(): void;
  /**
   * Instead of `commit`, where nothing has to be stored: resolves when all that `facts` with
   * `toCommit` said is durable and visible here. Throws RECOVERING. Absent: it always is.
   */
  confirm?(): Promise<void>;
  /** Resolves when this node has heard of all that others had committed. Absent: no other does. */
  catchUp?(): Promise<void>;
  /** One at a time: the caller waits for one commit before it starts the next. */
  commit(commit: Commit): Promise<CommitResult>;

  /**
   * Pulled by the consumer, with bounded work and memory for each batch. Returning early ends it.
   */
  read(request: StorageRead): AsyncIterable<Batch>;
  /** For each of these events, which were read before, whether it is removed by now. */
  areRemoved(events: readonly JudgedEvent[]): Promise<readonly boolean[]>;
  /**
   * The first position recorded at or after the time (microseconds). If there is none: head + 1.
   */
  positionAt(time: number): Promise<number>;

  /**
   * Resolves with its lease when this node runs the consumer groups, and sees what others wrote for
   * them. Another node had another lease. Throws GROUPS_ELSEWHERE. Absent: there is no other node.
   */
  holdGroups?(): Promise<number>;

  /** Undefined: the stream never got an event and was never updated. */
  stream(name: string): Promise<StreamFacts | undefined>;
  /** Streams that ever got an event, and types that were ever recorded. */
  listStreams(page: NamePage): Promise<StreamFacts[]>;
  listEventTypes(page: NamePage): Promise<EventTypeFacts[]>;

  /** Undefined: this engine does not reclaim space, or is configured not to. */
  reclaiming?(): ReclaimStatus | undefined;
  /** Undefined: this engine does not look for damage, or is configured not to. */
  scrubbing?(): ScrubStatus | undefined;
  /** Absent: events are read where they are written. */
  standbys?(): readonly StandbyStatus[];
  /** Absent: the store is not in a file system. */
  space?(): Promise<SpaceFacts>;

  /**
   * Everything that another store needs to become the same: a backup, or a follower. Pulled by the
   * consumer. Throws COPY_DIVERGED if what the receiver has is not part of this store's log, and
   * RECOVERING where it has to begin again from what it has. Absent: this engine does not offer it.
   */
  copy?(start: CopyStart, signal: AbortSignal): AsyncIterable<CopyPart>;

  /** Present: this is a copy of another store, which is not written to. */
  following?(): FollowStatus;

  /** Waits for the commit in flight; later calls fail. */
  close(): Promise<void>;
}

// The operations of the event store, as the gRPC layer calls them. event-log.ts implements them.

import type { Append, Outcome } from "../domain/append.ts";
import type {
  AnyPosition,
  Checkpoint,
  CheckpointUpdate,
  ExpectedCheckpoint,
} from "../domain/checkpoint.ts";
import type {
  DeleteStream,
  StreamChanged,
  UpdateStream,
} from "../domain/decide/decide-lifecycle.ts";
import type { EpochMismatch, ReadIn } from "../domain/epoch.ts";
import type { Json } from "../domain/json.ts";
import type { Selection } from "../domain/query.ts";
import type { NewSnapshot, Snapshot } from "../domain/snapshot.ts";
import type { GroupLog } from "./group-verbs.ts";
import type { LogFigures } from "./log-figures.ts";
import type { CopyPart, CopyStart, FollowStatus } from "../storage/copy.ts";
import type {
  EventTypeFacts,
  NamePage,
  Batch,
  StorageIdentity,
  StreamFacts,
  ReclaimStatus,
  WriteState,
} from "../storage/storage.ts";
import type { CancelSignal } from "./cancellation.ts";
import type { ReadSignal, RereadableBatch } from "./scheduling/scheduled-read.ts";
import type { Caller, Gate } from "./scheduling/scheduler.ts";

/** A bound of a read, inclusive. Times are microseconds since 1970, UTC. */
export type Bound =
  | { readonly kind: "version"; readonly version: number }
  | { readonly kind: "position"; readonly position: number }
  | { readonly kind: "time"; readonly time: number };

export interface ReadRequest {
  readonly selection: Selection;
  readonly direction: "forwards" | "backwards";
  /** In the direction of the read. Absent: the first event, or for a backwards read the last. */
  readonly from?: Bound | undefined;
  /** In the direction of the read. Absent: the head, or for a backwards read the first event. */
  readonly to?: Bound | undefined;
  /** At most this many events, at least 1. Absent: no limit. */
  readonly limit?: number | undefined;
  /** True: removed events are returned as removed records. */
  readonly withRemoved?: boolean;
  /**
   * True: the reader keeps batches until it has enough for an answer. It must not wait for room in
   * memory in between, because others may wait for what it holds.
   */
  readonly isGathered?: boolean;
}

export interface ReadEnd {
  readonly head: number;
  /** See `ReadEnd.after` in read.proto. */
  readonly after: number;
  readonly eventCount: number;
  /** The stream's version at `head`; only with a `stream` selection. */
  readonly streamVersion: number | undefined;
}

/** `end` of a batch: nothing follows it. */
export type ReadMessage =
  | { readonly kind: "batch"; readonly batch: Batch; readonly end?: ReadEnd }
  | { readonly kind: "end"; readonly end: ReadEnd };

/** Where a subscription begins. Positions and versions are exclusive, the time is inclusive. */
export type SubscribeStart =
  | { readonly kind: "after-position"; readonly position: number }
  | { readonly kind: "after-version"; readonly version: number }
  | { readonly kind: "from-time"; readonly time: number }
  | { readonly kind: "end" };

export interface SubscribeRequest {
  readonly selection: Selection;
  readonly start: SubscribeStart;
  readonly checkpointIntervalMs: number;
  readonly batchEventsMax?: number | undefined;
  /** See `ReadRequest.isGathered`. */
  readonly isGathered?: boolean;
}

/** `time` is microseconds since 1970, UTC. `position` is the position to resume after. */
export type SubscribeMessage =
  | { readonly kind: "batch"; readonly batch: Batch }
  | {
      readonly kind: "caught-up" | "fell-behind" | "checkpoint";
      readonly position: number;
      readonly time: number;
    };

/**
 * Takes a batch at once while the consumer waits for the next message. False: it does not, and the
 * batch comes as a message. Must not throw.
 */
export type Offer = (batch: Batch) => boolean;

export interface LoadRequest {
  readonly stream: string;
  readonly snapshotKind: string;
  /** The state as of this version. Absent: as of now. */
  readonly maxVersion?: number | undefined;
  readonly withoutSnapshot: boolean;
}

export interface LoadEnd {
  readonly version: number;
  readonly head: number;
  /** See `LoadEnd.after` in snapshot.proto. */
  readonly after: number;
  readonly eventCount: number;
  /** See `LoadEnd.missing_through` in snapshot.proto. */
  readonly missingThrough: number;
}

export type LoadMessage =
  | { readonly kind: "snapshot"; readonly snapshot: Snapshot }
  | { readonly kind: "batch"; readonly batch: Batch }
  | { readonly kind: "end"; readonly end: LoadEnd };

export interface GetStateRequest {
  readonly stream: string;
  /** Inclusive. Absent: now. */
  readonly at?: Exclude<Bound, { kind: "position" }> | undefined;
}

export interface FindEventRequest {
  /** UUID text, lower case. */
  readonly id: string;
  /** Undefined: any event that is no system event. */
  readonly stream: string | undefined;
}

export type { Batch, Json, RereadableBatch };

export interface StreamState {
  readonly state: Json;
  /** The state as text. */
  readonly stateJson: string;
  /** 0: no events. */
  readonly version: number;
  readonly position: number;
  /** Microseconds since 1970, UTC; 0 where there are no events. */
  readonly recordedAt: number;
  readonly appliedCount: number;
  readonly skippedCount: number;
  /** See `LoadEnd.missing_through` in snapshot.proto. */
  readonly missingThrough: number;
}

/** The lifecycles of streams. */
export interface StreamLog {
  /**
   * Sets a policy. Throws APPEND_CONFLICT, STREAM_TOMBSTONED unless told not to, BEYOND_HEAD if
   * `truncateBefore` is beyond the next version, and the errors of cancelled appends and failed
   * commits.
   */
  update(request: Omit<UpdateStream, "kind">, signal?: AbortSignal): Promise<StreamChanged>;
  /**
   * Deletes a stream and its snapshots. Deleting a deleted stream changes nothing. Throws
   * STREAM_NOT_FOUND, and what `update` throws.
   */
  remove(request: Omit<DeleteStream, "kind">, signal?: AbortSignal): Promise<StreamChanged>;
}

export interface StreamInfo extends StreamFacts {
  /** Open subscriptions to this stream alone. */
  readonly subscriberCount: number;
}

export interface LogInfo {
  readonly identity: StorageIdentity;
  readonly head: number;
  readonly writeState: WriteState;
  /** Undefined: the space of removed events is not reclaimed. */
  readonly reclaiming: ReclaimStatus | undefined;
  /** Undefined: this server is no follower. */
  readonly following: FollowStatus | undefined;
  readonly subscriberCount: number;
}

export interface SnapshotSelection {
  readonly stream: string;
  /** Absent: every kind. */
  readonly kind?: string | undefined;
  /** Only those at or before this version. Absent: all. */
  readonly maxVersion?: number | undefined;
}

export interface SnapshotListRequest {
  readonly stream: string;
  /** Absent: every kind. */
  readonly kind?: string | undefined;
  readonly after?: { readonly kind: string; readonly version: number } | undefined;
  readonly limit: number;
  /** Absent: their data is left out (empty). With it, fewer than `limit` may be listed. */
  readonly withData?: boolean;
  /** Also those that were saved so. */
  readonly mayBeAhead?: boolean;
}

export interface SnapshotGetRequest {
  readonly stream: string;
  readonly kind: string;
  /** Absent: the newest. */
  readonly maxVersion?: number | undefined;
  /** Also one that was saved so. */
  readonly mayBeAhead?: boolean;
}

/**
 * Consumers in the order of the UTF-8 bytes of their names. `after` is exclusive. Empty: from the
 * first.
 */
export interface CheckpointPage {
  /** Only consumers whose name begins with this. Empty: all. */
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
}

/** Durable positions of named consumers. */
export interface SaveCheckpoint {
  readonly update: CheckpointUpdate;
  /** True: the position may go back, and be of another source. */
  readonly reset: boolean;
  /** What must be saved until now. Absent: anything. */
  readonly expected?: ExpectedCheckpoint | undefined;
}

export interface CheckpointLog {
  /**
   * Throws CHECKPOINT_BACKWARDS unless `reset`, CHECKPOINT_CONFLICT, BEYOND_HEAD, and what
   * `EventLog.append` throws.
   */
  save(save: SaveCheckpoint, signal?: AbortSignal): Promise<Checkpoint>;
  /** Throws CHECKPOINT_NOT_FOUND. */
  get(consumer: string): Promise<Checkpoint>;
  list(page: CheckpointPage, caller?: Caller): Promise<Checkpoint[]>;
  /** Returns whether there was one. */
  remove(consumer: string, signal?: AbortSignal): Promise<boolean>;
  /**
   * Resolves with the consumer's position when it is at or beyond `position`, also if there is no
   * checkpoint yet. Throws DEADLINE_EXCEEDED after `timeoutMs`, the signal's reason, STOPPING.
   */
  waitFor(
    consumer: string,
    position: AnyPosition,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<AnyPosition>;
}

/** The call that a copy is for. */
export type Copier = Caller & { readonly signal: AbortSignal };

/**
 * Work on the main thread passes the gate of the connection that it is for. Absent: the log's own.
 * A list is read in one piece: its caller asks for a few entries at a time.
 */
export interface EventLog {
  readonly checkpoints: CheckpointLog;
  readonly groups: GroupLog;
  readonly streams: StreamLog;

  /**
   * Answers when the outcome is certain: durable, or refused with nothing stored. If the signal is
   * aborted before the append is taken into a commit, CANCELLED or DEADLINE_EXCEEDED (the signal's
   * reason, if that is an AnnalsError) is thrown and nothing is stored; later it has no effect.
   * Throws OVERLOADED, DISK_FULL, RECOVERING, STOPPING (nothing stored), OUTCOME_UNKNOWN.
   */
  append(
    append: Append,
    signal?: CancelSignal,
    caller?: Pick<Caller, "gate">,
  ): Promise<{ outcome: Outcome; head: number }>;

  /**
   * The append with its condition looked up in advance, so that it does not delay other writers in
   * the queue, and with what it relies on compared with the store's history. Undefined: there is
   * nothing to look up, or it does not pay off. `append` does so, too. Only a caller that must keep
   * the order of several appends calls this first.
   */
  lookAhead(append: Append, gate?: Gate): Promise<Append> | undefined;

  /** Why what was read in an epoch is refused. Undefined: it is part of this store's history. */
  epochMismatch(readIn: ReadIn): Promise<EpochMismatch | undefined>;

  /**
   * Batches, then one end, or the end with the last batch. No end if the signal is aborted. Never
   * throws BEYOND_HEAD: beyond the head there are no events.
   */
  read(request: ReadRequest, signal?: ReadSignal, gate?: Gate): AsyncIterable<ReadMessage>;

  /**
   * Continues until the signal is aborted (then it ends) or the log stops (then it throws
   * STOPPING). Throws BEYOND_HEAD if it should begin after a position that does not exist. A
   * consumer that stops pulling must abort the signal, which alone ends a wait. Live batches are
   * offered first, where there is an `offer` and several subscriptions have the selection.
   */
  subscribe(
    request: SubscribeRequest,
    signal: AbortSignal,
    gate?: Gate,
    offer?: Offer,
  ): AsyncIterable<SubscribeMessage>;

  /**
   * Throws SNAPSHOT_BEYOND_STREAM if the version is beyond the stream's or was deleted, never
   * STREAM_NOT_FOUND. Also throws what `append` throws.
   */
  saveSnapshot(snapshot: NewSnapshot, signal?: CancelSignal): Promise<Snapshot>;
  /** Throws SNAPSHOT_NOT_FOUND. */
  getSnapshot(request: SnapshotGetRequest, gate?: Gate): Promise<Snapshot>;
  /** By kind, the newest version of a kind first. None: there are no more. */
  listSnapshots(request: SnapshotListRequest, caller?: Caller): Promise<Snapshot[]>;
  /** Returns how many were deleted. Throws what `append` throws; some may be deleted by then. */
  deleteSnapshots(selection: SnapshotSelection, signal?: CancelSignal): Promise<number>;

  /** At most one snapshot, then batches, then one end (none on abort): one consistent view. */
  load(request: LoadRequest, signal?: AbortSignal, gate?: Gate): AsyncIterable<LoadMessage>;
  /** Throws ANSWER_TOO_LARGE if the state exceeds the event limit, CANCELLED on abort. */
  getState(request: GetStateRequest, signal?: AbortSignal, gate?: Gate): Promise<StreamState>;

  /** See `Storage.copy`. Undefined: the engine makes no copies. */
  copy(start: CopyStart, caller: Copier): AsyncIterable<CopyPart> | undefined;

  /**
   * The record of the event with an id; a removed event's is a removed record. Undefined: there is
   * none.
   */
  findEvent(request: FindEventRequest, caller?: Caller): Promise<Uint8Array | undefined>;
  /** Throws STREAM_NOT_FOUND. */
  getStream(stream: string, caller?: Caller): Promise<StreamInfo>;
  listStreams(page: NamePage, caller?: Caller): Promise<StreamInfo[]>;
  listEventTypes(page: NamePage, caller?: Caller): Promise<EventTypeFacts[]>;
  info(): LogInfo;
  figures(): LogFigures;

  /**
   * Accepts no more appends (they throw STOPPING), answers the waiting ones, and ends every
   * subscription with STOPPING. The storage stays open.
   */
  stop(): Promise<void>;
}

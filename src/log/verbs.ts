// The verbs of the event store in terms of the domain: what the gRPC layer calls, and what every
// room of the log is for. See event-log.ts for how they are made.

import type { Append, Outcome } from "../domain/append.ts";
import type { Checkpoint, CheckpointUpdate } from "../domain/checkpoint.ts";
import type {
  DeleteStream,
  StreamChanged,
  UpdateStream,
} from "../domain/decide/decide-lifecycle.ts";
import type { Json } from "../domain/json.ts";
import type { Selection } from "../domain/query.ts";
import type { NewSnapshot, Snapshot } from "../domain/snapshot.ts";
import type { GroupLog } from "./group-verbs.ts";
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

/** A bound of a read, inclusive. Times are microseconds since 1970, UTC. */
export type Bound =
  | { readonly kind: "version"; readonly version: number }
  | { readonly kind: "position"; readonly position: number }
  | { readonly kind: "time"; readonly time: number };

export interface ReadRequest {
  readonly selection: Selection;
  readonly direction: "forwards" | "backwards";
  /** In the direction of the read; absent: from the first (backwards: the last) event. */
  readonly from?: Bound | undefined;
  /** In the direction of the read; absent: to the head (backwards: the first event). */
  readonly to?: Bound | undefined;
  /** At most this many events, at least 1. Absent: no limit. */
  readonly limit?: number | undefined;
  /** Of removed events what is kept of them, too. */
  readonly withRemoved?: boolean;
}

export interface ReadEnd {
  readonly head: number;
  /** See `ReadEnd.after` in read.proto. */
  readonly after: number;
  readonly eventCount: number;
  /** The stream's version at `head`; only with a `stream` selection. */
  readonly streamVersion: number | undefined;
}

export type ReadMessage =
  | { readonly kind: "batch"; readonly batch: Batch }
  | { readonly kind: "end"; readonly end: ReadEnd };

/** Where a subscription begins; positions and versions are exclusive, the time inclusive. */
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
}

/** `time` is microseconds since 1970, UTC; `position` is what to resume after. */
export type SubscribeMessage =
  | { readonly kind: "batch"; readonly batch: Batch }
  | {
      readonly kind: "caught-up" | "fell-behind" | "checkpoint";
      readonly position: number;
      readonly time: number;
    };

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

export type { Batch, Json };

export interface StreamState {
  readonly state: Json;
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

/** How streams are kept, and how they end. */
export interface StreamLog {
  /**
   * Puts another policy into force. Throws APPEND_CONFLICT, STREAM_TOMBSTONED, BEYOND_HEAD for a
   * `truncateBefore` beyond the next version, and what an append throws of signals and commits.
   */
  update(request: Omit<UpdateStream, "kind">, signal?: AbortSignal): Promise<StreamChanged>;
  /**
   * Deletes a stream and its snapshots; again, where it is deleted, changes nothing. Throws
   * STREAM_NOT_FOUND, and what `update` throws.
   */
  remove(request: Omit<DeleteStream, "kind">, signal?: AbortSignal): Promise<StreamChanged>;
}

export interface StreamInfo extends StreamFacts {
  /** Open subscriptions to exactly this stream. */
  readonly subscriberCount: number;
}

export interface LogInfo {
  readonly identity: StorageIdentity;
  readonly head: number;
  readonly writeState: WriteState;
  /** Undefined: the space of removed events is not given back. */
  readonly reclaiming: ReclaimStatus | undefined;
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
}

/**
 * Consumers in the order of their names' UTF-8 bytes; `after` is exclusive, empty: from the
 * first.
 */
export interface CheckpointPage {
  /** Only consumers whose name begins with this. Empty: all. */
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
}

/** Durable positions of named consumers. */
export interface CheckpointLog {
  /** Throws CHECKPOINT_BACKWARDS unless `reset`, BEYOND_HEAD, and what `EventLog.append` throws. */
  save(update: CheckpointUpdate, reset: boolean, signal?: AbortSignal): Promise<Checkpoint>;
  /** Throws CHECKPOINT_NOT_FOUND. */
  get(consumer: string): Promise<Checkpoint>;
  list(page: CheckpointPage): Promise<Checkpoint[]>;
  /** Whether there was one. */
  remove(consumer: string, signal?: AbortSignal): Promise<boolean>;
  /**
   * Answers the consumer's position once it is at or beyond `position`, also where it has none yet.
   * Throws DEADLINE_EXCEEDED after `timeoutMs`, the signal's reason, STOPPING.
   */
  waitFor(
    consumer: string,
    position: number,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<number>;
}

export interface EventLog {
  readonly checkpoints: CheckpointLog;
  readonly groups: GroupLog;
  readonly streams: StreamLog;

  /**
   * Answers when the outcome is certain: durable, or refused with nothing stored. A signal that
   * is aborted before the append is taken into a commit throws CANCELLED or DEADLINE_EXCEEDED
   * (the signal's reason, where that is an AnnalsError) and nothing is stored; after that it has
   * no effect. Throws OVERLOADED, DISK_FULL, RECOVERING, STOPPING (nothing stored),
   * OUTCOME_UNKNOWN.
   */
  append(append: Append, signal?: CancelSignal): Promise<{ outcome: Outcome; head: number }>;

  /**
   * The append with what its condition is about looked up beforehand, so that it does not keep
   * other writers waiting in line; undefined where that is not worth it. Optional before `append`.
   */
  lookAhead(append: Append): Promise<Append> | undefined;

  /**
   * Batches, then one end; no end where the signal aborts. Never throws BEYOND_HEAD: events that
   * are not there make an empty answer.
   */
  read(request: ReadRequest, signal?: AbortSignal): AsyncIterable<ReadMessage>;

  /**
   * Until the signal aborts (then it ends) or the log stops (then it throws STOPPING). Throws
   * BEYOND_HEAD where it was asked to begin after a position that is not there. A consumer that
   * stops pulling must abort: only that ends a wait.
   */
  subscribe(request: SubscribeRequest, signal: AbortSignal): AsyncIterable<SubscribeMessage>;

  /**
   * A version beyond the stream, or deleted, throws SNAPSHOT_BEYOND_STREAM; it never throws
   * STREAM_NOT_FOUND. Otherwise throws what `append` throws.
   */
  saveSnapshot(snapshot: NewSnapshot, signal?: CancelSignal): Promise<Snapshot>;
  /** Throws SNAPSHOT_NOT_FOUND. `maxVersion` absent: the newest. */
  getSnapshot(stream: string, kind: string, maxVersion?: number): Promise<Snapshot>;
  /** By kind, the newest version of a kind first; without their data (it is empty). */
  listSnapshots(request: SnapshotListRequest): Promise<Snapshot[]>;
  /** How many were deleted. Throws what `append` throws; some may be deleted by then. */
  deleteSnapshots(selection: SnapshotSelection, signal?: CancelSignal): Promise<number>;

  /** At most one snapshot, batches, one end (none on abort): one consistent view. */
  load(request: LoadRequest, signal?: AbortSignal): AsyncIterable<LoadMessage>;
  /** Throws ANSWER_TOO_LARGE where the state outgrows the event limit, CANCELLED on abort. */
  getState(request: GetStateRequest, signal?: AbortSignal): Promise<StreamState>;

  /** Throws STREAM_NOT_FOUND. */
  getStream(stream: string): Promise<StreamInfo>;
  listStreams(page: NamePage): Promise<StreamInfo[]>;
  listEventTypes(page: NamePage): Promise<EventTypeFacts[]>;
  info(): LogInfo;

  /**
   * Ends taking appends (they throw STOPPING), answers those that wait, and ends every subscription
   * with STOPPING. The storage stays open.
   */
  stop(): Promise<void>;
}

// The port: what the log needs of an engine, in domain words. The engine keeps events, finds them
// and makes them durable; it decides nothing (see domain/decide/decide.ts). Its law is executable:
// test/storage/contract/contract.ts runs on every engine.
//
// The law, in short. Positions are dense from 1, versions dense from 1 per stream. A commit is all
// or nothing and, once its promise resolves, durable and visible to every later call; before that
// it is visible to none. Nothing beyond `head()` is ever seen. Bytes that fail their check are
// thrown as CORRUPTION, never returned, never skipped. What was read does not change: a read
// bounded by a position is a consistent view for as long as it runs.
//
// Events that their stream's lifecycle has removed (domain/lifecycle/) are in no answer, except
// where a call says otherwise; their versions, positions and ids stay taken for ever. A lifecycle
// is what the last event in the stream's `$lifecycle-` stream says.

import type { AppendCondition } from "../domain/append.ts";
import type { CommitEvent, StoredEvent } from "../domain/event.ts";
import type { Lifecycle } from "../domain/lifecycle/lifecycle.ts";
import type { Selection } from "../domain/query.ts";

/** The last durable event. */
export interface Head {
  /** 0: the store has no events. */
  readonly position: number;
  /** Microseconds since 1970, UTC; 0 where there are no events. Never decreases. */
  readonly recordedAt: number;
}

export interface FactsRequest {
  /** Streams whose version is asked. No duplicates needed or forbidden. */
  readonly streams: Iterable<string>;
  /** Event ids (UUID text, lower case) that are looked up. */
  readonly ids: Iterable<string>;
  /** Conditions of which is asked whether an event matches after `after`. */
  readonly conditions: readonly AppendCondition[];
}

/** What is durable, as of `head`: everything `decide` needs. */
export interface Facts {
  readonly head: Head;
  /** Versions of the streams asked for: of events ever stored; a stream without any is 0. */
  readonly versions: ReadonlyMap<string, number>;
  /** Lifecycles of the streams asked for; absent where nothing was ever asked of a stream. */
  readonly lifecycles: ReadonlyMap<string, Lifecycle>;
  /** The events found by id, removed ones too; an id that is not there is absent. */
  readonly events: ReadonlyMap<string, StoredEvent>;
  /** For each condition, the position of a matching event after `after`, or 0. */
  readonly matches: readonly number[];
}

/** What a side value is about. A name means something within its space only. */
export type SideValueSpace =
  | "checkpoint"
  | "group"
  | "group-progress"
  | "group-parked"
  | "group-gone"
  | "snapshot";

/** A durable fact beside the log: one value under one name. Storage never looks inside. */
export interface SideValue {
  readonly space: SideValueSpace;
  /** At least one character, of any but U+0000. */
  readonly name: string;
  readonly value: Uint8Array;
}

/** What becomes of a side value. */
export interface SideValueChange {
  readonly space: SideValueSpace;
  readonly name: string;
  /** Undefined: the value is deleted, if there is one. */
  readonly value: Uint8Array | undefined;
}

/** Events to store, in order, at the positions right after `after`, and side values with them. */
export interface Commit {
  /** The head the events were decided on. */
  readonly after: Head;
  /** Microseconds since 1970, UTC; at least `after.recordedAt`. */
  readonly recordedAt: number;
  /**
   * At least one, unless there are side values; `events[i].position` is `after.position + 1 + i`.
   * Without events the head stays where it is.
   */
  readonly events: readonly CommitEvent[];
  /** Each name at most once. They and the events become durable, and visible, together. */
  readonly sideValues?: readonly SideValueChange[];
}

/**
 * `committed`: durable. `stale`: the head had moved (another node appended); nothing was stored,
 * get the facts again. A failed commit throws: OUTCOME_UNKNOWN where it may be there after a
 * restart, DISK_FULL and RECOVERING where nothing was stored.
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
  /** Only events at these positions; `last` is at most the head's position. */
  readonly positions: Range;
  /** Only events with these versions; only with a `stream` selection. */
  readonly versions?: Range;
  /**
   * The head the read is a view of, at least `positions.last`: what is removed as of it, at the
   * time the read begins, is not seen. Absent: what is removed when its turn comes. What is removed
   * later is seen for as long as it keeps its space; then the read throws READ_OVERTAKEN.
   */
  readonly asOf?: number;
  /** True: removed events too. Their header and placement are promised, not what they held. */
  readonly withRemoved?: boolean;
  /** True: of removed events what is kept of them for ever, and `removed` set. */
  readonly withRemovedRecords?: boolean;
  /** Encoded bytes near which a slab is cut. A slab holds at least one event or progress. */
  readonly batchBytes: number;
  /** At most this many events in a slab. Absent: no such limit. */
  readonly batchEvents?: number;
}

/** Some of a read's events, in its order. */
export interface Batch {
  /** Framed records (tag, length, message), one or several in each; in the order of the read. */
  readonly frames: readonly Uint8Array[];
  /** How many records the frames hold. May be 0: progress only. */
  readonly count: number;
  /** Bytes of all frames together. */
  readonly bytes: number;
  /**
   * Every matching event up to and including this position (forwards), or down to it (backwards),
   * is in this slab or one before it.
   */
  readonly through: number;
}

export interface StreamFacts {
  readonly stream: string;
  /** How many events it ever got. 0: a lifecycle is all there is of it. */
  readonly version: number;
  /** How many are left; where none are, firsts and lasts are 0. */
  readonly eventCount: number;
  readonly firstVersion: number;
  readonly firstPosition: number;
  readonly lastPosition: number;
  /** Microseconds since 1970, UTC. */
  readonly firstRecordedAt: number;
  readonly lastRecordedAt: number;
  readonly lifecycle: Lifecycle | undefined;
}

/** Of every event ever recorded, removed ones included. */
export interface EventTypeFacts {
  readonly type: string;
  /** At least 1. */
  readonly recordedCount: number;
  readonly firstPosition: number;
  readonly lastPosition: number;
}

/** A page of names in the order of their UTF-8 bytes. */
export interface NamePage {
  /** Only names that begin with this. Empty: every name that is not a system name. */
  readonly prefix: string;
  /** Only names after this one (exclusive). Empty: from the first. */
  readonly after: string;
  readonly limit: number;
}

/** Side values of a space in the order of their names' UTF-8 bytes. */
export interface SideValuePage {
  readonly space: SideValueSpace;
  /** Only names that begin with this. Empty: all. */
  readonly prefix: string;
  /** Only names after this one (exclusive). Empty: from the first. */
  readonly after: string;
  readonly limit: number;
  /** True: the values are not read; each is empty. */
  readonly namesOnly?: boolean;
}

/**
 * Checkpoints, snapshots and what consumer groups keep. Side values are written by commits alone,
 * so that they are decided on like events, one after another.
 */
export interface SideValueStore {
  /** The values of those that are there, by name. */
  get(space: SideValueSpace, names: Iterable<string>): Promise<Map<string, Uint8Array>>;
  list(page: SideValuePage): Promise<SideValue[]>;
}

export type WriteState = "accepting" | "disk-full" | "recovering" | "failed";

/** What a commit, or another node, added to the log. */
export interface Advance {
  readonly from: Head;
  readonly to: Head;
  /** The events in between, where this engine knows them; absent: not known, assume anything. */
  readonly events?: readonly CommitEvent[];
}

/** How the space of removed events is given back: since the store was opened. */
export interface ReclaimStatus {
  readonly phase: "looking" | "reclaiming" | "compacting" | "waiting" | "stopped";
  /** Whole rounds so far. */
  readonly rounds: number;
  /** Parts of the log that were rewritten. */
  readonly chunks: number;
  /** Events of which only their header and placement are left. */
  readonly events: number;
  readonly bytesFreed: number;
  /** When the last whole round ended: microseconds since 1970, UTC; 0: none did yet. */
  readonly lastFinishedAt: number;
}

/** What it does not want to be told it leaves out. Must not throw or wait. */
export interface StorageWatcher {
  /** Called right after the head moved, in order, without gaps. */
  advanced?(advance: Advance): void;
  /** Called when the write state changed. */
  writeStateChanged?(state: WriteState): void;
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
}

export interface Storage {
  readonly identity: StorageIdentity;
  readonly sideValues: SideValueStore;

  head(): Head;
  writeState(): WriteState;
  /** Answers a function that ends the watch. */
  watch(watcher: StorageWatcher): () => void;

  facts(request: FactsRequest): Promise<Facts>;
  /** One at a time: the caller waits for one commit before it starts the next. */
  commit(commit: Commit): Promise<CommitResult>;

  /** Pulled by the consumer; bounded work and memory per slab. Returning early ends it. */
  read(request: StorageRead): AsyncIterable<Batch>;
  /** The first position recorded at or after the time (microseconds); head + 1 where none is. */
  positionAt(time: number): Promise<number>;

  /** Undefined: it never got an event, and nothing was ever asked of it. */
  stream(name: string): Promise<StreamFacts | undefined>;
  /** Streams that ever got an event. */
  listStreams(page: NamePage): Promise<StreamFacts[]>;
  /** Types that were ever recorded. */
  listEventTypes(page: NamePage): Promise<EventTypeFacts[]>;

  /** Undefined: this engine gives no space back, or was told not to. */
  reclaiming?(): ReclaimStatus | undefined;

  /** Waits for the commit in flight; later calls fail. */
  close(): Promise<void>;
}

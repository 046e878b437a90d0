// Snapshots: the state of a stream at a version. A snapshot is a cache: losing one costs time.

import type { Snapshot as WireSnapshot } from "../../gen/annals/v1/snapshot_pb.js";
import { answered, type Context, type OperationOptions } from "./context.ts";
import { NotFoundError } from "./errors.ts";
import { streamInfo } from "./info.ts";
import { dateOf, safeInteger, wireInteger } from "./numbers.ts";

export interface SnapshotFacts {
  readonly stream: string;
  /** Tells apart several snapshots of a stream. Empty: the default kind. */
  readonly kind: string;
  /** The state includes the events up to this version. */
  readonly version: number;
  /** The position of the event at that version. 0: the snapshot was saved with `mayBeAhead`. */
  readonly position: number;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly savedAt: Date;
}

export interface Snapshot extends SnapshotFacts {
  readonly state: Uint8Array;
}

export interface NewSnapshot {
  readonly stream: string;
  readonly kind?: string | undefined;
  readonly version: number;
  readonly state: Uint8Array;
  readonly contentType?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The epoch in which the state was read. Absent: not checked. */
  readonly epoch?: string | undefined;
  /**
   * The version may be one that the stream does not have yet. Such a snapshot is never used by
   * `load`; only `get` and `list` with `mayBeAhead` return it. Give it a kind of its own.
   */
  readonly mayBeAhead?: boolean | undefined;
}

export interface WhichSnapshot extends OperationOptions {
  readonly kind?: string | undefined;
  /** The newest at or before this version. */
  readonly maxVersion?: number | undefined;
  /** Also one that was saved with `mayBeAhead`: the caller judges whether it is right. */
  readonly mayBeAhead?: boolean | undefined;
}

export interface Snapshots {
  /** Durable when it resolves. Saving again at the same version and kind replaces the state. */
  save(snapshot: NewSnapshot, options?: OperationOptions): Promise<void>;
  /** The newest; undefined: there is none. */
  get(stream: string, which?: WhichSnapshot): Promise<Snapshot | undefined>;
  /** Without their states, newest first within a kind; `kind` absent: every kind. */
  list(
    stream: string,
    which?: Pick<WhichSnapshot, "kind" | "mayBeAhead" | "signal">,
  ): AsyncIterable<SnapshotFacts>;
  /**
   * Returns how many there were. `kind` absent: every kind. `maxVersion` absent: those up to the
   * stream's version. One that is ahead of it needs a `maxVersion`.
   */
  delete(stream: string, which?: WhichSnapshot): Promise<number>;
}

export function snapshotsOf(context: Context): Snapshots {
  const { rpc } = context;
  return {
    async save(snapshot, options = {}) {
      const {
        stream,
        kind = "",
        version,
        state,
        contentType = "",
        metadata,
        epoch = "",
        mayBeAhead = false,
      } = snapshot;
      const request = {
        stream,
        epoch,
        mayBeAhead,
        kind,
        version: wireInteger(version, "version"),
        contentType,
        state: { case: "data", value: state } as const,
        metadata: { ...metadata },
      };
      await answered(context, options, (call) => rpc.saveSnapshot(request, call));
    },
    async get(stream, which = {}) {
      const { kind = "", maxVersion = 0, mayBeAhead = false } = which;
      const bound = wireInteger(maxVersion, "maxVersion");
      const request = { stream, kind, maxVersion: bound, mayBeAhead };
      try {
        const answer = await answered(context, which, (call) => rpc.getSnapshot(request, call));
        return answer.snapshot && snapshotOf(answer.snapshot);
      } catch (error) {
        if (error instanceof NotFoundError) return undefined;
        throw error;
      }
    },
    async *list(stream, which = {}) {
      for (let pageToken = ""; ;) {
        const request = {
          stream,
          pageToken,
          mayBeAhead: which.mayBeAhead ?? false,
          ...(which.kind !== undefined && { kind: which.kind }),
        };
        const page = await answered(context, which, (call) => rpc.listSnapshots(request, call));
        for (const snapshot of page.snapshots) yield factsOf(snapshot);
        pageToken = page.nextPageToken;
        if (pageToken === "") return;
      }
    },
    async delete(stream, which = {}) {
      const { kind, maxVersion = await versionOf(context, stream, which) } = which;
      if (maxVersion === 0) return 0;
      const bound = wireInteger(maxVersion, "maxVersion");
      const request = { stream, maxVersion: bound, ...(kind !== undefined && { kind }) };
      const answer = await answered(context, which, (call) => rpc.deleteSnapshots(request, call));
      return safeInteger(answer.deletedCount);
    },
  };
}

/** What is saved from now on is not to be deleted, by a late retry least of all. */
async function versionOf(
  context: Context,
  stream: string,
  options: OperationOptions,
): Promise<number> {
  return (await streamInfo(context, stream, options))?.version ?? 0;
}

export function snapshotOf(snapshot: WireSnapshot): Snapshot {
  const { state } = snapshot;
  return { ...factsOf(snapshot), state: state.case === "data" ? state.value : new Uint8Array(0) };
}

function factsOf(snapshot: WireSnapshot): SnapshotFacts {
  const { stream, kind, contentType, metadata } = snapshot;
  return {
    stream,
    kind,
    version: safeInteger(snapshot.version),
    position: safeInteger(snapshot.position),
    contentType,
    metadata,
    savedAt: dateOf(snapshot.savedAt),
  };
}

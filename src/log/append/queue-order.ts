// What waits in the append queue: its weight, for the room in the queue and for the size of a
// commit, and its order: by client, each a little at a time. Entries of one client keep their
// order. A client that had nothing in the queue comes before those that fill it, for a few KiB: so
// an append of 200 bytes is in the next commit, whatever others write.
// Source: RFC 8290, section 4.1, which does the same for packets (new and old flows).

import { eventObjectBytes, type Append } from "../../domain/append.ts";
import type { CheckpointUpdate } from "../../domain/checkpoint.ts";
import type { LifecycleRequest } from "../../domain/decide/decide-lifecycle.ts";
import type { Proposal } from "../../domain/decide/decide.ts";
import { valuesOf } from "../../domain/query.ts";
import type { SnapshotRequest } from "../../domain/snapshot.ts";
import type { SideValueChange } from "../../storage/storage.ts";

/** What a client that had nothing in the queue may put into a commit before all others. */
export const freshBytes = 16 * 1024;
/** What each of the others may put into it before the next one. */
const quantumBytes = 64 * 1024;

interface Entry {
  readonly client: object;
  readonly bytes: number;
  /** See `Weight`. */
  readonly work: number;
}

interface Line<E> {
  readonly entries: Set<E>;
  /** The rest of what it may take in its turn. */
  creditBytes: number;
}

type Lines<E> = Map<object, Line<E>>;

export class QueueOrder<E extends Entry> {
  /** Clients that came to an empty line, and those that have had a turn since. */
  private readonly fresh: Lines<E> = new Map();
  private readonly old: Lines<E> = new Map();
  /** The number of entries, and the work of all of them. */
  size = 0;
  work = 0;

  /** Whether anything of the client waits. */
  has(client: object): boolean {
    return this.fresh.has(client) || this.old.has(client);
  }

  add(entry: E): void {
    const { client } = entry;
    let line = this.fresh.get(client) ?? this.old.get(client);
    if (line === undefined) {
      line = { entries: new Set(), creditBytes: freshBytes };
      this.fresh.set(client, line);
    }
    line.entries.add(entry);
    this.size++;
    this.work += entry.work;
  }

  /** Removes an entry, wherever it is in its line, which pays for it as far as it was taken. */
  delete(entry: E, takenBytes = 0): void {
    const { client } = entry;
    const lines = this.fresh.has(client) ? this.fresh : this.old;
    const line = lines.get(client);
    if (line === undefined || !line.entries.delete(entry)) return;
    line.creditBytes = Math.max(0, line.creditBytes - takenBytes);
    this.size--;
    this.work -= entry.work;
    if (line.entries.size === 0) lines.delete(client);
  }

  /** The next entry. Undefined: there is none. `delete` must follow before the next call. */
  next(): E | undefined {
    for (;;) {
      const lines = this.fresh.size > 0 ? this.fresh : this.old;
      const [first] = lines;
      if (first === undefined) return undefined;
      const [client, line] = first;
      const [entry] = line.entries;
      const isAlone = this.fresh.size + this.old.size === 1;
      if (entry !== undefined && (isAlone || line.creditBytes >= entry.bytes)) {
        return entry;
      }
      // The line goes behind the others, with the credit of its next turn.
      line.creditBytes += quantumBytes;
      lines.delete(client);
      this.old.set(client, line);
    }
  }
}

/** Side values that need no decision. They are part of the next commit. */
export interface SideWrite {
  readonly kind: "side-values";
  readonly sideValues: readonly SideValueChange[];
}

export type QueueEntry = Proposal | SideWrite;

type SnapshotToStore = Extract<SnapshotRequest, { readonly kind: "save-snapshot" }>;

export interface Weight {
  /** Bytes in memory until the entry is answered. */
  readonly heldBytes: number;
  /** Approximate bytes in the commit. */
  readonly storedBytes: number;
  /** Its share of the lookups and the decision of its commit, in events. */
  readonly work: number;
}

/**
 * The weight of one item of a condition compared to one event: it is looked up in the index and in
 * the batch.
 */
const conditionItemWork = 8;
/** The weight of a tag compared to one event: it is looked up, and becomes entries of the index. */
const tagWork = 0.5;
/** Bytes of a side value besides its text. */
const sideValueBytes = 64;
/** Approximate bytes of a lifecycle event besides its text. */
const lifecycleEventBytes = 400;

export function weightOf(entry: QueueEntry): Weight {
  if (entry.kind !== undefined) return weightOfRequest(entry);
  const { events, expectations, conditions, checkpoint, bytes } = entry;
  let storedBytes = bytes;
  let work = events.length + expectations.length;
  for (const { tags } of events) work += tags.length * tagWork;
  if (checkpoint !== undefined) storedBytes += checkpointBytes(checkpoint);
  for (const { query } of conditions) {
    work += Math.max(1, query.items.length) * conditionItemWork;
    for (const item of query.items) {
      for (const value of valuesOf(item)) storedBytes += value.length;
    }
  }
  return { heldBytes: storedBytes + events.length * eventObjectBytes, storedBytes, work };
}

function weightOfRequest(request: Exclude<QueueEntry, Append>): Weight {
  switch (request.kind) {
    case "side-values":
      return evenWeight(bytesOf(request.sideValues), request.sideValues.length);
    case "save-checkpoint":
      return evenWeight(checkpointBytes(request.update));
    case "delete-checkpoint":
      return evenWeight(sideValueBytes);
    case "save-snapshot":
      return evenWeight(snapshotBytes(request));
    case "delete-snapshots":
      return evenWeight(2 * request.names.length * sideValueBytes, request.names.length);
    case "update-stream":
    case "delete-stream":
      return evenWeight(lifecycleBytes(request));
  }
}

function evenWeight(bytes: number, work = 1): Weight {
  return { heldBytes: bytes, storedBytes: bytes, work };
}

function bytesOf(sideValues: readonly SideValueChange[]): number {
  let bytes = 0;
  for (const { name, value } of sideValues) {
    bytes += sideValueBytes + name.length + (value?.length ?? 0);
  }
  return bytes;
}

function snapshotBytes({ key, value, head }: SnapshotToStore): number {
  return 2 * (sideValueBytes + key.stream.length) + value.length + (head?.length ?? 0);
}

function checkpointBytes({ source = "", metadata }: CheckpointUpdate): number {
  return sideValueBytes + source.length + textBytes(metadata);
}

function lifecycleBytes(request: LifecycleRequest): number {
  const { stream, actor, reason } = request;
  const labels = request.kind === "update-stream" ? textBytes(request.change.labels ?? {}) : 0;
  return lifecycleEventBytes + stream.length * 2 + actor.length + reason.length + labels;
}

function textBytes(entries: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [key, value] of Object.entries(entries)) bytes += key.length + value.length;
  return bytes;
}

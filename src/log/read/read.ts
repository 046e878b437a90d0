// Read: a read that ends at the head with which it began. The whole answer is one view of the log,
// so its end says what a decision made on it may assume.

import { invariant } from "../../domain/errors.ts";
import { positionMax } from "../../domain/limits.ts";
import { scanPlacement } from "../../domain/record.ts";
import type { Range, Storage, StorageRead } from "../../storage/storage.ts";
import {
  scheduledRead,
  type HeldBatch,
  type ReadSignal,
  type ScheduledRead,
  type Source,
} from "../scheduling/scheduled-read.ts";
import { firstRecordOf, lastRecordOf, recordOfVersion, sliceBatch, versionAt } from "./records.ts";
import type { HandedFigures } from "../log-figures.ts";
import type { Batch, Bound, ReadEnd, ReadMessage, ReadRequest } from "../verbs.ts";

export interface ReadSource extends Source {
  /** A batch is cut near this many encoded bytes. */
  readonly batchBytes: number;
  /** Counts what callers get. */
  readonly handed: HandedFigures;
}

/** `head` is the head at the time of the call, before anything waits. */
export function read(
  source: ReadSource,
  request: ReadRequest,
  head: number,
  signal: ReadSignal | undefined,
): AsyncIterableIterator<ReadMessage, undefined> {
  return new Reading(source, request, head, signal);
}

/** Written by hand: generators in generators cost as much as a short read. One call at a time. */
class Reading implements AsyncIterableIterator<ReadMessage, undefined> {
  private readonly source: ReadSource;
  private readonly request: ReadRequest;
  private readonly head: number;
  private readonly signal: ReadSignal | undefined;
  private bounds: Bounds | undefined;
  private batches: ScheduledRead | undefined;
  private eventCount = 0;
  /** Only its place: a batch that the client does not take may be dropped. */
  private newest: Seen["newest"];
  private isOver = false;

  constructor(
    source: ReadSource,
    request: ReadRequest,
    head: number,
    signal: ReadSignal | undefined,
  ) {
    if (request.limit !== undefined && request.limit < 1) {
      throw new RangeError("a limit is at least one event");
    }
    this.source = source;
    this.request = request;
    this.head = head;
    this.signal = signal;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<ReadMessage, undefined>> {
    if (this.isOver) return over;
    const bounds = (this.bounds ??= await boundsOf(this.source.storage, this.request, this.head));
    const batches = (this.batches ??= this.begin(bounds));
    if (!this.isLimitReached) {
      for (let next = await batches.next(); next.done !== true; next = await batches.next()) {
        if (next.value.count === 0) continue;
        return { done: false, value: await this.message(next.value, batches) };
      }
    }
    this.isOver = true;
    if (this.signal?.aborted === true) return over;
    return { done: false, value: { kind: "end", end: await this.end(bounds) } };
  }

  async return(): Promise<IteratorResult<ReadMessage, undefined>> {
    this.isOver = true;
    await this.batches?.return();
    return over;
  }

  private begin({ positions, versions }: Bounds): ScheduledRead {
    const { source, head } = this;
    const { selection, direction, limit, withRemoved, isGathered } = this.request;
    const bounded: StorageRead = {
      selection,
      direction,
      positions,
      asOf: head,
      batchBytes: source.batchBytes,
      ...(versions !== undefined && { versions }),
      ...(limit !== undefined && { batchEvents: limit }),
      ...(withRemoved === true && { withRemovedRecords: true }),
    };
    return scheduledRead({ ...source, isSent: isGathered !== true }, bounded, this.signal);
  }

  private get isLimitReached(): boolean {
    return this.eventCount >= (this.request.limit ?? Infinity);
  }

  private async message(found: HeldBatch, batches: ScheduledRead): Promise<ReadMessage> {
    try {
      const batch = this.count(found);
      const hasEnded = this.isLimitReached || batches.isThrough;
      if (!hasEnded || this.bounds === undefined) return { kind: "batch", batch };
      if (this.isLimitReached) await batches.return();
      // The client gets the events before anything is looked up for their end.
      if (this.isEndLookedUp) return { kind: "batch", batch };
      this.isOver = true;
      return { kind: "batch", batch, end: await this.end(this.bounds) };
    } catch (error) {
      // Who loops over the read does not return from it when it throws.
      await this.return();
      throw error;
    }
  }

  /** Returns what the limit has room for. */
  private count(found: HeldBatch): Batch {
    const { source, request } = this;
    const { direction, limit = Infinity } = request;
    const left = limit - this.eventCount;
    const batch = found.count > left ? sliceBatch(found, 0, left) : found;
    this.eventCount += batch.count;
    source.handed.read += batch.count;
    if (direction === "forwards" || this.newest === undefined) {
      this.newest = newestIn(batch, direction);
    }
    return batch;
  }

  /** Whether the end says something that the events do not. */
  private get isEndLookedUp(): boolean {
    const { selection, direction, from, to } = this.request;
    const isCut = direction === "forwards" && this.isLimitReached;
    if (isCut) return selection.kind === "stream";
    return (direction === "forwards" ? to : from) !== undefined;
  }

  private async end(bounds: Bounds): Promise<ReadEnd> {
    const { head, eventCount, newest, request } = this;
    const upper = request.direction === "forwards" ? request.to : request.from;
    const seen: Seen = { head, bounds, upper, newest, limited: this.isLimitReached };
    return { head, eventCount, ...(await endOf(this.source, request, seen)) };
  }
}

const over = { done: true, value: undefined } as const;

/** What a read has seen. */
interface Seen {
  readonly head: number;
  readonly bounds: Bounds;
  /** The bound at the newer end of the read. */
  readonly upper: Bound | undefined;
  /** The newest event that was returned. */
  readonly newest: { readonly version: number; readonly position: number } | undefined;
  /** Whether the limit was reached. */
  readonly limited: boolean;
}

function newestIn(batch: Batch, direction: ReadRequest["direction"]): Seen["newest"] {
  const record = direction === "forwards" ? lastRecordOf(batch) : firstRecordOf(batch);
  return record && scanPlacement(record);
}

/** What the end of a read says: read.proto defines `after`. */
async function endOf(
  source: ReadSource,
  { selection, direction }: ReadRequest,
  seen: Seen,
): Promise<Pick<ReadEnd, "after" | "streamVersion">> {
  const { head, upper, newest, limited } = seen;
  const isCut = direction === "forwards" && limited;
  let streamVersion: number | undefined;
  if (selection.kind === "stream") {
    // The events of a stream that are left are its newest ones.
    const isAtHead = upper === undefined && !isCut;
    streamVersion =
      isAtHead && newest !== undefined
        ? newest.version
        : await versionAt(source, selection.stream, head);
  }
  if (isCut && newest !== undefined) return { after: newest.position, streamVersion };
  if (upper === undefined) return { after: head, streamVersion };
  return { after: await afterBound(source, selection, seen, streamVersion), streamVersion };
}

/**
 * Up to where a read with a bound at its newer end has seen everything. The engine's `through` is
 * no measure, because it does not take versions into account.
 */
async function afterBound(
  source: ReadSource,
  selection: ReadRequest["selection"],
  { head, bounds, upper, newest }: Seen,
  streamVersion = 0,
): Promise<number> {
  if (upper?.kind !== "version") return Math.max(bounds.positions.last, 0);
  if (upper.version >= streamVersion) return head;
  if (newest?.version === upper.version) return newest.position;
  // The event of that version was removed, or the bounds contradict each other.
  invariant(selection.kind === "stream", "versions are a stream's");
  const record = await recordOfVersion(source, selection.stream, upper.version, head);
  return record === undefined ? 0 : scanPlacement(record).position;
}

/** The bounds of a read, both inclusive. Contradictory bounds are empty. */
interface Bounds {
  /** At most the head's position. */
  readonly positions: Range;
  /** Only if the request has a version. */
  readonly versions: Range | undefined;
}

/** `head` is the position of which the whole read is a view. */
export async function boundsOf(
  storage: Storage,
  { direction, from, to }: Pick<ReadRequest, "direction" | "from" | "to">,
  head: number,
): Promise<Bounds> {
  const [low, high] = direction === "forwards" ? [from, to] : [to, from];
  const isOfVersions = low?.kind === "version" || high?.kind === "version";
  const versions = isOfVersions ? versionsBetween(low, high) : undefined;
  const first = low === undefined ? 1 : await firstPositionOf(storage, low);
  const last = high === undefined ? head : await lastPositionOf(storage, high);
  return { positions: { first: Math.max(first, 1), last: Math.min(last, head) }, versions };
}

function versionsBetween(low: Bound | undefined, high: Bound | undefined): Range {
  const first = low?.kind === "version" ? low.version : 1;
  const last = high?.kind === "version" ? high.version : positionMax;
  return { first, last };
}

async function firstPositionOf(storage: Storage, bound: Bound): Promise<number> {
  switch (bound.kind) {
    case "version":
      return 1;
    case "position":
      return bound.position;
    case "time":
      return await storage.positionAt(bound.time);
  }
}

async function lastPositionOf(storage: Storage, bound: Bound): Promise<number> {
  switch (bound.kind) {
    case "version":
      return positionMax;
    case "position":
      return bound.position;
    case "time":
      // Several events may have the same time.
      return (await storage.positionAt(bound.time + 1)) - 1;
  }
}

// The lifecycles of streams in memory, so that a read can judge every event without a lookup on
// disk. They are stored in the log, as the last event of each `$lifecycle-` stream; they are loaded
// when the store opens and updated by commits. Memory is bounded: lifecycles that do not fit are
// looked up in the log (read/lifecycles.ts).

import { invariant, type AnnalsError } from "../../../domain/errors.ts";
import { isSystemName, type CommitEvent } from "../../../domain/event.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import type { Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import { rememberedLifecyclesBytesMax } from "../../../domain/limits.ts";
import { memoryShare } from "../../../process-memory.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";
import { NameFilter } from "./name-filter.ts";

/** The known lifecycle of a stream. Immutable: a commit replaces it. */
export interface LifecycleEntry {
  readonly lifecycle: Lifecycle;
  /**
   * The position of the lifecycle event. The entry holds as of every head from there on, up to the
   * next one.
   */
  readonly position: number;
}

/**
 * A stream whose lifecycle cannot be read, so that it is unknown which of its events are removed.
 */
export interface DamagedEntry {
  readonly fault: AnnalsError;
}

export type Known = LifecycleEntry | DamagedEntry;

/** The approximate size of an entry besides its names and labels. */
const entryBytes = 400;
const bytesPerUnit = 2;

export class StreamLifecycles {
  private readonly bytesMax: number;
  /** In the order of insertion: the first ones are evicted first. */
  private readonly entries = new Map<string, Known>();
  private bytes = 0;
  /** The streams that have a lifecycle, once some entries were evicted. */
  private names: NameFilter | undefined;
  private changed = 0;
  /** No event after this position is removed by a deletion or a truncation. */
  private settledThrough = 0;
  /** The smallest limits of all policies so far. Undefined: no policy has such a limit. */
  private minAge: number | undefined;
  private minCount: number | undefined;
  private isDoubted = false;

  constructor(bytesMax = rememberedLifecyclesBytesMax * memoryShare) {
    this.bytesMax = bytesMax;
  }

  /** Whether no stream has a lifecycle. */
  get isEmpty(): boolean {
    return this.entries.size === 0 && !this.isDoubted;
  }

  /** From now on, streams without an entry and their events are looked up in the log. */
  doubt(): void {
    this.isDoubted = true;
    this.entries.clear();
    this.bytes = 0;
  }

  /**
   * The entry as of the head. Undefined: the stream has none. "elsewhere": it must be looked up in
   * the log.
   */
  get(stream: string): Known | undefined | "elsewhere" {
    const entry = this.entries.get(stream);
    if (entry === undefined && this.isDoubted) return "elsewhere";
    if (entry !== undefined || this.names === undefined) return entry;
    return this.names.mayHave(stream) ? "elsewhere" : undefined;
  }

  /** Sets the stream's present entry: from the log when the store opens, or from a commit. */
  set(stream: string, entry: Known): void {
    this.names?.add(stream);
    this.settle(entry);
    this.remember(stream, entry);
  }

  /** Keeps an entry that was looked up as of a head, unless a commit may have replaced it. */
  found(stream: string, entry: Known, asOf: number): void {
    if (asOf >= this.changed && !this.entries.has(stream)) this.remember(stream, entry);
  }

  /** Whether no event of the chunk can be removed, as of a head and a time. */
  clears(chunk: Chunk, head: number, now: number): boolean {
    if (this.isEmpty) return true;
    if (this.isDoubted) return false;
    if (chunk.first <= this.settledThrough) return false;
    if (this.minAge !== undefined && chunk.recordedAt <= now - this.minAge) return false;
    return this.minCount === undefined || chunk.first > head - this.minCount;
  }

  private settle(entry: Known): void {
    if (!("lifecycle" in entry)) {
      // Nothing is known about its events, so no chunk is cleared.
      this.settledThrough = Number.POSITIVE_INFINITY;
      return;
    }
    const { lifecycle, position } = entry;
    const { policy, removedBefore, removedUntil, deletion } = lifecycle;
    this.changed = Math.max(this.changed, position);
    const settled = Math.max(policy.truncateBefore, removedBefore, removedUntil);
    if (settled > 0 || deletion !== undefined) {
      this.settledThrough = Math.max(this.settledThrough, position);
    }
    const { maxAge, maxCount } = policy;
    if (maxAge !== undefined) this.minAge = Math.min(maxAge, this.minAge ?? maxAge);
    if (maxCount !== undefined) this.minCount = Math.min(maxCount, this.minCount ?? maxCount);
  }

  private remember(stream: string, entry: Known): void {
    this.forget(stream);
    this.entries.set(stream, entry);
    this.bytes += bytesOf(stream, entry);
    while (this.bytes > this.bytesMax && this.entries.size > 1) {
      if (this.names === undefined) {
        this.names = new NameFilter();
        for (const name of this.entries.keys()) this.names.add(name);
      }
      const [oldest] = this.entries.keys();
      this.forget(oldest as string);
    }
  }

  private forget(stream: string): void {
    const entry = this.entries.get(stream);
    if (entry === undefined) return;
    this.entries.delete(stream);
    this.bytes -= bytesOf(stream, entry);
  }
}

function bytesOf(stream: string, entry: Known): number {
  let units = stream.length;
  if ("lifecycle" in entry) {
    for (const [key, value] of Object.entries(entry.lifecycle.policy.labels)) {
      units += key.length + value.length + entryBytes / 8;
    }
  }
  return entryBytes + units * bytesPerUnit;
}

/**
 * The last lifecycle in the events of a commit, for each stream. Throws if one cannot be read,
 * because it must not be stored.
 */
export function lifecyclesIn(events: readonly CommitEvent[]): Map<string, LifecycleEntry> {
  const entries = new Map<string, LifecycleEntry>();
  for (const event of events) {
    if (!isSystemName(event.stream)) continue;
    const kept = streamKeptIn(event.stream);
    if (kept === undefined) continue;
    const { stream, lifecycle } = lifecycleRecordOf(recordOf(event.frame));
    invariant(stream === kept, "a lifecycle event is in its own stream");
    entries.set(stream, { lifecycle, position: event.position });
  }
  return entries;
}

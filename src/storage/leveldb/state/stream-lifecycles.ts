// The lifecycles of streams, in memory, so that a read can judge every event it meets without a
// look-up on disk. The log keeps them, as the last event of each `$lifecycle-` stream: they are
// loaded from there when the store opens, and commits keep them. Memory is bounded: where the
// lifecycles of all streams do not fit, the others are looked up in the log (read/lifecycles.ts).

import { invariant, type AnnalsError } from "../../../domain/errors.ts";
import { isSystemName, type CommitEvent } from "../../../domain/event.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import type { Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import { rememberedLifecyclesBytesMax } from "../../../domain/limits.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";
import { NameFilter } from "./name-filter.ts";

/** What is known of a stream that has a lifecycle. Never changed: a commit replaces it. */
export interface LifecycleEntry {
  readonly lifecycle: Lifecycle;
  /** Of the event that says so: it holds as of every head from there on, up to the next one. */
  readonly position: number;
}

/** A stream whose lifecycle cannot be read: nobody knows which of its events are left. */
export interface DamagedEntry {
  readonly fault: AnnalsError;
}

export type Known = LifecycleEntry | DamagedEntry;

/** About what an entry takes, beside its names and labels. */
const entryBytes = 400;
const bytesPerUnit = 2;

export class StreamLifecycles {
  private readonly bytesMax: number;
  /** In the order in which they came: the first ones make room. */
  private readonly entries = new Map<string, Known>();
  private bytes = 0;
  /** The streams that have a lifecycle, once some of them had to make room. */
  private names: NameFilter | undefined;
  private changed = 0;
  /** No event after this position is removed by what was settled once: deletions, truncations. */
  private settledThrough = 0;
  /** The smallest bounds of all policies there have been; undefined: none has such a bound. */
  private minAge: number | undefined;
  private minCount: number | undefined;

  constructor(bytesMax = rememberedLifecyclesBytesMax) {
    this.bytesMax = bytesMax;
  }

  /** Whether no stream has a lifecycle. */
  get isEmpty(): boolean {
    return this.entries.size === 0;
  }

  /** The position of the last lifecycle event. */
  get changedAt(): number {
    return this.changed;
  }

  /** The entry as of the head. Undefined: the stream has none; "elsewhere": see the log. */
  get(stream: string): Known | undefined | "elsewhere" {
    const entry = this.entries.get(stream);
    if (entry !== undefined || this.names === undefined) return entry;
    return this.names.mayHave(stream) ? "elsewhere" : undefined;
  }

  /** The stream's entry as of now: from the log when the store opens, or from a commit. */
  set(stream: string, entry: Known): void {
    this.names?.add(stream);
    this.settle(entry);
    this.remember(stream, entry);
  }

  /** Keeps what was looked up in the log as of a head, unless a commit may know better. */
  found(stream: string, entry: Known, asOf: number): void {
    if (asOf >= this.changed && !this.entries.has(stream)) this.remember(stream, entry);
  }

  /** Whether no event of the chunk can be removed, as of a head and a time. */
  clears(chunk: Chunk, head: number, now: number): boolean {
    if (this.isEmpty) return true;
    if (chunk.first <= this.settledThrough) return false;
    if (this.minAge !== undefined && chunk.recordedAt <= now - this.minAge) return false;
    return this.minCount === undefined || chunk.first > head - this.minCount;
  }

  private settle(entry: Known): void {
    if (!("lifecycle" in entry)) {
      // Its events must not pass unseen.
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
 * The last lifecycle that the events of a commit give to each stream they speak of. Throws where
 * one cannot be read: it must not be stored.
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

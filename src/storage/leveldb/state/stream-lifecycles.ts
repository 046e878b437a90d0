// The book: the lifecycles of all streams that have one, in memory, so that a read can judge every
// event it meets without a look-up on disk. It is loaded when the store opens, from the lifecycle
// streams in the log, and kept by commits; on disk there is nothing but those events.

import { AnnalsError, invariant } from "../../../domain/errors.ts";
import { isSystemName, type CommitEvent } from "../../../domain/event.ts";
import { lifecycleRecordOf, streamKeptIn } from "../../../domain/lifecycle/lifecycle-event.ts";
import type { Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import { recordOf, type Chunk } from "../format/chunk.ts";
import { TermKind } from "../format/keys.ts";
import type { Kv } from "../kv/kv.ts";
import type { Terms, TermUpdate } from "./terms.ts";

/** What is known of a stream that has a lifecycle. Never changed: a commit replaces it. */
export interface LifecycleEntry {
  readonly lifecycle: Lifecycle;
  /** Of the event that says so. */
  readonly position: number;
  /** How many events the stream ever got; kept only where its policy counts them, else 0. */
  readonly version: number;
  /** The head since which this holds. */
  readonly since: number;
}

/** A stream whose lifecycle cannot be read: nobody knows which of its events are left. */
export interface DamagedEntry {
  readonly fault: AnnalsError;
}

export type LifecycleUpdates = ReadonlyMap<string, LifecycleEntry>;

const noUpdates: LifecycleUpdates = new Map();

export class StreamLifecycles {
  private readonly entries = new Map<string, LifecycleEntry | DamagedEntry>();
  /** The head at which an entry last changed. */
  private changed = 0;
  /** No event after this position is removed by what was settled once: deletions, truncations. */
  private settledThrough = 0;
  /** The smallest bounds of all policies there have been; undefined: none has such a bound. */
  private minAge: number | undefined;
  private minCount: number | undefined;

  get size(): number {
    return this.entries.size;
  }

  get changedAt(): number {
    return this.changed;
  }

  streams(): Iterable<string> {
    return this.entries.keys();
  }

  /** Throws CORRUPTION where what is kept of the stream cannot be read. */
  get(stream: string): LifecycleEntry | undefined {
    const entry = this.entries.get(stream);
    if (entry === undefined || "lifecycle" in entry) return entry;
    const { failure, message } = entry.fault;
    throw new AnnalsError(failure, message, entry.fault);
  }

  set(stream: string, entry: LifecycleEntry | DamagedEntry): void {
    this.entries.set(stream, entry);
    if (!("lifecycle" in entry)) {
      // Its events must not pass unseen.
      this.settledThrough = Number.POSITIVE_INFINITY;
      return;
    }
    const { lifecycle, position, since } = entry;
    const { policy, removedBefore, removedUntil, deletion } = lifecycle;
    const settled = Math.max(policy.truncateBefore, removedBefore, removedUntil);
    this.changed = Math.max(this.changed, since);
    if (settled > 0 || deletion !== undefined) {
      this.settledThrough = Math.max(this.settledThrough, position);
    }
    const { maxAge, maxCount } = policy;
    if (maxAge !== undefined) this.minAge = Math.min(maxAge, this.minAge ?? maxAge);
    if (maxCount !== undefined) this.minCount = Math.min(maxCount, this.minCount ?? maxCount);
  }

  /** Whether no event of the chunk can be removed, as of a head and a time. */
  clears(chunk: Chunk, head: number, now: number): boolean {
    if (this.entries.size === 0) return true;
    if (chunk.first <= this.settledThrough) return false;
    if (this.minAge !== undefined && chunk.recordedAt <= now - this.minAge) return false;
    return this.minCount === undefined || chunk.first > head - this.minCount;
  }

  /**
   * What a commit makes of the book, once it is durable. `terms` are the commit's own, as they will
   * be. Throws where a lifecycle event of the commit cannot be read: it must not be stored.
   */
  async prepare(
    store: { readonly kv: Kv; readonly terms: Terms },
    after: number,
    events: readonly CommitEvent[],
    terms: readonly TermUpdate[],
  ): Promise<LifecycleUpdates> {
    const changes = lifecyclesIn(events);
    if (this.entries.size === 0 && changes.size === 0) return noUpdates;
    const since = after + events.length;
    const updates = new Map<string, LifecycleEntry>();
    const versions = new Map<string, number>();
    for (const { kind, name, head } of terms) {
      const { count: version } = head;
      if (kind !== TermKind.stream) continue;
      versions.set(name, version);
      const entry = this.entries.get(name);
      if (entry === undefined || !countsVersions(entry)) continue;
      updates.set(name, { ...entry, version, since });
    }
    for (const [stream, change] of changes) {
      const term = { kind: TermKind.stream, name: stream };
      const version = countsVersions(change)
        ? (versions.get(stream) ?? (await store.terms.load(store.kv, [term], after))[0]?.count ?? 0)
        : 0;
      updates.set(stream, { ...change, version, since });
    }
    return updates;
  }

  apply(updates: LifecycleUpdates): void {
    for (const [stream, entry] of updates) this.set(stream, entry);
  }
}

type Change = Pick<LifecycleEntry, "lifecycle" | "position">;

function countsVersions<E extends Change>(entry: E | DamagedEntry): entry is E {
  return "lifecycle" in entry && entry.lifecycle.policy.maxCount !== undefined;
}

/** The last lifecycle that the events give to each stream they speak of. */
function lifecyclesIn(events: readonly CommitEvent[]): Map<string, Change> {
  const changes = new Map<string, Change>();
  for (const event of events) {
    if (!isSystemName(event.stream)) continue;
    const kept = streamKeptIn(event.stream);
    if (kept === undefined) continue;
    const { stream, lifecycle } = lifecycleRecordOf(recordOf(event.frame));
    invariant(stream === kept, "a lifecycle event is in its own stream");
    changes.set(stream, { lifecycle, position: event.position });
  }
  return changes;
}

// What there is to reclaim: of each stream of the book, the versions that were gone already when it
// was looked at the time before. A removal so keeps its space for at least a pause between two
// looks, for the reads that began before it. Nothing of this is on disk: postings tell which of
// their events are stubs.

import { isSystemName } from "../../../domain/event.ts";
import { firstVersion, oldestTime } from "../../../domain/lifecycle/lifecycle.ts";
import { AnnalsError } from "../../../domain/errors.ts";
import type { LifecycleEntry } from "../state/stream-lifecycles.ts";
import { numberOf } from "../read/load-lifecycles.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import { postingKey, TermKind } from "../format/keys.ts";
import { positionAt } from "../read/position-at.ts";
import { openPosting } from "../format/posting.ts";
import { chunkOfVersion } from "../read/postings.ts";
import type { Bound, Bounds } from "./reclaim.ts";
import { countBefore } from "../read/stream-facts.ts";
import type { TermHead } from "../state/term-table.ts";
import { loadHead } from "../state/terms.ts";

/** Awaited with bytes that were read. */
type Spend = (bytes: number) => Promise<void>;

interface Seen extends Bound {
  /** Every event up to this version is a stub. */
  readonly reclaimed: number;
}

/** A stream of which something is to be reclaimed. */
export interface Due extends Bound {
  readonly stream: string;
  /** The first version to look at. */
  readonly from: number;
  /** Whether the bound stood still since: then also a part of a chunk's events is worth it. */
  readonly isSteady: boolean;
}

export interface Look {
  readonly due: readonly Due[];
  /** Of every stream that was looked at before, up to where its events may go. */
  readonly bounds: Bounds;
  /** The time by which what is gone by its age was found to be. */
  readonly judgedAt: number;
}

const pageCountMax = 512;
const pageBytesMax = 256 * 1024;
const streamsAtOnceMax = 4_096;
/** What a seek is counted as. */
const seekBytes = 4 * 1024;

export class ReclaimWork {
  private readonly store: OpenStore;
  private readonly spend: Spend;
  private seen = new Map<string, Seen>();
  private judgedAt = 0;

  constructor(store: OpenStore, spend: Spend) {
    this.store = store;
    this.spend = spend;
  }

  async look(): Promise<Look> {
    const now = timeOf(this.store);
    const { judgedAt } = this;
    const positions = new Map<number, Promise<number>>();
    const bounds = this.seen;
    const seen = new Map<string, Seen>();
    const due: Due[] = [];
    for (const stream of this.store.lifecycles.streams()) {
      const entry = isSystemName(stream) ? undefined : this.entryOf(stream);
      if (entry === undefined) continue;
      const gone = await this.goneOf(stream, entry, now, positions);
      const { gone: goneBefore = 0, policy = 0, reclaimed = 0 } = bounds.get(stream) ?? {};
      seen.set(stream, { gone, policy: entry.position, reclaimed });
      if (seen.size % streamsAtOnceMax === 0) await this.spend(seekBytes);
      if (goneBefore <= reclaimed) continue;
      const isSteady = goneBefore === gone;
      due.push({ stream, gone: goneBefore, policy, from: reclaimed + 1, isSteady });
    }
    this.seen = seen;
    this.judgedAt = now;
    return { due, bounds, judgedAt };
  }

  /** Every event of the stream up to this version is a stub. */
  reclaimed(stream: string, version: number): void {
    const seen = this.seen.get(stream);
    if (seen) this.seen.set(stream, { ...seen, reclaimed: Math.max(seen.reclaimed, version) });
  }

  /**
   * Tells of the chunks, by their last positions, that hold events to be reclaimed. Answers the
   * version up to which they, and stubs, are all there is.
   */
  async chunksOf(due: Due, add: (chunkLast: number) => Promise<void>): Promise<number> {
    const { kv, head } = this.store;
    const number = await numberOf(kv, due.stream);
    if (number === 0) return due.gone;
    const term = await loadHead(kv, number, head.position);
    if (due.from > term.count) return due.gone;
    let next = due.from === 1 ? 0 : await chunkOfVersion(kv, term, due.from);
    for (;;) {
      const entries = await kv.page({
        first: postingKey(number, next),
        last: postingKey(number, term.lastChunk),
        limit: pageCountMax,
        bytesMax: pageBytesMax,
        fillCache: false,
      });
      let bytes = seekBytes;
      for (const [key, value] of entries) {
        const { before, ordinals, chunkLast, removedRecords } = openPosting(key, value);
        if (before >= due.gone) return due.gone;
        const count = Math.min(ordinals.length, due.gone - before);
        if (count < ordinals.length && !due.isSteady) return before;
        if (count > removedRecords) await add(chunkLast);
        next = chunkLast + 1;
        bytes += value.length;
      }
      if (entries.length === 0) return due.gone;
      await this.spend(bytes);
    }
  }

  /** A stream whose lifecycle cannot be read keeps what it has. */
  private entryOf(stream: string): LifecycleEntry | undefined {
    try {
      return this.store.lifecycles.get(stream);
    } catch (error) {
      if (error instanceof AnnalsError) return undefined;
      throw error;
    }
  }

  /** Up to which version the stream's events are gone. */
  private async goneOf(
    stream: string,
    { lifecycle, version }: LifecycleEntry,
    now: number,
    positions: Map<number, Promise<number>>,
  ): Promise<number> {
    const byNumber = firstVersion(lifecycle, version) - 1;
    const time = oldestTime(lifecycle, now);
    if (time === 0) return byNumber;
    const term = await this.termOf(stream);
    if (term === undefined) return byNumber;
    // Many streams share an age: where it begins is looked up once.
    const position = positions.get(time) ?? positionAt(this.store, time);
    positions.set(time, position);
    await this.spend(seekBytes);
    return Math.max(byNumber, await countBefore(this.store, term, await position));
  }

  /** As of the head, without making the engine remember it. */
  private async termOf(stream: string): Promise<TermHead | undefined> {
    const { terms, kv, head } = this.store;
    const known = terms.peek(TermKind.stream, stream);
    if (known) return known;
    const number = await numberOf(kv, stream);
    return number === 0 ? undefined : loadHead(kv, number, head.position);
  }
}

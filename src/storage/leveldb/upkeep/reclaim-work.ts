// Finds what can be reclaimed: for each stream with a lifecycle, the versions that had already been
// removed at the previous look. The space of a removed event is therefore kept for at least one
// pause, for reads that began before the removal. Nothing of this is stored, because postings show
// which of their events are removed records.

import { isSystemName } from "../../../domain/event.ts";
import { firstVersion, oldestTime } from "../../../domain/lifecycle/lifecycle.ts";
import type { LifecycleEntry } from "../state/stream-lifecycles.ts";
import { entriesOf, streamsWithLifecycle } from "../read/lifecycles.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import { postingKey, TermKind } from "../format/keys.ts";
import { positionAt } from "../read/chunks.ts";
import { openPosting } from "../format/posting.ts";
import { chunkOfVersion } from "../read/postings.ts";
import type { RemovalBound, RemovalBounds } from "./reclaim.ts";
import { countBefore } from "../read/stream-facts.ts";
import type { TermHead } from "../state/term-table.ts";
import { loadHead, numberOf } from "../state/terms.ts";

/** Awaited with the bytes that were read. */
type Spend = (bytes: number) => Promise<void>;

interface Seen extends RemovalBound {
  /** Every event up to this version is a removed record. */
  readonly reclaimed: number;
}

/** A stream with events to reclaim. */
export interface Due extends RemovalBound {
  readonly stream: string;
  /** The first version to look at. */
  readonly from: number;
  /**
   * Whether the bound is the one of the look before. Then chunks of which only a part can be
   * reclaimed are rewritten as well.
   */
  readonly isSteady: boolean;
}

export interface Look {
  readonly due: readonly Due[];
  /** For each stream that was examined: up to which version its events may be reclaimed. */
  readonly bounds: RemovalBounds;
  /** The time by which events were judged too old. */
  readonly judgedAt: number;
}

const pageCountMax = 512;
const pageBytesMax = 256 * 1024;
/** So many streams are kept in mind from one look to the next; of more, so many at a time. */
const watchedMaxDefault = 65_536;
const namesAtOnceMax = 1_000;
/** The cost that is charged for a seek. */
const seekBytes = 4 * 1024;

export class ReclaimWork {
  private readonly store: OpenStore;
  private readonly spend: Spend;
  private readonly watchedMax: number;
  /** The streams that were looked at the time before. */
  private seen = new Map<string, Seen>();
  /** The stream after which the next look begins. */
  private after = "";
  private judgedAt = 0;

  constructor(store: OpenStore, spend: Spend, watchedMax = watchedMaxDefault) {
    this.store = store;
    this.spend = spend;
    this.watchedMax = watchedMax;
  }

  /** Events of the streams looked at last that are removed and not reclaimed. */
  get waitingEvents(): number {
    let count = 0;
    for (const { gone, reclaimed } of this.seen.values()) count += Math.max(0, gone - reclaimed);
    return count;
  }

  async look(): Promise<Look> {
    const now = timeOf(this.store);
    const { judgedAt, seen: bounds } = this;
    const positions = new Map<number, Promise<number>>();
    const seen = await this.watch(now, positions);
    const due: Due[] = [];
    for (const [stream, { gone, policy, reclaimed }] of bounds) {
      if (gone <= reclaimed) continue;
      const next = seen.get(stream)?.gone ?? (await this.goneNow(stream, now, positions));
      due.push({ stream, gone, policy, from: reclaimed + 1, isSteady: next === gone });
    }
    this.seen = seen;
    this.judgedAt = now;
    return { due, bounds, judgedAt };
  }

  /** Looks at the next streams, as many as are kept in mind. */
  private async watch(
    now: number,
    positions: Map<number, Promise<number>>,
  ): Promise<Map<string, Seen>> {
    const { store, after } = this;
    const seen = new Map<string, Seen>();
    this.after = "";
    const atOnceMax = Math.min(this.watchedMax, namesAtOnceMax);
    const pages = streamsWithLifecycle(store.kv, store.head.position, { after, atOnceMax });
    for await (const page of pages) {
      const streams = page.filter((stream) => !isSystemName(stream));
      for (const [stream, entry] of await entriesOf(store, streams)) {
        // A stream whose lifecycle cannot be read keeps what it has.
        if ("fault" in entry) continue;
        const gone = await this.goneOf(stream, entry, now, positions);
        const reclaimed = this.seen.get(stream)?.reclaimed ?? 0;
        seen.set(stream, { gone, policy: entry.position, reclaimed });
      }
      await this.spend(seekBytes);
      if (seen.size < this.watchedMax) continue;
      this.after = page.at(-1) ?? "";
      break;
    }
    return seen;
  }

  private async goneNow(
    stream: string,
    now: number,
    positions: Map<number, Promise<number>>,
  ): Promise<number> {
    const entry = (await entriesOf(this.store, [stream])).get(stream);
    if (entry === undefined || "fault" in entry) return 0;
    return this.goneOf(stream, entry, now, positions);
  }

  /** Records that every event of the stream up to this version is a removed record. */
  reclaimed(stream: string, version: number): void {
    const seen = this.seen.get(stream);
    if (seen) this.seen.set(stream, { ...seen, reclaimed: Math.max(seen.reclaimed, version) });
  }

  /**
   * Calls `add` with the last position of each chunk that has events to reclaim. Returns the
   * version up to which there are only such events and removed records.
   */
  async chunksOf(due: Due, add: (chunkLast: number) => Promise<void>): Promise<number> {
    const { kv, head } = this.store;
    const number = await numberOf(kv, { kind: TermKind.stream, name: due.stream });
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

  /** The version up to which the stream's events are removed. */
  private async goneOf(
    stream: string,
    { lifecycle }: LifecycleEntry,
    now: number,
    positions: Map<number, Promise<number>>,
  ): Promise<number> {
    const time = oldestTime(lifecycle, now);
    const isCounted = lifecycle.policy.maxCount !== undefined;
    const term = isCounted || time > 0 ? await this.termOf(stream) : undefined;
    const byNumber = firstVersion(lifecycle, term?.count ?? 0) - 1;
    if (time === 0 || term === undefined) return byNumber;
    // Many streams share an age limit: its position is looked up once.
    const position = positions.get(time) ?? positionAt(this.store, time);
    positions.set(time, position);
    await this.spend(seekBytes);
    return Math.max(byNumber, await countBefore(this.store, term, await position));
  }

  /** The stream's term as of the head, without caching it in the engine. */
  private async termOf(stream: string): Promise<TermHead | undefined> {
    const { terms, kv, head } = this.store;
    const known = terms.peek(TermKind.stream, stream);
    if (known) return known;
    const number = await numberOf(kv, { kind: TermKind.stream, name: stream });
    return number === 0 ? undefined : loadHead(kv, number, head.position);
  }
}

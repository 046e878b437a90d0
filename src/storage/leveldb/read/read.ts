// All reads of events: plan the way, walk it, and gather the events into batches. The whole read is
// as of one head.

import { positionMax } from "../../../domain/limits.ts";
import { regularFrames } from "../../../domain/record.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { closedError, readFailure, type OpenStore } from "../state/open-store.ts";
import { batchesFrom } from "./batches.ts";
import { positionAt } from "./chunks.ts";
import { gathererFor } from "./gatherer.ts";
import { hotBatch, hotEvents, hotWalk } from "./hot-stream.ts";
import { planFor } from "./plan.ts";
import { shortRead } from "./short-read.ts";
import { TypeFilter } from "./type-filter.ts";
import { batchesOfTypes } from "./type-walk.ts";
import { Visibility } from "./visibility.ts";
import { batchIn, indexWalk, logWalk } from "./walks.ts";

const fewChunks = 8;

/**
 * A read of `Storage.read`. `head` is the head up to which it may look. It is an iterator written
 * by hand, because nested generators cost as much as a short read.
 */
export class EngineRead implements AsyncIterableIterator<Batch, undefined> {
  private readonly store: OpenStore;
  private readonly read: StorageRead;
  readonly head: number;
  readonly moment: number;
  private batches: Batches | undefined;

  constructor(store: OpenStore, read: StorageRead, head: number) {
    this.store = store;
    this.read = read;
    this.head = head;
    this.moment = store.hot.moment();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Batch, undefined>> {
    if (!this.store.open) throw closedError();
    try {
      this.batches ??= await begin(this.store, this.read, this);
      const next = await this.batches.next();
      if (!this.store.holdsIrregular || next.done === true) return next;
      return { done: false, value: regularBatch(next.value) };
    } catch (error) {
      throw readFailure(error);
    }
  }

  async return(): Promise<IteratorResult<Batch, undefined>> {
    await this.batches?.return?.();
    return { done: true, value: undefined };
  }
}

/** The batches, with records that every parser accepts. */
function regularBatch(batch: Batch): Batch {
  const frames = batch.frames.map((each) => regularFrames(each));
  return { ...batch, frames, bytes: frames.reduce((bytes, { length }) => bytes + length, 0) };
}

type Batches = Iterator<Batch, undefined> | AsyncIterator<Batch, undefined>;

interface AsOf {
  readonly head: number;
  readonly moment: number;
}

/** Begins to gather the events into batches. Short reads end here. */
function begin(store: OpenStore, read: StorageRead, asOf: AsOf): Batches | Promise<Batches> {
  const first = Math.max(read.positions.first, 1);
  const last = Math.min(read.positions.last, asOf.head);
  if (first > last) return nothing;
  const bounded = { ...read, positions: { first, last } };
  const hot = hotEvents(store, bounded);
  // A small range in memory is faster to examine than any index. Live subscriptions read this way.
  const isForwards = read.direction === "forwards" && read.versions === undefined;
  const recent = isForwards && !hot ? store.tail.covering(first, last, fewChunks) : undefined;
  if (store.lifecycles.isEmpty) {
    const batch = hot ? hotBatch(bounded, hot) : recent && batchIn(recent, bounded);
    if (batch !== undefined) return [batch].values();
    const short = hot || recent ? undefined : shortRead(store, bounded, asOf);
    if (short !== undefined) return short.count === 0 ? nothing : [short].values();
  }
  const visibility = new Visibility(store, read);
  if (hot) return batchesFrom(hotWalk(bounded, hot), bounded, visibility);
  if (recent) return batchesFrom(logWalk(store, bounded, asOf.head), bounded, visibility);
  return planned(store, bounded, { ...asOf, visibility });
}

/** Finds the fastest way to the events of the read. */
async function planned(
  store: OpenStore,
  read: StorageRead,
  { head, moment, visibility }: AsOf & { readonly visibility: Visibility },
): Promise<Batches> {
  const narrow = store.lifecycles.isEmpty ? read : await narrowed(store, read, visibility);
  if (narrow.positions.first > narrow.positions.last) return nothing;
  const plan = await planFor(store, narrow, head);
  if (plan.kind === "scan") {
    const isPlain = read.direction === "forwards" && store.lifecycles.isEmpty;
    const filter = isPlain ? TypeFilter.of(read.selection) : undefined;
    if (filter) return batchesOfTypes(store, read, { head, filter, visibility });
    return batchesFrom(logWalk(store, read, head), read, visibility);
  }
  const gatherer = gathererFor(store, narrow, plan.terms[0]?.number ?? 0, { head, moment });
  const walk = indexWalk(store, narrow, { terms: plan.terms, head, gatherer });
  return batchesFrom(walk, read, visibility);
}

const nothing: Batches = { next: () => ({ done: true, value: undefined }) };

/** Leaves out the removed beginning of a stream, however long it is. */
async function narrowed(
  store: OpenStore,
  read: StorageRead,
  visibility: Visibility,
): Promise<StorageRead> {
  const { selection, positions, versions } = read;
  if (selection.kind !== "stream" || read.withRemovedRecords === true) return read;
  const left = (await visibility.judgeOf([selection.stream])).of(selection.stream);
  if (left === undefined) return read;
  const oldest = left.time === 0 ? 1 : await positionAt(store, left.time);
  const [from, to] = [versions?.first ?? 1, versions?.last ?? positionMax];
  return {
    ...read,
    positions: { first: Math.max(positions.first, oldest), last: positions.last },
    ...((left.version > 1 || versions) && {
      versions: { first: Math.max(from, left.version), last: to },
    }),
  };
}

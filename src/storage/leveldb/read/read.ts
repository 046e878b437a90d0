// All reads of events: plan the way, walk it, and gather the events into batches. The whole read is
// as of one head.

import { positionMax } from "../../../domain/limits.ts";
import { regularFrames } from "../../../domain/record.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { assertOpen, readFailure, type OpenStore } from "../state/open-store.ts";
import { batchesFrom } from "./batches.ts";
import { positionAt } from "./chunks.ts";
import { planFor } from "./plan.ts";
import { Visibility } from "./visibility.ts";
import { indexWalk, logWalk, type Walk } from "./walks.ts";

const fewChunks = 8;

/** As `Storage.read`. `head` is the head up to which the read may look. */
export function beginRead(store: OpenStore, read: StorageRead, head: number): AsyncIterable<Batch> {
  return { [Symbol.asyncIterator]: () => new Reading(store, read, head) };
}

/** A hand-written iterator, because nested generators cost as much as a short read. */
class Reading implements AsyncIterator<Batch, undefined> {
  private readonly store: OpenStore;
  private readonly read: StorageRead;
  private readonly head: number;
  private batches: AsyncIterator<Batch> | undefined;

  constructor(store: OpenStore, read: StorageRead, head: number) {
    this.store = store;
    this.read = read;
    this.head = head;
  }

  async next(): Promise<IteratorResult<Batch, undefined>> {
    assertOpen(this.store);
    try {
      this.batches ??= await begin(this.store, this.read, this.head);
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

async function begin(
  store: OpenStore,
  read: StorageRead,
  head: number,
): Promise<AsyncIterator<Batch>> {
  const first = Math.max(read.positions.first, 1);
  const last = Math.min(read.positions.last, head);
  if (first > last) return nothing;
  const visibility = new Visibility(store, read);
  const bounded = { ...read, positions: { first, last } };
  const walk = await walkFor(store, bounded, head, visibility);
  return walk === undefined ? nothing : batchesFrom(walk, bounded, visibility);
}

const nothing: AsyncIterator<Batch> = {
  next: () => Promise.resolve({ done: true, value: undefined }),
};

/** The fastest way to the events of the read. Undefined: all of them are removed. */
async function walkFor(
  store: OpenStore,
  read: StorageRead,
  head: number,
  visibility: Visibility,
): Promise<Walk | undefined> {
  const { first, last } = read.positions;
  // A small range in memory is faster to examine than any index. Live subscriptions read this way.
  const isForwards = read.direction === "forwards" && read.versions === undefined;
  if (isForwards && store.tail.covers(first, last, fewChunks)) return logWalk(store, read, head);
  const narrow = await narrowed(store, read, visibility);
  if (narrow.positions.first > narrow.positions.last) return undefined;
  const plan = await planFor(store, narrow, head);
  if (plan.kind === "scan") return logWalk(store, read, head);
  return indexWalk(store, narrow, plan.terms, head);
}

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

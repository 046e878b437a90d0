// Every read of events: choose how to find them, then find them. The whole read is as of one head.

import { positionMax } from "../../../domain/limits.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { assertOpen, readFailure, type OpenStore } from "../state/open-store.ts";
import { indexRead } from "./index-read.ts";
import { planFor } from "./plan.ts";
import { positionAt } from "./position-at.ts";
import { scanRead } from "./scan-read.ts";
import { Visibility } from "./visibility.ts";

const fewChunks = 8;

/** As `Storage.read`; `head` is the head up to which the read may look. */
export function beginRead(store: OpenStore, read: StorageRead, head: number): AsyncIterable<Batch> {
  return { [Symbol.asyncIterator]: () => new Reading(store, read, head) };
}

/** An iterator by hand: a generator around a generator costs as much as a short read does. */
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
      return await this.batches.next();
    } catch (error) {
      throw readFailure(error);
    }
  }

  async return(): Promise<IteratorResult<Batch, undefined>> {
    await this.batches?.return?.();
    return { done: true, value: undefined };
  }
}

async function begin(
  store: OpenStore,
  read: StorageRead,
  head: number,
): Promise<AsyncIterator<Batch>> {
  const first = Math.max(read.positions.first, 1);
  const last = Math.min(read.positions.last, head);
  if (first > last) return nothing;
  const bounded = { ...read, positions: { first, last } };
  const visibility = new Visibility(store, read);
  // A little that is in memory is cheaper to look at than any index: what is live.
  const forwards = read.direction === "forwards" && read.versions === undefined;
  if (forwards && store.tail.covers(first, last, fewChunks)) {
    return scanRead(store, bounded, head, visibility);
  }
  const narrow = await narrowed(store, bounded, visibility);
  if (narrow.positions.first > narrow.positions.last) return nothing;
  const plan = await planFor(store, narrow, head);
  if (plan.kind === "scan") return scanRead(store, bounded, head, visibility);
  return indexRead(store, narrow, plan.terms, head, visibility);
}

const nothing: AsyncIterator<Batch> = {
  next: () => Promise.resolve({ done: true, value: undefined }),
};

/** Without what is removed of a stream: its beginning, however long that is. */
async function narrowed(
  store: OpenStore,
  read: StorageRead,
  visibility: Visibility,
): Promise<StorageRead> {
  if (read.selection.kind !== "stream" || read.withRemovedRecords === true) return read;
  const entry = await visibility.entryOf(read.selection.stream);
  if (entry === undefined) return read;
  const { version, time } = visibility.boundsOf(entry);
  const { positions, versions } = read;
  const oldest = time === 0 ? 1 : await positionAt(store, time);
  const [from, to] = [versions?.first ?? 1, versions?.last ?? positionMax];
  return {
    ...read,
    positions: { first: Math.max(positions.first, oldest), last: positions.last },
    ...(version > 1 || versions ? { versions: { first: Math.max(from, version), last: to } } : {}),
  };
}

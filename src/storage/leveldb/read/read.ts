// Every read of events: choose how to find them, then find them. The whole read is as of one head.

import { positionMax } from "../../../domain/limits.ts";
import type { Slab, StorageRead } from "../../storage.ts";
import { assertOpen, readFailure, type Core } from "../state/open-store.ts";
import { indexRead } from "./index-read.ts";
import { planFor } from "./plan.ts";
import { positionAt } from "./position-at.ts";
import { scanRead } from "./scan-read.ts";
import { Sight } from "./visibility.ts";

const fewChunks = 8;

/** As `Storage.read`; `head` is the head up to which the read may look. */
export function readEvents(core: Core, read: StorageRead, head: number): AsyncIterable<Slab> {
  return { [Symbol.asyncIterator]: () => new Reading(core, read, head) };
}

/** An iterator by hand: a generator around a generator costs as much as a short read does. */
class Reading implements AsyncIterator<Slab, undefined> {
  private readonly core: Core;
  private readonly read: StorageRead;
  private readonly head: number;
  private slabs: AsyncIterator<Slab> | undefined;

  constructor(core: Core, read: StorageRead, head: number) {
    this.core = core;
    this.read = read;
    this.head = head;
  }

  async next(): Promise<IteratorResult<Slab, undefined>> {
    assertOpen(this.core);
    try {
      this.slabs ??= await begin(this.core, this.read, this.head);
      return await this.slabs.next();
    } catch (error) {
      throw readFailure(error);
    }
  }

  async return(): Promise<IteratorResult<Slab, undefined>> {
    await this.slabs?.return?.();
    return { done: true, value: undefined };
  }
}

async function begin(core: Core, read: StorageRead, head: number): Promise<AsyncIterator<Slab>> {
  const first = Math.max(read.positions.first, 1);
  const last = Math.min(read.positions.last, head);
  if (first > last) return nothing;
  const bounded = { ...read, positions: { first, last } };
  const sight = new Sight(core, read);
  // A little that is in memory is cheaper to look at than any index: what is live.
  const forwards = read.direction === "forwards" && read.versions === undefined;
  if (forwards && core.tail.covers(first, last, fewChunks)) {
    return scanRead(core, bounded, head, sight);
  }
  const narrow = await narrowed(core, bounded, sight);
  if (narrow.positions.first > narrow.positions.last) return nothing;
  const plan = await planFor(core, narrow, head);
  if (plan.kind === "scan") return scanRead(core, bounded, head, sight);
  return indexRead(core, narrow, plan.terms, head, sight);
}

const nothing: AsyncIterator<Slab> = {
  next: () => Promise.resolve({ done: true, value: undefined }),
};

/** Without what is removed of a stream: its beginning, however long that is. */
async function narrowed(core: Core, read: StorageRead, sight: Sight): Promise<StorageRead> {
  if (read.selection.kind !== "stream" || read.withStubs === true) return read;
  const entry = await sight.entryOf(read.selection.stream);
  if (entry === undefined) return read;
  const { version, time } = sight.boundsOf(entry);
  const { positions, versions } = read;
  const oldest = time === 0 ? 1 : await positionAt(core, time);
  const [from, to] = [versions?.first ?? 1, versions?.last ?? positionMax];
  return {
    ...read,
    positions: { first: Math.max(positions.first, oldest), last: positions.last },
    ...(version > 1 || versions ? { versions: { first: Math.max(from, version), last: to } } : {}),
  };
}

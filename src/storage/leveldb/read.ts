// Every read of events: choose how to find them, then find them. The whole read is as of one head.

import { positionMax } from "../../domain/limits.ts";
import type { Slab, StorageRead } from "../storage.ts";
import { assertOpen, readFailure, type Core } from "./core.ts";
import { indexRead } from "./index-read.ts";
import { planFor } from "./plan.ts";
import { positionAt } from "./position-at.ts";
import { scanRead } from "./scan-read.ts";
import { Sight } from "./sight.ts";

const fewChunks = 8;

/** As `Storage.read`; `head` is the head up to which the read may look. */
export async function* readEvents(
  core: Core,
  read: StorageRead,
  head: number,
): AsyncGenerator<Slab> {
  assertOpen(core);
  const first = Math.max(read.positions.first, 1);
  const last = Math.min(read.positions.last, head);
  if (first > last) return;
  const bounded = { ...read, positions: { first, last } };
  try {
    const sight = new Sight(core, read);
    // A little that is in memory is cheaper to look at than any index: what is live.
    const forwards = read.direction === "forwards" && read.versions === undefined;
    if (forwards && core.tail.covers(first, last, fewChunks)) {
      yield* scanRead(core, bounded, head, sight);
      return;
    }
    const narrow = await narrowed(core, bounded, sight);
    if (narrow.positions.first > narrow.positions.last) return;
    const plan = await planFor(core, narrow, head);
    if (plan.kind === "scan") yield* scanRead(core, bounded, head, sight);
    else yield* indexRead(core, narrow, plan.terms, head, sight);
  } catch (error) {
    throw readFailure(error);
  }
}

/** Without what is removed of a stream: its beginning, however long that is. */
async function narrowed(core: Core, read: StorageRead, sight: Sight): Promise<StorageRead> {
  if (read.selection.kind !== "stream") return read;
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

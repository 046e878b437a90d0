// Every read of events: choose how to find them, then find them. The whole read is as of one head.

import type { Slab, StorageRead } from "../storage.ts";
import { assertOpen, readFailure, type Core } from "./core.ts";
import { indexRead } from "./index-read.ts";
import { planFor } from "./plan.ts";
import { scanRead } from "./scan-read.ts";

const fewChunks = 8;

/** As `Storage.read`; `head` is the head the read is of. */
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
    // A little that is in memory is cheaper to look at than any index: what is live.
    const forwards = read.direction === "forwards" && read.versions === undefined;
    if (forwards && core.tail.covers(first, last, fewChunks)) {
      yield* scanRead(core, bounded, head);
      return;
    }
    const plan = await planFor(core, read, head);
    if (plan.kind === "scan") yield* scanRead(core, bounded, head);
    else yield* indexRead(core, bounded, plan.terms, head);
  } catch (error) {
    throw readFailure(error);
  }
}

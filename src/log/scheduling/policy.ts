// How reads share the one thread and the memory of the process: every constant of it, each with its
// reason. Costs are counted in bytes of small records, read and sent one by one, which is the most
// expensive way to read a byte. The gate (read-gate.ts) spends them, scheduled-read.ts tells them,
// and unsent-bytes.ts counts what clients leave untaken.

import type { Batch } from "../../storage/storage.ts";

const KiB = 1024;

export const schedulingPolicy = Object.freeze({
  /**
   * Cost let through in one turn of the event loop: one full batch of small events. Appends arrive
   * as I/O between two turns, so this is what a reader at full speed delays them by.
   */
  turnBytes: 128 * KiB,
  /** A read that finds nothing costs a look into the index all the same. */
  readBytesMin: KiB,

  /**
   * What a live read is taken for before it is known: most of them find a few events and end with
   * their first batch. Eight of them share a turn. Batches after the first one are full.
   */
  liveBatchBytes: 16 * KiB,
  /**
   * A batch of a read that is a view of one head costs at least this: the read goes to the engine
   * and back and is answered by itself, where live events are in memory and often shared. Four of
   * them share a turn.
   */
  viewBatchBytesMin: 32 * KiB,
  /** Frames of at least this size on average are whole chunks, passed on without looking inside. */
  wholeChunkBytesMin: 4 * KiB,
  /** They cost a third of records that are looked at one by one. */
  wholeChunkCostShare: 1 / 3,
  /** Handing a subscription a batch that another one has read costs this part of reading it. */
  sharedBatchCostShare: 1 / 32,

  /**
   * Reads that wait at the gate while the engine holds pages for them, up to half a MiB each.
   * Beyond, the engine's reads are closed while they wait, and begin anew at their place.
   */
  openReadsWaitingMax: 256,
  /**
   * While clients leave much untaken, a call reads batches of this size and closes the engine's
   * read between them: this is all that a call then holds that waits for its client.
   */
  frugalBatchBytes: 16 * KiB,
  /**
   * Of one call, given to its connection and not taken yet: a batch and a half, so that the next
   * one is read while one is sent.
   */
  callUnsentBytesMax: 192 * KiB,
  /** Batches kept for subscriptions that ask for the same a little later. */
  sharedBatchesBytesMax: 16 * KiB * KiB,
  sharedBatchesKeptMs: 1_000,

  /** Subscriptions woken in one turn of the event loop: each reads and writes a little. */
  wakesPerTurn: 128,
  /**
   * Where more than so many were woken at once, the next wake comes no sooner than `lingerMs` after
   * it: ten thousand subscribers are sent few full messages instead of many small ones.
   */
  lingerWakes: 32,
  lingerMs: 4,

  /**
   * A condition that reaches back further than so many positions is looked up before its append
   * waits for its commit: in the queue a look-up keeps every writer waiting, and a near one costs
   * less than looking twice.
   */
  lookAheadPositionsMin: 1_000,
});

/** Whether the frames of a batch are whole chunks. */
function isWholeChunks({ count, bytes, frames }: Batch): boolean {
  return count > 0 && bytes >= frames.length * schedulingPolicy.wholeChunkBytesMin;
}

/** What reading the batch did cost; undefined: the read had ended. */
export function costOf(batch: Batch | undefined): number {
  if (batch === undefined) return 0;
  if (isWholeChunks(batch)) return batch.bytes * schedulingPolicy.wholeChunkCostShare;
  // Where nothing matched, the engine looked at as much as it does between two signs of life.
  return batch.count === 0 ? schedulingPolicy.turnBytes : batch.bytes;
}

/** What the batch after this one will cost, about. */
export function nextCost(batch: Batch): number {
  const { turnBytes, wholeChunkCostShare } = schedulingPolicy;
  return isWholeChunks(batch) ? Math.floor(turnBytes * wholeChunkCostShare) : turnBytes;
}

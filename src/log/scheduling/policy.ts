// How work shares the main thread and memory: all constants with their reasons. Costs are measured
// in bytes of small records that are read and sent one by one, the most expensive way to read a
// byte: one KiB is about 30 microseconds of the main thread. The scheduler (scheduler.ts) admits
// costs, scheduled-read.ts and the lists report them, and client-memory.ts counts what is held for
// clients.

const KiB = 1024;

export const schedulingPolicy = Object.freeze({
  /**
   * Cost admitted in one turn of the event loop: one full batch of small events. Appends arrive as
   * I/O between two turns, so this is how much a reader at full speed delays them.
   */
  turnBytes: 128 * KiB,
  /** A read that finds nothing still costs a lookup in the index. */
  readBytesMin: KiB,
  /**
   * What a connection gets in its turn before the next one gets something: a few small reads. A
   * full batch is as much as four turns.
   */
  quantumBytes: 32 * KiB,

  /** An entry of a list: its share of the range that is read, and of the answer. */
  listEntryBytes: KiB / 2,
  /** An item of a condition that is looked up, and a value of it. */
  conditionItemBytes: 2 * KiB,
  conditionValueBytes: 32,
  /** A group in a list: its lag and its parked events are looked up. */
  groupInfoBytes: 8 * KiB,

  /**
   * The assumed cost of a live read. Most of them find a few events and end with their first batch.
   * Eight of them share a turn. Later batches are full.
   */
  liveBatchBytes: 16 * KiB,
  /**
   * The minimum cost of a batch of a read that is a view of one head. Such a read goes to the
   * engine, while live events are in memory and often shared. Four of them share a turn.
   */
  viewBatchBytesMin: 32 * KiB,
  /** A batch for a consumer group: half a turn's cost, since groups examine every record. */
  groupBatchBytes: 64 * KiB,
  /**
   * Frames of at least this average size are whole chunks, which are passed on without being
   * decoded.
   */
  wholeChunkBytesMin: 4 * KiB,
  /** Whole chunks cost a third of records that are examined one by one. */
  wholeChunkCostShare: 1 / 3,
  /**
   * The cost of giving a subscription a batch that another one has read, compared to reading it.
   */
  sharedBatchCostShare: 1 / 32,
  /** The cost of giving a live subscription a batch of a few events. */
  deliveryBytes: 64,
  /** Live subscriptions that get a batch in one turn of the event loop: half a millisecond. */
  deliveriesPerTurn: 256,
  /** What a millisecond of the main thread costs where it is measured. */
  msBytes: 32 * KiB,
  /**
   * How long one loop of live subscriptions lets events gather at most, after a delivery that took
   * as long.
   */
  gatherMsMax: 20,

  /**
   * Reads that wait at the gate while the engine holds pages for them, up to half a MiB each.
   * Beyond this number, the engine's reads are closed while they wait, and reopened at their
   * position.
   */
  openReadsWaitingMax: 128,
  /**
   * While clients leave many bytes untaken, a call reads batches of this size and closes the
   * engine's read in between. This is all that such a call holds while it waits for its client.
   */
  frugalBatchBytes: 16 * KiB,
  /**
   * Bytes of one call that its connection has not sent: a batch and a half, so that the next one is
   * read while one is sent.
   */
  callUnsentBytesMax: 192 * KiB,
  /** Batches kept for subscriptions that request the same ones a little later. */
  sharedBatchesBytesMax: 16 * KiB * KiB,
  sharedBatchesKeptMs: 1_000,

  /** Subscriptions woken in one turn of the event loop. Each reads and writes a little. */
  wakesPerTurn: 128,
  /**
   * If more than this many were woken at once, the next wake comes at least `lingerMs` later, so
   * that ten thousand subscribers get few full messages instead of many small ones.
   */
  lingerWakes: 32,
  lingerMs: 4,

  /**
   * A condition that reaches back further than this is looked up before its append waits for its
   * commit, because a lookup in the queue delays every writer. For a near one, a single lookup in
   * the queue is cheaper than two.
   */
  lookAheadPositionsMin: 1_000,
  /** So are conditions of this many items, whose names may have to be looked up on disk. */
  lookAheadItemsMin: 32,
});

/** The approximate cost of a piece of a list. */
export function listCost({ limit }: { readonly limit: number }): number {
  return limit * schedulingPolicy.listEntryBytes;
}

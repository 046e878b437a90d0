// A read of the storage, pulled batch by batch, each of which passes the gate. Reads, loads,
// subscriptions and consumer groups all use it; a read ends at the head with which it began, a
// subscription waits there and continues. Between two batches it is only a position in the log: a
// consumer that stops pulling holds no more than that and its last batch.
//
// A batch on its way to a client need not be kept either. Once it is encoded, it is only a range of
// positions, and its events are read again if they are needed again: what waits for a client is
// held once, where it is counted.

import type { Batch, StorageRead, Storage } from "../../storage/storage.ts";
import type { ClientMemory } from "./client-memory.ts";
import { schedulingPolicy } from "./policy.ts";
import type { Gate } from "./scheduler.ts";

export interface Source {
  readonly storage: Storage;
  /** The reader's. */
  readonly gate: Gate;
  /** What is held for all clients. Absent: the consumer takes everything at once. */
  readonly memory?: Pick<ClientMemory, "isLarge" | "room"> | undefined;
  /** True: its batches are sent to a client one after another, which must have room for them. */
  readonly isSent?: boolean;
}

/** A batch that need not be kept while its client takes nothing. */
export interface RereadableBatch extends Batch {
  /** The batch as it was read, which others may have, too. */
  readonly origin: Batch;
  /** Lets go of the events. Before they are used again, `again` must have resolved. */
  letGo(): void;
  /** The client takes nothing for a while: the engine need not be ready to read on. */
  rest(): void;
  /** Reads the events again. Throws READ_OVERTAKEN where removed ones are needed. */
  again(): Promise<void>;
}

/** The bytes of a batch whose read may be closed and opened again: little beside reading it. */
const closedBytesMin = 1024 * 1024;

/** Called when the batch is encoded and not needed again. */
export function doneWith(batch: Batch | RereadableBatch): void {
  if (!("again" in batch)) return;
  batch.letGo();
  if (batch.bytes >= closedBytesMin) batch.rest();
}

/**
 * Pulled by the consumer. Ends early, without an error, when the signal is aborted. The engine's
 * read may be closed at any time, and is reopened after its last batch, so that the engine holds
 * nothing for it meanwhile. What a view of one head needs is read as of that head.
 */
export async function* scheduledRead(
  source: Source,
  read: StorageRead,
  signal?: AbortSignal,
): AsyncGenerator<HeldBatch> {
  const { storage, gate, memory } = source;
  const { liveBatchBytes, viewBatchBytesMin, openReadsWaitingMax } = schedulingPolicy;
  const room = source.isSent === true ? memory : undefined;
  const isForwards = read.direction === "forwards";
  const costMin = read.asOf === undefined ? 0 : viewBatchBytesMin;
  let expectedCost = costMin === 0 ? liveBatchBytes : costMin;
  /** The positions that are left to read. At the end, the engine is not asked again. */
  let { first, last } = read.positions;
  let engine: AsyncIterator<Batch> | undefined;
  /** At once: a read that goes on meanwhile begins anew. */
  const close = async (): Promise<void> => {
    const closed = engine;
    engine = undefined;
    await closed?.return?.();
  };
  const rest = (): void => void close();
  try {
    while (first <= last) {
      // To reopen the engine's read for every few events would cost more than it saves.
      const isCrowded = gate.waitingCount > openReadsWaitingMax && read.batchEvents === undefined;
      if (isCrowded) await close();
      const turn = gate.enter(expectedCost, signal);
      if (turn !== undefined) await turn;
      if (isOver(signal)) {
        gate.leave(expectedCost);
        return;
      }
      // Those who came before may have filled the memory while this one waited for its turn.
      const full = room?.room(gate.owner, signal);
      if (full !== undefined) {
        gate.leave(expectedCost);
        await close();
        await full;
        continue;
      }
      let batch: HeldBatch | undefined;
      let costs = costsOfNothing;
      try {
        const batchBytes = memory?.isLarge === true ? frugalBytesOf(read) : read.batchBytes;
        const positions = { first, last };
        engine ??= storage.read({ ...read, positions, batchBytes })[Symbol.asyncIterator]();
        const next = await engine.next();
        const found = next.done === true ? undefined : next.value;
        batch = found && new HeldBatch(found, source, { ...read, positions }, rest);
        costs = found === undefined ? costsOfNothing : costsOf(found);
      } finally {
        gate.leave(expectedCost, Math.max(costMin, costs.spent));
      }
      if (batch === undefined || isOver(signal)) return;
      if (isForwards) first = batch.through + 1;
      else last = batch.through - 1;
      if (memory?.isLarge === true) await close();
      expectedCost = costs.next;
      yield batch;
    }
  } finally {
    await close();
  }
}

/** What a batch has cost, and what the next one of its read is expected to cost. */
interface BatchCosts {
  readonly spent: number;
  readonly next: number;
}

/** The read had ended, or has failed. */
const costsOfNothing: BatchCosts = { spent: 0, next: 0 };

function costsOf({ count, bytes, frames, isPicked }: Batch): BatchCosts {
  const { turnBytes, wholeChunkBytesMin, wholeChunkCostShare: share } = schedulingPolicy;
  const isLarge = count > 0 && bytes >= frames.length * wholeChunkBytesMin;
  const areWholeChunks = isLarge && isPicked !== true;
  if (areWholeChunks) return { spent: bytes * share, next: Math.floor(turnBytes * share) };
  // Without a match, the engine examined as much as it does before it reports progress.
  return { spent: count === 0 ? turnBytes : bytes, next: turnBytes };
}

function isOver(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function frugalBytesOf({ batchBytes }: StorageRead): number {
  return Math.min(batchBytes, schedulingPolicy.frugalBatchBytes);
}

/** The first batch of a read, which can be read again. */
export class HeldBatch implements RereadableBatch {
  readonly count: number;
  readonly bytes: number;
  readonly through: number;
  private batch: Batch | undefined;
  private readonly source: Source;
  private readonly read: StorageRead;
  private readonly onRest: (() => void) | undefined;

  constructor(batch: Batch, source: Source, read: StorageRead, onRest?: () => void) {
    this.count = batch.count;
    this.bytes = batch.bytes;
    this.through = batch.through;
    this.batch = batch;
    this.source = source;
    this.read = read;
    this.onRest = onRest;
  }

  get origin(): Batch {
    if (this.batch !== undefined) return this.batch;
    throw new Error("a batch is read again before it is used again");
  }

  get frames(): readonly Uint8Array[] {
    return this.origin.frames;
  }

  /** A part of it, whose first event in the order of the read is at this position. */
  part(batch: Batch, firstPosition: number): HeldBatch {
    const first = Math.min(firstPosition, batch.through);
    const last = Math.max(firstPosition, batch.through);
    const read = { ...this.read, positions: { first, last } };
    return new HeldBatch(batch, this.source, read, this.onRest);
  }

  letGo(): void {
    this.batch = undefined;
  }

  rest(): void {
    this.onRest?.();
  }

  async again(): Promise<void> {
    if (this.batch !== undefined) return;
    const { storage, gate } = this.source;
    const { through } = this;
    const { direction, positions: asked } = this.read;
    const { first, last } = asked;
    const positions =
      direction === "forwards" ? { first, last: through } : { first: through, last };
    const batchBytes = Math.max(this.read.batchBytes, this.bytes);
    const read = { ...this.read, positions, batchBytes };
    const frames: Uint8Array[] = [];
    let [count, bytes] = [0, 0];
    for await (const part of scheduledRead({ storage, gate }, read)) {
      frames.push(...part.frames);
      count += part.count;
      bytes += part.bytes;
    }
    this.batch = { frames, count, bytes, through };
  }
}

// A read of the storage, pulled batch by batch, each of which passes the gate. Reads, loads,
// subscriptions and consumer groups all use it; a read ends at the head with which it began, a
// subscription waits there and continues. Between two batches it is only a position in the log: a
// consumer that stops pulling holds no more than that and its last batch.

import type { Batch, Storage, StorageRead } from "../../storage/storage.ts";
import type { ClientMemory } from "./client-memory.ts";
import { costOf, nextCost, schedulingPolicy } from "./policy.ts";
import type { Gate } from "./scheduler.ts";

export interface Source {
  readonly storage: Storage;
  /** The reader's. */
  readonly gate: Gate;
  /** What is held for all clients. Absent: the consumer takes everything at once. */
  readonly memory?: Pick<ClientMemory, "isLarge"> | undefined;
}

/** Pulled by the consumer. Ends early, without an error, when the signal is aborted. */
export async function* scheduledRead(
  { storage, gate, memory }: Source,
  read: StorageRead,
  signal?: AbortSignal,
): AsyncGenerator<Batch> {
  const { liveBatchBytes, viewBatchBytesMin, openReadsWaitingMax } = schedulingPolicy;
  const costMin = read.asOf === undefined ? 0 : viewBatchBytesMin;
  let expectedCost = costMin === 0 ? liveBatchBytes : costMin;
  const engine = new EngineRead(storage, read);
  try {
    while (!engine.isDone) {
      // To reopen the engine's read for every few events would cost more than it saves.
      const isCrowded = gate.waitingCount > openReadsWaitingMax && read.batchEvents === undefined;
      if (isCrowded) await engine.close();
      const turn = gate.enter(expectedCost, signal);
      if (turn !== undefined) await turn;
      if (isOver(signal)) {
        gate.leave(expectedCost);
        return;
      }
      let batch: Batch | undefined;
      try {
        batch = await engine.next(memory?.isLarge === true);
      } finally {
        gate.leave(expectedCost, Math.max(costMin, costOf(batch)));
      }
      if (batch === undefined || isOver(signal)) return;
      if (memory?.isLarge === true) await engine.close();
      yield batch;
      expectedCost = nextCost(batch);
    }
  } finally {
    await engine.close();
  }
}

function isOver(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

/**
 * The engine's read. It may be closed at any time, and is reopened after its last batch, so that
 * the engine holds nothing for it meanwhile. What a view of one head needs is read as of that head.
 */
class EngineRead {
  private readonly storage: Storage;
  private readonly read: StorageRead;
  private batches: AsyncIterator<Batch> | undefined;
  /** The first position that is left to read. */
  private first: number;
  private last: number;

  constructor(storage: Storage, read: StorageRead) {
    this.storage = storage;
    this.read = read;
    this.first = read.positions.first;
    this.last = read.positions.last;
  }

  /** Known without asking the engine, which would cost another turn. */
  get isDone(): boolean {
    return this.first > this.last;
  }

  /** `isFrugal`: a new batch should be small. Undefined: there are no more batches. */
  async next(isFrugal: boolean): Promise<Batch | undefined> {
    if (this.batches === undefined) {
      const positions = { first: this.first, last: this.last };
      const { batchBytes } = this.read;
      const bytes = isFrugal ? Math.min(batchBytes, schedulingPolicy.frugalBatchBytes) : batchBytes;
      const read = { ...this.read, positions, batchBytes: bytes };
      this.batches = this.storage.read(read)[Symbol.asyncIterator]();
    }
    const { done, value } = await this.batches.next();
    if (done === true) return undefined;
    const batch: Batch = value;
    if (this.read.direction === "forwards") this.first = batch.through + 1;
    else this.last = batch.through - 1;
    return batch;
  }

  async close(): Promise<void> {
    await this.batches?.return?.();
    this.batches = undefined;
  }
}

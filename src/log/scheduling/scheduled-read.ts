// A read of the storage, pulled batch by batch, each of which passes the gate. Reads, loads,
// subscriptions and consumer groups all use it; a read ends at the head with which it began, a
// subscription waits there and continues. Between two batches it is only a position in the log: a
// consumer that stops pulling holds no more than that and its last batch.

import type { Batch, Range, Storage, StorageRead } from "../../storage/storage.ts";
import type { ClientMemory } from "./client-memory.ts";
import { HeldBatch } from "./held-batch.ts";
import { costOf, nextCost, schedulingPolicy } from "./policy.ts";
import type { Gate } from "./scheduler.ts";

export interface Source {
  readonly storage: Storage;
  /** The reader's. */
  readonly gate: Gate;
  /** What is held for all clients. Absent: the consumer takes everything at once. */
  readonly memory?: Pick<ClientMemory, "isLarge" | "room"> | undefined;
  /**
   * Resolves when more may be read for the reader's client. Undefined: now. Absent: what is read is
   * not held for a client.
   */
  readonly room?: ((signal?: AbortSignal) => Promise<void> | undefined) | undefined;
}

/** Whose batches are sent to a client one after another. */
export function sent<S extends Source>(source: S): S {
  const { memory, gate } = source;
  return { ...source, room: memory && ((signal) => memory.room(gate.owner, signal)) };
}

/**
 * Pulled by the consumer. Ends early, without an error, when the signal is aborted. The engine's
 * read may be closed at any time, and is reopened after its last batch, so that the engine holds
 * nothing for it meanwhile. What a view of one head needs is read as of that head.
 */
export async function* scheduledRead(
  { storage, gate, memory, room }: Source,
  read: StorageRead,
  signal?: AbortSignal,
): AsyncGenerator<HeldBatch> {
  const { liveBatchBytes, viewBatchBytesMin, openReadsWaitingMax } = schedulingPolicy;
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
      const full = room?.(signal);
      if (full !== undefined) {
        gate.leave(expectedCost);
        await close();
        await full;
        continue;
      }
      let batch: HeldBatch | undefined;
      try {
        const batchBytes = memory?.isLarge === true ? frugalBytesOf(read) : read.batchBytes;
        const positions = { first, last };
        engine ??= storage.read({ ...read, positions, batchBytes })[Symbol.asyncIterator]();
        const next = await engine.next();
        batch =
          next.done === true
            ? undefined
            : heldBatch({ storage, gate }, behind(read, positions, next.value), next.value, rest);
      } finally {
        gate.leave(expectedCost, Math.max(costMin, costOf(batch)));
      }
      if (batch === undefined || isOver(signal)) return;
      const isForwards = read.direction === "forwards";
      if (isForwards) first = batch.through + 1;
      else last = batch.through - 1;
      if (memory?.isLarge === true) await close();
      expectedCost = nextCost(batch);
      yield batch;
    }
  } finally {
    await close();
  }
}

/** The read of what a batch is of, which began at one end of these positions. */
function behind(read: StorageRead, { first, last }: Range, { through }: Batch): StorageRead {
  const isForwards = read.direction === "forwards";
  const positions = isForwards ? { first, last: through } : { first: through, last };
  return { ...read, positions };
}

/** A batch of all that the read finds, which can be read again. */
export function heldBatch(
  { storage, gate }: Pick<Source, "storage" | "gate">,
  read: StorageRead,
  batch: Batch,
  rest?: () => void,
): HeldBatch {
  const batchBytes = Math.max(read.batchBytes, batch.bytes);
  return new HeldBatch(batch, read.positions, {
    read: (positions) => scheduledRead({ storage, gate }, { ...read, positions, batchBytes }),
    ...(rest && { rest }),
  });
}

function isOver(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function frugalBytesOf({ batchBytes }: StorageRead): number {
  return Math.min(batchBytes, schedulingPolicy.frugalBatchBytes);
}

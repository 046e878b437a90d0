// A read of the storage, pulled batch by batch, each of which passes the gate. Reads, loads,
// subscriptions and consumer groups all use it; a read ends at the head with which it began, a
// subscription waits there and continues. Between two batches it is only a position in the log: a
// consumer that stops pulling holds no more than that and its last batch.
//
// A batch on its way to a client need not be kept either. Once it is encoded, it is only a range of
// positions, and its events are read again if they are needed again: what waits for a client is
// held once, where it is counted.

import type { Batch, StorageRead, Storage } from "../../storage/storage.ts";
import type { ClientMemory, Waiter } from "./client-memory.ts";
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

/** As much of a call as its read needs. */
export type ReadSignal = Waiter & { readonly reason: unknown };

/**
 * Pulled by the consumer. Ends early, without an error, when the signal is aborted. The engine's
 * read may be closed at any time, and is reopened after its last batch, so that the engine holds
 * nothing for it meanwhile. What a view of one head needs is read as of that head.
 */
export function scheduledRead(source: Source, read: StorageRead, signal?: ReadSignal) {
  return new ScheduledRead(source, read, signal);
}

/** Written by hand: generators in generators cost as much as a short read. One call at a time. */
export class ScheduledRead implements AsyncIterableIterator<HeldBatch, undefined> {
  private readonly source: Source;
  private readonly read: StorageRead;
  private readonly signal: ReadSignal | undefined;
  private readonly costMin: number;
  private expectedCost: number;
  private engine: AsyncIterator<Batch> | undefined;
  /** The positions that are left to read. At the end, the engine is not asked again. */
  private first: number;
  private last: number;

  constructor(source: Source, read: StorageRead, signal: ReadSignal | undefined) {
    const { liveBatchBytes, viewBatchBytesMin } = schedulingPolicy;
    this.source = source;
    this.read = read;
    this.signal = signal;
    this.costMin = read.asOf === undefined ? 0 : viewBatchBytesMin;
    this.expectedCost = this.costMin === 0 ? liveBatchBytes : this.costMin;
    this.first = read.positions.first;
    this.last = read.positions.last;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Whether nothing is left to read. */
  get isThrough(): boolean {
    return this.first > this.last;
  }

  async next(): Promise<IteratorResult<HeldBatch, undefined>> {
    try {
      const batch = await this.nextBatch();
      if (batch === undefined) await this.end();
      else if (this.isThrough || this.source.memory?.isLarge === true) await this.close();
      return batch === undefined ? over : { done: false, value: batch };
    } catch (error) {
      await this.end();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<HeldBatch, undefined>> {
    await this.end();
    return over;
  }

  private end(): Promise<void> {
    this.first = Infinity;
    return this.close();
  }

  /** At once: a read that goes on meanwhile begins anew. */
  private async close(): Promise<void> {
    const { engine } = this;
    this.engine = undefined;
    await engine?.return?.();
  }

  private readonly rest = (): void => void this.close();

  /** Undefined: the read is over. */
  private async nextBatch(): Promise<HeldBatch | undefined> {
    const { read, signal } = this;
    const { gate, memory, isSent } = this.source;
    const room = isSent === true ? memory : undefined;
    while (!this.isThrough) {
      const { expectedCost } = this;
      // To reopen the engine's read for every few events would cost more than it saves.
      const isCrowded = gate.waitingCount > schedulingPolicy.openReadsWaitingMax;
      if (isCrowded && read.batchEvents === undefined) await this.close();
      const turn = gate.enter(expectedCost, signal);
      if (turn !== undefined) await turn;
      if (isOver(signal)) {
        gate.leave(expectedCost);
        return undefined;
      }
      // Those who came before may have filled the memory while this one waited for its turn.
      const full = room?.room(gate.owner, signal);
      if (full === undefined) return await this.readNext(expectedCost);
      gate.leave(expectedCost);
      await this.close();
      await full;
    }
    return undefined;
  }

  /** Has passed the gate for this cost, and leaves it. */
  private async readNext(expectedCost: number): Promise<HeldBatch | undefined> {
    const { source, read, costMin } = this;
    const { gate, memory, storage } = source;
    const positions = { first: this.first, last: this.last };
    let found: Batch | undefined;
    let costs = costsOfNothing;
    try {
      const batchBytes = memory?.isLarge === true ? frugalBytesOf(read) : read.batchBytes;
      this.engine ??= storage.read({ ...read, positions, batchBytes })[Symbol.asyncIterator]();
      const next = await this.engine.next();
      found = next.done === true ? undefined : next.value;
      if (found !== undefined) costs = costsOf(found);
    } finally {
      gate.leave(expectedCost, Math.max(costMin, costs.spent));
    }
    if (found === undefined || isOver(this.signal)) return undefined;
    if (read.direction === "forwards") this.first = found.through + 1;
    else this.last = found.through - 1;
    this.expectedCost = costs.next;
    return new HeldBatch(found, source, { ...read, positions }, this.rest);
  }
}

const over = { done: true, value: undefined } as const;

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

function isOver(signal: ReadSignal | undefined): boolean {
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

// Live delivery. Subscriptions with one selection that wait at the head are served by one loop. It
// has one interest, reads each batch once, and gives the same object to each of them.
// A subscription that does not take a batch leaves the loop: it reads for itself until it waits at
// the head again.
//
// While a subscription is in a loop, its own interest is paused and marked. When it leaves, it
// looks again, unless the loop knows that it has had everything.

import type { Selection } from "../../domain/query.ts";
import type { Batch, StorageRead } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { passGate } from "../scheduling/scheduler.ts";
import type { Interest, Interests } from "./interest.ts";
import type { Following, SharedBatches } from "./shared-batches.ts";
import type { Timers } from "../timers.ts";

const {
  deliveryBytes,
  deliveriesPerTurn,
  quantumBytes,
  sharedBatchCostShare,
  gatherMsMax,
  msBytes,
} = schedulingPolicy;

/** A live subscription. */
export interface LiveReader {
  /** Whose subscription it is: the same for all of a connection. */
  readonly owner: object;
  readonly interest: Interest;
  /** Every matching event up to this position has been delivered. */
  through: number;
  /** False: it does not take the batch now. Must not throw. */
  take(batch: Batch): boolean;
}

export interface LiveParts {
  readonly interests: Interests;
  readonly shared: SharedBatches;
  readonly timers: Timers;
  readonly batchBytes: number;
}

export class LiveLoops {
  private readonly parts: LiveParts;
  private readonly loops = new Map<string, LiveLoop>();

  constructor(parts: LiveParts) {
    this.parts = parts;
  }

  /**
   * From now on the reader is given what matches, until its interest is woken. Everything up to the
   * head must have been delivered to it. Once it is awake, it must leave the loop.
   */
  join(selection: Selection, key: string, reader: LiveReader): LiveLoop {
    let loop = this.loops.get(key);
    if (loop === undefined) {
      loop = new LiveLoop(this.parts, selection, () => this.loops.delete(key));
      this.loops.set(key, loop);
      loop.join(reader);
      void loop.run();
    } else loop.join(reader);
    return loop;
  }
}

export class LiveLoop {
  private readonly parts: LiveParts;
  private readonly selection: Selection;
  private readonly interest: Interest;
  private readonly following: Following;
  private readonly readers = new Set<LiveReader>();
  private readonly onEnd: () => void;
  /** The first position of what is being delivered. */
  private first: number | undefined;
  /** What the last delivery took of the main thread. */
  private givingMs = 0;

  constructor(parts: LiveParts, selection: Selection, onEnd: () => void) {
    this.parts = parts;
    this.selection = selection;
    this.onEnd = onEnd;
    this.interest = parts.interests.addShared(selection, () => this.readers.size);
    this.following = parts.shared.follow(selection);
    this.interest.look();
  }

  /** Up to here, nothing that matches is undelivered. */
  get quietThrough(): number {
    return this.first === undefined ? this.interest.quietThrough : this.first - 1;
  }

  join(reader: LiveReader): void {
    reader.interest.pause();
    this.readers.add(reader);
  }

  leave(reader: LiveReader): void {
    if (!this.readers.delete(reader)) return;
    // Otherwise something may be on its way to the reader.
    const hasAll = this.first === undefined && !this.interest.isMarked;
    if (hasAll) reader.through = reader.interest.look();
    if (this.readers.size === 0) this.interest.wake();
  }

  /** Ends when nobody is left, or with the log. Never rejects. */
  async run(): Promise<void> {
    try {
      while (this.readers.size > 0 && !this.parts.interests.isStopped) {
        if (!this.interest.isMarked) await this.interest.wait();
        else {
          await this.deliver();
          await this.gather();
        }
      }
    } catch {
      // What cannot be read: each reader finds it itself.
    } finally {
      for (const reader of this.readers) this.release(reader);
      this.following.leave();
      this.interest.close();
      this.onEnd();
    }
  }

  private release(reader: LiveReader): void {
    this.readers.delete(reader);
    reader.interest.wake();
  }

  /**
   * Lets more come, for as long as giving it took. The more readers, the more of them have a write
   * of their own for each batch: few large batches instead of many small ones.
   */
  private async gather(): Promise<void> {
    const ms = Math.min(this.givingMs, gatherMsMax);
    if (ms >= 1) await new Promise<void>((resolve) => this.parts.timers.delay(ms, resolve));
  }

  private async deliver(): Promise<void> {
    this.givingMs = 0;
    this.first = this.interest.quietThrough + 1;
    try {
      await this.deliverBetween(this.first, this.interest.look());
    } finally {
      this.first = undefined;
    }
  }

  /** Nothing matches between what the readers have had and `first`. */
  private async deliverBetween(first: number, last: number): Promise<void> {
    // By connection: what one gets in a turn is one write.
    const readers = [...Map.groupBy(this.readers, ({ owner }) => owner).values()].flat();
    for (const reader of readers) reader.through = Math.max(reader.through, first - 1);
    for (let at = first; at <= last && this.readers.size > 0;) {
      at = (await this.deliverBatch(readers, { first: at, last })) + 1;
    }
  }

  /** The batch at the beginning of these positions. Answers where it ends. */
  private async deliverBatch(
    readers: readonly LiveReader[],
    positions: StorageRead["positions"],
  ): Promise<number> {
    const { selection } = this;
    const { batchBytes, shared, timers } = this.parts;
    const read: StorageRead = { selection, direction: "forwards", positions, batchBytes };
    let through = positions.last;
    for (let at = 0; at < readers.length;) {
      // Again in each turn: what was removed meanwhile is given to nobody else.
      const batch = await this.following.takeWhole(read);
      const cost = Math.max(deliveryBytes, batch.bytes * sharedBatchCostShare);
      const count = Math.min(deliveriesPerTurn, Math.ceil(quantumBytes / cost));
      const turn = readers.slice(at, at + count);
      const sinceMs = timers.nowMs();
      for (const reader of turn) this.give(reader, batch, positions.first);
      at += turn.length;
      through = batch.through;
      const ms = timers.nowMs() - sinceMs;
      this.givingMs += ms;
      // Readers with connections of their own cost a write each.
      await passGate(shared.gate, Math.max(turn.length * cost, ms * msBytes));
    }
    return through;
  }

  private give(reader: LiveReader, batch: Batch, first: number): void {
    // It has left, or has joined again with what is in the batch.
    if (!this.readers.has(reader) || reader.through >= batch.through) return;
    // Others may have been given a longer or shorter batch, if one was read again meanwhile.
    const isInStep = reader.through === first - 1;
    if (isInStep && (batch.count === 0 || reader.take(batch))) reader.through = batch.through;
    else this.release(reader);
  }
}

// Checkpoints: positions of named consumers. Changes are decided and committed by the append queue
// (append-queue.ts). This file requests changes, lists checkpoints, and lets callers wait for
// positions.

import type { AnyPosition, Checkpoint } from "../../domain/checkpoint.ts";
import { sharedThrough } from "../../domain/epoch.ts";
import {
  AnnalsError,
  beyondHead,
  checkpointBackwards,
  checkpointConflict,
  invariant,
} from "../../domain/errors.ts";
import type { Storage, StorageWatcher, WriteState } from "../../storage/storage.ts";
import type { AppendQueue } from "./append-queue.ts";
import { decodeCheckpoint, loadCheckpoints } from "./side-values.ts";
import { PositionWaiters } from "../position-waiters.ts";
import { listCost } from "../scheduling/policy.ts";
import { inTurn, type Caller } from "../scheduling/scheduler.ts";
import type { Timers } from "../timers.ts";
import type { CheckpointLog, CheckpointPage, SaveCheckpoint } from "../verbs.ts";

export class Checkpoints implements CheckpointLog, StorageWatcher {
  private readonly storage: Storage;
  private readonly queue: AppendQueue;
  private readonly waiters: PositionWaiters<AnyPosition>;
  /** The caller of lists that the server itself reads. */
  private readonly own: Caller;

  constructor(storage: Storage, queue: AppendQueue, timers: Timers, own: Caller) {
    this.storage = storage;
    this.queue = queue;
    this.own = own;
    this.waiters = new PositionWaiters(timers);
  }

  /** The number of waiting callers. */
  get waitingCount(): number {
    return this.waiters.count;
  }

  async save(save: SaveCheckpoint, signal?: AbortSignal): Promise<Checkpoint> {
    const { outcome } = await this.queue.add({ ...save, kind: "save-checkpoint" }, signal);
    switch (outcome.kind) {
      case "checkpoint-saved":
        return outcome.checkpoint;
      case "checkpoint-backwards":
        throw checkpointBackwards(outcome);
      case "checkpoint-conflict":
        throw checkpointConflict(outcome);
      case "beyond-head":
        throw beyondHead(outcome);
      case "checkpoint-deleted":
        throw new Error("a save was answered as a deletion");
    }
  }

  async get(consumer: string): Promise<Checkpoint> {
    const found = await this.find(consumer);
    if (found !== undefined) return found;
    const message = `consumer ${JSON.stringify(consumer)} has no checkpoint`;
    throw new AnnalsError({ reason: "CHECKPOINT_NOT_FOUND", consumer }, message);
  }

  async list(page: CheckpointPage, caller = this.own): Promise<Checkpoint[]> {
    const sideValues = await inTurn(caller, listCost(page), () =>
      this.storage.sideValues.list({ space: "checkpoint", ...page }),
    );
    const { history } = this.storage.identity;
    return sideValues.map(({ name, value }) => decodeCheckpoint(name, value, history));
  }

  async remove(consumer: string, signal?: AbortSignal): Promise<boolean> {
    const request = { kind: "delete-checkpoint", consumer } as const;
    const { outcome } = await this.queue.add(request, signal);
    invariant(outcome.kind === "checkpoint-deleted", "a deletion is answered as one");
    return outcome.existed;
  }

  async waitFor(
    consumer: string,
    position: AnyPosition,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<AnyPosition> {
    // The wait begins before the lookup, so that a position that is saved in between is noticed.
    const waiter = this.waiters.open(consumer, position);
    try {
      const saved = await this.find(consumer);
      if (saved !== undefined && this.reached(saved) >= position) return this.reached(saved);
      return await waiter.wait(timeoutMs, signal);
    } finally {
      waiter.close();
    }
  }

  /** Called with checkpoints that became durable. */
  changed(changes: ReadonlyMap<string, Checkpoint | undefined>): void {
    for (const [name, checkpoint] of changes) {
      if (checkpoint !== undefined) this.waiters.reached(name, this.reached(checkpoint));
    }
  }

  /**
   * After a recovery, a checkpoint whose outcome was unknown may be durable without a call of
   * `changed`.
   */
  writeStateChanged(state: WriteState): void {
    if (state === "accepting" && this.waiters.count > 0) void this.lookAgain();
  }

  /** On a follower, others change the checkpoints. */
  sideValuesCopied(): void {
    if (this.waiters.count > 0) void this.lookAgain();
  }

  /** Ends every wait. */
  stop(): void {
    this.waiters.stop();
  }

  /** Events that a consumer has dealt with in another history do not count. */
  private reached({ position, source, epoch }: Checkpoint): AnyPosition {
    if (source !== "") return position;
    const shared = sharedThrough(this.storage.identity.history, epoch) ?? 0;
    return position < shared ? position : shared;
  }

  private async find(consumer: string): Promise<Checkpoint | undefined> {
    return (await loadCheckpoints(this.storage, [consumer])).get(consumer);
  }

  private async lookAgain(): Promise<void> {
    try {
      this.changed(await loadCheckpoints(this.storage, this.waiters.names));
    } catch (error) {
      const failure = new AnnalsError({ reason: "RECOVERING" }, "ask again", error);
      for (const name of this.waiters.names) this.waiters.fail(name, failure);
    }
  }
}

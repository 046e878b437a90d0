// Where an append waits for the disk. Exactly one commit is in flight; the appends that arrive
// meanwhile are the next commit batch. Per batch: facts -> decide -> commit -> answers, all of them
// only once the batch is durable, because an answer may speak of what an append before it in the
// batch stored. Changes of checkpoints, lifecycles and snapshots go the same way, and share the
// sync of the appends beside them.

import type { Outcome } from "../../domain/append.ts";
import type { Checkpoint } from "../../domain/checkpoint.ts";
import {
  decideBatch,
  factsNeeded,
  type Decision,
  type OutcomeOf,
  type Proposal,
} from "../../domain/decide/decide.ts";
import { AnnalsError, type Reason } from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";
import type { Facts, SideValueChange, Storage } from "../../storage/storage.ts";
import { cancellation, type CancelListener, type CancelSignal } from "../cancellation.ts";
import { decidedSideValues, loadCheckpoints } from "./side-values.ts";
import { weightOf, type QueueEntry, type SideWrite, type Weight } from "./weight.ts";

/** How long an append that found no room is asked to wait: the time of a few commits. */
const retryAfterMs = 250;

/** Other writers may overtake a decision; each time somebody's append was stored. */
const decisionsMax = 100;

/** Reasons a commit may fail with that say what became of it. Any other leaves it unknown. */
const tellingReasons: ReadonlySet<Reason> = new Set<Reason>([
  "OUTCOME_UNKNOWN",
  "DISK_FULL",
  "RECOVERING",
  "STOPPING",
  "STORE_FAILED",
]);

export interface AppendQueueOptions {
  readonly storage: Storage;
  readonly limits: Pick<
    Limits,
    "appendQueueBytesMax" | "appendQueueCountMax" | "commitBytesMax" | "commitEventsMax"
  >;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Told of checkpoints that became durable, by consumer. Must not throw or wait. */
  readonly onCheckpoints?: (changes: ReadonlyMap<string, Checkpoint | undefined>) => void;
}

export interface CommitAnswer<O = Outcome> {
  readonly outcome: O;
  /** The last durable position when this was answered. */
  readonly head: number;
}

/** An entry in the queue. It is the listener of its own signal. */
interface Waiting extends CancelListener {
  readonly entry: QueueEntry;
  readonly weight: Weight;
  readonly signal: CancelSignal | undefined;
  readonly resolve: (answer: CommitAnswer<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

export class AppendQueue {
  private readonly options: AppendQueueOptions;
  /** In the order of arrival; what is given up leaves at once, from any place. */
  private readonly waiting = new Set<Waiting>();
  /** Of everything that is not answered yet, the commit in flight included. */
  private heldBytes = 0;
  private heldCount = 0;
  /** From the first arrival until nothing waits and everything is answered. */
  private running = false;
  private stopping = false;
  private whenIdle: (() => void)[] = [];

  constructor(options: AppendQueueOptions) {
    this.options = options;
  }

  /** Answers as `EventLog.append` promises. */
  add<P extends Proposal>(proposal: P, signal?: CancelSignal): Promise<CommitAnswer<OutcomeOf<P>>> {
    if (this.stopping) return refused({ reason: "STOPPING" }, "stopping: nothing was stored");
    if (signal?.aborted === true) return Promise.reject(cancellation(signal));
    const weight = weightOf(proposal);
    if (this.isFull(weight)) {
      return refused({ reason: "OVERLOADED", retryAfterMs }, "too many appends wait for the disk");
    }
    return this.enter(proposal, weight, signal);
  }

  /**
   * Resolves when the side values are durable; throws what `add` throws of commits. They are let in
   * however much waits, and also while the queue stops: each of those who write them has one such
   * write at a time.
   */
  async write(sideValues: readonly SideValueChange[]): Promise<void> {
    const sideWrite = { kind: "side-values", sideValues } as const;
    await this.enter(sideWrite, weightOf(sideWrite));
  }

  /** No more appends; resolves when those that wait are answered. */
  stop(): Promise<void> {
    this.stopping = true;
    if (!this.running) return Promise.resolve();
    return new Promise((resolve) => this.whenIdle.push(resolve));
  }

  /** An append that waits alone is let in whatever it weighs: it could never enter otherwise. */
  private isFull({ heldBytes }: Weight): boolean {
    const { appendQueueBytesMax, appendQueueCountMax } = this.options.limits;
    if (this.heldCount === 0) return false;
    return (
      this.heldBytes + heldBytes > appendQueueBytesMax || this.heldCount >= appendQueueCountMax
    );
  }

  private enter<O>(
    entry: QueueEntry,
    weight: Weight,
    signal?: CancelSignal,
  ): Promise<CommitAnswer<O>> {
    return new Promise<CommitAnswer<O>>((resolve, reject) => {
      const waiting: Waiting = {
        entry,
        weight,
        signal,
        resolve: resolve as (answer: CommitAnswer<unknown>) => void,
        reject,
        handleEvent: () => this.abandon(waiting),
      };
      this.waiting.add(waiting);
      this.heldBytes += weight.heldBytes;
      this.heldCount++;
      signal?.addEventListener("abort", waiting, { once: true });
      if (this.running) return;
      this.running = true;
      setImmediate(this.turn);
    });
  }

  /** The signal of an entry aborted that is in no commit yet. */
  private abandon(waiting: Waiting): void {
    this.waiting.delete(waiting);
    this.release(waiting);
    if (waiting.signal !== undefined) waiting.reject(cancellation(waiting.signal));
  }

  private release({ weight }: Waiting): void {
    this.heldBytes -= weight.heldBytes;
    this.heldCount--;
  }

  /**
   * One batch in each turn of the event loop, after the turn's I/O: appends that came in by then
   * join the batch, and nobody else is starved where an engine answers without leaving the thread.
   */
  private readonly turn = (): void => {
    void this.commitNext();
  };

  private async commitNext(): Promise<void> {
    const batch = this.take();
    try {
      if (batch.length > 0) await this.commit(batch);
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    }
    for (const waiting of batch) this.release(waiting);
    if (this.waiting.size > 0) {
      setImmediate(this.turn);
      return;
    }
    this.running = false;
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }

  /** The next batch: as many as one commit may hold; the very first one whatever its size. */
  private take(): Waiting[] {
    const { commitBytesMax, commitEventsMax } = this.options.limits;
    const taken: Waiting[] = [];
    let bytes = 0;
    let work = 0;
    for (const waiting of this.waiting) {
      bytes += waiting.weight.storedBytes;
      work += waiting.weight.work;
      if (taken.length > 0 && (bytes > commitBytesMax || work > commitEventsMax)) break;
      this.waiting.delete(waiting);
      waiting.signal?.removeEventListener("abort", waiting);
      taken.push(waiting);
    }
    return taken;
  }

  /**
   * In one commit, or, where a decision needs to know what an earlier one removed, in several.
   * Throws what concerns the whole batch: no facts, no decision.
   */
  private async commit(batch: readonly Waiting[]): Promise<void> {
    const { storage, clock, onCheckpoints } = this.options;
    const proposals: Proposal[] = [];
    const sideWrites: SideValueChange[] = [];
    for (const { entry } of batch) {
      if (isSideWrite(entry)) sideWrites.push(...entry.sideValues);
      else proposals.push(entry);
    }
    for (let i = 0; i < decisionsMax; i++) {
      const facts = await factsFor(storage, proposals);
      const decision: Decision<OutcomeOf<Proposal>> = decideBatch({
        facts,
        appends: proposals,
        now: clock(),
      });
      const { events, recordedAt, checkpoints, outcomes } = decision;
      const sideValues = await decidedSideValues(storage, proposals, decision, sideWrites);
      const isWhole = outcomes.length === proposals.length;
      const [decided, rest] = isWhole ? [batch, []] : parted(batch, outcomes.length);
      const { head: after } = facts;
      try {
        // With nothing to store, every answer speaks of durable facts alone.
        if (events.length > 0 || sideValues !== undefined) {
          const commit = { after, recordedAt, events, ...(sideValues && { sideValues }) };
          if ((await storage.commit(commit)) === "stale") continue;
        }
        if (checkpoints.size > 0) onCheckpoints?.(checkpoints);
        answer(decided, outcomes, storage.head().position);
      } catch (error) {
        answer(decided, outcomes, after.position, commitFailure(error));
      }
      return rest.length === 0 ? undefined : await this.commit(rest);
    }
    throw new AnnalsError({ reason: "OVERLOADED", retryAfterMs }, "overtaken by other writers");
  }
}

/**
 * A failure of the commit is the answer of all, also of those the decision refused: what refused
 * them may be an event that is not there. Only a retry of what was durable before is still told so:
 * DISK_FULL would say of it that nothing was stored.
 */
function answer(
  decided: readonly Waiting[],
  outcomes: readonly OutcomeOf<Proposal>[],
  head: number,
  failure?: AnnalsError,
): void {
  let next = 0;
  for (const { entry, resolve, reject } of decided) {
    const outcome = isSideWrite(entry) ? undefined : outcomes[next++];
    const wasDurable =
      outcome?.kind === "appended" && outcome.deduplicated && outcome.lastPosition <= head;
    if (failure === undefined || wasDurable) resolve({ outcome, head });
    else reject(failure);
  }
}

/** Those that were decided on, all side writes among them, and the others, in order. */
function parted(batch: readonly Waiting[], decidedCount: number): [Waiting[], Waiting[]] {
  let count = 0;
  const decided: Waiting[] = [];
  const rest: Waiting[] = [];
  for (const waiting of batch) {
    (isSideWrite(waiting.entry) || count++ < decidedCount ? decided : rest).push(waiting);
  }
  return [decided, rest];
}

function isSideWrite(entry: QueueEntry): entry is SideWrite {
  return "kind" in entry && entry.kind === "side-values";
}

/** The checkpoints are as of the same head: nobody else writes any. */
async function factsFor(
  storage: Storage,
  proposals: readonly Proposal[],
): Promise<Facts & { readonly checkpoints?: ReadonlyMap<string, Checkpoint> }> {
  const needed = factsNeeded(proposals);
  if (needed.consumers.size === 0) return storage.facts(needed);
  const [facts, checkpoints] = await Promise.all([
    storage.facts(needed),
    loadCheckpoints(storage, needed.consumers),
  ]);
  return { ...facts, checkpoints };
}

function refused(failure: AnnalsError["failure"], message: string): Promise<never> {
  return Promise.reject(new AnnalsError(failure, message));
}

function commitFailure(error: unknown): AnnalsError {
  if (error instanceof AnnalsError && tellingReasons.has(error.reason)) return error;
  const message = "the commit failed: the append may or may not be there";
  return new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, message, error);
}

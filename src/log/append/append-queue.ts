// Where an append waits for the disk. Exactly one commit is in flight; the appends that arrive
// meanwhile are the next commit batch. Per batch: facts -> decide -> commit -> answers, all of them
// only once the batch is durable, because an answer may speak of what an append before it in the
// batch stored. Checkpoints and notes go the same way, and share the sync of the appends beside
// them.

import type { Append, Outcome } from "../../domain/append.ts";
import type { Checkpoint, CheckpointOutcome, CheckpointRequest } from "../../domain/checkpoint.ts";
import type { LifecycleOutcome, LifecycleRequest } from "../../domain/decide/decide-lifecycle.ts";
import {
  decideBatch,
  factsNeeded,
  type Decision,
  type Proposal,
} from "../../domain/decide/decide.ts";
import { AnnalsError, type Reason } from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";
import type { Commit, Facts, Head, SideValueChange, Storage } from "../../storage/storage.ts";
import { cancellation, type CancelSignal } from "../cancellation.ts";
import { checkpointSideValues, loadCheckpoints } from "./checkpoint-values.ts";
import { WaitingLine, weightOf, type Answer, type Entry, type Waiting } from "./waiting-appends.ts";

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
  readonly onCheckpoints?: (changes: Decided["checkpoints"]) => void;
}

/** What a batch was decided to become; its outcomes are those of its proposals, in order. */
type Decided = Decision<unknown>;

export class AppendQueue {
  private readonly options: AppendQueueOptions;
  private readonly line = new WaitingLine();
  /** From the first append's arrival until the line is empty and everything is answered. */
  private running = false;
  private stopping = false;
  private whenIdle: (() => void)[] = [];

  constructor(options: AppendQueueOptions) {
    this.options = options;
  }

  /** Answers as `EventLog.append` promises. */
  add(append: Append, signal?: CancelSignal): Promise<Answer> {
    return this.propose(append, signal);
  }

  /** As `add`. */
  addCheckpoint(
    request: CheckpointRequest,
    signal?: CancelSignal,
  ): Promise<Answer<CheckpointOutcome>> {
    return this.propose(request, signal);
  }

  /** As `add`. */
  addLifecycle(
    request: LifecycleRequest,
    signal?: CancelSignal,
  ): Promise<Answer<LifecycleOutcome>> {
    return this.propose(request, signal);
  }

  /**
   * Resolves when the notes are durable; throws what `add` throws of commits. They are let in
   * however long the line is, and while it stops: whoever writes them has one such write at a
   * time.
   */
  async write(sideValues: readonly SideValueChange[]): Promise<void> {
    const sideWrite = { kind: "side-values", sideValues } as const;
    await this.enter(sideWrite, weightOf(sideWrite));
  }

  private propose<O>(proposal: Proposal, signal?: CancelSignal): Promise<Answer<O>> {
    if (this.stopping) return refused({ reason: "STOPPING" }, "stopping: nothing was stored");
    if (signal?.aborted === true) return Promise.reject(cancellation(signal));
    const bytes = weightOf(proposal);
    if (this.isFull(bytes)) {
      return refused({ reason: "OVERLOADED", retryAfterMs }, "too many appends wait for the disk");
    }
    return this.enter(proposal, bytes, signal);
  }

  private enter<O>(entry: Entry, bytes: number, signal?: CancelSignal): Promise<Answer<O>> {
    const answer = this.line.enter<O>(entry, bytes, signal);
    if (!this.running) {
      this.running = true;
      setImmediate(this.turn);
    }
    return answer;
  }

  /** No more appends; resolves when those that wait are answered. */
  stop(): Promise<void> {
    this.stopping = true;
    if (!this.running) return Promise.resolve();
    return new Promise((resolve) => this.whenIdle.push(resolve));
  }

  /** An append that waits alone is let in whatever it weighs: it could never enter otherwise. */
  private isFull(bytes: number): boolean {
    const { appendQueueBytesMax, appendQueueCountMax } = this.options.limits;
    if (this.line.count === 0) return false;
    return this.line.bytes + bytes > appendQueueBytesMax || this.line.count >= appendQueueCountMax;
  }

  /**
   * One batch in each turn of the event loop, after the turn's I/O: appends that came in by then
   * join the batch, and nobody else is starved where an engine answers without leaving the thread.
   */
  private readonly turn = (): void => {
    void this.commitNext();
  };

  private async commitNext(): Promise<void> {
    const { commitBytesMax, commitEventsMax } = this.options.limits;
    const batch = this.line.take(commitBytesMax, commitEventsMax);
    if (batch.length > 0) await this.settle(batch);
    if (!this.line.isEmpty) {
      setImmediate(this.turn);
      return;
    }
    this.running = false;
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }

  private async settle(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.commit(batch);
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    } finally {
      for (const waiting of batch) this.line.leave(waiting);
    }
  }

  /**
   * In one commit, or, where a decision needs to know what an earlier one removed, in several.
   * Throws what concerns the whole batch: no facts, no decision.
   */
  private async commit(batch: readonly Waiting[]): Promise<void> {
    const { storage, clock } = this.options;
    const appends: Proposal[] = [];
    const sideWrites: SideValueChange[] = [];
    for (const { entry } of batch) {
      if ("kind" in entry && entry.kind === "side-values") sideWrites.push(...entry.sideValues);
      else appends.push(entry);
    }
    for (let i = 0; i < decisionsMax; i++) {
      const facts = await factsFor(storage, appends);
      const decision: Decided = decideBatch({ facts, appends, now: clock() });
      const { events, recordedAt, checkpoints, outcomes } = decision;
      const isWhole = outcomes.length === appends.length;
      const [decided, rest] = isWhole ? [batch, []] : parted(batch, outcomes.length);
      const sideValues = [...checkpointSideValues(checkpoints), ...sideWrites];
      try {
        const commit = { after: facts.head, recordedAt, events };
        if (!(await isStored(storage, commit, sideValues))) continue;
        this.answer(decided, decision);
      } catch (error) {
        this.fail(decided, decision, facts.head, commitFailure(error));
      }
      return rest.length === 0 ? undefined : await this.commit(rest);
    }
    throw new AnnalsError({ reason: "OVERLOADED", retryAfterMs }, "overtaken by other writers");
  }

  private answer(batch: readonly Waiting[], { outcomes, checkpoints }: Decided): void {
    if (checkpoints.size > 0) this.options.onCheckpoints?.(checkpoints);
    const head = this.options.storage.head().position;
    let next = 0;
    for (const waiting of batch) {
      waiting.resolve({ outcome: isSideWrite(waiting) ? undefined : outcomes[next++], head });
    }
  }

  /**
   * The failure is the answer of all, also of those the decision refused: what refused them may be
   * an event that is not there. Only a retry of what was durable before is still told so: DISK_FULL
   * would say of it that nothing was stored.
   */
  private fail(
    batch: readonly Waiting[],
    { outcomes }: Decided,
    { position: head }: Head,
    failure: AnnalsError,
  ): void {
    let next = 0;
    for (const waiting of batch) {
      const outcome = isSideWrite(waiting) ? undefined : (outcomes[next++] as Outcome);
      const durable =
        outcome?.kind === "appended" && outcome.deduplicated && outcome.lastPosition <= head;
      if (durable) waiting.resolve({ outcome, head });
      else waiting.reject(failure);
    }
  }
}

/** False: others wrote first. With nothing to store, every answer speaks of durable facts alone. */
async function isStored(
  storage: Storage,
  commit: Commit,
  sideValues: readonly SideValueChange[],
): Promise<boolean> {
  if (commit.events.length === 0 && sideValues.length === 0) return true;
  const result = await storage.commit(sideValues.length === 0 ? commit : { ...commit, sideValues });
  return result === "committed";
}

/** Those that were decided on, all riders among them, and the others, in order. */
function parted(batch: readonly Waiting[], decidedCount: number): [Waiting[], Waiting[]] {
  let count = 0;
  const decided: Waiting[] = [];
  const rest: Waiting[] = [];
  for (const waiting of batch) {
    (isSideWrite(waiting) || count++ < decidedCount ? decided : rest).push(waiting);
  }
  return [decided, rest];
}

function isSideWrite({ entry }: Waiting): boolean {
  return "kind" in entry && entry.kind === "side-values";
}

/** The checkpoints are as of the same head: nobody else writes any. */
async function factsFor(
  storage: Storage,
  appends: readonly Proposal[],
): Promise<Facts & { readonly checkpoints?: ReadonlyMap<string, Checkpoint> }> {
  const needed = factsNeeded(appends);
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

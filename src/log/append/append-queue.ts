// The append queue (group commit). Exactly one commit is in flight; appends that arrive meanwhile
// form the next commit batch. For each batch: gather facts, decide, commit, answer. All answers
// wait until the batch is durable, because an answer may depend on an event that an earlier append
// of the batch stored. Changes of checkpoints, lifecycles and snapshots take the same way and share
// the sync of the appends beside them.

import { randomInt } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Outcome } from "../../domain/append.ts";
import type { Checkpoint } from "../../domain/checkpoint.ts";
import type { CheckpointFacts } from "../../domain/decide/decide-checkpoint.ts";
import {
  decideInSteps,
  factsNeeded,
  type OutcomeOf,
  type Proposal,
} from "../../domain/decide/decide.ts";
import { currentEpoch } from "../../domain/epoch.ts";
import { AnnalsError, type Reason } from "../../domain/errors.ts";
import type { Limits } from "../../domain/limits.ts";
import type { Steps } from "../../domain/steps.ts";
import { idChances } from "../../domain/event.ts";
import type {
  Commit,
  CommitResult,
  Facts,
  SideValueChange,
  Storage,
} from "../../storage/storage.ts";
import { refusedByFollower } from "../following.ts";
import { cancellation, type CancelListener, type CancelSignal } from "../cancellation.ts";
import type { CommitFigures, QueueFigures } from "../log-figures.ts";
import type { CommitObserver } from "../log-observer.ts";
import { CommitStats } from "./commit-stats.ts";
import { HeldAnswers } from "./held-answers.ts";
import { decidedSideValues, loadCheckpoints } from "./side-values.ts";
import { freshBytes, QueueOrder, weightOf, type QueueEntry, type Weight } from "./queue-order.ts";

/** The delay that a refused append is asked to wait: the time of a few commits. */
const retryAfterMs = 250;

/** With less work, a commit takes all that waits. */
const halfWorkMin = 250;

/**
 * Other writers may append between facts and commit. Each time, one of their appends was stored.
 */
const decisionsMax = 100;

/** Reasons of a failed commit that state its outcome. After any other, the outcome is unknown. */
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
  /** A whole number below `idChances`, by chance. Absent: of Node's own. */
  readonly idChance?: () => number;
  /** Whether the thread has little time left, rather than that the disk is slow. Absent: never. */
  readonly isBusy?: (() => boolean) | undefined;
  /** Told of checkpoints that became durable, by consumer. Must not throw or wait. */
  readonly onCheckpoints?: (changes: ReadonlyMap<string, Checkpoint | undefined>) => void;
  /** Absent: no one is told of commits. */
  readonly observer?: CommitObserver | undefined;
}

export interface CommitAnswer<O = Outcome> {
  readonly outcome: O;
  /** The last durable position when the answer was made. */
  readonly head: number;
}

/** An entry of the queue. It is the listener of its own signal. */
interface Waiting extends CancelListener {
  readonly client: object;
  readonly bytes: number;
  readonly work: number;
  readonly entry: QueueEntry;
  readonly weight: Weight;
  readonly signal: CancelSignal | undefined;
  readonly resolve: (answer: CommitAnswer<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

export class AppendQueue {
  private readonly options: AppendQueueOptions;
  /** A cancelled entry is removed at once, from any place. */
  private readonly waiting = new QueueOrder<Waiting>();
  /** Bytes of all entries that are not answered, including the commit in flight. */
  private heldBytes = 0;
  private heldCount = 0;
  /** Runs from the first arrival until every entry is answered. */
  private running = false;
  private stopping = false;
  private whenIdle: (() => void)[] = [];
  /** Undefined: answers are made as soon as their commit is durable. */
  private readonly held: HeldAnswers | undefined;
  private readonly stats = new CommitStats();
  /** Of the last batch. */
  private takenWork = 0;

  constructor(options: AppendQueueOptions) {
    this.options = options;
    if (options.storage.release !== undefined) this.held = new HeldAnswers();
  }

  /** Returns what `EventLog.append` returns. */
  add<P extends Proposal>(
    proposal: P,
    signal?: CancelSignal,
    client: object = signal?.connection ?? this,
  ): Promise<CommitAnswer<OutcomeOf<P>>> {
    if (this.stopping) return refused({ reason: "STOPPING" }, "stopping: nothing was stored");
    const { storage } = this.options;
    const notHere = storage.following && refusedByFollower(storage);
    if (notHere !== undefined) return Promise.reject(notHere);
    if (signal?.aborted === true) return Promise.reject(cancellation(signal));
    const weight = weightOf(proposal);
    // An append that waits alone is accepted at any size; otherwise it could never enter.
    if (this.heldCount > 0 && this.isFull(weight, client)) {
      return refused({ reason: "OVERLOADED", retryAfterMs }, "too many appends wait for the disk");
    }
    return this.enter(proposal, weight, client, signal);
  }

  /**
   * Resolves when the side values are durable. Throws the failures of commits, as `add` does. They
   * are accepted even if the queue is full or stopping, because each of their writers has one such
   * write at a time.
   */
  async write(sideValues: readonly SideValueChange[]): Promise<void> {
    const sideWrite = { kind: "side-values", sideValues } as const;
    await this.enter(sideWrite, weightOf(sideWrite), this);
  }

  figures(): { readonly commits: CommitFigures; readonly queue: QueueFigures } {
    const queue = { count: this.heldCount, bytes: this.heldBytes };
    return { commits: this.stats.figures(), queue };
  }

  /** Accepts no more appends. Resolves when the waiting ones are answered. */
  stop(): Promise<void> {
    this.stopping = true;
    if (!this.running) return Promise.resolve();
    return new Promise((resolve) => this.whenIdle.push(resolve));
  }

  /** A small append of a client with nothing here is not refused for what others have here. */
  private isFull({ heldBytes }: Weight, client: object): boolean {
    const { appendQueueBytesMax, appendQueueCountMax } = this.options.limits;
    if (client !== this && heldBytes <= freshBytes && !this.waiting.has(client)) return false;
    return (
      this.heldBytes + heldBytes > appendQueueBytesMax || this.heldCount >= appendQueueCountMax
    );
  }

  private enter<O>(
    entry: QueueEntry,
    weight: Weight,
    client: object,
    signal?: CancelSignal,
  ): Promise<CommitAnswer<O>> {
    const { promise, resolve, reject } = Promise.withResolvers<CommitAnswer<O>>();
    const waiting: Waiting = {
      client,
      bytes: weight.storedBytes,
      work: weight.work,
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
    if (!this.running) void this.run();
    return promise;
  }

  /** The signal of an entry was aborted, and the entry is in no commit yet. */
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
   * Commits until nothing waits: one batch per turn of the event loop, after the turn's I/O, so
   * that appends which arrived by then join the batch, and so that other work is not starved if an
   * engine answers without leaving the thread. Never rejects.
   */
  private async run(): Promise<void> {
    this.running = true;
    while (this.waiting.size > 0) {
      await setImmediate();
      const batch = this.take();
      try {
        if (batch.length > 0) await this.commit(batch);
      } catch (error) {
        this.held?.make();
        for (const waiting of batch) waiting.reject(error);
      }
      this.options.storage.release?.();
      for (const waiting of batch) this.release(waiting);
      if (this.waiting.size === 0) this.held?.make();
    }
    this.running = false;
    for (const resolve of this.whenIdle.splice(0)) resolve();
  }

  /**
   * The next batch: as many entries as one commit may hold, and the first one at any size. If much
   * waits on a busy thread, two commits share it in turn: while one is written, the other's are
   * answered and read. Where a sync takes longer than that, one commit takes all.
   */
  private take(): Waiting[] {
    const { isBusy, limits } = this.options;
    let workMax = limits.commitEventsMax;
    const half = Math.max(halfWorkMin, (this.waiting.work + this.takenWork) / 2);
    if (this.held === undefined && isBusy?.() === true) workMax = Math.min(workMax, half);
    const taken: Waiting[] = [];
    let bytes = 0;
    this.takenWork = 0;
    for (let waiting; (waiting = this.waiting.next()) !== undefined;) {
      bytes += waiting.bytes;
      const work = this.takenWork + waiting.work;
      if (taken.length > 0 && (bytes > limits.commitBytesMax || work > workMax)) break;
      this.takenWork = work;
      this.waiting.delete(waiting, waiting.bytes);
      waiting.signal?.removeEventListener("abort", waiting);
      taken.push(waiting);
    }
    return taken;
  }

  /**
   * Commits the batch at once, or in several commits if a decision depends on what an earlier one
   * removed. Throws failures of the whole batch: no facts, or no decision.
   */
  private async commit(batch: readonly Waiting[]): Promise<void> {
    const { storage, clock, idChance, onCheckpoints } = this.options;
    const proposals: Proposal[] = [];
    const sideWrites: SideValueChange[] = [];
    let areAllAppends = true;
    for (const { entry } of batch) {
      if (entry.kind !== undefined) areAllAppends = false;
      if (entry.kind === "side-values") sideWrites.push(...entry.sideValues);
      else proposals.push(entry);
    }
    for (let i = 0; i < decisionsMax; i++) {
      const facts = await factsFor(storage, proposals);
      const steps = decideInSteps({
        facts,
        appends: proposals,
        // Never before the time by which ages are measured: no event is born too old.
        now: Math.max(clock(), storage.now()),
        idChance: idChance?.() ?? randomInt(idChances),
      });
      const first = steps.next();
      const decision = first.done === true ? first.value : await furtherTurns(steps);
      const { events, recordedAt, times, checkpoints, outcomes } = decision;
      const sideValues =
        areAllAppends && checkpoints.size === 0
          ? undefined
          : await decidedSideValues(storage, proposals, decision, sideWrites);
      const isWhole = outcomes.length === proposals.length;
      const [decided, rest] = isWhole ? [batch, []] : parted(batch, outcomes.length);
      const { head: after } = facts;
      try {
        // If nothing has to be stored, every answer depends on facts, which have to be durable.
        const isEmpty = events.length === 0 && sideValues === undefined;
        const placed = { after, recordedAt, ...(times && { times }), events };
        const commit = { ...placed, ...(sideValues && { sideValues }) };
        if (isEmpty) await storage.confirm?.();
        else if ((await this.store(commit, decided)) === "stale") continue;
        if (checkpoints.size > 0) onCheckpoints?.(checkpoints);
        for (const outcome of outcomes) this.stats.answered(outcome);
        const { position } = storage.head();
        if (this.held === undefined) answer(decided, outcomes, position);
        else this.held.hold(() => answer(decided, outcomes, position), this.waiting.size === 0);
      } catch (error) {
        // Facts that have to be confirmed are not known to be durable here.
        const durable = storage.confirm === undefined ? after.position : 0;
        answer(decided, outcomes, durable, commitFailure(error));
      }
      return rest.length === 0 ? undefined : await this.commit(rest);
    }
    throw new AnnalsError({ reason: "OVERLOADED", retryAfterMs }, "overtaken by other writers");
  }

  /** Stores a commit. It is counted, and the observer is told of it. */
  private async store(commit: Commit, decided: readonly Waiting[]): Promise<CommitResult> {
    const { storage, observer } = this.options;
    const events = commit.events.length;
    const told = observer?.committing(decided.map(({ signal }) => signal));
    const begunMs = performance.now();
    try {
      const stored = storage.commit(commit);
      if (this.held?.areAny === true) {
        stored.catch(() => {});
        // It is on its way in the next turn.
        await setImmediate();
        this.held.make();
      }
      const result = await stored;
      if (result === "committed") this.stats.committed(commit, performance.now() - begunMs);
      told?.({ events });
      return result;
    } catch (error) {
      this.stats.failed();
      told?.({ events, error });
      throw error;
    }
  }
}

/**
 * A failed commit is the answer of all entries, including those that the decision refused, because
 * the event that refused them may not be stored. Only a retry of an append that was already durable
 * is still answered as such: DISK_FULL would say that nothing was stored.
 */
function answer(
  decided: readonly Waiting[],
  outcomes: readonly OutcomeOf<Proposal>[],
  head: number,
  failure?: AnnalsError,
): void {
  let next = 0;
  for (const { entry, resolve, reject } of decided) {
    const outcome = entry.kind === "side-values" ? undefined : outcomes[next++];
    const wasDurable =
      outcome?.kind === "appended" && outcome.deduplicated && outcome.lastPosition <= head;
    if (failure === undefined || wasDurable) resolve({ outcome, head });
    else reject(failure);
  }
}

/**
 * Splits the batch into the entries that were decided, with all side writes, and the rest, in
 * order.
 */
function parted(batch: readonly Waiting[], decidedCount: number): [Waiting[], Waiting[]] {
  let count = 0;
  const decided: Waiting[] = [];
  const rest: Waiting[] = [];
  for (const waiting of batch) {
    const isDecided = waiting.entry.kind === "side-values" || count++ < decidedCount;
    (isDecided ? decided : rest).push(waiting);
  }
  return [decided, rest];
}

/** The steps of a large commit after the first one, each in a turn of the event loop. */
async function furtherTurns<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    await setImmediate();
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** The checkpoints are as of the same head, because from then on nothing else writes any. */
async function factsFor(
  storage: Storage,
  proposals: readonly Proposal[],
): Promise<Facts & CheckpointFacts> {
  const { consumers, ...needed } = factsNeeded(proposals);
  const facts = await storage.facts({ ...needed, toCommit: true });
  if (consumers.size === 0) return facts;
  const checkpoints = await loadCheckpoints(storage, consumers);
  return { ...facts, checkpoints, epoch: currentEpoch(storage.identity.history) };
}

function refused(failure: AnnalsError["failure"], message: string): Promise<never> {
  return Promise.reject(new AnnalsError(failure, message));
}

function commitFailure(error: unknown): AnnalsError {
  if (error instanceof AnnalsError && tellingReasons.has(error.reason)) return error;
  const message = "the commit failed: the append may or may not be there";
  return new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, message, error);
}

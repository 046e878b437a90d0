// Decides on appends: given what is durable, which appends of a commit batch are accepted, which
// events they become, and why the others are refused. Pure and synchronous. Appends are decided in
// order, each on what is durable and on what the batch accepted before it, as if each had been
// committed alone.

import type {
  Append,
  AppendCondition,
  Appended,
  ConditionConflict,
  Conflict,
  Outcome,
  StreamConflict,
  TimeBackwards,
} from "../append.ts";
import type {
  BeyondHead,
  Checkpoint,
  CheckpointOutcome,
  CheckpointRequest,
} from "../checkpoint.ts";
import {
  LifecycleOverlay,
  streamConflict,
  type LifecycleOutcome,
  type LifecycleRequest,
} from "./decide-lifecycle.ts";
import { invariant } from "../errors.ts";
import type { CommitEvent, NewEvent } from "../event.ts";
import { lifecycleStream } from "../lifecycle/lifecycle-event.ts";
import { appended, Overlay, type DecisionFacts } from "./overlay.ts";
import { recordedBefore } from "./recorded-before.ts";
import { atOnce, stepBytes, type Steps } from "../steps.ts";
import type { SnapshotOutcome, SnapshotRequest, SnapshotToSave } from "../snapshot.ts";

/** What is decided in one order: appends, and changes of what is stored beside them. */
export type Proposal = Append | CheckpointRequest | LifecycleRequest | SnapshotRequest;
export type OutcomeOf<P extends Proposal> = P extends Append
  ? Outcome
  : P extends LifecycleRequest
    ? LifecycleOutcome
    : P extends SnapshotRequest
      ? SnapshotOutcome
      : CheckpointOutcome;

/** What has to be known to decide a batch. */
export interface NeededFacts {
  readonly streams: Set<string>;
  /**
   * Those that are only deleted. A deletion removes everything, whatever was removed before, so
   * that it ends the damage of a stream whose lifecycle was lost.
   */
  readonly replaced: Set<string>;
  readonly ids: string[];
  /** Conditions, restricted to the events after their last lookup. */
  readonly conditions: AppendCondition[];
  /** The consumers whose checkpoints are needed. */
  readonly consumers: Set<string>;
}

/** The appends of one commit, and what was durable before it. */
export interface CommitBatch<P extends Proposal = Append> {
  readonly facts: DecisionFacts;
  /** In the order of decision. */
  readonly appends: readonly P[];
  /** The clock: microseconds since 1970, UTC. It may have been set back. */
  readonly now: number;
  /** By chance below `idChances`, for the ids that the store makes: see `ownId`. */
  readonly idChance: number;
}

export interface Decision<O = Outcome> {
  /**
   * The outcomes, in the order of the appends. They are valid once the events and checkpoints below
   * are durable. There is at least one. If there are fewer than appends, the remaining appends have
   * to be decided on facts from after this commit.
   */
  readonly outcomes: O[];
  /** The events to store, in order, directly after the facts' head. May be empty. */
  readonly events: CommitEvent[];
  /**
   * The checkpoints to store with the events, by consumer. Undefined: the checkpoint is deleted.
   */
  readonly checkpoints: ReadonlyMap<string, Checkpoint | undefined>;
  /** The time of the last event: microseconds since 1970, UTC, never earlier than the head's. */
  readonly recordedAt: number;
  /** The time of each event, never decreasing. Undefined: all have that of the last one. */
  readonly times: readonly number[] | undefined;
}

const noMatches: readonly number[] = Object.freeze([]);

export function factsNeeded(appends: readonly Proposal[]): NeededFacts {
  const streams = new Set<string>();
  const replaced = new Set<string>();
  const ids: string[] = [];
  const conditions: AppendCondition[] = [];
  const consumers = new Set<string>();
  for (const append of appends) {
    if (append.kind !== undefined) {
      const isFirst = append.kind === "delete-stream" && !streams.has(append.stream);
      for (const stream of streamsOfRequest(append)) streams.add(stream);
      if (isFirst) replaced.add(append.stream);
      const consumer = consumerOf(append);
      if (consumer !== undefined) consumers.add(consumer);
      continue;
    }
    for (const { stream } of append.expectations) streams.add(stream);
    for (const event of append.events) {
      if (event.stream !== "") streams.add(event.stream);
      if (event.idFromClient) ids.push(event.id);
    }
    for (const { query, after, nothingThrough = 0 } of append.conditions) {
      conditions.push({ query, after: Math.max(after, nothingThrough) });
    }
    if (append.checkpoint !== undefined) consumers.add(append.checkpoint.consumer);
  }
  return { streams, replaced, ids, conditions, consumers };
}

type Request = Exclude<Proposal, Append>;

function streamsOfRequest(request: Request): string[] {
  switch (request.kind) {
    case "update-stream":
    case "delete-stream":
      return [request.stream, lifecycleStream(request.stream)];
    case "save-snapshot":
      return [request.key.stream];
    case "save-checkpoint":
    case "delete-checkpoint":
    case "delete-snapshots":
      return [];
  }
}

function consumerOf(request: Request): string | undefined {
  if (request.kind === "save-checkpoint") return request.update.consumer;
  return request.kind === "delete-checkpoint" ? request.consumer : undefined;
}

export function decideBatch<P extends Proposal>(batch: CommitBatch<P>): Decision<OutcomeOf<P>> {
  return atOnce(decideInSteps(batch));
}

/** What an event costs until it is placed, beside the copy of its bytes. */
const placedBytes = 64;
const copiedShare = 1 / 256;

export function* decideInSteps<P extends Proposal>(
  batch: CommitBatch<P>,
): Steps<Decision<OutcomeOf<P>>> {
  const { facts, appends, now, idChance } = batch;
  const recordedAt = Math.max(now, facts.head.recordedAt);
  const overlay = new Overlay(facts, recordedAt, idChance);
  const outcomes: OutcomeOf<Proposal>[] = [];
  let conditionCount = 0;
  for (const append of appends) {
    if (append.kind !== undefined) {
      outcomes.push(decideRequest(append, overlay));
      continue;
    }
    const { conditions, expectations, checkpoint } = append;
    let found = noMatches;
    if (conditions.length > 0) {
      found = facts.matches.slice(conditionCount, conditionCount + conditions.length);
      conditionCount += conditions.length;
      invariant(found.length === conditions.length, "the facts answer every condition");
    }
    const isConditional = conditions.length + expectations.length > 0;
    // The matching event may have been removed by this batch. Only the store knows whether another
    // one matches.
    if (overlay.lifecycles?.mayHaveRemoved === true && found.some((position) => position > 0))
      break;
    const answered =
      (overlay.idCount > 0 ? yield* recordedBefore(append, overlay) : undefined) ??
      append.mismatch ??
      (isConditional ? beyondHead(conditions, facts.head.position) : undefined) ??
      overlay.lifecycles?.tombstoned(append.events) ??
      (checkpoint && overlay.checkpoints.refusal(checkpoint)) ??
      (isConditional ? conflict(append, overlay, found) : undefined) ??
      (append.isTimed === true ? backwards(append.events, overlay) : undefined);
    outcomes.push(answered ?? (yield* accept(append, overlay)));
    if (answered === undefined && checkpoint !== undefined) overlay.checkpoints.save(checkpoint);
  }
  const { events, checkpointChanges: checkpoints, times } = overlay;
  const last = times?.at(-1) ?? recordedAt;
  return { outcomes: outcomes as OutcomeOf<P>[], events, checkpoints, recordedAt: last, times };
}

/**
 * A position that cannot have been read from this store. The request is refused without further
 * checks.
 */
function beyondHead(conditions: readonly AppendCondition[], head: number): BeyondHead | undefined {
  for (let i = 0; i < conditions.length; i++) {
    const { after: asked, mayBeAhead } = conditions[i] as AppendCondition;
    if (asked <= head || mayBeAhead === true) continue;
    return { kind: "beyond-head", field: `conditions[${i}].after`, asked, head };
  }
  return undefined;
}

/** All expectations and conditions that do not hold. */
function conflict(
  { expectations, conditions }: Append,
  overlay: Overlay,
  durableMatches: readonly number[],
): Conflict | undefined {
  let streams: StreamConflict[] | undefined;
  for (const expectation of expectations) {
    const { stream } = expectation;
    const actualVersion = overlay.version(stream);
    const violated = streamConflict(expectation, actualVersion, overlay.lifecycles?.of(stream));
    if (violated !== undefined) (streams ??= []).push(violated);
  }
  let failed: ConditionConflict[] | undefined;
  for (const [index, condition] of conditions.entries()) {
    const position = durableMatches[index] || overlay.match(condition);
    if (position > 0) (failed ??= []).push({ index, position, after: condition.after });
  }
  if (streams === undefined && failed === undefined) return undefined;
  return { kind: "conflict", streams: streams ?? [], conditions: failed ?? [] };
}

/** The first event with a time of its own that is before the time of the event before it. */
function backwards(
  events: readonly Pick<NewEvent, "recordedAt">[],
  overlay: Overlay,
): TimeBackwards | undefined {
  let newest = overlay.lastTime;
  for (let index = 0; index < events.length; index++) {
    const event = events[index] as NewEvent;
    if (event.recordedAt !== undefined && event.recordedAt < newest) {
      return { kind: "time-backwards", index, newest };
    }
    newest = overlay.timeOf(event);
  }
  return undefined;
}

function* accept(append: Append, overlay: Overlay): Steps<Appended> {
  const placed: CommitEvent[] = [];
  const ids: string[] = [];
  let isAnyIdMade = false;
  for (const event of append.events) {
    const at = overlay.place(event, append);
    placed.push(at);
    ids.push(at.id);
    isAnyIdMade ||= !event.idFromClient;
    overlay.spentBytes += placedBytes + event.body.length * copiedShare;
    if (overlay.spentBytes < stepBytes) continue;
    yield overlay.spentBytes;
    overlay.spentBytes = 0;
  }
  const time = overlay.times === undefined ? overlay.recordedAt : overlay.lastTime;
  const outcome = appended(placed, time, false);
  return isAnyIdMade ? { ...outcome, ids } : outcome;
}

function decideRequest(
  request: Request,
  overlay: Overlay,
): CheckpointOutcome | LifecycleOutcome | SnapshotOutcome {
  switch (request.kind) {
    case "update-stream":
    case "delete-stream":
      return changeLifecycle(request, overlay);
    case "save-checkpoint":
    case "delete-checkpoint":
      return overlay.checkpoints.decide(request);
    case "save-snapshot":
      return saveSnapshot(request.key, overlay);
    case "delete-snapshots":
      return { kind: "snapshots-deleted" };
  }
}

/**
 * A snapshot's version must be one that the stream has: not deleted, and not beyond its version
 * unless the snapshot may be ahead.
 */
function saveSnapshot(
  { stream, version, mayBeAhead }: SnapshotToSave,
  overlay: Overlay,
): SnapshotOutcome {
  const streamVersion = overlay.version(stream);
  const deletedThrough = overlay.lifecycles?.of(stream)?.deletion?.through ?? 0;
  const isReached = version <= streamVersion || mayBeAhead === true;
  if (deletedThrough < version && isReached) return { kind: "snapshot-saved" };
  return { kind: "snapshot-beyond-stream", stream, version, streamVersion, deletedThrough };
}

function changeLifecycle(request: LifecycleRequest, overlay: Overlay): LifecycleOutcome {
  const refused = request.recordedAt === undefined ? undefined : backwards([request], overlay);
  if (refused !== undefined) return refused;
  const { nextPosition: position } = overlay;
  const recordedAt = overlay.timeOf(request);
  const version = overlay.version(request.stream);
  const changes = overlay.version(lifecycleStream(request.stream));
  const lifecycles = (overlay.lifecycles ??= new LifecycleOverlay(new Map()));
  const decided = lifecycles.decide(request, { version, changes, position, recordedAt });
  if ("kind" in decided) return decided;
  overlay.place({ ...decided.event, recordedAt }, request);
  return decided.outcome;
}

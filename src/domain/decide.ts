// Where appends are decided on: given what is durable, which appends of a group are accepted,
// what they become, and what refuses the others. Pure and synchronous. Appends are decided in
// order, each on what is durable and what the group accepted before it, as if each had committed
// alone.

import type {
  Append,
  AppendCondition,
  Appended,
  AppendedStream,
  BeyondHead,
  ConditionConflict,
  Conflict,
  EventIdConflict,
  EventIdProblem,
  Expected,
  Outcome,
  StreamConflict,
} from "./append.ts";
import type { Checkpoint, CheckpointOutcome, CheckpointRequest } from "./checkpoint.ts";
import { CheckpointOverlay, type CheckpointFacts } from "./decide-checkpoint.ts";
import { invariant } from "./errors.ts";
import type { CommitEvent, NewEvent, PlacedEvent, StoredEvent } from "./event.ts";
import { positionMax } from "./limits.ts";
import { Overlay } from "./overlay.ts";
import { composeFrame, sameContent } from "./record.ts";

/** What is decided on, in one order: appends, and changes of checkpoints by themselves. */
export type Proposal = Append | CheckpointRequest;
export type OutcomeOf<P extends Proposal> = P extends Append ? Outcome : CheckpointOutcome;

/** What is durable, as of `head`: see `Facts` of the storage port, which is one. */
export interface DecisionFacts extends CheckpointFacts {
  readonly head: { readonly position: number; readonly recordedAt: number };
  readonly versions: ReadonlyMap<string, number>;
  readonly events: ReadonlyMap<string, StoredEvent>;
  /** One for each of `factsNeeded(...).conditions`. */
  readonly matches: readonly number[];
}

/** What the decision of a group needs to know. */
export interface NeededFacts {
  readonly streams: Set<string>;
  readonly ids: string[];
  readonly conditions: AppendCondition[];
  /** Whose checkpoints are asked. */
  readonly consumers: Set<string>;
}

export interface Group<P extends Proposal = Append> {
  readonly facts: DecisionFacts;
  /** In the order they are decided in. */
  readonly appends: readonly P[];
  /** The clock, microseconds since 1970, UTC. It may have jumped back. */
  readonly now: number;
}

export interface Decision<O = Outcome> {
  /** One for each append, in order. They hold only once what is to be stored is durable. */
  readonly outcomes: O[];
  /** What to store, in order, right after the facts' head. Empty: nothing. */
  readonly events: CommitEvent[];
  /** The checkpoints to store with them, by consumer; undefined: the checkpoint goes. */
  readonly checkpoints: ReadonlyMap<string, Checkpoint | undefined>;
  /** Of all of it: microseconds since 1970, UTC, never before the head's. */
  readonly recordedAt: number;
}

export function factsNeeded(appends: readonly Proposal[]): NeededFacts {
  const streams = new Set<string>();
  const ids: string[] = [];
  const conditions: AppendCondition[] = [];
  const consumers = new Set<string>();
  for (const append of appends) {
    if ("kind" in append) {
      consumers.add(consumerOf(append));
      continue;
    }
    for (const { stream } of append.expectations) streams.add(stream);
    for (const event of append.events) {
      if (event.stream !== "") streams.add(event.stream);
      if (event.idFromClient) ids.push(event.id);
    }
    if (append.condition !== undefined) conditions.push(leftToLookUp(append.condition));
    if (append.checkpoint !== undefined) consumers.add(append.checkpoint.consumer);
  }
  return { streams, ids, conditions, consumers };
}

/** What came since the condition was last looked up. */
function leftToLookUp(condition: AppendCondition): AppendCondition {
  const { query, after, seen } = condition;
  return seen === undefined ? condition : { query, after: Math.max(after, seen.through) };
}

function consumerOf(request: CheckpointRequest): string {
  return request.kind === "save-checkpoint" ? request.update.consumer : request.consumer;
}

export function decideGroup<P extends Proposal>(group: Group<P>): Decision<OutcomeOf<P>> {
  const { facts, appends, now } = group;
  const recordedAt = Math.max(now, facts.head.recordedAt);
  const overlay = new Overlay(recordedAt);
  const checkpoints = new CheckpointOverlay(facts, recordedAt);
  const outcomes: (Outcome | CheckpointOutcome)[] = [];
  let conditionCount = 0;
  for (const append of appends) {
    if ("kind" in append) {
      outcomes.push(checkpoints.decide(append));
      continue;
    }
    const match = append.condition === undefined ? 0 : facts.matches[conditionCount++];
    invariant(match !== undefined, "the facts answer every condition");
    const { checkpoint } = append;
    const answered =
      recordedBefore(append, facts, overlay) ??
      beyondHead(append, facts) ??
      (checkpoint && checkpoints.refusal(checkpoint)) ??
      conflict(append, facts, overlay, match);
    outcomes.push(answered ?? accept(append, facts, overlay, recordedAt));
    if (answered === undefined && checkpoint !== undefined) checkpoints.save(checkpoint);
  }
  const { events } = overlay;
  const { changes } = checkpoints;
  return { outcomes: outcomes as OutcomeOf<P>[], events, checkpoints: changes, recordedAt };
}

/**
 * Whether the append is there already, by the ids its client chose. Undefined: none of them is, it
 * is a new one. Positions need not be contiguous: an import may come again in other batches.
 */
function recordedBefore(
  append: Append,
  facts: DecisionFacts,
  overlay: Overlay,
): Appended | EventIdConflict | undefined {
  let recorded: StoredEvent[] | undefined;
  let problems: (EventIdProblem | undefined)[] | undefined;
  for (const event of append.events) {
    if (!event.idFromClient) continue;
    const found = overlay.find(event.id) ?? facts.events.get(event.id);
    if (found === undefined) continue;
    (recorded ??= []).push(found);
    (problems ??= []).push(problemOf(event, found));
  }
  if (recorded === undefined || problems === undefined) return undefined;
  const complete = recorded.length === append.events.length;
  const inOrder = ascending(recorded);
  if (complete && inOrder && problems.every((problem) => problem === undefined)) {
    return appended(recorded, (recorded.at(-1) as StoredEvent).recordedAt, true);
  }
  // What is as proposed is still listed: it is there, and the append as a whole is not.
  const otherwise = complete && !inOrder ? "other-order" : "partly-recorded";
  const events = recorded.map(({ id, position }, i) => {
    return { id, position, problem: problems[i] ?? otherwise };
  });
  return { kind: "event-id-conflict", events };
}

function ascending(events: readonly PlacedEvent[]): boolean {
  let before = 0;
  return events.every(({ position }) => {
    const rises = position > before;
    before = position;
    return rises;
  });
}

/** What is different about an event whose id is there, by itself. */
function problemOf(proposed: NewEvent, recorded: StoredEvent): EventIdProblem | undefined {
  if (!sameContent(proposed.body, recorded.record)) return "other-content";
  return proposed.stream === recorded.stream ? undefined : "other-stream";
}

/** A position that nobody can have read here: the rest of such a request means nothing. */
function beyondHead({ condition }: Append, { head }: DecisionFacts): BeyondHead | undefined {
  if (condition === undefined || condition.after <= head.position) return undefined;
  const { after: asked } = condition;
  return { kind: "beyond-head", field: "condition.after", asked, head: head.position };
}

/** Every expectation that does not hold, and the condition where it does not. */
function conflict(
  { expectations, condition }: Append,
  facts: DecisionFacts,
  overlay: Overlay,
  durableMatch: number,
): Conflict | undefined {
  let streams: StreamConflict[] | undefined;
  for (const { stream, expected } of expectations) {
    const actualVersion = versionOf(stream, facts, overlay);
    if (holds(expected, actualVersion)) continue;
    (streams ??= []).push({ stream, expected, actualVersion });
  }
  const conditionConflict = condition && conditionConflictOf(condition, overlay, durableMatch);
  if (streams === undefined && conditionConflict === undefined) return undefined;
  return { kind: "conflict", streams: streams ?? [], condition: conditionConflict };
}

function holds(expected: Expected, version: number): boolean {
  switch (expected.kind) {
    case "version":
      return version === expected.version;
    case "exists":
      return version > 0;
    case "absent":
      return version === 0;
  }
}

/** All that the group accepted lies beyond the head, and so after `after`. */
function conditionConflictOf(
  { query, after, seen }: AppendCondition,
  overlay: Overlay,
  durableMatch: number,
): ConditionConflict | undefined {
  const position = durableMatch || seen?.match || overlay.match(query);
  return position > 0 ? { position, after } : undefined;
}

function accept(
  { events }: Append,
  facts: DecisionFacts,
  overlay: Overlay,
  recordedAt: number,
): Appended {
  const after = facts.head.position + overlay.events.length;
  invariant(after + events.length <= positionMax, "positions are safe integers");
  const placed = events.map((event, i) => {
    const { id, stream, type, tags, idFromClient, body } = event;
    const version = stream === "" ? 0 : versionOf(stream, facts, overlay) + 1;
    const position = after + 1 + i;
    const frame = composeFrame(body, version, position, recordedAt);
    const commit = { id, stream, type, tags, version, position, idFromClient, frame };
    overlay.add(commit);
    return commit;
  });
  return appended(placed, recordedAt, false);
}

function versionOf(stream: string, facts: DecisionFacts, overlay: Overlay): number {
  const version = overlay.version(stream) ?? facts.versions.get(stream);
  // Taking a stream for empty because its version was not looked up would number it from 1 again.
  invariant(version !== undefined, "the facts know every stream of the group");
  return version;
}

function appended(
  events: readonly PlacedEvent[],
  recordedAt: number,
  deduplicated: boolean,
): Appended {
  const [first, last] = [events[0], events.at(-1)];
  invariant(first !== undefined && last !== undefined, "an append has events");
  return {
    kind: "appended",
    firstPosition: first.position,
    lastPosition: last.position,
    streams: streamsOf(events, first, last),
    recordedAt,
    deduplicated,
  };
}

function streamsOf(
  events: readonly PlacedEvent[],
  first: PlacedEvent,
  last: PlacedEvent,
): AppendedStream[] {
  const { stream } = first;
  if (stream !== "" && events.every((event) => event.stream === stream)) {
    return [{ stream, firstVersion: first.version, lastVersion: last.version }];
  }
  const streams = new Map<string, { stream: string; firstVersion: number; lastVersion: number }>();
  for (const event of events) {
    if (event.stream === "") continue;
    const known = streams.get(event.stream);
    if (known !== undefined) known.lastVersion = event.version;
    else {
      const { version } = event;
      streams.set(event.stream, {
        stream: event.stream,
        firstVersion: version,
        lastVersion: version,
      });
    }
  }
  return [...streams.values()];
}

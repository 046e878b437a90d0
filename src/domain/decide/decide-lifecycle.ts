// Decides on changes of streams' lifecycles, in one order with appends, and applies lifecycles to
// the appends of a batch. Pure and synchronous.

import type {
  Conflict,
  Expected,
  StreamConflict,
  StreamExpectation,
  TimeBackwards,
  Tombstoned,
} from "../append.ts";
import type { BeyondHead } from "../checkpoint.ts";
import { invariant } from "../errors.ts";
import type { NewEvent } from "../event.ts";
import {
  changedPolicy,
  firstVersion,
  noLifecycle,
  stateOf,
  withDeletion,
  withPolicy,
  type Deletion,
  type Lifecycle,
  type PolicyChange,
} from "../lifecycle/lifecycle.ts";
import { lifecycleEvent, lifecycleStream, type Cause } from "../lifecycle/lifecycle-event.ts";

interface LifecycleChange extends Cause {
  readonly stream: string;
  /** Undefined: there is no expectation. */
  readonly expected: Expected | undefined;
  /** The expected version of the stream's lifecycle stream. Absent: there is no expectation. */
  readonly expectedChanges?: Expected | undefined;
  /** The caller's name. Empty or absent: the server does not authenticate callers. */
  readonly principal?: string;
  /** When another system recorded it: microseconds since 1970, UTC. Absent: the store's time. */
  readonly recordedAt?: number;
}

export interface UpdateStream extends LifecycleChange {
  readonly kind: "update-stream";
  readonly change: PolicyChange;
  /** True: the policy of a tombstoned stream changes, too. Absent: it does not. */
  readonly evenIfTombstoned?: boolean;
}

export interface DeleteStream extends LifecycleChange {
  readonly kind: "delete-stream";
  /** True: no append is accepted again. */
  readonly permanent: boolean;
  /**
   * True: a stream that never got an event is deleted as well. Absent: there is nothing to delete.
   */
  readonly evenIfEmpty?: boolean;
}

export type LifecycleRequest = UpdateStream | DeleteStream;

/** The change is recorded, now or earlier: deleting a deleted stream changes nothing. */
export interface StreamChanged extends Pick<Deletion, "position" | "recordedAt"> {
  readonly kind: "stream-changed";
  /** The stream's version: how many events it ever got. */
  readonly version: number;
  readonly lifecycle: Lifecycle;
}

/** There is nothing to delete, because the stream never got an event. */
export interface NoSuchStream {
  readonly kind: "no-such-stream";
  readonly stream: string;
}

export type LifecycleOutcome =
  | StreamChanged
  | Conflict
  | BeyondHead
  | Tombstoned
  | TimeBackwards
  | NoSuchStream;

/** A change to record: its event and its outcome. */
export interface AcceptedChange {
  readonly event: NewEvent;
  readonly outcome: StreamChanged;
}

/** The position and time at which a change would be recorded, and the state of its stream then. */
interface Moment {
  readonly version: number;
  /** How many changes of its lifecycle are recorded. */
  readonly changes: number;
  readonly position: number;
  /** The store's time, never earlier than the head's. Ages are measured by it. */
  readonly recordedAt: number;
}

/**
 * The lifecycles during one decision: the durable ones, overlaid by those that the batch has
 * accepted.
 */
export class LifecycleOverlay {
  private readonly durable: ReadonlyMap<string, Lifecycle>;
  private readonly changes = new Map<string, Lifecycle>();
  /** Whether a change that the batch accepted may have removed stored events. */
  mayHaveRemoved = false;

  constructor(durable: ReadonlyMap<string, Lifecycle>) {
    this.durable = durable;
  }

  of(stream: string): Lifecycle | undefined {
    return this.changes.get(stream) ?? this.durable.get(stream);
  }

  /** Records that an event of the stream was accepted. */
  added(stream: string): void {
    if (this.of(stream)?.policy.maxCount !== undefined) this.mayHaveRemoved = true;
  }

  /** Whether an event that the batch accepted is not removed, given its stream's version. */
  isLeft(event: { readonly stream: string; readonly version: number }, version: number): boolean {
    const lifecycle = this.of(event.stream);
    return lifecycle === undefined || event.version >= firstVersion(lifecycle, version);
  }

  /** The first stream among those the append writes to that is tombstoned. */
  tombstoned(events: readonly NewEvent[]): Tombstoned | undefined {
    const event = events.find(({ stream }) => this.of(stream)?.tombstoned === true);
    return event && { kind: "tombstoned", stream: event.stream };
  }

  decide(request: LifecycleRequest, moment: Moment): AcceptedChange | LifecycleOutcome {
    const { stream } = request;
    const { version, position, recordedAt } = moment;
    const lifecycle = this.of(stream) ?? noLifecycle;
    const state = stateOf(lifecycle, version);
    const deletes = request.kind === "delete-stream";
    const isPossible = deletes ? request.permanent : request.evenIfTombstoned === true;
    if (state === "tombstoned" && !isPossible) {
      return { kind: "tombstoned", stream };
    }
    const isDone =
      deletes && (state === "tombstoned" || (state === "deleted" && !request.permanent));
    // A stream that is already deleted as requested cannot be expected in a state. Its version
    // stays.
    const expected = isDone && request.expected?.kind !== "version" ? undefined : request.expected;
    const conflict =
      (expected && streamConflict({ stream, expected }, version, lifecycle)) ??
      changesConflict(request, moment.changes);
    if (conflict !== undefined) return { kind: "conflict", streams: [conflict], conditions: [] };
    if (isDone) return doneBefore(lifecycle, version);
    if (deletes && version === 0 && request.evenIfEmpty !== true) {
      return { kind: "no-such-stream", stream };
    }
    const before = { lifecycle, version, now: recordedAt };
    if (deletes) {
      const changed = withDeletion(before, { position, recordedAt }, request.permanent);
      return this.accept(request, changed, moment);
    }
    const { truncateBefore: asked } = request.change;
    if (asked > version + 1) {
      return { kind: "beyond-head", field: "policy.truncate_before", asked, head: version + 1 };
    }
    const policy = changedPolicy(lifecycle.policy, request.change);
    return this.accept(request, withPolicy(before, policy), moment);
  }

  private accept(
    request: LifecycleRequest,
    lifecycle: Lifecycle,
    { version, position, recordedAt }: Moment,
  ): AcceptedChange {
    const { stream, actor, reason } = request;
    this.changes.set(stream, lifecycle);
    this.mayHaveRemoved = true;
    const said = { stream, lifecycle, actor, reason };
    const event = lifecycleEvent(typeOf(request), said);
    return { event, outcome: { kind: "stream-changed", position, recordedAt, version, lifecycle } };
  }
}

/** The conflict of an expectation that does not hold. Undefined: it holds. */
export function streamConflict(
  { stream, expected }: StreamExpectation,
  version: number,
  lifecycle: Lifecycle | undefined,
): StreamConflict | undefined {
  const deleted = stateOf(lifecycle, version) !== "active";
  if (holds(expected, version, deleted)) return undefined;
  const conflict = { stream, expected, actualVersion: version };
  return deleted ? { ...conflict, deleted } : conflict;
}

function changesConflict(
  { stream, expectedChanges }: LifecycleRequest,
  changes: number,
): StreamConflict | undefined {
  if (expectedChanges === undefined || holds(expectedChanges, changes, false)) return undefined;
  return { stream: lifecycleStream(stream), expected: expectedChanges, actualVersion: changes };
}

function typeOf(request: LifecycleRequest) {
  if (request.kind === "update-stream") return "$StreamUpdated";
  return request.permanent ? "$StreamTombstoned" : "$StreamDeleted";
}

function doneBefore(lifecycle: Lifecycle, version: number): StreamChanged {
  const { deletion } = lifecycle;
  invariant(deletion !== undefined, "what is deleted was deleted once");
  const { position, recordedAt } = deletion;
  return { kind: "stream-changed", position, recordedAt, version, lifecycle };
}

/** A deleted stream counts as absent and keeps its version. */
function holds(expected: Expected, version: number, deleted: boolean): boolean {
  switch (expected.kind) {
    case "version":
      return version === expected.version;
    case "exists":
      return version > 0 && !deleted;
    case "absent":
      return version === 0 || deleted;
  }
}

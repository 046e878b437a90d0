// How long a stream's events are kept, and how a stream ends: pure functions of policies, deletions
// and time. The events that are left of a stream are always its last ones. An event that a policy
// has removed does not come back with another policy.

export interface StreamPolicy {
  /** Only events recorded less than this many microseconds ago. Absent: any age. */
  readonly maxAge: number | undefined;
  /** Only the newest events, at most this many. Absent: any number. */
  readonly maxCount: number | undefined;
  /** Only events at or after this version; 0: every version. Never decreases. */
  readonly truncateBefore: number;
  /** Free text about the stream. */
  readonly labels: Readonly<Record<string, string>>;
}

/** A change of a policy, field by field. */
export interface PolicyChange {
  /** Undefined: unchanged. */
  readonly maxAge: number | undefined;
  readonly maxCount: number | undefined;
  /** 0: unchanged. */
  readonly truncateBefore: number;
  /** All labels from now on. Undefined: unchanged. */
  readonly labels: StreamPolicy["labels"] | undefined;
  /** The fields that the policy no longer has. */
  readonly clear: readonly ("maxAge" | "maxCount" | "labels")[];
}

/** The last deletion of a stream. */
export interface Deletion {
  /** The stream's version at the deletion: every event up to it is removed. */
  readonly through: number;
  /** The position of the system event that records it. */
  readonly position: number;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
}

/** The state of a stream besides its events. */
export interface Lifecycle {
  readonly policy: StreamPolicy;
  /** Events before this version were removed by earlier policies and stay removed. 0: none. */
  readonly removedBefore: number;
  /**
   * Events recorded at or before this time (microseconds) were removed by earlier age limits and
   * stay removed. 0: none.
   */
  readonly removedUntil: number;
  readonly deletion: Deletion | undefined;
  /** Deleted permanently. */
  readonly tombstoned: boolean;
}

export const noPolicy: StreamPolicy = Object.freeze({
  maxAge: undefined,
  maxCount: undefined,
  truncateBefore: 0,
  labels: Object.freeze({}),
});

/** The policy after a change. */
export function changedPolicy(policy: StreamPolicy, change: PolicyChange): StreamPolicy {
  const isCleared = (field: PolicyChange["clear"][number]): boolean => change.clear.includes(field);
  return {
    maxAge: isCleared("maxAge") ? undefined : (change.maxAge ?? policy.maxAge),
    maxCount: isCleared("maxCount") ? undefined : (change.maxCount ?? policy.maxCount),
    truncateBefore: Math.max(change.truncateBefore, policy.truncateBefore),
    labels: isCleared("labels") ? noPolicy.labels : (change.labels ?? policy.labels),
  };
}

/** The lifecycle of a stream that was never updated or deleted. */
export const noLifecycle: Lifecycle = Object.freeze({
  policy: noPolicy,
  removedBefore: 0,
  removedUntil: 0,
  deletion: undefined,
  tombstoned: false,
});

type LifecycleState = "active" | "deleted" | "tombstoned";

/** The state of a stream that ever got `version` events. An append brings a deleted stream back. */
export function stateOf(lifecycle: Lifecycle | undefined, version: number): LifecycleState {
  if (lifecycle?.tombstoned === true) return "tombstoned";
  return version > 0 && (lifecycle?.deletion?.through ?? 0) >= version ? "deleted" : "active";
}

/**
 * The first version that is not removed by version number, given the stream's version. If all are
 * removed, it is the version plus one. Age may have removed more: see `oldestTime`.
 */
export function firstVersion(lifecycle: Lifecycle, version: number): number {
  const { policy, removedBefore, deletion } = lifecycle;
  const first = Math.max(1, policy.truncateBefore, removedBefore, (deletion?.through ?? 0) + 1);
  if (policy.maxCount === undefined) return first;
  return Math.max(first, version - policy.maxCount + 1);
}

/** Events recorded before this time (microseconds) are removed by age. 0: none are. */
export function oldestTime({ policy, removedUntil }: Lifecycle, now: number): number {
  const kept = policy.maxAge === undefined ? 0 : now - policy.maxAge + 1;
  return Math.max(kept, removedUntil === 0 ? 0 : removedUntil + 1, 0);
}

/** Whether an event of the stream is removed. `version` is the stream's. */
export function isGone(
  lifecycle: Lifecycle,
  event: { readonly version: number; readonly recordedAt: number },
  version: number,
  now: number,
): boolean {
  return (
    event.version < firstVersion(lifecycle, version) ||
    event.recordedAt < oldestTime(lifecycle, now)
  );
}

/** The state of a stream at a moment, on which a change of it is decided. */
export interface StreamMoment {
  readonly lifecycle: Lifecycle;
  readonly version: number;
  /** Microseconds since 1970, UTC. */
  readonly now: number;
}

/** The lifecycle with another policy. If that has no `truncateBefore`, the present one stays. */
export function withPolicy(before: StreamMoment, policy: StreamPolicy): Lifecycle {
  const { lifecycle } = before;
  const truncateBefore = Math.max(policy.truncateBefore, lifecycle.policy.truncateBefore);
  return { ...settled(before), policy: { ...policy, truncateBefore } };
}

/** The lifecycle after a deletion. The policy is kept for the case that the stream comes back. */
export function withDeletion(
  before: StreamMoment,
  recorded: Pick<Deletion, "position" | "recordedAt">,
  permanent: boolean,
): Lifecycle {
  const deletion = { through: before.version, ...recorded };
  return { ...settled(before), deletion, tombstoned: permanent };
}

/**
 * Converts what the present policy has removed by now into fixed bounds, which later policies do
 * not change.
 */
function settled({ lifecycle, version, now }: StreamMoment): Lifecycle {
  const { maxCount, maxAge } = lifecycle.policy;
  const byCount = maxCount === undefined ? 0 : version - maxCount + 1;
  const byAge = maxAge === undefined ? 0 : now - maxAge;
  return {
    ...lifecycle,
    removedBefore: Math.max(lifecycle.removedBefore, byCount),
    removedUntil: Math.max(lifecycle.removedUntil, byAge),
  };
}

// How long a stream's events are kept, and how a stream ends: the rules, as pure functions of what
// was asked for. Whatever the rules, the events that are left of a stream are its last ones, and
// what a policy has removed does not come back with another policy.

export interface StreamPolicy {
  /** Only events recorded less than so many microseconds ago. Absent: any age. */
  readonly maxAge: number | undefined;
  /** Only the newest so many events. Absent: any number. */
  readonly maxCount: number | undefined;
  /** Only events at or after this version; 0: every version. Never decreases. */
  readonly truncateBefore: number;
  /** Free text about the stream. */
  readonly labels: Readonly<Record<string, string>>;
}

/** The last deletion of a stream. */
export interface Deletion {
  /** The version the stream had: every event up to here is gone. */
  readonly through: number;
  /** Of the system event that records it. */
  readonly position: number;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
}

/** A stream's whole state beside its events. */
export interface Lifecycle {
  readonly policy: StreamPolicy;
  /** What policies before this one removed stays removed: events before this version. 0: none. */
  readonly removedBefore: number;
  /** The same by age: events recorded at or before this time (microseconds). 0: none. */
  readonly removedUntil: number;
  readonly deletion: Deletion | undefined;
  /** Deleted for ever. */
  readonly tombstoned: boolean;
}

export const noPolicy: StreamPolicy = Object.freeze({
  maxAge: undefined,
  maxCount: undefined,
  truncateBefore: 0,
  labels: Object.freeze({}),
});

/** Of a stream of which nothing was ever asked. */
export const noLifecycle: Lifecycle = Object.freeze({
  policy: noPolicy,
  removedBefore: 0,
  removedUntil: 0,
  deletion: undefined,
  tombstoned: false,
});

type LifecycleState = "active" | "deleted" | "tombstoned";

/** What became of a stream that ever got `version` events. An append brings a deleted one back. */
export function stateOf(lifecycle: Lifecycle | undefined, version: number): LifecycleState {
  if (lifecycle?.tombstoned === true) return "tombstoned";
  return version > 0 && (lifecycle?.deletion?.through ?? 0) >= version ? "deleted" : "active";
}

/**
 * The first version that is not gone by its number, given how many events the stream ever got; one
 * more than that where all are. Age may have removed more: see `oldestTime`.
 */
export function firstVersion(lifecycle: Lifecycle, version: number): number {
  const { policy, removedBefore, deletion } = lifecycle;
  const first = Math.max(1, policy.truncateBefore, removedBefore, (deletion?.through ?? 0) + 1);
  if (policy.maxCount === undefined) return first;
  return Math.max(first, version - policy.maxCount + 1);
}

/** Events recorded before this time (microseconds) are gone by their age; 0: none are. */
export function oldestTime({ policy, removedUntil }: Lifecycle, now: number): number {
  const kept = policy.maxAge === undefined ? 0 : now - policy.maxAge + 1;
  return Math.max(kept, removedUntil === 0 ? 0 : removedUntil + 1, 0);
}

/** Whether an event of the stream is gone. `version` is the stream's. */
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

/** The stream as it is at a moment: what a change of it is decided on. */
export interface StreamMoment {
  readonly lifecycle: Lifecycle;
  readonly version: number;
  /** Microseconds since 1970, UTC. */
  readonly now: number;
}

/** The lifecycle under another policy. Where that says nothing of `truncateBefore`, it stays. */
export function withPolicy(before: StreamMoment, policy: StreamPolicy): Lifecycle {
  const { lifecycle } = before;
  const truncateBefore = Math.max(policy.truncateBefore, lifecycle.policy.truncateBefore);
  return { ...settled(before), policy: { ...policy, truncateBefore } };
}

/** The lifecycle after a deletion; the policy stays for when the stream comes back. */
export function withDeletion(
  before: StreamMoment,
  recorded: Pick<Deletion, "position" | "recordedAt">,
  permanent: boolean,
): Lifecycle {
  const deletion = { through: before.version, ...recorded };
  return { ...settled(before), deletion, tombstoned: permanent };
}

/** What the policy in force has removed by now is put down in numbers, whatever comes after it. */
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

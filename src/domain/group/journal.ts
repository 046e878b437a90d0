// Collects the changes of a group that are not durable yet, and makes one write at a time of them:
// a delta since the last write, or the complete progress if that is as cheap. After a write whose
// outcome is unknown, the next write is complete again, so that it includes whatever that write
// contained.

import type { KeyQueue } from "./key-queue.ts";
import type { KeyQueues } from "./key-queues.ts";
import { encodeDelta, encodeProgress } from "./progress-codec.ts";
import type { FirstUnsettled, Progress, ProgressDelta, Retry } from "./progress.ts";
import { invariant } from "../errors.ts";

/** A parked event. */
export interface Parked {
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
}

/** What becomes durable in one commit. */
export interface GroupWrite {
  readonly form: "base" | "delta";
  /** The number of the write, which is also the name of the delta. */
  readonly sequence: number;
  readonly progress: Uint8Array;
  /** The numbers of deltas that this base replaces. Some may not exist. */
  readonly obsolete: readonly number[];
  readonly parked: readonly Parked[];
  /** The positions of events that are no longer parked. */
  readonly unparked: readonly number[];
}

/** The state from which a write is made. */
export interface JournalSource {
  readonly through: number;
  readonly fromTime: number;
  readonly unsettledCount: number;
  readonly replays: ReadonlyMap<number, Retry>;
  readonly queues: Pick<KeyQueues, "changed" | "count" | "values">;
}

export interface JournalBounds {
  /** With at most this many keys, every write is a base. */
  readonly keysWrittenWhole: number;
  /** After this many deltas, the next write is a base. */
  readonly deltasMax: number;
  /**
   * After this many bytes of deltas, and at least as many as the base has, the next write is a
   * base.
   */
  readonly deltaBytesMin: number;
}

/** The effects of a write once it is durable. */
interface Pending {
  readonly parked: Map<number, Parked>;
  readonly unparked: Set<number>;
  /** Tokens that will be settled, with the members that hold them. */
  readonly settled: Map<number, number>;
  /** Until then, the group's position stays before this one. */
  heldAt: number;
}

const nothing = (): Pending => {
  return { parked: new Map(), unparked: new Set(), settled: new Map(), heldAt: Infinity };
};

export class Journal {
  /** Replays that changed since the last write. */
  readonly changedReplays = new Set<number>();
  /** Whether a member or a caller waits for the next write. */
  isUrgent = false;
  needsBase = true;
  private pending = nothing();
  private writing: (Pending & Pick<GroupWrite, "form" | "sequence">) | undefined;
  private sequence: number;
  private baseSequence: number;
  private baseBytes = 0;
  private deltaBytes = 0;
  private numbers = 0;
  private savedThrough: number;

  private readonly bounds: JournalBounds;

  /**
   * `baseSequence` is the number of the existing base; deltas after it, up to `sequence`, exist
   * too.
   */
  constructor(bounds: JournalBounds, sequence: number, baseSequence: number, through: number) {
    this.bounds = bounds;
    this.sequence = sequence;
    this.baseSequence = baseSequence;
    this.savedThrough = through;
  }

  get settlingCount(): number {
    return this.pending.settled.size + (this.writing?.settled.size ?? 0);
  }

  /**
   * Events from this position on are settled, but not durably. The group's position stays before
   * it.
   */
  get heldAt(): number {
    return Math.min(this.pending.heldAt, this.writing?.heldAt ?? Infinity);
  }

  /** How many positions would be read again after a crash. */
  lagOf(through: number): number {
    return through - this.savedThrough;
  }

  isSettling(token: number, member: number): boolean {
    return [this.pending, this.writing].some((one) => one?.settled.get(token) === member);
  }

  /** The member that holds the token is told once this is durable. */
  settle(token: number, member: number): void {
    this.pending.settled.set(token, member);
    this.isUrgent = true;
  }

  /** The group's position stays before this one until the next write is durable. */
  holdAt(position: number): void {
    this.pending.heldAt = Math.min(this.pending.heldAt, position);
  }

  /** The group is reset: events that were settled no longer hold back its position. */
  beginAnew(heldAt: number): void {
    this.pending.heldAt = heldAt;
    if (this.writing !== undefined) this.writing.heldAt = Infinity;
    this.needsBase = true;
    this.isUrgent = true;
  }

  park(parked: Parked): void {
    this.pending.parked.set(parked.position, parked);
    this.pending.unparked.delete(parked.position);
    this.isUrgent = true;
  }

  unpark(position: number): void {
    this.pending.unparked.add(position);
    this.pending.parked.delete(position);
    this.isUrgent = true;
  }

  /** The next write. `written` or `failed` must follow. */
  take(source: JournalSource): GroupWrite {
    invariant(this.writing === undefined, "one write of a group at a time");
    const sequence = ++this.sequence;
    const { parked, unparked } = this.pending;
    const sideValues = { parked: [...parked.values()], unparked: [...unparked] };
    const delta = this.isBaseDue(source) ? undefined : this.delta(source, sequence);
    const form = delta === undefined ? "base" : "delta";
    this.writing = { ...this.pending, form, sequence };
    this.pending = nothing();
    this.isUrgent = false;
    this.savedThrough = source.through;
    if (delta !== undefined) {
      const progress = encodeDelta(delta);
      this.deltaBytes += progress.length;
      return { form, sequence, progress, obsolete: [], ...sideValues };
    }
    const progress = encodeProgress(this.whole(source, sequence));
    const obsolete: number[] = [];
    for (let old = this.baseSequence + 1; old < sequence; old++) obsolete.push(old);
    this.needsBase = false;
    this.baseBytes = progress.length;
    this.deltaBytes = 0;
    return { form, sequence, progress, obsolete, ...sideValues };
  }

  /** The write is durable. Returns the tokens that are now settled, with their members. */
  written(): ReadonlyMap<number, number> {
    invariant(this.writing !== undefined, "a write that was taken");
    const { settled, form, sequence } = this.writing;
    if (form === "base") this.baseSequence = sequence;
    this.writing = undefined;
    return settled;
  }

  /** The outcome of the write is unknown, so its content has to be written again. */
  failed(): void {
    const { writing, pending } = this;
    invariant(writing !== undefined, "a write that was taken");
    this.writing = undefined;
    this.needsBase = true;
    this.isUrgent = true;
    const decided = (position: number): boolean =>
      pending.parked.has(position) || pending.unparked.has(position);
    for (const [position, parked] of writing.parked) {
      if (!decided(position)) pending.parked.set(position, parked);
    }
    for (const position of writing.unparked) {
      if (!decided(position)) pending.unparked.add(position);
    }
    // In the order in which they were settled.
    const settled = [...pending.settled];
    pending.settled.clear();
    for (const [token, member] of [...writing.settled, ...settled]) {
      pending.settled.set(token, member);
    }
    pending.heldAt = Math.min(pending.heldAt, writing.heldAt);
  }

  private isBaseDue({ queues, replays }: JournalSource): boolean {
    const { keysWrittenWhole, deltasMax, deltaBytesMin } = this.bounds;
    if (this.needsBase || this.sequence - this.baseSequence > deltasMax) return true;
    if (this.deltaBytes > Math.max(this.baseBytes, deltaBytesMin)) return true;
    return queues.count + replays.size <= keysWrittenWhole;
  }

  private whole(source: JournalSource, sequence: number): Progress {
    const { through, fromTime, unsettledCount, replays, queues } = source;
    for (const queue of queues.changed) this.forget(queue);
    queues.changed.clear();
    this.changedReplays.clear();
    const begun: { queue: KeyQueue; first: FirstUnsettled }[] = [];
    for (const queue of queues.values()) {
      this.forget(queue);
      const first = firstOf(queue, through);
      if (first !== undefined) begun.push({ queue, first });
    }
    begun.sort((a, b) => a.first.position - b.first.position);
    this.numbers = 0;
    for (const { queue, first } of begun) this.remember(queue, first);
    const firsts = new Map(begun.map(({ queue, first }) => [queue.key, first]));
    return { sequence, through, fromTime, unsettledCount, firsts, replays };
  }

  private delta(source: JournalSource, sequence: number): ProgressDelta {
    const { through, unsettledCount, queues, replays } = source;
    const dropped: number[] = [];
    const moved: { number: number; first: FirstUnsettled }[] = [];
    const begun: { queue: KeyQueue; first: FirstUnsettled }[] = [];
    for (const queue of queues.changed) {
      const first = firstOf(queue, through);
      const { savedNumber: number, saved } = queue;
      if (first === undefined) {
        if (number > 0) dropped.push(number);
        this.forget(queue);
      } else if (number === 0) begun.push({ queue, first });
      else if (!isSame(first, saved)) {
        moved.push({ number, first });
        queue.saved = first;
      }
    }
    queues.changed.clear();
    begun.sort((a, b) => a.first.position - b.first.position);
    for (const { queue, first } of begun) this.remember(queue, first);
    const changed = [...this.changedReplays].map((position) => {
      const retry = replays.get(position);
      return { position, retry: retry && { attempts: retry.attempts, retryAtMs: retry.retryAtMs } };
    });
    this.changedReplays.clear();
    const added = begun.map(({ queue, first }) => ({ key: queue.key, first }));
    return { sequence, through, unsettledCount, dropped, moved, added, replays: changed };
  }

  private remember(queue: KeyQueue, first: FirstUnsettled): void {
    queue.savedNumber = ++this.numbers;
    queue.saved = first;
  }

  private forget(queue: KeyQueue): void {
    queue.savedNumber = 0;
    queue.saved = undefined;
  }
}

/** A copy of the queue's first unsettled event for a write, if it is at or before `through`. */
function firstOf(queue: KeyQueue, through: number): FirstUnsettled | undefined {
  const first = queue.firstUnsettled();
  if (first === undefined || first.position > through) return undefined;
  const { position, attempts, retryAtMs } = first;
  return { position, attempts, retryAtMs };
}

function isSame(a: FirstUnsettled, b: FirstUnsettled | undefined): boolean {
  return (
    b !== undefined &&
    a.position === b.position &&
    a.attempts === b.attempts &&
    a.retryAtMs === b.retryAtMs
  );
}

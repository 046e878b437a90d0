// What of a group is not durable yet, made into one write at a time: a delta of what changed
// since the last one or, where that is as cheap, the whole. After a write whose outcome is
// unknown the next one is the whole again: it holds whatever that one was.

import type { Lane } from "./key-queue.ts";
import { encodeDelta, encodeProgress } from "./progress-codec.ts";
import type { Front, Progress, ProgressDelta, Retry } from "./progress.ts";
import { invariant } from "../errors.ts";

/** An event put aside. */
export interface Parked {
  readonly position: number;
  readonly attempts: number;
  readonly reason: string;
}

/** To be made durable all at once. */
export interface GroupWrite {
  readonly form: "base" | "delta";
  /** The number of the write, which names the delta. */
  readonly sequence: number;
  readonly progress: Uint8Array;
  /** Deltas that this base makes superfluous, by number; some may not be there. */
  readonly obsolete: readonly number[];
  readonly parked: readonly Parked[];
  /** Positions of parked events that are parked no longer. */
  readonly unparked: readonly number[];
}

/** What a write is made of, as it stands. */
export interface JournalSource {
  readonly through: number;
  readonly unsettledCount: number;
  readonly replays: ReadonlyMap<number, Retry>;
  readonly changedLanes: Set<Lane>;
  readonly laneCount: number;
  lanes(): Iterable<Lane>;
  progress(sequence: number, fronts: ReadonlyMap<string, Front>): Progress;
}

export interface JournalBounds {
  /** So few fronts are written as a whole each time. */
  readonly frontsWrittenWhole: number;
  /** After so many deltas the next write is a base. */
  readonly deltasMax: number;
  /** After so many bytes of them, or as many as the base has, it is one too. */
  readonly deltaBytesMin: number;
}

/** What becomes true with a write. */
interface Pending {
  readonly parked: Map<number, Parked>;
  readonly unparked: Set<number>;
  /** Tokens that will be settled, with the members that hold them. */
  readonly settled: Map<number, number>;
  /** The lowest own position among them. */
  lowest: number;
  /** Before it the group's position stays, whatever is settled. */
  barrier: number;
}

const nothing = (): Pending => {
  return {
    parked: new Map(),
    unparked: new Set(),
    settled: new Map(),
    lowest: Infinity,
    barrier: Infinity,
  };
};

export class Journal {
  /** Replays that changed since the last write. */
  readonly changedReplays = new Set<number>();
  /** Somebody waits for the next write. */
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

  /** `baseSequence`: of the base that is there; so are the deltas after it, up to `sequence`. */
  constructor(bounds: JournalBounds, sequence: number, baseSequence: number, through: number) {
    this.bounds = bounds;
    this.sequence = sequence;
    this.baseSequence = baseSequence;
    this.savedThrough = through;
  }

  get isWriting(): boolean {
    return this.writing !== undefined;
  }

  get settlingCount(): number {
    return this.pending.settled.size + (this.writing?.settled.size ?? 0);
  }

  /** Of own events that are settled, but not durably so: the lowest position. */
  get lowest(): number {
    return Math.min(this.pending.lowest, this.writing?.lowest ?? Infinity);
  }

  /** The group's position does not go there before the next write is durable. */
  get barrier(): number {
    return Math.min(this.pending.barrier, this.writing?.barrier ?? Infinity);
  }

  /** How many positions a crash would have read again. */
  lagOf(through: number): number {
    return through - this.savedThrough;
  }

  isSettling(token: number, member: number): boolean {
    return [this.pending, this.writing].some((one) => one?.settled.get(token) === member);
  }

  /** The member that holds the token is to be told once this is durable. */
  settle(token: number, member: number): void {
    this.pending.settled.set(token, member);
    this.isUrgent = true;
  }

  settledBelow(position: number): void {
    this.pending.lowest = Math.min(this.pending.lowest, position);
  }

  /** The group begins anew: what was settled means nothing for its position any more. */
  beginAnew(barrier: number): void {
    this.pending.barrier = Math.min(this.pending.barrier, barrier);
    this.pending.lowest = Infinity;
    if (this.writing !== undefined) this.writing.lowest = Infinity;
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

  /** The next write, until `written` or `failed`. */
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
    const progress = encodeProgress(source.progress(sequence, this.allFronts(source)));
    const obsolete: number[] = [];
    for (let old = this.baseSequence + 1; old < sequence; old++) obsolete.push(old);
    this.needsBase = false;
    this.baseBytes = progress.length;
    this.deltaBytes = 0;
    return { form, sequence, progress, obsolete, ...sideValues };
  }

  /** It is durable. Answers the tokens that are settled, with their members. */
  written(): ReadonlyMap<number, number> {
    invariant(this.writing !== undefined, "a write that was taken");
    const { settled, form, sequence } = this.writing;
    if (form === "base") this.baseSequence = sequence;
    this.writing = undefined;
    return settled;
  }

  /** It may be durable or not: what it held is to be written again. */
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
    pending.lowest = Math.min(pending.lowest, writing.lowest);
    pending.barrier = Math.min(pending.barrier, writing.barrier);
  }

  private isBaseDue(source: JournalSource): boolean {
    const { frontsWrittenWhole, deltasMax, deltaBytesMin } = this.bounds;
    if (this.needsBase || this.sequence - this.baseSequence > deltasMax) return true;
    if (this.deltaBytes > Math.max(this.baseBytes, deltaBytesMin)) return true;
    return source.laneCount + source.replays.size <= frontsWrittenWhole;
  }

  private allFronts(source: JournalSource): Map<string, Front> {
    for (const lane of source.changedLanes) this.forget(lane);
    source.changedLanes.clear();
    this.changedReplays.clear();
    const fronts: { lane: Lane; front: Front }[] = [];
    for (const lane of source.lanes()) {
      this.forget(lane);
      const front = frontOf(lane, source.through);
      if (front !== undefined) fronts.push({ lane, front });
    }
    fronts.sort((a, b) => a.front.position - b.front.position);
    this.numbers = 0;
    for (const { lane, front } of fronts) this.remember(lane, front);
    return new Map(fronts.map(({ lane, front }) => [lane.key, front]));
  }

  private delta(source: JournalSource, sequence: number): ProgressDelta {
    const { through, unsettledCount, changedLanes, replays } = source;
    const dropped: number[] = [];
    const moved: { number: number; front: Front }[] = [];
    const begun: { lane: Lane; front: Front }[] = [];
    for (const lane of changedLanes) {
      const front = frontOf(lane, through);
      const { savedNumber: number, saved } = lane;
      if (front === undefined) {
        if (number > 0) dropped.push(number);
        this.forget(lane);
      } else if (number === 0) begun.push({ lane, front });
      else if (!sameFront(front, saved)) {
        moved.push({ number, front });
        lane.saved = front;
      }
    }
    changedLanes.clear();
    begun.sort((a, b) => a.front.position - b.front.position);
    for (const { lane, front } of begun) this.remember(lane, front);
    const changed = [...this.changedReplays].map((position) => {
      const retry = replays.get(position);
      return { position, retry: retry && { attempts: retry.attempts, retryAtMs: retry.retryAtMs } };
    });
    this.changedReplays.clear();
    const added = begun.map(({ lane, front }) => ({ key: lane.key, front }));
    return { sequence, through, unsettledCount, dropped, moved, added, replays: changed };
  }

  private remember(lane: Lane, front: Front): void {
    lane.savedNumber = ++this.numbers;
    lane.saved = front;
  }

  private forget(lane: Lane): void {
    lane.savedNumber = 0;
    lane.saved = undefined;
  }
}

/** As it is written: a copy, and only where it is about what was passed. */
function frontOf(lane: Lane, through: number): Front | undefined {
  const front = lane.front();
  if (front === undefined || front.position > through) return undefined;
  const { position, attempts, retryAtMs } = front;
  return { position, attempts, retryAtMs };
}

function sameFront(a: Front, b: Front | undefined): boolean {
  return (
    b !== undefined &&
    a.position === b.position &&
    a.attempts === b.attempts &&
    a.retryAtMs === b.retryAtMs
  );
}

// Who waits for what. Every open subscription has an interest here; each advance of the head tells
// those it may concern, and nobody else: ten thousand idle subscriptions cost an append a few
// look-ups. An advance only ever marks and wakes; what was missed is read from the log.
//
// Why nothing is lost between looking and waiting: an interest is told of every advance from the
// moment it is opened, whether its subscription waits or reads, and `advanced` runs to its end in
// one go. So at any time, unless the interest is marked, nothing matches from its last `look` up
// to `headPosition`; and that is also why a silent subscription may give the head as its
// position.

import type { PlacedEvent } from "../../domain/event.ts";
import { selects, type Selection } from "../../domain/query.ts";
import type { Advance, StorageWatcher } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { InterestIndex, type Filing } from "./interest-index.ts";
import type { Timers } from "../timers.ts";

const { wakesPerTurn, lingerWakes, lingerMs } = schedulingPolicy;

export class Interests implements StorageWatcher {
  private readonly timers: Timers;
  /** Those that are not marked: one that is needs no telling until it has looked. */
  private readonly index = new InterestIndex<Interest>();
  private readonly open = new Set<Interest>();
  private readonly streamCounts = new Map<string, number>();
  private position: number;
  private stopped = false;
  private ready: Interest[] = [];
  private flushing = false;
  private flushedAtMs = Number.NEGATIVE_INFINITY;
  private flushedCount = 0;

  constructor(headPosition: number, timers: Timers) {
    this.position = headPosition;
    this.timers = timers;
  }

  /** The head as of the last advance that every interest was told of. */
  get headPosition(): number {
    return this.position;
  }

  get isStopped(): boolean {
    return this.stopped;
  }

  get count(): number {
    return this.open.size;
  }

  /** Open interests in exactly this stream. */
  countOf(stream: string): number {
    return this.streamCounts.get(stream) ?? 0;
  }

  /** Interests, what they are filed under, and who is about to be woken: 0 when all are closed. */
  get footprint(): number {
    return this.open.size + this.index.wordCount + this.streamCounts.size + this.ready.length;
  }

  /** To be closed by whoever opened it. */
  add(selection: Selection, signal: AbortSignal): Interest {
    const filings = this.index.filingsOf(selection);
    const interest = new Interest(this, this.timers, selection, filings, signal);
    this.open.add(interest);
    this.countStream(selection, 1);
    return interest;
  }

  remove(interest: Interest): void {
    if (!this.open.delete(interest)) return;
    this.unfile(interest);
    this.countStream(interest.selection, -1);
  }

  file(interest: Interest): void {
    if (this.open.has(interest)) this.index.add(interest, interest.filings);
  }

  unfile(interest: Interest): void {
    this.index.delete(interest, interest.filings);
  }

  advanced({ from, to, events }: Advance): void {
    if (this.open.size > 0) {
      if (events !== undefined && from.position === this.position) this.tell(events);
      else for (const interest of this.open) interest.mark(this.position);
    }
    this.position = to.position;
  }

  private tell(events: readonly PlacedEvent[]): void {
    for (const event of events) {
      for (const candidates of this.index.candidates(event)) {
        for (const interest of candidates) {
          if (selects(interest.selection, event)) interest.mark(event.position - 1);
        }
      }
    }
  }

  /** Reads and subscriptions go on whatever becomes of writes. */
  writeStateChanged(): void {}

  /** Ends every wait, those to come too. */
  stop(): void {
    this.stopped = true;
    for (const interest of this.open) interest.wake();
  }

  /** An interest that waits is to be woken, with others if there are many. */
  queue(interest: Interest): void {
    this.ready.push(interest);
    if (this.flushing) return;
    this.flushing = true;
    const sinceMs = this.timers.nowMs() - this.flushedAtMs;
    if (this.flushedCount <= lingerWakes || sinceMs >= lingerMs) setImmediate(this.flush);
    else this.timers.delay(lingerMs - sinceMs, this.flush);
  }

  private readonly flush = (): void => {
    this.flushedAtMs = this.timers.nowMs();
    this.flushedCount = this.ready.length;
    for (const interest of this.ready.splice(0, wakesPerTurn)) interest.wake();
    if (this.ready.length > 0) setImmediate(this.flush);
    else this.flushing = false;
  };

  private countStream(selection: Selection, change: 1 | -1): void {
    if (selection.kind !== "stream") return;
    const count = this.countOf(selection.stream) + change;
    if (count === 0) this.streamCounts.delete(selection.stream);
    else this.streamCounts.set(selection.stream, count);
  }
}

/** What one subscription knows of the log beyond what it has read. */
export class Interest {
  readonly selection: Selection;
  readonly filings: readonly Filing<Interest>[];
  private readonly interests: Interests;
  private readonly timers: Timers;
  private readonly signal: AbortSignal;
  /** Something after `quiet` may match. So it is to begin with: nothing has been looked at. */
  private marked = true;
  private quiet = 0;
  private queued = false;
  private awake: (() => void) | undefined;
  private stopTimer: (() => void) | undefined;

  constructor(
    interests: Interests,
    timers: Timers,
    selection: Selection,
    filings: readonly Filing<Interest>[],
    signal: AbortSignal,
  ) {
    this.interests = interests;
    this.timers = timers;
    this.selection = selection;
    this.filings = filings;
    this.signal = signal;
    signal.addEventListener("abort", this, { once: true });
  }

  get isMarked(): boolean {
    return this.marked;
  }

  /** From the last `look` up to and including this position nothing matches. */
  get quietThrough(): number {
    return this.marked ? this.quiet : this.interests.headPosition;
  }

  /** The position up to which to read now; from here on, marks are of what comes after it. */
  look(): number {
    this.marked = false;
    this.interests.file(this);
    return this.interests.headPosition;
  }

  /** Something after this position may match. */
  mark(position: number): void {
    if (this.marked) return;
    this.marked = true;
    this.quiet = position;
    this.interests.unfile(this);
    if (this.awake === undefined || this.queued) return;
    this.queued = true;
    this.interests.queue(this);
  }

  /**
   * Until a mark, an abort, a stop, or for this long; perhaps shorter. The caller has found none of
   * them to be the case, and has not waited since.
   */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.awake = resolve;
      this.stopTimer = this.timers.delay(ms, () => this.wake());
    });
  }

  wake(): void {
    this.queued = false;
    this.stopTimer?.();
    this.stopTimer = undefined;
    const { awake } = this;
    this.awake = undefined;
    awake?.();
  }

  handleEvent(): void {
    this.wake();
  }

  close(): void {
    this.signal.removeEventListener("abort", this);
    this.interests.remove(this);
    this.wake();
  }
}

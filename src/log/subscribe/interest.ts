// Which subscription waits for which events. Every open subscription has an interest here; each
// advance of the head tells the interests it may concern and no others: ten thousand idle
// subscriptions cost an append a few look-ups. An advance only ever marks and wakes; what was
// missed is read from the log.
//
// Why nothing is lost between looking and waiting: an interest is told of every advance from the
// moment it is opened, whether its subscription waits or reads, and `advanced` runs to its end in
// one go. So at any time, unless the interest is marked, nothing matches from its last `look` up
// to `headPosition`; and that is also why a silent subscription may give the head as its
// position.

import type { EventHeader, PlacedEvent } from "../../domain/event.ts";
import { possibleStreams, selects, type QueryItem, type Selection } from "../../domain/query.ts";
import type { Advance, StorageWatcher } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import type { Timers } from "../timers.ts";

const { wakesPerTurn, lingerWakes, lingerMs } = schedulingPolicy;

export class Interests implements StorageWatcher {
  private readonly timers: Timers;
  /** Interests that are not marked. A marked one needs no further notice until it has looked. */
  private readonly index = new InterestIndex<Interest>();
  private readonly open = new Set<Interest>();
  /** Those of them that are for several subscriptions. */
  private readonly shared = new Set<Interest>();
  private readonly streamCounts = new Map<string, number>();
  /** The head of the last advance that was announced to the interests. */
  headPosition: number;
  isStopped = false;
  private ready: Interest[] = [];
  private flushing = false;
  private flushedAtMs = Number.NEGATIVE_INFINITY;
  private flushedCount = 0;

  constructor(headPosition: number, timers: Timers) {
    this.headPosition = headPosition;
    this.timers = timers;
  }

  /** Open interests in this stream alone. */
  countOf(stream: string): number {
    return this.streamCounts.get(stream) ?? 0;
  }

  /** The number of interests, index entries and pending wakes. 0 when all interests are closed. */
  get footprint(): number {
    return this.open.size + this.index.termCount + this.streamCounts.size + this.ready.length;
  }

  /** The caller must close it. */
  add(selection: Selection, signal: AbortSignal): Interest {
    const interest = this.opened(selection, alone);
    interest.endWith(signal);
    this.countStream(selection, 1);
    return interest;
  }

  /** For several subscriptions, which have interests of their own. The caller must close it. */
  addShared(selection: Selection, countOf: () => number): Interest {
    const interest = this.opened(selection, countOf);
    this.shared.add(interest);
    return interest;
  }

  private opened(selection: Selection, countOf: () => number): Interest {
    const filings = this.index.filingsOf(selection);
    const interest = new Interest(this, this.timers, selection, filings, countOf);
    this.open.add(interest);
    return interest;
  }

  remove(interest: Interest): void {
    if (!this.open.delete(interest)) return;
    this.unfile(interest);
    if (!this.shared.delete(interest)) this.countStream(interest.selection, -1);
  }

  file(interest: Interest): void {
    if (this.open.has(interest)) this.index.add(interest, interest.filings);
  }

  unfile(interest: Interest): void {
    this.index.delete(interest, interest.filings);
  }

  advanced({ from, to, events }: Advance): void {
    if (this.open.size > 0) {
      if (events !== undefined && from.position === this.headPosition) events.forEach(this.tell);
      else for (const interest of this.open) interest.mark(this.headPosition);
    }
    this.headPosition = to.position;
  }

  private readonly tell = (event: PlacedEvent): void => {
    for (const candidates of this.index.candidates(event)) {
      for (const interest of candidates) {
        if (selects(interest.selection, event)) interest.mark(event.position - 1);
      }
    }
  };

  /** Ends every wait, including later ones. */
  stop(): void {
    this.isStopped = true;
    for (const interest of this.open) interest.wake();
  }

  /** A waiting interest has to be woken, together with others if there are many. */
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
    this.flushedCount = 0;
    for (const interest of this.ready) this.flushedCount += interest.subscriptionCount();
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

const alone = (): number => 1;

/** What a subscription knows about the log beyond what it has read. */
export class Interest {
  readonly selection: Selection;
  readonly filings: readonly Filing<Interest>[];
  private readonly interests: Interests;
  private readonly timers: Timers;
  /** How many subscriptions a wake concerns. */
  readonly subscriptionCount: () => number;
  private signal: AbortSignal | undefined;
  /** An event after `quiet` may match. Initially true, because nothing was looked at. */
  isMarked = true;
  private quiet = 0;
  private queued = false;
  private awake: (() => void) | undefined;
  private stopTimer: (() => void) | undefined;

  constructor(
    interests: Interests,
    timers: Timers,
    selection: Selection,
    filings: readonly Filing<Interest>[],
    countOf: () => number,
  ) {
    this.interests = interests;
    this.timers = timers;
    this.selection = selection;
    this.filings = filings;
    this.subscriptionCount = countOf;
  }

  /** An abort ends each wait. */
  endWith(signal: AbortSignal): void {
    this.signal = signal;
    signal.addEventListener("abort", this, { once: true });
  }

  /** From the last `look` up to and including this position, nothing matches. */
  get quietThrough(): number {
    return this.isMarked ? this.quiet : this.interests.headPosition;
  }

  /** The position up to which to read now. From here on, marks concern later events. */
  look(): number {
    this.isMarked = false;
    this.interests.file(this);
    return this.interests.headPosition;
  }

  /** It is told of nothing until the next `look`. */
  pause(): void {
    this.mark(this.quietThrough);
  }

  /** An event after this position may match. */
  mark(position: number): void {
    if (this.isMarked) return;
    this.isMarked = true;
    this.quiet = position;
    this.interests.unfile(this);
    if (this.awake === undefined || this.queued) return;
    this.queued = true;
    this.interests.queue(this);
  }

  /**
   * Waits for a mark, an abort or a stop, at most for this long, possibly shorter. The caller has
   * checked that none of them is the case and has not waited since.
   */
  wait(ms?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.awake = resolve;
    if (ms !== undefined) this.stopTimer = this.timers.delay(ms, () => this.wake());
    return promise;
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
    this.signal?.removeEventListener("abort", this);
    this.interests.remove(this);
    this.wake();
  }
}

type Entries<T> = Map<string, Set<T>>;

/** A term under which a selection is filed. */
interface Filing<T> {
  readonly entries: Entries<T>;
  readonly term: string;
}

/**
 * Finds the entries that an event may concern by the event's header, so that the cost of a commit
 * grows with the entries it concerns and not with all of them. A selection is filed under terms
 * such that every event it selects has at least one of them. Whether it selects an event is then
 * decided by `selects`.
 */
export class InterestIndex<T> {
  /** Entries that no term narrows. */
  private readonly anything: Entries<T> = new Map();
  private readonly streams: Entries<T> = new Map();
  private readonly prefixes: Entries<T> = new Map();
  private readonly types: Entries<T> = new Map();
  private readonly tags: Entries<T> = new Map();
  /**
   * The number of prefixes of each length. An event looks up one prefix of its stream for each
   * length.
   */
  private readonly prefixLengths = new Map<number, number>();
  private readonly found: Set<T>[] = [];

  add(entry: T, filings: readonly Filing<T>[]): void {
    for (const { entries, term } of filings) {
      const filed = entries.get(term);
      if (filed !== undefined) filed.add(entry);
      else {
        entries.set(term, new Set([entry]));
        if (entries === this.prefixes) this.countPrefix(term.length, 1);
      }
    }
  }

  delete(entry: T, filings: readonly Filing<T>[]): void {
    for (const { entries, term } of filings) {
      const filed = entries.get(term);
      if (filed === undefined || !filed.delete(entry) || filed.size > 0) continue;
      entries.delete(term);
      if (entries === this.prefixes) this.countPrefix(term.length, -1);
    }
  }

  /** Every entry that may select the event, some perhaps twice. Valid until the next call. */
  candidates(event: EventHeader): readonly ReadonlySet<T>[] {
    this.found.length = 0;
    this.find(this.anything, "");
    this.find(this.streams, event.stream);
    for (const length of this.prefixLengths.keys()) {
      if (length > event.stream.length) continue;
      this.find(this.prefixes, event.stream.slice(0, length));
    }
    this.find(this.types, event.type);
    if (this.tags.size > 0) for (const tag of event.tags) this.find(this.tags, tag);
    return this.found;
  }

  /** The terms under which to file a selection in this index. */
  filingsOf(selection: Selection): readonly Filing<T>[] {
    switch (selection.kind) {
      case "all":
        return [{ entries: this.anything, term: "" }];
      case "stream":
        return [{ entries: this.streams, term: selection.stream }];
      case "query": {
        const { items } = selection.query;
        if (items.length === 0) return [{ entries: this.anything, term: "" }];
        return items.flatMap((item) => this.itemFilings(item));
      }
    }
  }

  /** The number of terms with entries. 0 when every entry is deleted. */
  get termCount(): number {
    const all = [this.anything, this.streams, this.prefixes, this.types, this.tags];
    return all.reduce((sum, { size }) => sum + size, 0);
  }

  private find(entries: Entries<T>, term: string): void {
    if (entries.size === 0) return;
    const filed = entries.get(term);
    if (filed !== undefined) this.found.push(filed);
  }

  /** Under the part of the item that presumably selects the fewest events. */
  private itemFilings(item: QueryItem): Filing<T>[] {
    const under = (entries: Entries<T>, terms: readonly string[]) =>
      terms.map((term) => ({ entries, term }));
    if (item.streams.length > 0) return under(this.streams, possibleStreams(item));
    if (item.tags.length > 0) return under(this.tags, item.tags.slice(0, 1));
    if (item.tagsAny.length > 0) return under(this.tags, item.tagsAny);
    if (item.streamPrefixes.length > 0) return under(this.prefixes, item.streamPrefixes);
    if (item.types.length > 0) return under(this.types, item.types);
    return under(this.anything, [""]);
  }

  private countPrefix(length: number, change: 1 | -1): void {
    const count = (this.prefixLengths.get(length) ?? 0) + change;
    if (count === 0) this.prefixLengths.delete(length);
    else this.prefixLengths.set(length, count);
  }
}

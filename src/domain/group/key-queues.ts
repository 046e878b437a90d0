// All key queues of a group: which of them are ready for delivery, which have to be read from the
// log again, and how far all of them have got. The number of known waiting events is bounded.

import { Fifo } from "../fifo.ts";
import { KeyQueue, type QueuedEvent } from "./key-queue.ts";
import { MinHeap } from "./min-heap.ts";
import type { FirstUnsettled } from "./progress.ts";

export interface KeyQueueBounds {
  /** Known waiting events of one key. */
  readonly queueEventsMax: number;
  /** Known waiting events of all keys. */
  readonly knownEventsMax: number;
  /** Bytes of the records kept with them. */
  readonly frameBytesMax: number;
}

/**
 * Events of a key to read from the log: after a position (exclusive), up to another (inclusive).
 */
export interface QueueReading {
  readonly queue: KeyQueue;
  readonly after: number;
  readonly to: number;
  readonly countMax: number;
}

/** Events of the unknown parts of queues that are counted anew, so far up to a position. */
interface Recount {
  through: number;
  count: number;
  /** Every match up to here was looked at, counted or not. */
  seen: number;
  /** What was seen when the reading of a queue began. Absent: it began before the recount. */
  readonly seenAtReading: Map<KeyQueue, number>;
  /** Events that were counted while their queue was being read. */
  readonly countedInReading: Map<KeyQueue, number[]>;
}

export class KeyQueues {
  /** Queues whose first unsettled event may have changed since this set was last cleared. */
  readonly changed = new Set<KeyQueue>();
  knownCount = 0;
  /** Events in those parts of queues that are not known; removed ones may still be counted. */
  unknownCount = 0;
  private readonly bounds: KeyQueueBounds;
  private readonly byKey = new Map<string, KeyQueue>();
  private ready = new Fifo<KeyQueue>();
  /** Those whose next event was delivered before. They come first: it is the older one. */
  private readyAgain = new Fifo<KeyQueue>();
  private toRead = new Fifo<KeyQueue>();
  /** Queues by the position of their first unsettled event. */
  private readonly firsts = new MinHeap<KeyQueue>();
  private readonly plans = new MinHeap<KeyQueue>();
  private frameBytes = 0;
  /** Queues of which a part is not known. */
  private unknownQueues = 0;
  private recount: Recount | undefined;

  constructor(bounds: KeyQueueBounds) {
    this.bounds = bounds;
  }

  get count(): number {
    return this.byKey.size;
  }

  get readyCount(): number {
    return this.ready.size + this.readyAgain.size;
  }

  get isFull(): boolean {
    return this.knownCount >= this.bounds.knownEventsMax;
  }

  values(): Iterable<KeyQueue> {
    return this.byKey.values();
  }

  find(key: string): KeyQueue | undefined {
    return this.byKey.get(key);
  }

  open(key: string): KeyQueue {
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    const queue = new KeyQueue(key);
    this.byKey.set(key, queue);
    return queue;
  }

  /** A queue of which nothing is known but its first unsettled event: there may be more. */
  load(key: string, first: FirstUnsettled, through: number): void {
    const queue = this.open(key);
    queue.loaded = first;
    queue.knownThrough = first.position - 1;
    queue.unknownTo = through;
    this.unknownQueues++;
    this.review(queue, 0);
  }

  /** Adds the event that the log has next, of all keys. */
  add(event: QueuedEvent, nowMs: number): void {
    const { queue } = event;
    const { queueEventsMax, knownEventsMax } = this.bounds;
    const eventsMax = this.knownCount * 2 > knownEventsMax ? 1 : queueEventsMax;
    if (!queue.hasUnknown && queue.waiting.length < eventsMax) this.put(event);
    else {
      if (!queue.hasUnknown) {
        this.unknownQueues++;
        queue.knownThrough = event.position - 1;
      }
      queue.unknownTo = event.position;
      this.unknownCount++;
      this.dropFrame(event);
    }
    this.review(queue, nowMs);
  }

  /** Puts an event at its place among those of its key that wait. */
  put(event: QueuedEvent): void {
    event.queue.put(event);
    this.knownCount++;
  }

  /** Takes the next event, which is then in flight. */
  send(queue: KeyQueue): QueuedEvent | undefined {
    const event = queue.send();
    if (event !== undefined) this.knownCount--;
    return event;
  }

  /** Marks the event as no longer in flight. */
  takeBack(event: QueuedEvent): void {
    event.queue.inFlight = undefined;
    this.dropFrame(event);
  }

  /** The event waits no more. False: it did not. */
  drop(event: QueuedEvent): boolean {
    const { queue } = event;
    const place = this.holds(queue) ? queue.waiting.indexOf(event) : -1;
    if (place < 0) return false;
    queue.waiting.splice(place, 1);
    this.knownCount--;
    this.dropFrame(event);
    return true;
  }

  /** Keeps the record for the delivery, where there is room. */
  keepFrame(event: QueuedEvent, frame: Uint8Array | undefined): void {
    if (frame === undefined) return;
    if (this.frameBytes + frame.length > this.bounds.frameBytesMax) return;
    this.frameBytes += frame.length;
    // A copy, because the frame is part of a larger buffer that would be kept with it.
    event.frame = new Uint8Array(frame);
  }

  dropFrame(event: QueuedEvent): void {
    this.frameBytes -= event.frame?.length ?? 0;
    event.frame = undefined;
  }

  /** Must be called after every change of a queue. */
  review(queue: KeyQueue, nowMs: number): void {
    this.changed.add(queue);
    this.list(queue);
    if (queue.isEmpty) {
      if (this.holds(queue)) this.byKey.delete(queue.key);
      return;
    }
    const isToBeRead = queue.waiting.length === 0 && queue.hasUnknown;
    if (isToBeRead && !queue.isInLine && !queue.isBeingRead) {
      queue.isInLine = true;
      this.toRead.push(queue);
    }
    const [next] = queue.waiting;
    if (next === undefined || queue.inFlight !== undefined || queue.isReady) return;
    if (next.retryAtMs <= nowMs) {
      queue.isReady = true;
      (next.attempts > 0 ? this.readyAgain : this.ready).push(queue);
    } else this.plan(queue, next.retryAtMs);
  }

  /** A queue whose next event may be delivered now. */
  takeReady(nowMs: number): KeyQueue | undefined {
    const shift = () => this.readyAgain.shift() ?? this.ready.shift();
    for (let queue = shift(); queue !== undefined; queue = shift()) {
      queue.isReady = false;
      const [next] = queue.waiting;
      if (next === undefined || queue.inFlight !== undefined || !this.holds(queue)) continue;
      if (next.retryAtMs <= nowMs) return queue;
      this.plan(queue, next.retryAtMs);
    }
    return undefined;
  }

  /** The next time at which a queue has to be reviewed. */
  get plannedAtMs(): number | undefined {
    return this.plans.top?.at;
  }

  /** Makes queues ready whose time has come. */
  wake(nowMs: number): void {
    for (let top = this.plans.top; top !== undefined && top.at <= nowMs; top = this.plans.top) {
      this.plans.pop();
      const { at, value: queue } = top;
      if (queue.plannedAtMs !== at) continue;
      queue.plannedAtMs = 0;
      if (this.holds(queue)) this.review(queue, nowMs);
    }
  }

  /** A queue whose events have to be read from the log. `readMore` or `readLater` must follow. */
  nextReading(): QueueReading | undefined {
    for (let queue = this.toRead.shift(); queue !== undefined; queue = this.toRead.shift()) {
      queue.isInLine = false;
      const isToBeRead = queue.waiting.length === 0 && queue.hasUnknown && !queue.isBeingRead;
      if (isToBeRead && this.holds(queue)) return this.beginReading(queue);
    }
    return undefined;
  }

  /**
   * The queue that holds back the group's position, where its first unsettled event is not known:
   * that may not be in the log any more.
   */
  nextHolder(): QueueReading | undefined {
    const queue = this.firstQueue();
    if (queue === undefined || queue.isBeingRead || queue.firstKnown !== undefined)
      return undefined;
    return this.beginReading(queue);
  }

  /** The reading found these, and there are no others up to `knownThrough`. */
  readMore(
    queue: KeyQueue,
    events: readonly QueuedEvent[],
    knownThrough: number,
    nowMs: number,
  ): void {
    queue.isBeingRead = false;
    for (const event of events) this.put(event);
    this.recountWithout(queue, events);
    this.unknownCount = Math.max(0, this.unknownCount - events.length);
    queue.knownThrough = knownThrough;
    if (!queue.hasUnknown && --this.unknownQueues === 0) {
      this.unknownCount = 0;
      // Nothing is left to count.
      this.recount = undefined;
    }
    this.review(queue, nowMs);
  }

  /**
   * What was read is known now. It leaves the recount if that has counted it, which it has not if
   * the event was removed between the reading and the recount.
   */
  private recountWithout(queue: KeyQueue, events: readonly QueuedEvent[]): void {
    const { recount } = this;
    if (recount === undefined) return;
    const seen = recount.seenAtReading.get(queue) ?? 0;
    const counted = new Set(recount.countedInReading.get(queue));
    for (const { position } of events) {
      if (position <= seen || counted.has(position)) recount.count--;
    }
    recount.seenAtReading.delete(queue);
    recount.countedInReading.delete(queue);
  }

  /** The reading failed. */
  readLater(queue: KeyQueue, nowMs: number): void {
    queue.isBeingRead = false;
    this.recount?.seenAtReading.delete(queue);
    this.recount?.countedInReading.delete(queue);
    this.review(queue, nowMs);
  }

  /**
   * Begins to count the events of unknown parts again. Returns the position to read after.
   * Undefined: there is nothing to count.
   */
  beginRecount(): number | undefined {
    const first = this.firstQueue();
    if (first === undefined || this.unknownQueues === 0) return undefined;
    const after = first.listedAt - 1;
    this.recount = {
      through: after,
      seen: after,
      count: 0,
      seenAtReading: new Map(),
      countedInReading: new Map(),
    };
    return after;
  }

  /** The event of a key is in the log. */
  counted(key: string, position: number): void {
    if (this.recount === undefined) return;
    this.recount.seen = position;
    const queue = this.byKey.get(key);
    if (queue === undefined) return;
    if (position <= queue.knownThrough || position > queue.unknownTo) return;
    this.recount.count++;
    if (!queue.isBeingRead) return;
    // A reading finds at most as many.
    const counted = this.recount.countedInReading.get(queue) ?? [];
    if (counted.length === this.bounds.queueEventsMax) return;
    counted.push(position);
    this.recount.countedInReading.set(queue, counted);
  }

  /** All events up to here were counted; `isLast`: there are no more. */
  countedThrough(position: number, isLast: boolean): void {
    if (this.recount === undefined) return;
    this.recount.through = position;
    this.recount.seen = Math.max(this.recount.seen, position);
    if (!isLast) return;
    this.unknownCount = this.recount.count;
    this.recount = undefined;
  }

  /** The last position before every unsettled event. */
  settledThrough(through: number): number {
    const first = this.firstQueue();
    return first === undefined ? through : Math.min(through, first.listedAt - 1);
  }

  clear(): void {
    for (const queue of this.byKey.values()) {
      for (const event of queue.waiting) this.dropFrame(event);
      if (queue.inFlight !== undefined) this.dropFrame(queue.inFlight);
      this.changed.add(queue);
    }
    this.byKey.clear();
    this.ready = new Fifo();
    this.readyAgain = new Fifo();
    this.toRead = new Fifo();
    this.firsts.clear();
    this.plans.clear();
    this.knownCount = 0;
    this.unknownCount = 0;
    this.unknownQueues = 0;
    this.recount = undefined;
  }

  private beginReading(queue: KeyQueue): QueueReading {
    queue.isBeingRead = true;
    this.recount?.seenAtReading.set(queue, this.recount.seen);
    const { knownThrough: after, unknownTo: to } = queue;
    return { queue, after, to, countMax: this.bounds.queueEventsMax };
  }

  /** The queue with the first unsettled event of all. */
  private firstQueue(): KeyQueue | undefined {
    if (this.firsts.size > 2 * this.count + 64) {
      this.firsts.retain((at, queue) => this.holds(queue) && queue.listedAt === at);
    }
    for (let top = this.firsts.top; top !== undefined; top = this.firsts.top) {
      if (this.holds(top.value) && top.value.listedAt === top.at) return top.value;
      this.firsts.pop();
    }
    return undefined;
  }

  private holds(queue: KeyQueue): boolean {
    return this.byKey.get(queue.key) === queue;
  }

  private list(queue: KeyQueue): void {
    const position = queue.firstUnsettled()?.position ?? 0;
    if (position === queue.listedAt) return;
    queue.listedAt = position;
    if (position > 0) this.firsts.push(position, queue);
  }

  private plan(queue: KeyQueue, atMs: number): void {
    if (queue.plannedAtMs === atMs) return;
    queue.plannedAtMs = atMs;
    if (this.plans.size > 2 * this.count + 64) {
      this.plans.retain((at, one) => this.holds(one) && one.plannedAtMs === at);
    }
    this.plans.push(atMs, queue);
  }
}

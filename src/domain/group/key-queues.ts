// All lanes of a group: which are ready to be delivered from, which are to be read from the log
// again, and how far every one of them has got. What is known of the events that wait is
// bounded.

import { Fifo } from "./fifo.ts";
import { Lane, type LaneEvent } from "./key-queue.ts";
import { MinHeap } from "./min-heap.ts";

export interface LaneBounds {
  /** Waiting events known of one lane. */
  readonly laneEventsMax: number;
  /** Waiting events known of all lanes. */
  readonly knownEventsMax: number;
  /** Bytes of records kept with them. */
  readonly frameBytesMax: number;
}

/** Events of a lane to be read from the log: after a position (exclusive), up to another. */
export interface LaneReading {
  readonly lane: Lane;
  readonly after: number;
  readonly to: number;
  readonly countMax: number;
}

export class Lanes {
  /** Lanes whose front may have changed since this was emptied last. */
  readonly changed = new Set<Lane>();
  knownCount = 0;
  private readonly bounds: LaneBounds;
  private readonly byKey = new Map<string, Lane>();
  private ready = new Fifo<Lane>();
  private toRead = new Fifo<Lane>();
  private readonly fronts = new MinHeap<Lane>();
  private readonly plans = new MinHeap<Lane>();
  private frameBytes = 0;

  constructor(bounds: LaneBounds) {
    this.bounds = bounds;
  }

  get count(): number {
    return this.byKey.size;
  }

  get readyCount(): number {
    return this.ready.size;
  }

  get isFull(): boolean {
    return this.knownCount >= this.bounds.knownEventsMax;
  }

  values(): Iterable<Lane> {
    return this.byKey.values();
  }

  find(key: string): Lane | undefined {
    return this.byKey.get(key);
  }

  open(key: string): Lane {
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    const lane = new Lane(key);
    this.byKey.set(key, lane);
    return lane;
  }

  /** An event the log has next, of all keys. */
  add(lane: Lane, event: LaneEvent, nowMs: number): void {
    const { laneEventsMax, knownEventsMax } = this.bounds;
    const eventsMax = this.knownCount * 2 > knownEventsMax ? 1 : laneEventsMax;
    if (!lane.hasUnknown && lane.waiting.length < eventsMax) this.put(lane, event);
    else {
      if (!lane.hasUnknown) lane.knownThrough = event.position - 1;
      lane.unknownTo = event.position;
      this.dropFrame(event);
    }
    this.review(lane, nowMs);
  }

  /** An event that waits, at its place. */
  put(lane: Lane, event: LaneEvent): void {
    lane.put(event);
    this.knownCount++;
  }

  /** An event that was in flight waits again; behind others that are not known, it is not known. */
  putBack(lane: Lane, event: LaneEvent): void {
    const { position, standing } = event;
    if (standing === "replay" || !lane.hasUnknown || position <= lane.knownThrough) {
      this.put(lane, event);
    } else lane.unknownTo = Math.max(lane.unknownTo, position);
  }

  /** An event that waited, or was in flight, is neither any more. */
  remove(lane: Lane, event: LaneEvent): void {
    if (lane.waiting.includes(event)) this.knownCount--;
    lane.remove(event);
    this.dropFrame(event);
  }

  /** The event whose turn it is, from now on in flight. */
  send(lane: Lane): LaneEvent | undefined {
    const event = lane.send();
    if (event !== undefined) this.knownCount--;
    return event;
  }

  /** Keeps the record for the delivery, where there is room. */
  keepFrame(event: LaneEvent, frame: Uint8Array | undefined): void {
    if (frame === undefined) return;
    if (this.frameBytes + frame.length > this.bounds.frameBytesMax) return;
    this.frameBytes += frame.length;
    // A copy: what is handed in is a part of something larger, which would be kept with it.
    event.frame = new Uint8Array(frame);
  }

  dropFrame(event: LaneEvent): void {
    this.frameBytes -= event.frame?.length ?? 0;
    event.frame = undefined;
  }

  /** To be called after every change of a lane. */
  review(lane: Lane, nowMs: number): void {
    this.changed.add(lane);
    this.list(lane);
    if (lane.isEmpty) {
      if (this.byKey.get(lane.key) === lane) this.byKey.delete(lane.key);
      return;
    }
    if (lane.waiting.length === 0 && lane.hasUnknown && !lane.isReading) {
      lane.isReading = true;
      this.toRead.push(lane);
    }
    const [next] = lane.waiting;
    if (next === undefined || lane.out.length > 0 || lane.isReady) return;
    if (next.retryAtMs <= nowMs) {
      lane.isReady = true;
      this.ready.push(lane);
    } else this.plan(lane, next.retryAtMs);
  }

  /** A lane whose next event may be delivered now. */
  takeReady(nowMs: number): Lane | undefined {
    for (let lane = this.ready.shift(); lane !== undefined; lane = this.ready.shift()) {
      lane.isReady = false;
      const [next] = lane.waiting;
      if (next === undefined || lane.out.length > 0 || !this.holds(lane)) continue;
      if (next.retryAtMs <= nowMs) return lane;
      this.plan(lane, next.retryAtMs);
    }
    return undefined;
  }

  /** When a lane is to be looked at again. */
  get plannedAtMs(): number | undefined {
    return this.plans.top?.at;
  }

  /** Makes those ready whose time has come. */
  wake(nowMs: number): void {
    for (let top = this.plans.top; top !== undefined && top.at <= nowMs; top = this.plans.top) {
      this.plans.pop();
      const { at, value: lane } = top;
      if (lane.plannedAtMs !== at) continue;
      lane.plannedAtMs = 0;
      if (this.holds(lane)) this.review(lane, nowMs);
    }
  }

  /** A lane whose events are to be read from the log, until `readMore` or `readLater`. */
  nextReading(): LaneReading | undefined {
    for (let lane = this.toRead.shift(); lane !== undefined; lane = this.toRead.shift()) {
      if (!this.holds(lane) || !lane.hasUnknown) {
        lane.isReading = false;
        continue;
      }
      const { knownThrough: after, unknownTo: to } = lane;
      return { lane, after, to, countMax: this.bounds.laneEventsMax };
    }
    return undefined;
  }

  /** The reading found these, and there are no others up to `knownThrough`. */
  readMore(lane: Lane, events: readonly LaneEvent[], knownThrough: number, nowMs: number): void {
    lane.isReading = false;
    for (const event of events) this.put(lane, event);
    lane.knownThrough = knownThrough;
    this.review(lane, nowMs);
  }

  /** The reading failed. */
  readLater(lane: Lane, nowMs: number): void {
    lane.isReading = false;
    this.review(lane, nowMs);
  }

  /** The last position before every front. */
  floor(through: number): number {
    if (this.fronts.size > 2 * this.count + 64) {
      this.fronts.retain((at, lane) => this.holds(lane) && lane.listedFrom === at);
    }
    for (let top = this.fronts.top; top !== undefined; top = this.fronts.top) {
      if (this.holds(top.value) && top.value.listedFrom === top.at) {
        return Math.min(through, top.at - 1);
      }
      this.fronts.pop();
    }
    return through;
  }

  clear(): void {
    for (const lane of this.byKey.values()) {
      for (const event of lane.waiting) this.dropFrame(event);
      this.changed.add(lane);
    }
    this.byKey.clear();
    this.ready = new Fifo();
    this.toRead = new Fifo();
    this.fronts.clear();
    this.plans.clear();
    this.knownCount = 0;
  }

  private holds(lane: Lane): boolean {
    return this.byKey.get(lane.key) === lane;
  }

  private list(lane: Lane): void {
    const from = lane.front()?.position ?? 0;
    if (from === lane.listedFrom) return;
    lane.listedFrom = from;
    if (from > 0) this.fronts.push(from, lane);
  }

  private plan(lane: Lane, atMs: number): void {
    if (lane.plannedAtMs === atMs) return;
    lane.plannedAtMs = atMs;
    if (this.plans.size > 2 * this.count + 64) {
      this.plans.retain((at, one) => this.holds(one) && one.plannedAtMs === at);
    }
    this.plans.push(atMs, lane);
  }
}

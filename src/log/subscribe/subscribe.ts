// Subscribe: a read that waits at the head. There is no hand-over between catching up and live
// delivery. The loop reads up to the head, checks whether anything that may match has arrived
// since, and waits if not. While it waits, the subscription is called live.

import { AnnalsError, invariant } from "../../domain/errors.ts";
import { positionMax } from "../../domain/limits.ts";
import { scanPlacement } from "../../domain/record.ts";
import type { Batch, StorageRead } from "../../storage/storage.ts";
import { firstRecord, versionAt } from "../read/records.ts";
import { HeldBatch, scheduledRead } from "../scheduling/scheduled-read.ts";
import type { Interest, Interests } from "./interest.ts";
import type { LiveLoop, LiveLoops, LiveReader } from "./live-loops.ts";
import type { OpenSubscriptions } from "./open-subscriptions.ts";
import type { ReadSource } from "../read/read.ts";
import type { Following, SharedBatches } from "./shared-batches.ts";
import type { Timers } from "../timers.ts";
import type { Offer, SubscribeMessage, SubscribeRequest } from "../verbs.ts";

export interface SubscribeSource extends ReadSource {
  readonly interests: Interests;
  readonly shared: SharedBatches;
  readonly loops: LiveLoops;
  readonly open: OpenSubscriptions;
  readonly timers: Timers;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
}

/** The end is fixed here, before anything waits. */
export function subscribe(
  source: SubscribeSource,
  request: SubscribeRequest,
  signal: AbortSignal,
  offer?: Offer,
): AsyncGenerator<SubscribeMessage> {
  return follow(source, request, source.storage.head().position, signal, offer);
}

async function* follow(
  source: SubscribeSource,
  request: SubscribeRequest,
  head: number,
  signal: AbortSignal,
  offer: Offer | undefined,
): AsyncGenerator<SubscribeMessage> {
  if (signal.aborted) return;
  const interest = source.interests.add(request.selection, signal);
  const following = source.shared.follow(request.selection);
  let close: (() => void) | undefined;
  try {
    const start = await startOf(source, request, head);
    const parts = { interest, following, offer };
    const from = { ...source, isSent: request.isGathered !== true };
    const subscription = new Subscription(from, request, parts, start, signal);
    close = source.open.add(subscription);
    yield* subscription.messages();
  } finally {
    close?.();
    following.leave();
    interest.close();
  }
}

interface SubscriptionParts {
  readonly interest: Interest;
  readonly following: Following;
  readonly offer: Offer | undefined;
}

class Subscription implements LiveReader {
  readonly owner: object;
  readonly interest: Interest;
  /** Every matching event up to this position has been delivered. */
  through: number;
  private readonly source: SubscribeSource;
  private readonly request: SubscribeRequest;
  private readonly following: Following;
  private readonly offer: Offer | undefined;
  private readonly signal: AbortSignal;
  /**
   * Events before this time are skipped. The time may be in the future. Absent: none are skipped.
   */
  private fromTime: number | undefined;
  isLive = false;
  /** While it waits together with others. */
  private loop: LiveLoop | undefined;
  private spokeAtMs: number;

  constructor(
    source: SubscribeSource,
    request: SubscribeRequest,
    { interest, following, offer }: SubscriptionParts,
    start: number,
    signal: AbortSignal,
  ) {
    this.owner = source.gate.owner;
    this.source = source;
    this.request = request;
    this.interest = interest;
    this.following = following;
    this.offer = offer;
    this.signal = signal;
    this.through = start;
    this.fromTime = request.start.kind === "from-time" ? request.start.time : undefined;
    this.spokeAtMs = source.timers.nowMs();
  }

  get deliveredThrough(): number {
    return Math.max(this.through, (this.loop ?? this.interest).quietThrough);
  }

  async *messages(): AsyncGenerator<SubscribeMessage> {
    while (this.goesOn()) {
      // Everything up to the last look is delivered, and nothing has arrived since.
      this.through = this.deliveredThrough;
      const silenceLeftMs = this.silenceLeftMs();
      if (silenceLeftMs <= 0) {
        yield this.said("checkpoint");
        this.spoke();
      } else if (this.interest.isMarked) {
        const bound = this.interest.look();
        if (this.fromTime !== undefined) await this.passOverUntil(this.fromTime, bound);
        yield* this.deliver(bound);
      } else if (!this.isLive) {
        this.isLive = true;
        yield this.said("caught-up");
        this.spoke();
      } else await this.wait(silenceLeftMs);
    }
  }

  /** Until there is a message to be pulled. What is delivered meanwhile extends the silence. */
  private async wait(silenceLeftMs: number): Promise<void> {
    const { interest, following, source } = this;
    const isAlone = !this.readsTogether(0, 0) || this.fromTime !== undefined;
    if (isAlone || this.offer === undefined) return interest.wait(silenceLeftMs);
    this.loop = source.loops.join(this.request.selection, following.key, this);
    await interest.wait(silenceLeftMs);
    this.loop.leave(this);
    this.loop = undefined;
  }

  take(batch: Batch): boolean {
    if (this.signal.aborted || this.offer?.(batch) !== true) return false;
    this.source.handed.subscription += batch.count;
    this.spoke();
    return true;
  }

  /** Delivers everything up to a bound, which was the head when the interest looked. */
  private async *deliver(bound: number): AsyncGenerator<SubscribeMessage> {
    /** While live, the first batch waits until it is known whether there is a second one. */
    let held: Batch | undefined;
    let fellBehind = false;
    for await (const batch of this.batches(bound)) {
      if (!this.goesOn()) return;
      if (batch.count === 0) {
        if (held !== undefined || this.silenceLeftMs() > 0) continue;
        this.through = batch.through;
        yield this.said("checkpoint");
        this.spoke();
      } else if (held !== undefined) {
        fellBehind = true;
        break;
      } else if (this.isLive && batch.through < bound) {
        held = batch;
      } else {
        yield this.batch(batch);
        this.spoke();
      }
    }
    if (held === undefined || !this.goesOn()) return;
    if (!fellBehind) {
      yield this.batch(held);
      return this.spoke();
    }
    this.isLive = false;
    yield this.said("fell-behind");
    // Read again: a slow consumer may come for them when they are removed.
    yield* this.deliver(bound);
  }

  /** Up to the bound, or a little further if another subscription has read that far. */
  private async *batches(bound: number): AsyncGenerator<Batch> {
    let first = this.through + 1;
    while (first <= bound && this.readsTogether(first, bound)) {
      const batch = await this.shared(first, bound);
      if (this.signal.aborted) return;
      // Each client gets bytes of its own of what is read once for all.
      const { isSent, memory, gate } = this.source;
      const full = isSent === true ? memory?.room(gate.owner, this.signal) : undefined;
      if (full !== undefined) {
        await full;
        continue;
      }
      first = batch.through + 1;
      yield batch;
    }
    yield* scheduledRead(this.source, this.storageRead(first, bound), this.signal);
  }

  private async shared(first: number, bound: number): Promise<HeldBatch> {
    const batch = await this.following.take(this.storageRead(first, bound));
    return new HeldBatch(batch, this.source, this.storageRead(first, batch.through));
  }

  private readsTogether(first: number, bound: number): boolean {
    return this.request.batchEventsMax === undefined && this.following.isShared(first, bound);
  }

  private storageRead(first: number, bound: number): StorageRead {
    const { selection, batchEventsMax } = this.request;
    return {
      selection,
      direction: "forwards",
      positions: { first, last: bound },
      batchBytes: this.source.batchBytes,
      ...(batchEventsMax !== undefined && { batchEvents: batchEventsMax }),
    };
  }

  /** If a time has not been reached by `bound`, skips everything up to there. */
  private async passOverUntil(time: number, bound: number): Promise<void> {
    const first = await this.source.storage.positionAt(time);
    this.through = Math.max(this.through, first - 1);
    if (first <= bound) this.fromTime = undefined;
  }

  /** False: the consumer ended the subscription. Throws STOPPING. */
  private goesOn(): boolean {
    if (this.signal.aborted) return false;
    if (!this.source.interests.isStopped) return true;
    throw new AnnalsError({ reason: "STOPPING" }, "stopping: resume after the last position");
  }

  private batch(batch: Batch): SubscribeMessage {
    this.through = batch.through;
    this.source.handed.subscription += batch.count;
    return { kind: "batch", batch };
  }

  private said(kind: "caught-up" | "fell-behind" | "checkpoint"): SubscribeMessage {
    return { kind, position: this.through, time: this.source.clock() };
  }

  /** Called after the consumer took a message: the time it spends on one is not silence. */
  private spoke(): void {
    this.spokeAtMs = this.source.timers.nowMs();
  }

  private silenceLeftMs(): number {
    return this.spokeAtMs + this.request.checkpointIntervalMs - this.source.timers.nowMs();
  }
}

/** The position to begin after. `head` is the head at the time of the call. */
async function startOf(
  source: SubscribeSource,
  request: SubscribeRequest,
  head: number,
): Promise<number> {
  const { selection, start } = request;
  switch (start.kind) {
    case "end":
      return head;
    case "from-time":
      return 0;
    case "after-position": {
      const { position } = start;
      if (position <= head) return position;
      const later = await headOfOthers(source);
      if (later > head) return startOf(source, request, later);
      throw beyond("after_position", position, head);
    }
    case "after-version": {
      invariant(selection.kind === "stream", "versions are a stream's");
      if (start.version === 0) return 0;
      const versions = { first: start.version + 1, last: positionMax };
      const positions = { first: 1, last: head };
      const read = { selection, direction: "forwards", positions, versions } as const;
      const next = await firstRecord(source, read);
      if (next !== undefined) return scanPlacement(next).position - 1;
      const version = await versionAt(source, selection.stream, head);
      if (start.version <= version) return head;
      const later = await headOfOthers(source);
      if (later > head) return startOf(source, request, later);
      throw beyond("after_version", start.version, version);
    }
  }
}

/** The head with what other nodes have committed: one of them may have told of the position. */
async function headOfOthers({ storage }: SubscribeSource): Promise<number> {
  await storage.catchUp?.();
  return storage.head().position;
}

function beyond(field: string, asked: number, head: number): AnnalsError {
  const message = `${field} ${asked} is beyond ${head}: it was not read from this store`;
  return new AnnalsError({ reason: "BEYOND_HEAD", field, asked, head }, message);
}

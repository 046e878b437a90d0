// Helpers of the log's tests: an event log over the model engine, clocks that the test sets, and a
// subscriber that receives a message when the test pulls one.
import { setImmediate as turn } from "node:timers/promises";
import type { Append } from "../../src/domain/append.ts";
import { defaultLimits, type Limits } from "../../src/domain/limits.ts";
import { decodeRecord, recordsIn, storedEvent } from "../../src/domain/record.ts";
import {
  createEventLog,
  type EventLogOptions,
  type EventLog,
  type ReadEnd,
  type ReadMessage,
  type SubscribeMessage,
  type SubscribeRequest,
} from "../../src/log/event-log.ts";
import type { Timers } from "../../src/log/timers.ts";
import type { Batch, Storage } from "../../src/storage/storage.ts";
import { newAppend, newEvent, type EventSketch } from "../support/events.ts";
import { createModelStorage, type ModelStorage } from "../support/model-storage.ts";

/** Enough turns of the event loop for everything that can happen by itself to have happened. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 30; i++) await turn();
}

export class ManualTimers implements Timers {
  private now = 0;
  private readonly waiting = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.now;
  }

  delay(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.now + ms, callback };
    this.waiting.add(timer);
    return () => void this.waiting.delete(timer);
  }

  get waitingCount(): number {
    return this.waiting.size;
  }

  /** Passes time and calls back whom it concerns. */
  tick(ms: number): void {
    this.now += ms;
    const due = [...this.waiting].filter(({ atMs }) => atMs <= this.now);
    for (const timer of due) if (this.waiting.delete(timer)) timer.callback();
  }

  /** The same, and lets what follows happen. */
  async pass(ms: number): Promise<void> {
    this.tick(ms);
    await settled();
  }
}

export interface Opened {
  readonly log: EventLog;
  readonly storage: ModelStorage;
  readonly timers: ManualTimers;
  readonly warnings: string[];
}

export interface OpenOptions {
  readonly storage?: ModelStorage;
  /** What the log sees of it: the same, but for what a test changes. */
  readonly wrap?: (storage: ModelStorage) => Storage;
  readonly limits?: Partial<Limits>;
  readonly memory?: NonNullable<EventLogOptions["memory"]>;
  readonly clock?: () => number;
  readonly isBusy?: () => boolean;
}

export function openLog(options: OpenOptions = {}): Opened {
  const { storage = createModelStorage(), wrap = (own) => own } = options;
  const timers = new ManualTimers();
  const warnings: string[] = [];
  let micros = 1_000_000;
  const log = createEventLog({
    idChance: () => 0,
    storage: wrap(storage),
    limits: { ...defaultLimits, ...options.limits },
    clock: options.clock ?? (() => micros++),
    timers,
    ...(options.memory && { memory: options.memory }),
    ...(options.isBusy && { isBusy: options.isBusy }),
    onWarning: (message) => warnings.push(message),
  });
  return { log, storage, timers, warnings };
}

export function appendOf(...sketches: EventSketch[]): Append {
  return newAppend(sketches.map(newEvent));
}

/** Appends that must be accepted, one after the other. */
export async function appendAll(log: EventLog, ...sketches: EventSketch[]): Promise<void> {
  for (const sketch of sketches) {
    const { outcome } = await log.append(appendOf(sketch));
    if (outcome.kind !== "appended") throw new Error(`not appended: ${outcome.kind}`);
  }
}

export function positionsIn({ frames }: Pick<Batch, "frames">): number[] {
  return frames.flatMap((run) => [...recordsIn(run)].map((each) => storedEvent(each).position));
}

export function payloadsIn({ frames }: Pick<Batch, "frames">): string[] {
  return frames.flatMap((run) =>
    [...recordsIn(run)].map((each) => new TextDecoder().decode(decodeRecord(each).data)),
  );
}

export async function readAll(
  messages: AsyncIterable<ReadMessage>,
): Promise<{ positions: number[]; end: ReadEnd | undefined; batchCount: number }> {
  const positions: number[] = [];
  let end: ReadEnd | undefined;
  let batchCount = 0;
  for await (const message of messages) {
    if (end !== undefined) throw new Error("a message behind the end");
    ({ end } = message);
    if (message.kind === "batch") {
      batchCount++;
      positions.push(...positionsIn(message.batch));
    }
  }
  return { positions, end, batchCount };
}

/** What is wrong with a subscription's messages, given every position its selection matches. */
export function subscriptionFaults(
  messages: readonly SubscribeMessage[],
  matching: readonly number[],
): string[] {
  const faults: string[] = [];
  let expected = [...matching];
  let before: SubscribeMessage["kind"] | undefined;
  let live = false;
  for (const message of messages) {
    if (message.kind === "batch") {
      const positions = positionsIn(message.batch);
      if (positions.length === 0) faults.push("an empty batch");
      const due = expected.splice(0, positions.length).join(" ");
      const found = positions.join(" ");
      if (found !== due) faults.push(`${found} instead of ${due}`);
    } else {
      const late = expected.filter((position) => position <= message.position);
      if (late.length > 0) faults.push(`${inShort(message)} before ${late.join(" ")}`);
      expected = expected.filter((position) => position > message.position);
      if (message.kind === "caught-up" && live) faults.push("caught up twice");
      if (message.kind === "fell-behind" && !live) faults.push("fell behind while behind");
      if (message.kind !== "checkpoint") live = message.kind === "caught-up";
    }
    if (before === "fell-behind" && message.kind !== "batch") faults.push("behind of nothing");
    before = message.kind;
  }
  return faults;
}

/** A message in short: `1 2 3` for a batch, `caught-up 3` for a word. */
function inShort(message: SubscribeMessage): string {
  if (message.kind === "batch") return positionsIn(message.batch).join(" ");
  return `${message.kind} ${message.position}`;
}

export class Subscriber {
  readonly messages: SubscribeMessage[] = [];
  readonly abort = new AbortController();
  ended = false;
  error: unknown;
  private readonly iterator: AsyncIterator<SubscribeMessage>;
  private pulling: Promise<void> | undefined;
  private told = 0;

  /** `takes`: what it says to a batch that is offered. Absent: nothing is offered. */
  constructor(log: EventLog, request: Partial<SubscribeRequest> = {}, takes?: () => boolean) {
    const defaults = {
      selection: { kind: "all" },
      start: { kind: "after-position", position: 0 },
      checkpointIntervalMs: 1_000,
    } as const;
    const offer = (batch: Batch): boolean => {
      if (takes?.() !== true) return false;
      this.messages.push({ kind: "batch", batch });
      return true;
    };
    const messages = log.subscribe(
      { ...defaults, ...request },
      this.abort.signal,
      undefined,
      takes && offer,
    );
    this.iterator = messages[Symbol.asyncIterator]();
  }

  /** Asks for one more message, unless one is being waited for. */
  pull(): Promise<void> {
    this.pulling ??= this.take().finally(() => {
      this.pulling = undefined;
    });
    return this.pulling;
  }

  /** Pulls as long as messages come by themselves; those since the last call, in short. */
  async drain(): Promise<string[]> {
    // A pull that has just been answered is over only a moment later.
    await settled();
    for (let had = -1; had < this.messages.length && !this.ended;) {
      had = this.messages.length;
      void this.pull();
      await settled();
    }
    const news = this.messages.slice(this.told).map(inShort);
    this.told = this.messages.length;
    return news;
  }

  /** Every position delivered so far, in the order of delivery. */
  get positions(): number[] {
    return this.messages.flatMap((each) => (each.kind === "batch" ? positionsIn(each.batch) : []));
  }

  async cancel(): Promise<void> {
    this.abort.abort();
    while (!this.ended) await this.pull();
  }

  private async take(): Promise<void> {
    try {
      const next = await this.iterator.next();
      if (next.done === true) this.ended = true;
      else this.messages.push(next.value);
    } catch (error) {
      this.error = error;
      this.ended = true;
    }
  }
}

// The load of `annals bench`: callers that append, read and subscribe at the same time, and what
// they count.

import { createHistogram } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { callErrorOf } from "../../client/store/call-failure.ts";
import type { CallOptions } from "../../client/rpc/service-client.ts";
import type { EventStore, Session } from "../connection/session.ts";

export interface BenchPlan {
  /** Callers that append: each has one append under way. */
  readonly inFlight: number;
  readonly batch: number;
  /** Of the payload of an event. */
  readonly bytes: number;
  /** Callers that read one stream after another. */
  readonly reads: number;
  readonly subscribers: number;
  /** Appends go to `prefix0`, `prefix1` ... */
  readonly prefix: string;
  readonly streams: number;
  readonly seconds: number;
}

const nanosPerMs = 1e6;
const afterErrorMs = 50;
/** How long subscribers are waited for after the last append. */
const deliveryMs = 10_000;
const eventType = "BenchEvent";

/** Of one kind of work. */
export class Tally {
  calls = 0;
  events = 0;
  readonly errors = new Map<string, number>();
  private readonly latency = createHistogram();

  /** `ms`: of one call, or of one delivery. */
  took(ms: number): void {
    this.latency.record(Math.max(1, Math.round(ms * nanosPerMs)));
  }

  failed(error: unknown): void {
    const call = callErrorOf(error);
    const reason = call?.failure.reason ?? (error instanceof Error ? error.name : "unknown");
    this.errors.set(reason, (this.errors.get(reason) ?? 0) + 1);
  }

  /** Undefined: nothing was measured. */
  percentileMs(percent: number): number | undefined {
    if (this.latency.count === 0) return undefined;
    return this.latency.percentile(percent) / nanosPerMs;
  }

  get errorCount(): number {
    return [...this.errors.values()].reduce((sum, count) => sum + count, 0);
  }
}

export interface BenchResult {
  readonly seconds: number;
  readonly appends: Tally;
  readonly reads: Tally;
  readonly deliveries: Tally;
  /** Deliveries that did not come within ten seconds. */
  readonly missing: number;
  /** Of one core, used by this process. */
  readonly cpuShare: number;
}

/** Runs until the time is over, or the session's signal is aborted. Throws if nothing works. */
export async function runBench(
  session: Session,
  plan: BenchPlan,
  tell: (appended: number, seconds: number) => void,
): Promise<BenchResult> {
  const { store, once, signal } = session;
  const appends = new Tally();
  const reads = new Tally();
  const deliveries = new Tally();
  if (plan.inFlight > 0) await append(store, plan, 0, once);
  const ended = new AbortController();
  const listening = Array.from({ length: plan.subscribers }, () =>
    subscriber(session, plan.prefix, deliveries, ended.signal),
  );
  await Promise.all(listening.map(({ ready }) => ready));
  const beganMs = performance.now();
  const cpuBefore = process.cpuUsage();
  const secondsNow = (): number => (performance.now() - beganMs) / 1_000;
  const isOver = (): boolean => signal.aborted || secondsNow() >= plan.seconds;
  let turn = 0;
  const work = async (tally: Tally, one: () => Promise<number>): Promise<void> => {
    while (!isOver()) {
      const startMs = performance.now();
      try {
        const events = await one();
        tally.took(performance.now() - startMs);
        tally.calls += 1;
        tally.events += events;
      } catch (error) {
        if (signal.aborted) return;
        tally.failed(error);
        await pause(afterErrorMs);
      }
      tell(appends.events, secondsNow());
    }
  };
  const appending = Array.from({ length: plan.inFlight }, () =>
    work(appends, () => append(store, plan, turn++, once)),
  );
  const reading = Array.from({ length: plan.reads }, () =>
    work(reads, () => readOne(session, plan, plan.inFlight > 0 ? turn : Infinity)),
  );
  await Promise.all([...appending, ...reading]);
  const seconds = secondsNow();
  const { user, system } = process.cpuUsage(cpuBefore);
  const wanted = appends.events * plan.subscribers;
  const untilMs = performance.now() + deliveryMs;
  while (!signal.aborted && deliveries.events < wanted && performance.now() < untilMs) {
    await pause(10);
  }
  ended.abort();
  await Promise.all(listening.map(({ over }) => over));
  const cpuShare = (user + system) / 1e6 / seconds;
  const missing = Math.max(0, wanted - deliveries.events);
  return { seconds, appends, reads, deliveries, missing, cpuShare };
}

async function append(
  store: EventStore,
  plan: BenchPlan,
  turn: number,
  options: CallOptions,
): Promise<number> {
  const value = payload(plan.bytes);
  const event = {
    type: eventType,
    contentType: "application/json",
    payload: { case: "data", value } as const,
  };
  const events = Array.from({ length: plan.batch }, () => event);
  await store.append({ stream: `${plan.prefix}${turn % plan.streams}`, events }, options);
  return plan.batch;
}

/** JSON with the time, and as many bytes as are wanted, if those are enough for it. */
function payload(bytes: number): Uint8Array {
  const head = `{"sentMs":${performance.now().toFixed(3)},"fill":"`;
  return Buffer.from(`${head}${"x".repeat(Math.max(0, bytes - head.length - 2))}"}`);
}

/** Of one of the streams that have events: `begun` of them, if it began with none. */
async function readOne(
  { store, once }: Session,
  { prefix, streams }: BenchPlan,
  begun: number,
): Promise<number> {
  const stream = `${prefix}${Math.floor(Math.random() * Math.max(1, Math.min(streams, begun)))}`;
  let count = 0;
  const selection = { case: "stream", value: stream } as const;
  for await (const { message } of store.read({ selection }, once)) {
    if (message.case === "batch") count += message.value.events.length;
  }
  return count;
}

const sentMs = /^\{"sentMs":([\d.]+),/;

function delivered(data: Uint8Array, tally: Tally): void {
  const [, sent] = sentMs.exec(Buffer.from(data.subarray(0, 64)).toString("latin1")) ?? [];
  if (sent !== undefined) tally.took(performance.now() - Number(sent));
}

/** `ready` once it is live. */
function subscriber(
  { store, signal }: Session,
  prefix: string,
  tally: Tally,
  ended: AbortSignal,
): { readonly ready: Promise<void>; readonly over: Promise<void> } {
  const both = AbortSignal.any([signal, ended]);
  const query = { items: [{ streamPrefixes: [prefix] }] };
  let live: { resolve(): void; reject(error: Error): void } = { resolve() {}, reject() {} };
  const ready = new Promise<void>((resolve, reject) => {
    live = { resolve, reject };
  });
  const follow = async (): Promise<void> => {
    const request = {
      selection: { case: "query", value: query },
      start: { case: "fromEnd", value: {} },
    } as const;
    try {
      for await (const { message } of store.subscribe(request, { signal: both })) {
        if (message.case === "caughtUp") live.resolve();
        if (message.case !== "batch") continue;
        tally.calls += 1;
        tally.events += message.value.events.length;
        for (const { data } of message.value.events) delivered(data, tally);
      }
    } catch (error) {
      if (both.aborted) return;
      tally.failed(error);
      live.reject(error as Error);
    } finally {
      live.resolve();
    }
  };
  return { ready, over: follow() };
}

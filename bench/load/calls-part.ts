// Calls with one request each by the light client. Closed loop: a worker calls again as soon as it
// has its answer. Open loop: calls are due by the clock, and workers take them.

import type { Call } from "./call.ts";
import { jsonCall } from "./http-part.ts";
import { Http2Connection, type Receiver } from "./http2-connection.ts";
import type { CallsPart } from "./job.ts";
import { latch } from "./latch.ts";
import { EventCounter, MessageReader } from "./messages.ts";
import type { Meter } from "./meter.ts";
import { pace, type Pace } from "./pace.ts";
import { type PartContext, type RunningPart } from "./part.ts";

const windowBytesDefault = 1024 * 1024;

export async function runCalls(part: CallsPart, context: PartContext): Promise<RunningPart> {
  const { job, calls, meter } = context;
  const isJson = part.client === "http2";
  const call = isJson ? jsonCall(part.call) : calls.call(part.call, context.head);
  if (!call) throw new Error(`the protocol has no ${part.call.verb}`);
  const connections = await Promise.all(
    Array.from({ length: part.connections }, () =>
      Http2Connection.open(
        job.host,
        job.port,
        part.windowBytes ?? windowBytesDefault,
        job.authorization,
        isJson ? "application/json" : undefined,
      ),
    ),
  );
  const done = latch();
  const shared: Shared = {
    part,
    call,
    meter,
    inBatch: calls.eventsInBatch,
    left: part.requests ?? Infinity,
    open: 0,
    finish: done.open,
    stopped: false,
    idle: [],
  };
  const workers = Array.from(
    { length: part.concurrency },
    (_, i) => new Worker(i, connections[i % connections.length] as Http2Connection, shared),
  );
  const timer =
    part.perSecond === undefined ? undefined : pace(part.perSecond, () => callWhatIsDue(shared));
  shared.pace = timer;
  for (const worker of workers) worker.next();
  for (const connection of connections) connection.flush();
  return {
    ready: Promise.resolve(),
    done: part.requests === undefined ? undefined : done.promise,
    stop() {
      shared.stopped = true;
      timer?.stop();
      meter.late = timer?.late ?? 0;
      for (const connection of connections) connection.close();
    },
  };
}

interface Shared {
  readonly part: CallsPart;
  readonly call: Call;
  readonly meter: Meter;
  readonly inBatch: boolean;
  left: number;
  /** Open calls. */
  open: number;
  readonly finish: () => void;
  stopped: boolean;
  pace?: Pace | undefined;
  readonly idle: Worker[];
}

function callWhatIsDue({ pace: timer, idle }: Shared): void {
  while (idle.length > 0) {
    const due = timer?.take(performance.now());
    if (due === undefined) return;
    idle.pop()?.start(due, true);
  }
}

class Worker implements Receiver {
  private readonly index: number;
  private readonly connection: Http2Connection;
  private readonly shared: Shared;
  private readonly counter: EventCounter | undefined;
  private readonly reader: MessageReader | undefined;
  private since = 0;
  private eventsBefore = 0;

  constructor(index: number, connection: Http2Connection, shared: Shared) {
    this.index = index;
    this.connection = connection;
    this.shared = shared;
    const { part, call, inBatch, meter } = shared;
    if (!part.unary) {
      this.counter = new EventCounter({
        inBatch,
        message(eventCount) {
          meter.messages++;
          meter.events += eventCount;
        },
      });
    }
    const { answered } = call;
    if (answered) this.reader = new MessageReader((message) => answered(index, message));
  }

  next(): void {
    const { pace: timer, idle } = this.shared;
    if (this.shared.left === 0) {
      if (this.shared.open === 0) this.shared.finish();
      return;
    }
    const now = performance.now();
    const due = timer ? timer.take(now) : now;
    if (due === undefined) idle.push(this);
    else this.start(due, false);
  }

  start(since: number, flush: boolean): void {
    const { part, call } = this.shared;
    this.shared.left--;
    this.shared.open++;
    this.since = since;
    this.eventsBefore = this.counter?.events ?? 0;
    this.connection.call(part.path ?? call.path, call.request(this.index), true, this);
    if (flush) this.connection.flush();
  }

  received(bytes: Buffer, start: number, end: number): void {
    this.shared.meter.receivedBytes += end - start;
    this.counter?.received(bytes, start, end);
    this.reader?.received(bytes, start, end);
  }

  ended(status: number, message: string): void {
    const { meter, part, call, stopped } = this.shared;
    this.shared.open--;
    if (stopped) return;
    if (status !== 0) {
      meter.fail(`status ${status}: ${message}`);
      // A server that has ended fails every call at once; the next call is made in a later turn.
      setTimeout(() => {
        if (this.shared.stopped) return;
        this.next();
        this.connection.flush();
      }, 10);
      return;
    }
    const got = (this.counter?.events ?? 0) - this.eventsBefore;
    if (part.expectEvents !== undefined && got !== part.expectEvents) {
      meter.fail(`${got} events instead of ${part.expectEvents}`);
    }
    meter.latency.record(performance.now() - this.since);
    meter.calls++;
    meter.events += call.eventCount;
    if (part.unary) meter.messages++;
    this.next();
  }
}

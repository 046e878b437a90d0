// Bidirectional calls by the light client. Requests are sent ahead of their answers, as many as the
// window allows. Each answer is checked for a refusal and timed.

import type { Call, Calls } from "./call.ts";
import { runCalls } from "./calls-part.ts";
import { Http2Connection, type Receiver } from "./http2-connection.ts";
import type { CallsPart, PipePart } from "./job.ts";
import { latch } from "./latch.ts";
import { MessageReader } from "./messages.ts";
import type { Meter } from "./meter.ts";
import { pace, type Pace } from "./pace.ts";
import { type PartContext, type RunningPart } from "./part.ts";

const windowBytes = 1024 * 1024;

export async function runPipe(part: PipePart, context: PartContext): Promise<RunningPart> {
  const { job, calls, meter } = context;
  const call = calls.pipe(part.call);
  if (!call && part.orUnary === true) return runCalls(asCalls(part), context);
  if (!call) throw new Error(`the protocol has no pipe for ${part.call.verb}`);
  const { requests } = part;
  const done = latch();
  const shared: Shared = {
    calls,
    call,
    meter,
    left: requests ?? Infinity,
    finish: done.open,
    stopped: false,
  };
  const window = Math.max(1, Math.floor(part.window / part.connections));
  const pipes = await Promise.all(
    Array.from({ length: part.connections }, async () => {
      const connection = await Http2Connection.open(job.host, job.port, windowBytes);
      return new Pipe(connection, window, shared);
    }),
  );
  const timer =
    part.perSecond === undefined
      ? undefined
      : pace(part.perSecond, () => {
          for (const pipe of pipes) pipe.fill();
        });
  shared.pace = timer;
  for (const pipe of pipes) pipe.fill();
  return {
    ready: Promise.resolve(),
    done: requests === undefined ? undefined : done.promise,
    stop() {
      shared.stopped = true;
      timer?.stop();
      meter.late = timer?.late ?? 0;
      for (const pipe of pipes) pipe.connection.close();
    },
  };
}

const unaryConnections = 4;

function asCalls({ call, window, perSecond, requests }: PipePart): CallsPart {
  const bounds = {
    ...(perSecond === undefined ? {} : { perSecond }),
    ...(requests === undefined ? {} : { requests }),
  };
  const connections = Math.min(unaryConnections, window);
  return { kind: "calls", call, concurrency: window, connections, unary: true, ...bounds };
}

interface Shared {
  readonly calls: Calls;
  readonly call: Call;
  readonly meter: Meter;
  left: number;
  readonly finish: () => void;
  stopped: boolean;
  pace?: Pace | undefined;
}

class Pipe implements Receiver {
  readonly connection: Http2Connection;
  private readonly shared: Shared;
  private readonly reader: MessageReader;
  /** The due times of the requests that wait for their answer, as a ring buffer. */
  private readonly since: Float64Array;
  private sent = 0;
  private answered = 0;
  private id = 0;

  constructor(connection: Http2Connection, window: number, shared: Shared) {
    this.connection = connection;
    this.shared = shared;
    this.since = new Float64Array(window);
    this.reader = new MessageReader((message) => this.answer(message));
  }

  fill(): void {
    const { shared, since } = this;
    while (this.sent - this.answered < since.length && shared.left > 0 && !shared.stopped) {
      const now = performance.now();
      const due = shared.pace ? shared.pace.take(now) : now;
      if (due === undefined) break;
      since[this.sent++ % since.length] = due;
      shared.left--;
      const request = shared.call.request(0);
      if (this.id === 0) this.id = this.connection.call(shared.call.path, request, false, this);
      else this.connection.send(this.id, request, false);
    }
    this.connection.flush();
  }

  received(bytes: Buffer, start: number, end: number): void {
    this.shared.meter.receivedBytes += end - start;
    this.reader.received(bytes, start, end);
    this.fill();
  }

  private answer(message: Buffer): void {
    const { calls, call, meter, pace: timer } = this.shared;
    const refusal = calls.refusal(message);
    if (refusal !== undefined) meter.fail(refusal);
    const due = this.since[this.answered++ % this.since.length] as number;
    meter.latency.record(performance.now() - due);
    meter.calls++;
    meter.messages++;
    meter.events += call.eventCount;
    if (!timer && this.shared.left === 0 && this.answered === this.sent) this.shared.finish();
  }

  ended(status: number, message: string): void {
    if (this.shared.stopped) return;
    this.shared.meter.fail(`the pipe ended with status ${status}: ${message}`);
    this.shared.finish();
  }
}

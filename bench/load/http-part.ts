// Calls and subscriptions by HTTP/1.1 and JSON, each worker and subscriber on its own connection.

import { payload, streamOf, tagOf, randomHex, timeDigits } from "./events.ts";
import { HttpConnection } from "./http-connection.ts";
import type { CallSpec, CallsPart, FollowPart, Part } from "./job.ts";
import { latch } from "./latch.ts";
import type { Meter } from "./meter.ts";
import { pace } from "./pace.ts";
import { type PartContext, type RunningPart } from "./part.ts";
import { marker, patch, template, writeTime, type Template } from "./template.ts";

const service = "/annals.v1.EventStoreService";
const rotation = 128;

export function runHttp(part: Part, context: PartContext): Promise<RunningPart> {
  if (part.kind === "calls") return runCalls(part, context);
  if (part.kind === "follow") return runFollow(part, context);
  throw new Error(`there is no ${part.kind} by HTTP`);
}

async function runCalls(part: CallsPart, { job, meter }: PartContext): Promise<RunningPart> {
  const request = requests(part.call, job.authorization);
  const connections = await openAll(part.concurrency, job);
  const { events = 0 } = part.call.verb === "append" ? part.call : {};
  const done = latch();
  let left = part.requests ?? Infinity;
  let open = 0;
  let hasStopped = false;
  const idle: HttpConnection[] = [];
  const timer = part.perSecond === undefined ? undefined : pace(part.perSecond, () => callDue());
  const callDue = (): void => {
    while (idle.length > 0) {
      const due = timer?.take(performance.now());
      if (due === undefined) return;
      start(idle.pop() as HttpConnection, due);
    }
  };
  const next = (connection: HttpConnection): void => {
    if (left === 0) return open === 0 ? done.open() : undefined;
    const now = performance.now();
    const due = timer === undefined ? now : timer.take(now);
    if (due === undefined) idle.push(connection);
    else start(connection, due);
  };
  const start = (connection: HttpConnection, since: number): void => {
    left--;
    open++;
    connection.send(request(), {
      received: ({ length }) => (meter.receivedBytes += length),
      ended(status) {
        open--;
        if (hasStopped) return;
        if (status !== 200) return meter.fail(`HTTP status ${status}`);
        meter.latency.record(performance.now() - since);
        meter.calls++;
        meter.messages++;
        meter.events += events;
        next(connection);
      },
    });
  };
  for (const connection of connections) next(connection);
  return {
    ready: Promise.resolve(),
    done: part.requests === undefined ? undefined : done.promise,
    stop() {
      hasStopped = true;
      timer?.stop();
      meter.late = timer?.late ?? 0;
      for (const connection of connections) connection.close();
    },
  };
}

/** By Server-Sent Events. */
async function runFollow(part: FollowPart, { job, meter }: PartContext): Promise<RunningPart> {
  const connections = await openAll(part.subscribers, job);
  const [ready, done] = [latch(), latch()];
  let waiting = part.subscribers;
  let hasStopped = false;
  const request = requests(part.call, job.authorization)();
  for (const connection of connections) {
    const counter = new FrameCounter(meter, () => {
      if (--waiting === 0) ready.open();
    });
    connection.send(request, {
      received(bytes) {
        counter.received(bytes);
        if (meter.events >= (part.events ?? Infinity)) done.open();
      },
      ended(status) {
        if (hasStopped) return;
        meter.fail(`a subscription ended with HTTP status ${status}`);
        ready.fail(new Error("a subscription ended"));
        done.open();
      },
    });
  }
  return {
    ready: ready.promise,
    done: part.events === undefined ? undefined : done.promise,
    stop() {
      hasStopped = true;
      for (const connection of connections) connection.close();
    },
  };
}

const frameEnd = Buffer.from("\n\n");
const caughtUp = Buffer.from("event: caught_up");
const timeMark = Buffer.from('"at":"');

/** Counts frames. The first event of what is read at once stands for all of it. */
class FrameCounter {
  private readonly meter: Meter;
  private readonly onCaughtUp: () => void;
  private isLive = false;
  private endsInNewline = false;

  constructor(meter: Meter, onCaughtUp: () => void) {
    this.meter = meter;
    this.onCaughtUp = onCaughtUp;
  }

  received(bytes: Buffer): void {
    const { meter } = this;
    meter.receivedBytes += bytes.length;
    if (!this.isLive) {
      if (!bytes.includes(caughtUp)) return;
      this.isLive = true;
      return this.onCaughtUp();
    }
    let count = this.endsInNewline && bytes[0] === 0x0a ? 1 : 0;
    for (let at = bytes.indexOf(frameEnd); at >= 0; at = bytes.indexOf(frameEnd, at + 2)) count++;
    this.endsInNewline = bytes.at(-1) === 0x0a && bytes.at(-2) !== 0x0a && bytes.at(-2) !== 0x0d;
    meter.events += count;
    meter.messages++;
    const at = bytes.indexOf(timeMark);
    const digits = bytes.toString(
      "latin1",
      at + timeMark.length,
      at + timeMark.length + timeDigits,
    );
    if (at < 0 || !/^\d{16}$/.test(digits) || Number(digits) === 0) return;
    const now = performance.timeOrigin + performance.now();
    meter.latency.record(now - Number(digits) / 1_000, Math.max(1, count));
  }
}

function openAll(
  count: number,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<HttpConnection[]> {
  return Promise.all(Array.from({ length: count }, () => HttpConnection.open(host, port)));
}

/** The bytes of the next request. */
export function requests(call: CallSpec, authorization?: string): () => Buffer {
  const shown = authorization === undefined ? "" : `authorization: ${authorization}\r\n`;
  switch (call.verb) {
    case "append":
      return appends(call, shown);
    case "subscribe-all": {
      const text = `GET /v1/subscribe?from=end HTTP/1.1\r\nhost: 127.0.0.1\r\n${shown}\r\n`;
      return () => Buffer.from(text, "latin1");
    }
    case "read-page": {
      const message = Buffer.from(
        '{"view":"VIEW_JSON","limit":100,"direction":"DIRECTION_BACKWARDS"}',
      );
      const envelope = Buffer.alloc(5);
      envelope.writeUInt32BE(message.length, 1);
      const type = "application/connect+json";
      const bytes = posted(`${service}/Read`, type, shown, Buffer.concat([envelope, message]));
      return () => bytes;
    }
    default:
      throw new Error(`there is no ${call.verb} by HTTP`);
  }
}

function appends(
  { events: eventCount, streams, timed }: Extract<CallSpec, { verb: "append" }>,
  shown: string,
): () => Buffer {
  const templates: Template[] = Array.from({ length: rotation }, (_, seed) => {
    const events = Array.from({ length: eventCount }, (__, i) => ({
      stream: `account-${marker(i * 2)}`,
      type: `Posted-${seed % 10}`,
      tags: [`card-${marker(i * 2 + 1)}`],
      metadata: { user: `clerk-${seed % 100}`, correlation: randomHex(seed + 7)(16) },
      json: JSON.parse(payload(seed * eventCount + i).toString()) as unknown,
    }));
    const body = Buffer.from(JSON.stringify({ events }));
    return template(posted(`${service}/Append`, "application/json", shown, body), eventCount * 2);
  });
  let n = 0;
  return () => {
    const request = templates[n % rotation] as Template;
    const stream = streamOf(n, streams * 10);
    for (let i = 0; i < eventCount; i++) {
      patch(request, i * 2, stream);
      patch(request, i * 2 + 1, tagOf(n, streams * 10));
      n++;
    }
    if (timed) writeTime(request);
    return request.bytes;
  };
}

function posted(path: string, type: string, shown: string, body: Buffer): Buffer {
  const head =
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\naccept: */*\r\n` +
    `content-type: ${type}\r\ncontent-length: ${body.length}\r\n${shown}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

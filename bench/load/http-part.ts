// Calls and subscriptions by HTTP/1.1 and JSON, each worker and subscriber on its own connection.

import { payload, streamOf, tagOf, randomHex, timeDigits } from "./events.ts";
import type { Call } from "./call.ts";
import { eventsReceived } from "./follow-part.ts";
import { HttpConnection } from "./http-connection.ts";
import type { CallSpec, CallsPart, FollowPart, Part } from "./job.ts";
import { latch } from "./latch.ts";
import type { Meter } from "./meter.ts";
import { pace } from "./pace.ts";
import { type PartContext, type RunningPart } from "./part.ts";
import { marker, patch, template, writeTime, type Template } from "./template.ts";

const service = "/annals.v1.EventStoreService";
const appendPath = `${service}/Append`;
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

/** By Server-Sent Events, or by gRPC-Web. */
async function runFollow(part: FollowPart, context: PartContext): Promise<RunningPart> {
  const { job, meter } = context;
  const connections = await openAll(part.subscribers, job);
  const [ready, done] = [latch(), latch()];
  let waiting = part.subscribers;
  let hasStopped = false;
  const isByGrpcWeb = part.client === "grpc-web";
  const request = isByGrpcWeb
    ? grpcWebRequest(part, context)
    : requests(part.call, job.authorization)();
  const caughtUp = (): void => {
    if (--waiting === 0) ready.open();
  };
  const failed = (message: string): void => {
    if (hasStopped) return;
    meter.fail(message);
    ready.fail(new Error(message));
    done.open();
  };
  for (const [i, connection] of connections.entries()) {
    const received = isByGrpcWeb
      ? messagesReceived(context, part, { caughtUp, failed, done: done.open })
      : framesReceived(meter, caughtUp, i === 0 ? failed : undefined);
    connection.send(request, {
      received(bytes) {
        received(bytes);
        if (meter.events >= (part.events ?? Infinity)) done.open();
      },
      ended: (status) => failed(`a subscription ended with HTTP status ${status}`),
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

function messagesReceived(...of: Parameters<typeof eventsReceived>): (bytes: Buffer) => void {
  const receiver = eventsReceived(...of);
  return (bytes) => receiver.received(bytes, 0, bytes.length);
}

function grpcWebRequest(part: FollowPart, { calls, job, head }: PartContext): Buffer {
  const call = calls.call(part.call, head);
  if (call === undefined) throw new Error(`there is no ${part.call.verb} by gRPC-Web`);
  const shown = shownBy(job.authorization);
  return posted(call.path, "application/grpc-web+proto", shown, call.request(0));
}

const frameStart = Buffer.from("\n\nid: ");
const frameId = Buffer.from("\nid: ");
const caughtUpEvent = Buffer.from("event: caught_up");
const timeMark = Buffer.from('"at":"');
const digitsMax = 16;

/**
 * Receives frames. Their events are counted by the positions in their ids, which are dense where
 * all events are followed. The first event of what is read at once stands for all of it. `checked`
 * is told if another number of frames came than of positions.
 */
function framesReceived(
  meter: Meter,
  caughtUp: () => void,
  checked: ((message: string) => void) | undefined,
): (bytes: Buffer) => void {
  /** -1: it has not caught up. */
  let position = -1;
  let frames: FrameCount | undefined;
  return (bytes) => {
    meter.receivedBytes += bytes.length;
    if (position < 0) {
      if (!bytes.includes(caughtUpEvent)) return;
      position = Math.max(0, lastPosition(bytes));
      if (checked !== undefined) frames = new FrameCount(position, bytes);
      return caughtUp();
    }
    const count = Math.max(0, lastPosition(bytes) - position);
    position += count;
    meter.events += count;
    meter.messages++;
    frames?.add(bytes);
    if (frames?.differsFrom(position) === true) checked?.("a frame was lost, or came twice");
    const at = bytes.indexOf(timeMark) + timeMark.length;
    const digits = bytes.toString("latin1", at, at + timeDigits);
    if (at < timeMark.length || !/^\d{16}$/.test(digits) || Number(digits) === 0) return;
    const now = performance.timeOrigin + performance.now();
    meter.latency.record(now - Number(digits) / 1_000, Math.max(1, count));
  };
}

/** The position of the last id that is there whole. -1: there is none. */
function lastPosition(bytes: Buffer): number {
  const at = bytes.lastIndexOf(frameId);
  const from = at < 0 ? 0 : at + 1;
  const text = bytes.toString("latin1", from, from + "id: ".length + digitsMax + 1);
  const [, digits] = /^id: (\d+)@/.exec(text) ?? [];
  if (digits !== undefined) return Number(digits);
  return at < 0 ? -1 : lastPosition(bytes.subarray(0, at));
}

/** Counts the frames of events by their beginnings; other frames begin with their name. */
class FrameCount {
  private readonly since: number;
  private count = 0;
  private tail: Buffer;

  /** `before`: what came up to this position. */
  constructor(position: number, before: Buffer) {
    this.since = position;
    this.tail = tailOf(before);
  }

  add(bytes: Buffer): void {
    const all = Buffer.concat([this.tail, bytes]);
    for (let at = all.indexOf(frameStart); at >= 0; at = all.indexOf(frameStart, at + 1)) {
      this.count++;
    }
    this.tail = tailOf(all);
  }

  /** An id may be cut in two. */
  differsFrom(position: number): boolean {
    return Math.abs(position - this.since - this.count) > 1;
  }
}

/** Too short for the beginning of a frame. */
function tailOf(bytes: Buffer): Buffer {
  return Buffer.from(bytes.subarray(Math.max(0, bytes.length - frameStart.length + 1)));
}

function openAll(
  count: number,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<HttpConnection[]> {
  return Promise.all(Array.from({ length: count }, () => HttpConnection.open(host, port)));
}

/** The bytes of the next request. */
export function requests(call: CallSpec, authorization?: string): () => Buffer {
  const shown = shownBy(authorization);
  switch (call.verb) {
    case "append":
      return appends(call, (body) => posted(appendPath, "application/json", shown, body));
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

/** The same appends for a client that writes the head of a request itself. */
export function jsonCall(spec: CallSpec): Call {
  if (spec.verb !== "append") throw new Error(`there is no ${spec.verb} in JSON by HTTP/2`);
  return { path: appendPath, eventCount: spec.events, request: appends(spec, (body) => body) };
}

function appends(
  { events: eventCount, streams, timed }: Extract<CallSpec, { verb: "append" }>,
  requestOf: (body: Buffer) => Buffer,
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
    return template(requestOf(body), eventCount * 2);
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

function shownBy(authorization: string | undefined): string {
  return authorization === undefined ? "" : `authorization: ${authorization}\r\n`;
}

function posted(path: string, type: string, shown: string, body: Buffer): Buffer {
  const head =
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\naccept: */*\r\n` +
    `content-type: ${type}\r\ncontent-length: ${body.length}\r\n${shown}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body]);
}

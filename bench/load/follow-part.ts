// Subscribers by the light client. Events are counted. The first event of each message says when it
// was sent and stands for all of the message, because it waited longest.

import { timeDigits, timeOffset } from "./events.ts";
import { Http2Connection, type Receiver } from "./http2-connection.ts";
import type { FollowPart } from "./job.ts";
import { latch } from "./latch.ts";
import { EventCounter } from "./messages.ts";
import { type PartContext, type RunningPart } from "./part.ts";

const windowBytesDefault = 1024 * 1024;

export async function runFollow(part: FollowPart, context: PartContext): Promise<RunningPart> {
  const { job, calls, meter } = context;
  const call = calls.call(part.call, context.head);
  if (!call) throw new Error(`the protocol has no ${part.call.verb}`);
  const connections = await Promise.all(
    Array.from({ length: part.connections }, () =>
      Http2Connection.open(job.host, job.port, part.windowBytes ?? windowBytesDefault),
    ),
  );
  const ready = latch();
  const done = latch();
  let stopped = false;
  let waiting = part.subscribers;
  const caughtUp = () => {
    if (--waiting === 0) ready.open();
  };
  for (let i = 0; i < part.subscribers; i++) {
    const connection = connections[i % connections.length] as Http2Connection;
    const failed = (message: string) => {
      if (stopped) return;
      meter.fail(message);
      ready.fail(new Error(message));
      done.open();
    };
    const follower = eventsReceived(context, part, { caughtUp, failed, done: done.open });
    connection.call(part.path ?? call.path, call.request(i), true, follower);
    // Not all in one turn: thousands of subscriptions would be one burst.
    if (i % 500 === 499) {
      connection.flush();
      await new Promise((turn) => setImmediate(turn));
    }
  }
  for (const connection of connections) connection.flush();
  if (part.withoutCaughtUp === true || calls.caughtUpField === 0) ready.open();
  return {
    ready: ready.promise,
    done: part.events === undefined ? undefined : done.promise,
    stop() {
      stopped = true;
      for (const connection of connections) connection.close();
    },
  };
}

interface Heard {
  readonly caughtUp: () => void;
  readonly failed: (message: string) => void;
  /** Called when the number of events that bounds the part has arrived. */
  readonly done: () => void;
}

export function eventsReceived(
  { calls, meter }: PartContext,
  part: FollowPart,
  { caughtUp, failed, done }: Heard,
): Receiver {
  let sentAt: number | undefined;
  let live = false;
  const counter = new EventCounter({
    inBatch: calls.eventsInBatch,
    first(event) {
      const payload = calls.payloadOf(event);
      sentAt = payload === undefined ? undefined : timeIn(payload);
    },
    message(eventCount) {
      meter.messages++;
      meter.events += eventCount;
      if (meter.events >= (part.events ?? Infinity)) done();
      if (sentAt === undefined) return;
      const now = performance.timeOrigin + performance.now();
      meter.latency.record(now - sentAt, eventCount);
      sentAt = undefined;
    },
    other(field) {
      if (live || part.withoutCaughtUp === true || field !== calls.caughtUpField) return;
      live = true;
      caughtUp();
    },
  });
  return {
    received(bytes, start, end) {
      meter.receivedBytes += end - start;
      counter.received(bytes, start, end);
    },
    ended: (status, message) => failed(`a subscription ended with status ${status}: ${message}`),
  };
}

/** Milliseconds since 1970, as the appending part wrote it. Undefined if there is none. */
export function timeIn(payload: Uint8Array): number | undefined {
  let micros = 0;
  for (let at = timeOffset; at < timeOffset + timeDigits; at++) {
    micros = micros * 10 + ((payload[at] ?? 0) - 0x30);
  }
  return micros > 0 ? micros / 1_000 : undefined;
}

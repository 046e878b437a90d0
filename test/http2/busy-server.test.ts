// A server with a lot to do: it begins many requests of one client in several turns, and counts
// neither its own delays nor its own early answers against a client.
import { afterEach, describe, expect, test } from "vitest";
import type { Http2Limits } from "../../src/http2/limits.ts";
import { errorCode, flag, type } from "../../src/http2/protocol.ts";
import { data, frame, RawClient, request, uint32 } from "./raw-client.ts";
import { answering, ok, serve, turn, type Script, type Served } from "./served.ts";

let served: Served;
let client: RawClient;

async function started(limits: Partial<Http2Limits>, script: Script) {
  served = await serve(script, limits);
  client = new RawClient(served.port);
  await client.settle();
}

afterEach(async () => {
  client.destroy();
  await served.finish();
});

/** `count` parts, each with the id of a stream: the first is `from`. */
const ofStreams = (from: number, count: number, part: (id: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => part(from + 2 * i)));

describe("many requests in one piece", () => {
  const count = 1_000;

  test("begin in several turns, in their order, and all are answered", async () => {
    let [inTurn, most] = [0, 0];
    await started({ concurrentStreamsMax: count }, (stream) => {
      if (++inTurn === 1) setImmediate(() => (inTurn = 0));
      most = Math.max(most, inTurn);
      return answering(stream);
    });
    client.send(ofStreams(1, count, (id) => request(id)));
    while (!client.hasEnded(2 * count - 1)) await client.settle();
    expect(served.streams.map(({ id }) => id)).toEqual(
      Array.from({ length: count }, (_, i) => 2 * i + 1),
    );
    // Four of its turns, and what came first.
    expect(most).toBeLessThanOrEqual(5 * 128);
    expect(client.frames.filter((each) => each.type === type.resetStream)).toEqual([]);
  });

  test("begin at once where the budget has no room for those that would wait", async () => {
    await started({ concurrentStreamsMax: count }, (stream) => {
      if (stream.id === 1) served.budget.max = served.budget.held + 32 * 1024;
      stream.respond(ok, true);
      return {};
    });
    client.send(ofStreams(1, count, (id) => request(id)));
    while (!client.hasEnded(2 * count - 1)) await client.settle();
    expect(served.streams.length).toBe(count);
    served.budget.max = Infinity;
  });

  test("do not begin behind the one at which the connection was destroyed", async () => {
    let ended = 0;
    await started({}, (stream) => {
      stream.connection.relieve(1_000_000);
      return { onEnd: () => ended++ };
    });
    client.send(ofStreams(1, 6, (id) => Buffer.concat([request(id, [], 4), data(id, 10, 1)])));
    await client.closed;
    expect(served.streams.length).toBe(1);
    expect(ended).toBe(0);
    expect(served.refusals).toEqual(["budget"]);
  });
});

test("a thread that is busy for a while refills the allowance of resets for all of it", async () => {
  await started({ resetsBurst: 40, resetsPerSecond: 100 }, () => ({}));
  const cancelled = (from: number): Buffer =>
    ofStreams(from, 35, (id) =>
      Buffer.concat([request(id), frame(type.resetStream, 0, id, uint32(errorCode.cancel))]),
    );
  client.send(cancelled(1));
  await client.settle();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
  for (let i = 0; i < 3; i++) await turn();
  client.send(cancelled(71));
  await client.settle();
  expect(client.has(type.goAway, 0)).toBe(false);
});

test("late DATA of requests that were answered early is no fault of the client", async () => {
  const count = 1_100;
  const limits = { concurrentStreamsMax: count, drainMs: 20, resetsBurst: 20, resetsPerSecond: 0 };
  await started(limits, (stream) => {
    stream.respond(ok, true);
    return {};
  });
  client.send(ofStreams(1, count, (id) => request(id, [], flag.endHeaders)));
  while (!client.has(type.resetStream, 2 * count - 1)) await turn();
  client.send(ofStreams(1, count, (id) => data(id, 5, flag.endStream)));
  await client.settle();
  expect(client.has(type.goAway, 0)).toBe(false);
  const closed = client.frames.filter(
    (each) =>
      each.type === type.resetStream && each.payload.readUInt32BE(0) === errorCode.streamClosed,
  );
  expect(closed.length).toBe(count - 1_024);
});

// Every limit, met: how it ends, by its name, and that what was held is given back.
import { afterEach, describe, expect, test } from "vitest";
import { encodeHeaders, hpackOf } from "../../src/http2/hpack-encoder.ts";
import { defaultHttp2Limits, type Http2Limits } from "../../src/http2/limits.ts";
import { errorCode, flag, setting, type } from "../../src/http2/protocol.ts";
import { data, frame, RawClient, request, requestFields, settings, uint32 } from "./raw-client.ts";
import { answering, serve, turn, type Script, type Served, taken } from "./served.ts";

let served: Served;
const clients: RawClient[] = [];

async function started(limits: Partial<Http2Limits> = {}, script: Script = answering) {
  served = await serve(script, limits);
}

function raw(begin?: Buffer | false): RawClient {
  const client = new RawClient(served.port, begin);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await served.finish();
});

/** Sends rounds of frames until the connection is closed. */
async function flood(client: RawClient, round: (n: number) => Buffer): Promise<void> {
  for (let n = 0; !client.isClosed && n < 10_000; n++) {
    client.send(round(n));
    if (client.has(type.goAway, 0)) return;
    await turn();
  }
}

const many = (count: number, each: (n: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, n) => each(n)));
const headersOf = (bytes: number) => hpackOf([...requestFields, ["x", "\u00ff".repeat(bytes)]]);

describe("floods end their connection by ENHANCE_YOUR_CALM and the limit's name", () => {
  const small = { controlFramesBurst: 500, controlFramesPerSecond: 10 };
  /** Frames of the eleventh stream, of which the client may not know yet that it was refused. */
  const ofRefused = (n: number, each: Buffer): Buffer =>
    Buffer.concat([
      n > 0 ? none : many(11, (i) => request(2 * i + 1, [], 4)),
      many(99, () => each),
    ]);
  test.each<[string, (n: number) => Buffer]>([
    ["SETTINGS", () => many(100, () => settings())],
    ["SETTINGS that change every window", (n) => many(100, () => settings([4, n % 2]))],
    [
      "settings in few frames",
      () => settings(...Array.from({ length: 100 }, (): [number, number] => [9, 9])),
    ],
    ["acknowledgements of SETTINGS", () => many(100, () => frame(type.settings, flag.ack))],
    ["PING", () => many(100, () => frame(type.ping, 0, 0, Buffer.alloc(8)))],
    ["answers to no PING", () => many(100, () => frame(type.ping, flag.ack, 0, Buffer.alloc(8)))],
    ["PRIORITY", () => many(100, (n) => frame(type.priority, 0, 2 * n + 1, Buffer.alloc(5)))],
    ["windows of the connection", () => many(100, () => frame(type.windowUpdate, 0, 0, uint32(1)))],
    ["frames of unknown types", () => many(100, () => frame(99, 0, 0, Buffer.alloc(20)))],
    [
      "empty DATA",
      (n) => Buffer.concat([n === 0 ? request(1, [], 4) : none, many(100, () => data(1, 0))]),
    ],
    [
      "DATA of nothing but padding",
      (n) =>
        Buffer.concat([
          n === 0 ? request(1, [], 4) : none,
          many(100, () => frame(type.data, flag.padded, 1, Buffer.from([3, 0, 0, 0]))),
        ]),
    ],
    [
      "windows of one stream",
      (n) =>
        Buffer.concat([
          n === 0 ? request(1, [], 4) : none,
          many(100, () => frame(type.windowUpdate, 0, 1, uint32(1))),
        ]),
    ],
    [
      "resets of streams that are over",
      (n) =>
        Buffer.concat([
          n === 0 ? request(1) : none,
          many(100, () => frame(type.resetStream, 0, 1, uint32(8))),
        ]),
    ],
    [
      "DATA of streams that are over",
      (n) => Buffer.concat([n === 0 ? request(1) : none, many(100, () => data(1, 1))]),
    ],
    ["resets of streams that were refused", (n) => ofRefused(n, frame(3, 0, 21, uint32(8)))],
    ["HEADERS of streams that were refused", (n) => ofRefused(n, request(21))],
    ["more streams than allowed", (n) => many(100, (i) => request(200 * n + 2 * i + 1, [], 4))],
  ])("%s", async (_, round) => {
    await started({ ...small, concurrentStreamsMax: 10 }, () => ({}));
    const client = raw();
    await flood(client, round);
    expect(await client.goAway()).toMatchObject({ code: 11, reason: "controlFramesBurst" });
    expect(served.refusals).toEqual(["controlFramesBurst"]);
  });

  const rapid = { resetsBurst: 100, resetsPerSecond: 1 };
  const next = (n: number, i: number): number => 100 * n + 2 * i + 1;
  const open = flag.endHeaders;
  test.each<[string, (id: number) => Buffer]>([
    ["a client resets", (id) => Buffer.concat([request(id, [], open), frame(3, 0, id, uint32(8))])],
    [
      "a client makes us reset by an empty window",
      (id) => Buffer.concat([request(id, [], open), frame(type.windowUpdate, 0, id, uint32(0))]),
    ],
    [
      "a client makes us reset by too large a window",
      (id) =>
        Buffer.concat([
          request(id, [], open),
          frame(type.windowUpdate, 0, id, uint32(2 ** 31 - 1)),
        ]),
    ],
    [
      "a client makes us reset by more data than it said",
      (id) => Buffer.concat([request(id, [["content-length", "1"]], open), data(id, 2)]),
    ],
    ["are malformed", (id) => request(id, [["te", "x"]])],
  ])("streams that %s", async (_, stream) => {
    await started(rapid, () => ({}));
    const client = raw();
    await flood(client, (n) => many(50, (i) => stream(next(n, i))));
    expect(await client.goAway()).toMatchObject({ code: 11, reason: "resetsBurst" });
  });

  test("an honest client that cancels and pings as allowed is not cut off", async () => {
    await started({ ...small, ...rapid }, () => ({}));
    const client = raw();
    client.send(
      many(99, (i) =>
        Buffer.concat([request(2 * i + 1, [], open), frame(3, 0, 2 * i + 1, uint32(8))]),
      ),
    );
    for (let i = 0; i < 100; i++) await client.settle();
    expect(client.has(type.goAway, 0)).toBe(false);
  });
});

const none: Buffer = Buffer.alloc(0);
/** On the stream 1. */
const dependent = Buffer.concat([uint32(1), Buffer.from([0])]);

describe("headers", () => {
  test.each<[keyof Http2Limits, Buffer]>([
    [
      "continuationsMax",
      Buffer.concat([
        frame(type.headers, 0, 1, headersOf(1)),
        many(9, () => frame(type.continuation, 0, 1, none)),
      ]),
    ],
    [
      "headerBlockBytesMax",
      Buffer.concat([
        frame(type.headers, 0, 1, headersOf(16_000)),
        many(8, () => frame(type.continuation, 0, 1, Buffer.alloc(16_384))),
      ]),
    ],
  ])("beyond %s end the connection", async (limit, bytes) => {
    await started();
    const client = raw();
    client.send(bytes);
    expect(await client.goAway()).toMatchObject({ code: 11, reason: limit });
  });

  test("in several frames are a request", async () => {
    await started();
    const client = raw();
    const block = headersOf(30_000);
    client.send(
      frame(type.headers, flag.endStream, 1, block.subarray(0, 10)),
      frame(type.continuation, 0, 1, block.subarray(10, 10_000)),
      frame(type.continuation, 0, 1, block.subarray(10_000, 20_000)),
      frame(type.continuation, flag.endHeaders, 1, block.subarray(20_000)),
    );
    await client.frame(type.headers, 1);
    expect(served.streams[0]?.headers.get("x")).toHaveLength(30_000);
  });

  test("somewhat beyond their limit cost their request alone", async () => {
    await started();
    const client = raw();
    const block = headersOf(100_000);
    const parts = Array.from({ length: 6 }, (_, i) => block.subarray(i * 16_384, (i + 1) * 16_384));
    client.send(
      request(1, [], flag.endHeaders),
      frame(type.headers, flag.endStream, 3, parts[0]),
      ...parts.slice(1).map((part) => frame(type.continuation, 0, 3, part)),
      frame(type.continuation, flag.endHeaders, 3, block.subarray(6 * 16_384)),
      data(1, 1, flag.endStream),
    );
    await client.frame(type.headers, 1);
    expect(client.hasEnded(3)).toBe(true);
    expect(served.streams.map(({ id }) => id)).toEqual([1]);
  });

  test.each<[string, Buffer]>([
    ["another frame of the stream", data(1, 1)],
    ["another stream's CONTINUATION", frame(type.continuation, flag.endHeaders, 3)],
    ["a frame of the connection", frame(type.ping, 0, 0, Buffer.alloc(8))],
    ["an unknown frame", frame(99, 0, 1)],
  ])("with %s between them are a PROTOCOL_ERROR", async (_, between) => {
    await started();
    const client = raw();
    client.send(frame(type.headers, 0, 1, headersOf(1)), between);
    expect((await client.goAway()).code).toBe(1);
  });
});

describe("frames that are wrong", () => {
  test.each<[string, number, Buffer]>([
    ["a frame that is too long", 6, frame(type.data, 0, 1, Buffer.alloc(16_385))],
    ["PRIORITY of another length", 6, frame(type.priority, 0, 1, Buffer.alloc(4))],
    ["RST_STREAM of another length", 6, frame(type.resetStream, 0, 1, Buffer.alloc(5))],
    ["PING of another length", 6, frame(type.ping, 0, 0, Buffer.alloc(7))],
    ["WINDOW_UPDATE of another length", 6, frame(type.windowUpdate, 0, 0, Buffer.alloc(3))],
    ["SETTINGS of another length", 6, frame(type.settings, 0, 0, Buffer.alloc(5))],
    ["an acknowledgement with settings", 6, frame(type.settings, flag.ack, 0, Buffer.alloc(6))],
    ["GOAWAY that is too short", 6, frame(type.goAway, 0, 0, Buffer.alloc(7))],
    ["padding without its length", 6, Buffer.concat([request(1, [], 4), frame(0, flag.padded, 1)])],
    ["HEADERS without their priority", 6, frame(type.headers, 0x24, 1, Buffer.alloc(4))],
    [
      "more padding than payload",
      1,
      Buffer.concat([request(1, [], 4), frame(0, flag.padded, 1, Buffer.from([1]))]),
    ],
    ["DATA of no stream", 1, data(0, 1)],
    ["HEADERS of no stream", 1, request(0)],
    ["SETTINGS of a stream", 1, frame(type.settings, 0, 1)],
    ["PING of a stream", 1, frame(type.ping, 0, 1, Buffer.alloc(8))],
    ["GOAWAY of a stream", 1, frame(type.goAway, 0, 1, Buffer.alloc(8))],
    ["PUSH_PROMISE", 1, frame(type.pushPromise, flag.endHeaders, 1, uint32(2))],
    ["CONTINUATION of nothing", 1, frame(type.continuation, flag.endHeaders, 1)],
    ["ENABLE_PUSH of 2", 1, settings([setting.enablePush, 2])],
    ["a stream that depends on itself", 1, frame(type.priority, 0, 1, dependent)],
    [
      "HEADERS that depend on themselves",
      1,
      frame(type.headers, 0x25, 1, Buffer.concat([dependent, headersOf(1)])),
    ],
    ["MAX_FRAME_SIZE of 1", 1, settings([setting.maxFrameSize, 1])],
    ["MAX_FRAME_SIZE of 2^24", 1, settings([setting.maxFrameSize, 2 ** 24])],
    ["an initial window of 2^31", 3, settings([setting.initialWindowSize, 2 ** 31])],
    ["broken headers", 9, frame(type.headers, 5, 1, Buffer.from([0x80]))],
  ])("%s: code %d", async (_, code, bytes) => {
    await started();
    const client = raw();
    client.send(bytes);
    expect((await client.goAway()).code).toBe(code);
    await client.closed;
  });

  test("no SETTINGS behind the preface", async () => {
    await started();
    const client = raw(frame(type.ping, 0, 0, Buffer.alloc(8)));
    expect((await client.goAway()).code).toBe(1);
  });
});

describe("the budget", () => {
  test("is what every held byte is drawn from, to the byte", async () => {
    const { connectionBytes, streamBytes } = defaultHttp2Limits;
    await started({}, () => ({ onData() {} }));
    const client = raw();
    client.send(request(1, [], flag.endHeaders));
    await client.settle();
    const opened = served.budget.held;
    expect(opened - connectionBytes - streamBytes).toBeGreaterThan(100);
    client.send(data(1, 1_000));
    await client.settle();
    expect(served.budget.held - opened).toBe(1_000);
    client.send(data(1, 500), frame(type.headers, 0, 3, headersOf(100)));
    while (served.budget.held - opened < 1_500 + 100) await turn();
    taken(served.streams[0], 1_500);
    client.destroy();
    await served.empty();
    expect(served.budget.held).toBe(0);
  });

  test("refuses connections, streams, and what comes of requests, each in its way", async () => {
    let refused = 0;
    await started({}, (stream) => ({
      onData() {},
      onRefused: () => {
        refused++;
        stream.respond(encodeHeaders([[":status", "503"]]), true);
      },
    }));
    served.budget.max = 54_400;
    const client = raw();
    client.send(request(1, [], flag.endHeaders), data(1, 1_000), request(3), request(5, [], 4));
    expect(await client.resetCode(5)).toBe(7);
    client.send(data(1, 4_000), data(1, 4_000, flag.endStream));
    expect((await client.frame(type.headers, 1)).flags & flag.endStream).toBe(1);
    await client.settle();
    expect(refused).toBe(1);
    const second = raw();
    await second.closed;
    expect(served.refusals).toContain("budget");
    taken(served.streams[0], 1_000);
  });

  test("refuses an answer, and the stream can still be ended", async () => {
    const results: boolean[] = [];
    await started({}, (stream) => ({
      onEnd: () => {
        stream.respond(encodeHeaders([[":status", "200"]]));
        results.push(stream.write(Buffer.alloc(100_000)), stream.write(Buffer.alloc(100_000)));
        results.push(stream.write(Buffer.from("small")));
        stream.end();
      },
    }));
    served.budget.max = 160_000;
    const client = raw();
    client.send(request(1));
    const isDone = () => client.hasEnded(1);
    while (!isDone()) {
      await client.settle();
      client.send(
        frame(type.windowUpdate, 0, 0, uint32(50_000)),
        frame(type.windowUpdate, 0, 1, uint32(50_000)),
      );
    }
    expect(results).toEqual([true, false, true]);
    expect(client.dataBytes(1)).toBe(100_005);
  });
});

describe("connections", () => {
  test("beyond their number, in all and from one address, are closed at once", async () => {
    await started({ connectionsMax: 3, connectionsPerAddressMax: 2 });
    const first = raw();
    const second = raw();
    await Promise.all([first.settle(), second.settle()]);
    await raw().closed;
    expect(served.refusals).toEqual(["connectionsPerAddressMax"]);
    first.destroy();
    await first.closed;
    while (served.server.connectionCount > 1) await turn();
    await raw().settle();
  });

  test("are counted together where they come from one network", async () => {
    served = await serve(() => ({}), { connectionsPerAddressMax: 2 }, { networkOf: () => "one" });
    await Promise.all([raw().settle(), raw().settle()]);
    await raw().closed;
    expect(served.refusals).toEqual(["connectionsPerAddressMax"]);
  });

  test("that do not take their answers are read no further, and nothing grows", async () => {
    await started({ outputBytesMax: 16 * 1024, controlFramesBurst: 1_000_000 });
    const client = raw();
    await client.settle();
    client.socket.pause();
    const pings = many(5_000, () => frame(type.ping, 0, 0, Buffer.alloc(8)));
    for (let i = 0; i < 400; i++) {
      client.send(pings);
      await turn();
    }
    // The sockets' own buffers hold a few megabytes; the rest waits at the client.
    expect(client.socket.writableLength).toBeGreaterThan(1024 * 1024);
    expect(served.budget.held).toBeLessThan(400 * 1024);
    client.socket.resume();
    await client.settle();
    expect(client.has(type.goAway, 0)).toBe(false);
  });
});

test("an empty frame that ends a request needs no room, whatever else is held", async () => {
  const heard: string[] = [];
  await started({}, (stream) => ({
    onData: (part) => {
      heard.push("data");
      taken(stream, part.length);
    },
    onEnd: () => {
      heard.push("end");
      stream.reset(errorCode.cancel);
    },
    onRefused: () => heard.push("refused"),
  }));
  const client = raw();
  client.send(request(1, [], flag.endHeaders), data(1, 100));
  await expect.poll(() => heard).toEqual(["data"]);
  const { budget } = served;
  const take = budget.take.bind(budget);
  budget.take = () => false;
  client.send(data(1, 0, flag.endStream));
  await client.frame(type.resetStream, 1);
  budget.take = take;
  expect(heard).toEqual(["data", "end"]);
});

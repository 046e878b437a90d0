// Read and Subscribe over a real socket, as a client of any language would use them.
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { data, events, json, m, read } from "./store-requests.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

describe("Read", () => {
  beforeEach(async () => {
    await server.calls.unary(m.append, { stream: "a-1", events: events(4) });
    await server.calls.unary(m.append, { stream: "b-1", events: events(4) });
  });

  test("of everything, of a stream, of a query, either way", async () => {
    expect((await read(server, {})).positions).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const backwards = await read(server, {
      selection: { case: "stream", value: "b-1" },
      direction: 2,
    });
    expect(backwards.positions).toEqual([8, 7, 6, 5]);
    expect(backwards.end).toMatchObject({ head: 8n, streamVersion: 4n, eventCount: 4n });
    const items = [{ streamPrefixes: ["a-"], tags: ["n:1"] }, { types: ["T4"] }];
    expect(
      (await read(server, { selection: { case: "query", value: { items } } })).positions,
    ).toEqual([2, 4, 8]);
  });

  test("from a version, a position or a time, to another, at most so many", async () => {
    const selection = { case: "stream", value: "b-1" } as const;
    const from = { case: "fromVersion", value: 2n } as const;
    expect(
      (await read(server, { selection, from, to: { case: "toVersion", value: 3n } })).positions,
    ).toEqual([6, 7]);
    const some = await read(server, { from: { case: "fromPosition", value: 3n }, limit: 2n });
    expect(some.positions).toEqual([3, 4]);
    expect(some.end).toMatchObject({ head: 8n, after: 4n });
    const time = some.events[0]?.recordedAt;
    if (time === undefined) throw new Error("no time");
    expect(
      (await read(server, { from: { case: "fromTime", value: time } })).positions[0],
    ).toBeLessThanOrEqual(3);
    expect(
      (await read(server, { to: { case: "toTime", value: { seconds: -5n } } })).positions,
    ).toEqual([]);
    expect(
      (await read(server, { from: { case: "fromTime", value: { seconds: 253_402_300_799n } } }))
        .positions,
    ).toEqual([]);
  });

  test("cut short tells an `after` that no append passes with an event that was not read", async () => {
    const selection = { case: "stream", value: "b-1" } as const;
    const to = { case: "toVersion", value: 2n } as const;
    const { positions, end } = await read(server, { selection, to, limit: 2n });
    expect(positions).toEqual([5, 6]);
    expect(end).toMatchObject({ head: 8n, after: 6n });
    const conditions = [{ query: { items: [{ streams: ["b-1"] }] }, after: end?.after ?? 0n }];
    const append = { stream: "b-1", events: events(1), conditions };
    const failure = await server.calls.failure(m.append, append);
    expect(failure).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
  });

  test("of a stream that is not there is empty, and says version 0", async () => {
    const nothing = await read(server, { selection: { case: "stream", value: "nope" } });
    expect(nothing.end).toMatchObject({ head: 8n, after: 8n, eventCount: 0n, streamVersion: 0n });
  });

  test("in its views", async () => {
    await server.calls.unary(m.append, {
      stream: "v",
      events: [
        { type: "T", payload: json({ b: [1, null], a: "x" }) },
        { type: "T", contentType: "text/plain", payload: data("{}") },
      ],
    });
    const selection = { case: "stream", value: "v" } as const;
    const full = (await read(server, { selection })).events;
    expect(full.map((one) => Buffer.from(one.data).toString())).toEqual([
      '{"a":"x","b":[1,null]}',
      "{}",
    ]);
    const decoded = (await read(server, { selection, view: 2 })).events;
    expect(decoded[0]?.json && toJson(ValueSchema, decoded[0].json)).toEqual({
      a: "x",
      b: [1, null],
    });
    expect(decoded[1]?.json).toBeUndefined();
    expect(Buffer.from(decoded[1]?.data ?? []).toString()).toBe("{}");
    const headers = (await read(server, { selection, view: 3 })).events;
    expect(headers.map((one) => [one.data.length, one.json, one.contentType])).toEqual([
      [0, undefined, "application/json"],
      [0, undefined, "text/plain"],
    ]);
  });

  test("of events of the largest size fits a client that changed nothing", async () => {
    const value = Buffer.alloc(3 * 1024 * 1024 - 200, "[");
    for (const contentType of ["application/json", ""]) {
      const event = { type: "T", contentType, payload: { case: "data", value } as const };
      await server.calls.unary(m.append, { stream: "large", events: [event] });
    }
    for (const view of [1, 2, 3]) {
      const answer = await read(server, { selection: { case: "stream", value: "large" }, view });
      expect(answer.events.map((one) => one.data.length)).toEqual(
        view === 3 ? [0, 0] : [value.length, value.length],
      );
    }
  });
});

describe("Subscribe", () => {
  test("delivers what is there, says it has caught up, then what comes", async () => {
    await server.calls.unary(m.append, { stream: "a", events: events(2) });
    const stream = server.calls.stream(m.subscribe, {});
    const messages = stream[Symbol.asyncIterator]();
    const next = async () => (await nextOf(messages)).message;
    expect(await next()).toMatchObject({
      case: "batch",
      value: { events: [{ position: 1n }, { position: 2n }] },
    });
    expect(await next()).toMatchObject({ case: "caughtUp", value: { position: 2n } });
    await server.calls.unary(m.append, { stream: "b", events: [{ type: "L", payload: json(5) }] });
    expect(await next()).toMatchObject({
      case: "batch",
      value: { events: [{ position: 3n, stream: "b" }] },
    });
    stream.cancel();
  });

  test("of a stream that is not there yet catches up at once, and beats its heart", async () => {
    const stream = server.calls.stream(m.subscribe, {
      selection: { case: "stream", value: "later" },
      checkpointInterval: { nanos: 100_000_000 },
      view: 2,
    });
    const messages = stream[Symbol.asyncIterator]();
    expect((await nextOf(messages)).message).toMatchObject({
      case: "caughtUp",
      value: { position: 0n },
    });
    expect((await nextOf(messages)).message.case).toBe("checkpoint");
    await server.calls.unary(m.append, {
      stream: "later",
      events: [{ type: "L", payload: json({ a: 1 }) }],
    });
    let { message } = await nextOf(messages);
    while (message.case === "checkpoint") ({ message } = await nextOf(messages));
    if (message.case !== "batch") throw new Error(`a ${message.case}`);
    expect(message.value.events[0]?.json?.kind.case).toBe("structValue");
    stream.cancel();
  });

  test("after a position or version that is not there is OUT_OF_RANGE", async () => {
    const start = { case: "afterPosition", value: 1n } as const;
    expect(await server.calls.failure(m.subscribe, { start })).toMatchObject({
      code: 11,
      reason: "BEYOND_HEAD",
    });
    const version = { case: "afterVersion", value: 1n } as const;
    const selection = { case: "stream", value: "a" } as const;
    expect(await server.calls.failure(m.subscribe, { selection, start: version })).toMatchObject({
      code: 11,
    });
  });
});

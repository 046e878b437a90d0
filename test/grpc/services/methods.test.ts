// Every method of the contract over a real socket, as a client of any language would use it.
import { fromJson, toJson, type MessageInitShape } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import type { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { collect, decodeDetails, nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const m = EventStoreService.method;

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

type AppendInit = MessageInitShape<typeof AppendRequestSchema>;
type ReadInit = MessageInitShape<typeof ReadRequestSchema>;

const json = (value: unknown) =>
  ({ case: "json", value: fromJson(ValueSchema, value as never) }) as const;
const data = (text: string) => ({ case: "data", value: Buffer.from(text) }) as const;
const uuid = (n: number): string => `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;

/** `count` events of type `T1`, `T2`, ... in a stream. */
function events(count: number): NonNullable<AppendInit["events"]> {
  return Array.from({ length: count }, (_, i) => ({ type: `T${i + 1}`, tags: [`n:${i % 2}`] }));
}

async function read(request: ReadInit) {
  const messages = await collect(server.calls.stream(m.read, request));
  const last = messages.pop()?.message;
  if (last?.case !== "end") throw new Error("a read without an end");
  const found = messages.flatMap(({ message }) =>
    message.case === "batch" ? message.value.events : [],
  );
  return {
    events: found,
    positions: found.map(({ position }) => Number(position)),
    end: last.value,
  };
}

describe("Append", () => {
  test("stores events in one or several streams and says where", async () => {
    const answer = await server.calls.unary(m.append, {
      stream: "a",
      events: [{ type: "T" }, { type: "T", stream: "b" }, { type: "T" }],
      expected: { case: "expectedVersion", value: 0n },
    });
    expect(answer).toMatchObject({
      firstPosition: 1n,
      lastPosition: 3n,
      head: 3n,
      deduplicated: false,
      streams: [
        { stream: "a", firstVersion: 1n, lastVersion: 2n },
        { stream: "b", firstVersion: 1n, lastVersion: 1n },
      ],
    });
    expect(answer.eventIds).toHaveLength(3);
    expect(answer.recordedAt?.seconds).toBeGreaterThan(1_700_000_000n);
  });

  test("with the ids of an earlier append answers with the original positions", async () => {
    const request = {
      stream: "a",
      events: [
        { id: uuid(1), type: "T" },
        { id: uuid(2), type: "U" },
      ],
    };
    const first = await server.calls.unary(m.append, request);
    await server.calls.unary(m.append, { stream: "a", events: events(1) });
    const expected = { case: "expectedVersion", value: 0n } as const;
    const again = await server.calls.unary(m.append, { ...request, expected });
    expect(again).toMatchObject({
      firstPosition: 1n,
      lastPosition: 2n,
      deduplicated: true,
      head: 3n,
    });
    expect(again.recordedAt).toEqual(first.recordedAt);
    expect(again.eventIds).toEqual([]);
  });

  test("that broke expectations and its condition hears of all of them", async () => {
    await server.calls.unary(m.append, { stream: "a", events: events(2) });
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: events(1),
      expected: { case: "expectedState", value: 3 },
      expectations: [
        { stream: "b", expected: { case: "expectedVersion", value: 7n } },
        { stream: "c", expected: { case: "expectedState", value: 2 } },
      ],
      condition: { query: { items: [{ tags: ["n:1"] }] }, after: 1n },
    });
    expect(failure).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
    expect(failure.appendConflict).toMatchObject({
      streams: [
        { stream: "a", expected: { case: "expectedState", value: 3 }, actualVersion: 2n },
        { stream: "b", expected: { case: "expectedVersion", value: 7n }, actualVersion: 0n },
        { stream: "c", expected: { case: "expectedState", value: 2 }, actualVersion: 0n },
      ],
      condition: { position: 2n, after: 1n },
      omittedCount: 0,
    });
    expect((await read({})).positions).toEqual([1, 2]);
  });

  test("with an id that is recorded otherwise is refused with that id", async () => {
    await server.calls.unary(m.append, { stream: "a", events: [{ id: uuid(1), type: "T" }] });
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: [{ id: uuid(1), type: "OTHER" }],
    });
    expect(failure).toMatchObject({ code: 6, reason: "EVENT_ID_CONFLICT" });
    expect(failure.eventIdConflict?.events).toMatchObject([
      { id: uuid(1), position: 1n, problem: 1 },
    ]);
  });

  test("with a condition after a position nobody has read is OUT_OF_RANGE", async () => {
    const condition = { query: {}, after: 9n };
    const failure = await server.calls.failure(m.append, {
      stream: "a",
      events: events(1),
      condition,
    });
    expect(failure).toMatchObject({
      code: 11,
      reason: "BEYOND_HEAD",
      info: { asked: "9", head: "0" },
    });
    expect(failure.message).toContain("condition.after");
  });

  test("of concurrent appends with one expectation exactly one is accepted", async () => {
    const expected = { case: "expectedVersion", value: 0n } as const;
    const tries = Array.from({ length: 40 }, () =>
      server.calls.unary(m.append, { stream: "a", events: events(1), expected }).then(
        () => "stored",
        () => "refused",
      ),
    );
    const outcomes = await Promise.all(tries);
    expect(outcomes.filter((outcome) => outcome === "stored")).toHaveLength(1);
  });
});

describe("AppendPipe", () => {
  test("answers in order, each append for itself, and ends with OK", async () => {
    const pipe = server.calls.pipe(m.appendPipe);
    const wrong = { case: "expectedVersion", value: 9_999n } as const;
    for (let i = 0; i < 300; i++) {
      const append = { stream: "a", events: [{ type: "T" }] };
      if (i % 3 === 0) pipe.send({ append });
      else if (i % 3 === 1) pipe.send({ append: { ...append, expected: wrong } });
      else pipe.sendBytes(Buffer.from([0x0a, 0x03, 0x0a, 0x01, 0xff]));
    }
    pipe.end();
    const answers = await collect({ [Symbol.asyncIterator]: () => pipe.answers });
    expect(answers.map(({ sequence }) => Number(sequence))).toEqual(
      Array.from({ length: 300 }, (_, i) => i + 1),
    );
    const codes = answers
      .slice(0, 6)
      .map(({ outcome }) => (outcome.case === "failure" ? outcome.value.code : 0));
    expect(codes).toEqual([0, 10, 3, 0, 10, 3]);
    expect((await read({})).positions).toHaveLength(100);
  });

  test("refuses with the details Append would have ended with", async () => {
    const pipe = server.calls.pipe(m.appendPipe);
    const send = async (request: Parameters<typeof pipe.send>[0]) => {
      pipe.send(request);
      const { outcome } = await nextOf(pipe.answers);
      if (outcome.case !== "failure") throw new Error("it was not refused");
      return decodeDetails(outcome.value.code, outcome.value.message, outcome.value.details);
    };
    expect(await send({})).toMatchObject({
      code: 3,
      reason: "INVALID_FIELD",
      message: "append: is required",
    });
    expect((await send({ append: {} })).badRequest?.fieldViolations[0]?.field).toBe("events");
    const expected = { case: "expectedState", value: 2 } as const;
    const refused = await send({ append: { stream: "a", events: events(1), expected } });
    expect(refused).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
    expect(refused.appendConflict?.streams).toHaveLength(1);
    pipe.cancel();
  });

  test("takes what a lone client keeps sending without waiting", async () => {
    const pipe = server.calls.pipe(m.appendPipe);
    for (let i = 0; i < 3_000; i++)
      pipe.send({ append: { stream: `s-${i % 7}`, events: events(2) } });
    pipe.end();
    const answers = await collect({ [Symbol.asyncIterator]: () => pipe.answers });
    expect(answers.filter(({ outcome }) => outcome.case === "appended")).toHaveLength(3_000);
    expect((await server.calls.unary(m.getInfo, {})).head).toBe(6_000n);
  });
});

describe("Read", () => {
  beforeEach(async () => {
    await server.calls.unary(m.append, { stream: "a-1", events: events(4) });
    await server.calls.unary(m.append, { stream: "b-1", events: events(4) });
  });

  test("of everything, of a stream, of a query, either way", async () => {
    expect((await read({})).positions).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const backwards = await read({ selection: { case: "stream", value: "b-1" }, direction: 2 });
    expect(backwards.positions).toEqual([8, 7, 6, 5]);
    expect(backwards.end).toMatchObject({ head: 8n, streamVersion: 4n, eventCount: 4n });
    const items = [{ streamPrefixes: ["a-"], tags: ["n:1"] }, { types: ["T4"] }];
    expect((await read({ selection: { case: "query", value: { items } } })).positions).toEqual([
      2, 4, 8,
    ]);
  });

  test("from a version, a position or a time, to another, at most so many", async () => {
    const selection = { case: "stream", value: "b-1" } as const;
    const from = { case: "fromVersion", value: 2n } as const;
    expect(
      (await read({ selection, from, to: { case: "toVersion", value: 3n } })).positions,
    ).toEqual([6, 7]);
    const some = await read({ from: { case: "fromPosition", value: 3n }, limit: 2n });
    expect(some.positions).toEqual([3, 4]);
    expect(some.end).toMatchObject({ head: 8n, after: 4n });
    const time = some.events[0]?.recordedAt;
    if (time === undefined) throw new Error("no time");
    expect(
      (await read({ from: { case: "fromTime", value: time } })).positions[0],
    ).toBeLessThanOrEqual(3);
    expect((await read({ to: { case: "toTime", value: { seconds: -5n } } })).positions).toEqual([]);
    expect(
      (await read({ from: { case: "fromTime", value: { seconds: 253_402_300_799n } } })).positions,
    ).toEqual([]);
  });

  test("cut short tells an `after` that no append passes with an event that was not read", async () => {
    const selection = { case: "stream", value: "b-1" } as const;
    const to = { case: "toVersion", value: 2n } as const;
    const { positions, end } = await read({ selection, to, limit: 2n });
    expect(positions).toEqual([5, 6]);
    expect(end).toMatchObject({ head: 8n, after: 6n });
    const condition = { query: { items: [{ streams: ["b-1"] }] }, after: end?.after ?? 0n };
    const append = { stream: "b-1", events: events(1), condition };
    const failure = await server.calls.failure(m.append, append);
    expect(failure).toMatchObject({ code: 10, reason: "APPEND_CONFLICT" });
  });

  test("of a stream that is not there is empty, and says version 0", async () => {
    const nothing = await read({ selection: { case: "stream", value: "nope" } });
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
    const full = (await read({ selection })).events;
    expect(full.map((one) => Buffer.from(one.data).toString())).toEqual([
      '{"a":"x","b":[1,null]}',
      "{}",
    ]);
    const decoded = (await read({ selection, view: 2 })).events;
    expect(decoded[0]?.json && toJson(ValueSchema, decoded[0].json)).toEqual({
      a: "x",
      b: [1, null],
    });
    expect(decoded[1]?.json).toBeUndefined();
    expect(Buffer.from(decoded[1]?.data ?? []).toString()).toBe("{}");
    const headers = (await read({ selection, view: 3 })).events;
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
      const answer = await read({ selection: { case: "stream", value: "large" }, view });
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

describe("snapshots", () => {
  beforeEach(async () => {
    await server.calls.unary(m.append, { stream: "s", events: events(5) });
  });
  const save = (version: number, kind = "") =>
    server.calls.unary(m.saveSnapshot, {
      stream: "s",
      kind,
      version: BigInt(version),
      state: json({ v: version }),
      metadata: { by: "test" },
    });

  test("are saved, got at or before a version, listed, deleted", async () => {
    expect(await save(2)).toMatchObject({ position: 2n });
    await save(4);
    await save(3, "other");
    const got = await server.calls.unary(m.getSnapshot, { stream: "s", maxVersion: 3n, view: 2 });
    expect(got.snapshot).toMatchObject({
      version: 2n,
      position: 2n,
      contentType: "application/json",
      metadata: { by: "test" },
    });
    expect(got.snapshot?.state.case).toBe("json");
    expect((await server.calls.unary(m.getSnapshot, { stream: "s" })).snapshot).toMatchObject({
      version: 4n,
      state: { case: "data" },
    });
    const list = async (pageToken: string, kind?: string) => {
      const page = await server.calls.unary(m.listSnapshots, {
        stream: "s",
        pageSize: 2,
        pageToken,
        ...(kind === undefined ? {} : { kind }),
      });
      return {
        next: page.nextPageToken,
        found: page.snapshots.map((one) => [one.kind, Number(one.version), one.state.case]),
      };
    };
    const first = await list("");
    expect(first.found).toEqual([
      ["", 4, undefined],
      ["", 2, undefined],
    ]);
    expect(await list(first.next)).toEqual({ next: "", found: [["other", 3, undefined]] });
    expect((await list("", "other")).found).toHaveLength(1);
    expect(
      await server.calls.failure(m.listSnapshots, {
        stream: "s",
        kind: "other",
        pageToken: first.next,
      }),
    ).toMatchObject({ code: 3 });
    expect(
      await server.calls.unary(m.deleteSnapshots, { stream: "s", kind: "", maxVersion: 2n }),
    ).toMatchObject({ deletedCount: 1n });
    expect(await server.calls.unary(m.deleteSnapshots, { stream: "s" })).toMatchObject({
      deletedCount: 2n,
    });
    expect(await server.calls.unary(m.deleteSnapshots, { stream: "s" })).toMatchObject({
      deletedCount: 0n,
    });
    expect(await server.calls.failure(m.getSnapshot, { stream: "s", kind: "other" })).toMatchObject(
      {
        code: 5,
        reason: "SNAPSHOT_NOT_FOUND",
        info: { stream: "s", kind: "other" },
      },
    );
  });

  test("beyond the stream are refused", async () => {
    const refused = server.calls.failure(m.saveSnapshot, {
      stream: "s",
      version: 6n,
      state: data("x"),
    });
    expect(await refused).toMatchObject({
      code: 9,
      reason: "SNAPSHOT_BEYOND_STREAM",
      info: { stream_version: "5" },
    });
  });

  test("of the largest size go in and out in every view", async () => {
    const state = { case: "data", value: Buffer.alloc(3 * 1024 * 1024, "9") } as const;
    await server.calls.unary(m.saveSnapshot, {
      stream: "s",
      version: 1n,
      contentType: "application/json",
      state,
    });
    for (const view of [1, 2]) {
      const { snapshot } = await server.calls.unary(m.getSnapshot, { stream: "s", view });
      expect(snapshot?.state.case === "data" && snapshot.state.value.length).toBe(3 * 1024 * 1024);
    }
  });

  test("with Load come first, then the events after them, then where to append", async () => {
    await save(3);
    const parts = await collect(server.calls.stream(m.load, { stream: "s", view: 2 }));
    expect(parts.map(({ message }) => message.case)).toEqual(["snapshot", "batch", "end"]);
    expect(parts[1]?.message.value).toMatchObject({ events: [{ version: 4n }, { version: 5n }] });
    const end = { version: 5n, head: 5n, after: 5n, eventCount: 2n };
    expect(parts[2]?.message.value).toMatchObject(end);
    const whole = await collect(
      server.calls.stream(m.load, { stream: "s", withoutSnapshot: true, maxVersion: 2n }),
    );
    expect(whole.map(({ message }) => message.case)).toEqual(["batch", "end"]);
    expect(whole[1]?.message.value).toMatchObject({ version: 2n, after: 2n, eventCount: 2n });
    const nothing = await collect(server.calls.stream(m.load, { stream: "nope" }));
    expect(nothing[0]?.message.value).toMatchObject({ version: 0n, head: 5n });
  });
});

describe("GetState", () => {
  test("folds JSON events by merge patch, as of now, a version or a time", async () => {
    const patches = [{ a: 1, b: { c: 2 } }, { b: { c: null, d: 3 } }];
    for (const patch of patches) {
      await server.calls.unary(m.append, {
        stream: "s",
        events: [{ type: "T", payload: json(patch) }],
      });
    }
    await server.calls.unary(m.append, {
      stream: "s",
      events: [{ type: "T", payload: data("\u0000") }],
    });
    const state = async (at?: MessageInitShape<typeof m.getState.input>["at"]) => {
      const answer = await server.calls.unary(m.getState, { stream: "s", ...(at && { at }) });
      return [
        answer.state && toJson(ValueSchema, answer.state),
        Number(answer.version),
        Number(answer.appliedCount),
        Number(answer.skippedCount),
      ];
    };
    expect(await state()).toEqual([{ a: 1, b: { d: 3 } }, 3, 2, 1]);
    expect(await state({ case: "version", value: 1n })).toEqual([{ a: 1, b: { c: 2 } }, 1, 1, 0]);
    expect(await state({ case: "time", value: { seconds: 1n } })).toEqual([null, 0, 0, 0]);
  });

  test("of a state that is too large says so", async () => {
    const list = Array.from({ length: 100_000 }, () => 0);
    for (const key of ["a", "b", "c"]) {
      const text = Buffer.from(JSON.stringify({ [key]: list }));
      const event = {
        type: "T",
        contentType: "application/json",
        payload: { case: "data", value: text } as const,
      };
      await server.calls.unary(m.append, { stream: "s", events: [event] });
    }
    const failure = await server.calls.failure(m.getState, { stream: "s" });
    expect(failure).toMatchObject({
      code: 8,
      reason: "ANSWER_TOO_LARGE",
      info: { bytes_max: "3145728" },
    });
  });
});

describe("what there is", () => {
  test("a stream in numbers, with who follows it", async () => {
    await server.calls.unary(m.append, { stream: "s", events: events(3) });
    const stream = server.calls.stream(m.subscribe, { selection: { case: "stream", value: "s" } });
    await nextOf(stream[Symbol.asyncIterator]());
    const info = (await server.calls.unary(m.getStream, { stream: "s" })).stream;
    expect(info).toMatchObject({
      version: 3n,
      eventCount: 3n,
      firstPosition: 1n,
      lastPosition: 3n,
      subscriberCount: 1,
    });
    expect(info?.firstRecordedAt?.seconds).toBeGreaterThan(0n);
    stream.cancel();
    expect(await server.calls.failure(m.getStream, { stream: "nope" })).toMatchObject({
      code: 5,
      reason: "STREAM_NOT_FOUND",
      info: { stream: "nope" },
    });
  });

  test("streams and types, page by page", async () => {
    for (const stream of ["b", "a", "c", "ä"])
      await server.calls.unary(m.append, { stream, events: events(2) });
    const streams: string[] = [];
    let pageToken = "";
    do {
      const page = await server.calls.unary(m.listStreams, { pageSize: 3, pageToken });
      streams.push(...page.streams.map(({ stream }) => stream));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(streams).toEqual(["a", "b", "c", "ä"]);
    const types = await server.calls.unary(m.listEventTypes, { prefix: "T" });
    expect(types.eventTypes).toMatchObject([
      { type: "T1", recordedCount: 4n, firstPosition: 1n, lastPosition: 7n },
      { type: "T2", recordedCount: 4n },
    ]);
    expect(await server.calls.failure(m.listStreams, { pageToken: "made up" })).toMatchObject({
      code: 3,
      badRequest: { fieldViolations: [{ field: "page_token" }] },
    });
    expect(await server.calls.failure(m.listStreams, { prefix: "x".repeat(513) })).toMatchObject({
      code: 3,
    });
  });

  test("the server, its limits and its store", async () => {
    const info = await server.calls.unary(m.getInfo, {});
    expect(info).toMatchObject({ head: 0n, engine: "leveldb", durability: 2, writeState: 1 });
    expect(info.serverVersion).toMatch(/^\d+\.\d+\.\d+/);
    expect(info.limits).toMatchObject({
      eventBytesMax: 3_145_728n,
      positionMax: 2n ** 53n - 1n,
      concurrentCallsMax: 16_384,
    });
    expect(info.checkpointIntervalDefault).toMatchObject({ seconds: 10n });
  });
});

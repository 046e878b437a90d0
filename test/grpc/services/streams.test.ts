// The stream service over a real socket: policies, deletions, tombstones, and what every other
// call says of a stream that has one.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StreamState } from "../../../src/gen/annals/v1/append_pb.js";
import { View } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import {
  StreamLifecycle,
  StreamPolicyField,
  StreamService,
  type StreamPolicySchema,
  type UpdateStreamRequestSchema,
} from "../../../src/gen/annals/v1/stream_service_pb.js";
import { collect, nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const m = { ...EventStoreService.method, ...StreamService.method };

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

type UpdateInit = MessageInitShape<typeof UpdateStreamRequestSchema>;

async function append(stream: string, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, i) => ({ type: `T${i % 2}` }));
  await server.calls.unary(m.append, { stream, events });
}

async function versionsOf(stream: string): Promise<number[]> {
  const selection = { case: "stream", value: stream } as const;
  return (await eventsOf({ selection })).map(({ version }) => Number(version));
}

async function eventsOf(request: MessageInitShape<typeof ReadRequestSchema>) {
  const messages = await collect(server.calls.stream(m.read, request));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

function update(stream: string, policy: MessageInitShape<typeof StreamPolicySchema>) {
  return server.calls.unary(m.updateStream, { stream, policy, actor: "ann", reason: "tidy" });
}

async function infoOf(stream: string) {
  const { stream: info } = await server.calls.unary(m.getStream, { stream });
  if (info === undefined) throw new Error("a stream without an answer");
  return info;
}

describe("UpdateStream", () => {
  test("puts a policy into force at once, records it, and says what is in force", async () => {
    await append("a", 5);
    const maxAge = { seconds: 86_400n, nanos: 0 };
    const policy = { maxAge, maxCount: 3n, truncateBefore: 2n, labels: { owner: "ann" } };
    const answer = await update("a", policy);
    expect(answer).toMatchObject({ position: 6n, policy });
    expect(await versionsOf("a")).toEqual([3, 4, 5]);
    expect(await infoOf("a")).toMatchObject({
      version: 5n,
      eventCount: 3n,
      firstVersion: 3n,
      firstPosition: 3n,
      lastPosition: 5n,
      policy,
      lifecycle: StreamLifecycle.ACTIVE,
    });
    const selection = { case: "stream", value: "$lifecycle-a" } as const;
    const [recorded] = await eventsOf({ selection, view: View.JSON });
    expect(recorded).toMatchObject({ type: "$StreamUpdated", position: 6n });
    expect(recorded?.json?.kind.value).toMatchObject({
      fields: {
        actor: { kind: { value: "ann" } },
        reason: { kind: { value: "tidy" } },
        stream: { kind: { value: "a" } },
      },
    });
  });

  test("keeps what another policy removed away, and `truncate_before` where it is", async () => {
    await append("a", 5);
    await update("a", { maxCount: 2n });
    await update("a", { truncateBefore: 3n });
    const { MAX_COUNT } = StreamPolicyField;
    const cleared = await server.calls.unary(m.updateStream, { stream: "a", clear: [MAX_COUNT] });
    expect(cleared.policy).toMatchObject({ maxCount: 0n, truncateBefore: 3n });
    expect(await versionsOf("a")).toEqual([4, 5]);
    await append("a", 2);
    expect(await versionsOf("a")).toEqual([4, 5, 6, 7]);
    const [{ eventCount } = {}] = (await server.calls.unary(m.listStreams, {})).streams;
    expect(eventCount).toBe(4n);
  });

  test("changes what it names and leaves the rest, and removes what it is told to", async () => {
    const { MAX_AGE, MAX_COUNT, LABELS } = StreamPolicyField;
    const maxAge = { seconds: 86_400n, nanos: 0 };
    await update("a", { maxAge, labels: { owner: "ann", team: "x" } });
    expect((await update("a", { maxCount: 3n })).policy).toMatchObject({
      maxAge,
      maxCount: 3n,
      labels: { owner: "ann", team: "x" },
    });
    expect((await update("a", { labels: { owner: "ben" } })).policy).toMatchObject({
      maxAge,
      maxCount: 3n,
      labels: { owner: "ben" },
    });
    const clear = (...fields: StreamPolicyField[]) =>
      server.calls.unary(m.updateStream, { stream: "a", clear: fields, policy: { maxCount: 0n } });
    const { policy } = await clear(MAX_AGE);
    expect(policy).toMatchObject({ maxCount: 3n, labels: { owner: "ben" } });
    expect(policy?.maxAge).toBeUndefined();
    const nothing = (await clear(MAX_COUNT, LABELS)).policy;
    expect(nothing).toMatchObject({ maxCount: 0n, labels: {} });
    expect((await infoOf("a")).policy).toBeUndefined();
  });

  test("of several at once loses none of their changes", async () => {
    const maxAge = { seconds: 86_400n, nanos: 0 };
    await Promise.all([
      update("a", { maxAge }),
      update("a", { maxCount: 3n }),
      update("a", { labels: { owner: "ann" } }),
    ]);
    expect((await infoOf("a")).policy).toMatchObject({
      maxAge,
      maxCount: 3n,
      labels: { owner: "ann" },
    });
  });

  test("may come before the stream's first event", async () => {
    await update("later", { maxCount: 1n });
    expect(await infoOf("later")).toMatchObject({ version: 0n, eventCount: 0n });
    expect((await server.calls.unary(m.listStreams, {})).streams).toEqual([]);
    await append("later", 3);
    expect(await versionsOf("later")).toEqual([3]);
  });

  test("is refused where what is expected does not hold", async () => {
    await append("a", 2);
    const expected = { case: "expectedVersion", value: 1n } as const;
    const failed = await server.calls.failure(m.updateStream, {
      stream: "a",
      policy: { maxCount: 1n },
      expected,
    });
    expect(failed).toMatchObject({ code: Code.ABORTED, reason: "APPEND_CONFLICT" });
    expect(failed.appendConflict?.streams).toMatchObject([{ stream: "a", actualVersion: 2n }]);
    const state = { case: "expectedState", value: StreamState.EXISTS } as const;
    const none = { stream: "none", policy: { maxCount: 1n }, expected: state };
    expect(await server.calls.failure(m.updateStream, none)).toMatchObject({ code: Code.ABORTED });
  });

  test.each<[string, UpdateInit, string[]]>([
    ["no stream", { policy: { maxCount: 1n } }, ["stream"]],
    ["a system stream", { stream: "$lifecycle-a", policy: { maxCount: 1n } }, ["stream"]],
    ["no change", { stream: "a" }, ["policy"]],
    ["an empty change", { stream: "a", policy: {} }, ["policy"]],
    [
      "a field that is changed and removed",
      {
        stream: "a",
        policy: { maxCount: 1n, labels: { a: "" } },
        clear: [StreamPolicyField.MAX_COUNT, StreamPolicyField.LABELS],
      },
      ["clear[0]", "clear[1]"],
    ],
    [
      "a field nobody knows",
      { stream: "a", clear: [StreamPolicyField.MAX_AGE, 0, 99 as StreamPolicyField] },
      ["clear[1]", "clear[2]"],
    ],
    ["no time", { stream: "a", policy: { maxAge: {} } }, ["policy.max_age"]],
    [
      "two centuries",
      { stream: "a", policy: { maxAge: { seconds: 6_400_000_000n } } },
      ["policy.max_age"],
    ],
    ["too much", { stream: "a", policy: { maxCount: 2n ** 63n } }, ["policy.max_count"]],
    ["system labels", { stream: "a", policy: { labels: { $a: "" } } }, ['policy.labels["$a"]']],
    [
      "long words",
      {
        stream: "a",
        policy: { maxCount: 1n },
        actor: "a".repeat(257),
        reason: "r".repeat(1_025),
      },
      ["actor", "reason"],
    ],
  ])("names what is wrong with %s", async (_, request, fields) => {
    const failed = await server.calls.failure(m.updateStream, request);
    expect(failed).toMatchObject({ code: Code.INVALID_ARGUMENT, reason: "INVALID_FIELD" });
    expect(failed.badRequest?.fieldViolations.map(({ field }) => field)).toEqual(fields);
  });

  test("cannot truncate what is yet to come", async () => {
    await append("a", 2);
    const policy = { truncateBefore: 4n };
    expect(await server.calls.failure(m.updateStream, { stream: "a", policy })).toMatchObject({
      code: Code.OUT_OF_RANGE,
      reason: "BEYOND_HEAD",
      info: { field: "policy.truncate_before", asked: "4", head: "3" },
    });
    await update("a", { truncateBefore: 3n });
    expect(await versionsOf("a")).toEqual([]);
  });
});

describe("DeleteStream", () => {
  test("leaves nothing to read; an append brings the stream back, and versions go on", async () => {
    await append("a", 3);
    await append("b", 1);
    expect(await server.calls.unary(m.deleteStream, { stream: "a" })).toMatchObject({
      position: 5n,
      version: 3n,
    });
    expect(await versionsOf("a")).toEqual([]);
    expect((await eventsOf({})).map(({ stream }) => stream)).toEqual(["b"]);
    const info = await infoOf("a");
    expect(info).toMatchObject({ version: 3n, eventCount: 0n, lifecycle: StreamLifecycle.DELETED });
    expect(info.firstRecordedAt).toBeUndefined();
    const expected = { case: "expectedState", value: StreamState.ABSENT } as const;
    const events = [{ type: "T" }];
    const answer = await server.calls.unary(m.append, { stream: "a", expected, events });
    expect(answer.streams).toMatchObject([{ firstVersion: 4n, lastVersion: 4n }]);
    expect(await versionsOf("a")).toEqual([4]);
    expect((await infoOf("a")).lifecycle).toBe(StreamLifecycle.ACTIVE);
  });

  test("is done once: again, it answers what it answered", async () => {
    await append("a", 3);
    const expected = { case: "expectedState", value: StreamState.EXISTS } as const;
    const first = await server.calls.unary(m.deleteStream, { stream: "a", expected });
    await append("b", 1);
    expect(await server.calls.unary(m.deleteStream, { stream: "a", expected })).toEqual(first);
    const version = { case: "expectedVersion", value: 2n } as const;
    const other = await server.calls.failure(m.deleteStream, { stream: "a", expected: version });
    expect(other.appendConflict?.streams).toMatchObject([{ actualVersion: 3n, deleted: true }]);
  });

  test("for ever: no append is accepted again, a retry of an old one is answered", async () => {
    const id = "0190a000-0000-7000-8000-00000000abcd";
    const old = { stream: "a", events: [{ id, type: "T" }] };
    await server.calls.unary(m.append, old);
    await server.calls.unary(m.deleteStream, { stream: "a" });
    await server.calls.unary(m.deleteStream, { stream: "a", permanent: true });
    expect((await infoOf("a")).lifecycle).toBe(StreamLifecycle.TOMBSTONED);
    const tombstoned = {
      code: Code.FAILED_PRECONDITION,
      reason: "STREAM_TOMBSTONED",
      info: { stream: "a" },
    };
    const events = [{ type: "T" }, { type: "T", stream: "a" }];
    const failed = await server.calls.failure(m.append, { stream: "b", events });
    expect(failed).toMatchObject(tombstoned);
    expect(await server.calls.failure(m.getStream, { stream: "b" })).toMatchObject({ code: 5 });
    expect(await server.calls.unary(m.append, old)).toMatchObject({
      deduplicated: true,
      firstPosition: 1n,
    });
    const again = { stream: "a", policy: { maxCount: 1n } };
    expect(await server.calls.failure(m.updateStream, again)).toMatchObject(tombstoned);
    expect(await server.calls.failure(m.deleteStream, { stream: "a" })).toMatchObject(tombstoned);
    await server.calls.unary(m.deleteStream, { stream: "a", permanent: true });
  });

  test("needs something to delete", async () => {
    expect(await server.calls.failure(m.deleteStream, { stream: "a" })).toMatchObject({
      code: Code.NOT_FOUND,
      reason: "STREAM_NOT_FOUND",
    });
    await update("a", { maxCount: 1n });
    expect(await server.calls.failure(m.deleteStream, { stream: "a" })).toMatchObject({
      code: Code.NOT_FOUND,
    });
  });

  test("takes the snapshots along", async () => {
    await append("a", 3);
    const state = { case: "data", value: Buffer.from("s") } as const;
    await server.calls.unary(m.saveSnapshot, { stream: "a", version: 3n, state });
    await server.calls.unary(m.deleteStream, { stream: "a" });
    await append("a", 1);
    const { snapshots } = await server.calls.unary(m.listSnapshots, { stream: "a" });
    expect(snapshots).toEqual([]);
    const loaded = await collect(server.calls.stream(m.load, { stream: "a" }));
    expect(loaded.map(({ message }) => message.case)).toEqual(["batch", "end"]);
    const late = await server.calls.failure(m.saveSnapshot, { stream: "a", version: 3n, state });
    expect(late).toMatchObject({
      code: Code.FAILED_PRECONDITION,
      reason: "SNAPSHOT_BEYOND_STREAM",
    });
  });

  test("is seen by a subscription that is open and behind", async () => {
    await append("a", 2);
    const selection = { case: "stream", value: "a" } as const;
    const messages = server.calls.stream(m.subscribe, { selection, batchEventsMax: 1 });
    const iterator = messages[Symbol.asyncIterator]();
    await nextOf(iterator);
    await nextOf(iterator);
    expect((await nextOf(iterator)).message.case).toBe("caughtUp");
    await server.calls.unary(m.deleteStream, { stream: "a" });
    await append("a", 1);
    const { message } = await nextOf(iterator);
    if (message.case !== "batch") throw new Error("no batch");
    expect(message.value.events.map(({ version }) => Number(version))).toEqual([3]);
    messages.cancel();
  });
});

test("a lifecycle is readable whatever the length of its stream's name", async () => {
  const stream = "s".repeat(512);
  await update(stream, { maxCount: 1n });
  expect(await versionsOf(`$lifecycle-${stream}`)).toEqual([1]);
  const items = [{ streams: [`$lifecycle-${stream}`] }];
  expect(await eventsOf({ selection: { case: "query", value: { items } } })).toHaveLength(1);
});

// The light client's requests are bytes patched by hand: each must be what the generated codec
// reads.
import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { annalsCalls } from "../../bench/load/annals-calls.ts";
import { nameCount, payloadBytes, streamOf, tagOf, typeOf } from "../../bench/load/events.ts";
import type { CallSpec } from "../../bench/load/job.ts";
import { AppendRequestSchema, AppendPipeRequestSchema } from "../../src/gen/annals/v1/append_pb.js";
import { ReadRequestSchema } from "../../src/gen/annals/v1/read_pb.js";

function requests(spec: CallSpec, count: number, head = 0): Buffer[] {
  const call = annalsCalls.call(spec, head);
  return Array.from({ length: count }, (_, worker) => {
    const request = Buffer.from(call?.request(worker % 3) ?? []);
    expect(request.readUInt32BE(1)).toBe(request.length - 5);
    return request.subarray(5);
  });
}

const appendsOf = (spec: CallSpec, count: number, head = 0) =>
  requests(spec, count, head).map((bytes) => fromBinary(AppendRequestSchema, bytes));

test("unconditional appends spread over the streams and carry payloads of one size", () => {
  const appends = appendsOf({ verb: "append", events: 3, streams: 50 }, 200);
  const streams = appends.map(({ events }) => new Set(events.map(({ stream }) => stream)));
  expect(streams.every((names) => names.size === 1)).toBe(true);
  expect(new Set(streams.flatMap((names) => [...names])).size).toBe(50);
  const sizes = appends.flatMap(({ events }) =>
    events.map(({ payload }) => (payload.case === "data" ? payload.value.length : 0)),
  );
  expect(new Set(sizes)).toEqual(new Set([payloadBytes]));
  for (const { events } of appends) {
    const { payload } = events[0] ?? {};
    const data = payload?.case === "data" ? payload.value : [];
    expect(JSON.parse(Buffer.from(data).toString())).toHaveProperty("amount");
  }
});

test("ids that a client chooses are UUIDs and never come twice", () => {
  const appends = appendsOf({ verb: "append", events: 2, streams: 50, ids: true }, 300);
  const ids = appends.flatMap(({ events }) => events.map(({ id }) => id));
  const uuid = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/;
  expect(ids.every((id) => uuid.test(id))).toBe(true);
  expect(new Set(ids).size).toBe(600);
});

test("an append that expects a version counts its worker's stream up", () => {
  const appends = appendsOf({ verb: "append-expecting-version", group: 7 }, 400);
  const next = new Map<string, bigint>();
  for (const { stream, expected, events } of appends) {
    expect(expected).toEqual({ case: "expectedVersion", value: next.get(stream) ?? 0n });
    expect(events[0]?.stream).toBe("");
    next.set(stream, (next.get(stream) ?? 0n) + 1n);
  }
  expect(next.size).toBe(3);
});

test("a condition asks for the tag and type it is about to add, after the head", () => {
  const appends = appendsOf({ verb: "append-on-condition", tags: 100 }, 300, 123_456);
  for (const { events, conditions } of appends) {
    const [condition] = conditions;
    const [item] = condition?.query?.items ?? [];
    expect(condition?.after).toBe(123_456n);
    expect(item?.tags).toEqual(events[0]?.tags);
    expect(item?.types).toEqual([events[0]?.type]);
  }
});

test("a preloaded store has ten events a stream, ten a tag, and a rare type", () => {
  const total = 2_000;
  const appends = appendsOf({ verb: "preload", events: 100, from: 0, total }, total / 100);
  const events = appends.flatMap((append) => append.events);
  const count = (names: readonly string[]) => {
    const counts = new Map<string, number>();
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  };
  const streams = count(events.map(({ stream }) => stream));
  const tags = count(events.flatMap((event) => event.tags));
  expect(streams.size).toBe(nameCount(total));
  expect(new Set(streams.values())).toEqual(new Set([10]));
  expect(new Set(tags.values())).toEqual(new Set([10]));
  for (const [n, { stream, tags: own, type }] of events.entries()) {
    expect(stream).toBe(`account-${String(streamOf(n, total)).padStart(8, "0")}`);
    expect(own).toEqual([`card-${String(tagOf(n, total)).padStart(8, "0")}`]);
    expect(type).toBe(`Posted-${typeOf(n)}`);
  }
});

test("stream reads visit every stream", () => {
  const reads = requests({ verb: "read-stream", streams: 40 }, 40).map((bytes) =>
    fromBinary(ReadRequestSchema, bytes),
  );
  expect(new Set(reads.map(({ selection }) => selection.value)).size).toBe(40);
});

test("a pipe wraps the same appends", () => {
  const pipe = annalsCalls.pipe({ verb: "append", events: 1, streams: 10 });
  const { append } = fromBinary(
    AppendPipeRequestSchema,
    Buffer.from(pipe?.request(0) ?? []).subarray(5),
  );
  expect(append?.events).toHaveLength(1);
});

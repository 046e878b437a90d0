// One event, seen by clients of annals.v1 and of the KurrentDB protocol: each row of the table in
// docs/protocols.md, in both directions.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../../src/gen/annals/v1/event_store_service_pb.js";
import type { RecordedEvent as AnnalsEvent } from "../../../../src/gen/annals/v1/event_pb.js";
import { StreamLifecycle, StreamService } from "../../../../src/gen/annals/v1/stream_service_pb.js";
import {
  SchemaFormat,
  StreamsService,
} from "../../../../src/gen/kurrentdb/protocol/v2/streams/streams_pb.js";
import { collect } from "../../../support/calls.ts";
import type { TestServer } from "../../../support/running-server.ts";
import {
  append,
  events,
  m,
  named,
  nameOf,
  ofAll,
  ofStream,
  read,
  startKurrent,
  textOf,
  trailersOf,
  type Event,
  type RecordedEvent,
} from "../kurrent-client.ts";

const own = EventStoreService.method;
const id = "0a0b0c0d-0e0f-4011-8213-141516171819";

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

/** The events of a stream, read through annals.v1. */
async function stored(stream: string): Promise<AnnalsEvent[]> {
  const selection = { case: "stream", value: stream } as const;
  const messages = await collect(server.calls.stream(own.read, { selection }));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

/** Appended through this protocol, read through annals.v1. */
async function asAnnals(event: Event): Promise<AnnalsEvent> {
  const { position } = await append(server.calls, "orders-1", [event]);
  const [found] = await stored("orders-1");
  expect(found?.position).toBe(position);
  return found as AnnalsEvent;
}

/** Appended through annals.v1, read through this protocol. */
async function asKurrent(event: object): Promise<RecordedEvent> {
  const fields = { type: "Placed", ...event };
  await server.calls.unary(own.append, { stream: "orders-1", events: [fields] });
  const [found] = await events(server.calls, { streamOption: ofStream("orders-1") });
  return found as RecordedEvent;
}

describe("an event appended by a KurrentDB client and read through annals.v1", () => {
  test("has its id, stream, type, and version = revision + 1", async () => {
    const event = await asAnnals({ id, type: "Placed" });
    expect(event).toMatchObject({
      id,
      stream: "orders-1",
      type: "Placed",
      version: 1n,
      position: 2n,
    });
  });

  test("has its content type and its bytes", async () => {
    const json = await asAnnals({ data: '{"b": 1, "a":2}' });
    expect(json).toMatchObject({ contentType: "application/json" });
    expect(textOf(json.data)).toBe('{"b": 1, "a":2}');
  });

  test("has binary data as application/octet-stream", async () => {
    const contentType = "application/octet-stream";
    const event = await asAnnals({ contentType, data: Buffer.from([0, 255]) });
    expect(event.contentType).toBe(contentType);
    expect([...event.data]).toEqual([0, 255]);
  });

  test("has any other content type as it was given", async () => {
    const event = await asAnnals({ contentType: "application/x-protobuf", data: "x" });
    expect(event.contentType).toBe("application/x-protobuf");
  });

  test("has an id of its own where the client's is taken, which the client does not see", async () => {
    await append(server.calls, "orders-0", [{ id }]);
    const event = await asAnnals({ id });
    expect(event.id).not.toBe(id);
    expect(event.metadata).toMatchObject({ "kurrentdb-id": id });
    const [back] = await events(server.calls, { streamOption: ofStream("orders-1") });
    expect(back?.id?.value).toEqual({ case: "string", value: id });
  });

  test("has properties of version 2 as one entry, in JSON", async () => {
    const kind = { case: "stringValue", value: "u" } as const;
    const schema = { format: SchemaFormat.JSON, name: "Placed" };
    const record = { stream: "orders-1", schema, data: Buffer.from("{}") };
    await server.calls.unary(StreamsService.method.appendRecords, {
      records: [{ ...record, recordId: id, properties: { user: { kind } } }],
    });
    const [event] = await stored("orders-1");
    expect(event).toMatchObject({ id, type: "Placed", contentType: "application/json" });
    expect(JSON.parse(event?.metadata["kurrentdb-metadata"] ?? "")).toMatchObject({ user: "u" });
  });

  test("has its metadata bytes as one entry, and no tags", async () => {
    const event = await asAnnals({ metadata: '{"$correlationId":"c"}' });
    expect(event.metadata).toEqual({ "kurrentdb-metadata": '{"$correlationId":"c"}' });
    expect(event.tags).toEqual([]);
  });

  test("has metadata bytes that are no text in base64", async () => {
    const event = await asAnnals({ metadata: Buffer.from([255, 0]) });
    expect(event.metadata).toEqual({ "kurrentdb-metadata-base64": "/wA=" });
    const [back] = await events(server.calls, { streamOption: ofStream("orders-1") });
    expect([...(back?.customMetadata ?? [])]).toEqual([255, 0]);
  });

  test("has its creation as recorded_at, in microseconds", async () => {
    const event = await asAnnals({});
    const [back] = await events(server.calls, { streamOption: ofStream("orders-1") });
    const { seconds = 0n, nanos = 0 } = event.recordedAt ?? {};
    expect(BigInt(back?.metadata["created"] ?? 0)).toBe(
      seconds * 10_000_000n + BigInt(nanos / 100),
    );
  });
});

describe("an event appended through annals.v1 and read by a KurrentDB client", () => {
  test("has its id, stream, type, and revision = version - 1", async () => {
    const event = await asKurrent({ id });
    expect(event).toMatchObject({ streamRevision: 0n, commitPosition: 2n, preparePosition: 2n });
    expect(event.id?.value).toEqual({ case: "string", value: id });
    expect([nameOf(event), event.metadata["type"]]).toEqual(["orders-1", "Placed"]);
  });

  test("has JSON as application/json, also that of another media type", async () => {
    const data = Buffer.from("{}");
    const event = await asKurrent({
      contentType: "application/cloudevents+json",
      payload: { case: "data", value: data },
    });
    expect(event.metadata["content-type"]).toBe("application/json");
  });

  test("has everything else as application/octet-stream", async () => {
    const event = await asKurrent({
      contentType: "application/x-protobuf",
      payload: { case: "data", value: Buffer.from([1]) },
    });
    expect(event.metadata["content-type"]).toBe("application/octet-stream");
    expect([...event.data]).toEqual([1]);
  });

  test("has metadata and tags as one JSON object", async () => {
    const event = await asKurrent({ metadata: { user: "u" }, tags: ["course:1"] });
    expect(JSON.parse(textOf(event.customMetadata))).toEqual({ user: "u", $tags: ["course:1"] });
  });

  test("has the metadata bytes that its client chose for this protocol", async () => {
    const event = await asKurrent({ metadata: { "kurrentdb-metadata": '{"x":1}', other: "o" } });
    expect(textOf(event.customMetadata)).toBe('{"x":1}');
  });

  test("has the microseconds of its recording, with a 0 added", async () => {
    const event = await asKurrent({});
    const [recorded] = await stored("orders-1");
    const { seconds = 0n, nanos = 0 } = recorded?.recordedAt ?? {};
    expect(event.metadata["created"]).toBe(`${seconds * 1_000_000n + BigInt(nanos / 1_000)}0`);
  });

  test("has metadata bytes that are given in base64", async () => {
    const event = await asKurrent({ metadata: { "kurrentdb-metadata-base64": "/wA=" } });
    expect([...event.customMetadata]).toEqual([255, 0]);
  });

  test("has the id that its metadata gives, if that is one", async () => {
    const other = "ffffffff-0e0f-4011-8213-141516171819";
    const event = await asKurrent({ id, metadata: { "kurrentdb-id": other } });
    expect(event.id?.value).toEqual({ case: "string", value: other });
    const fields = { type: "Placed", metadata: { "kurrentdb-id": "-".repeat(36) } };
    await server.calls.unary(own.append, { stream: "orders-1", events: [fields] });
    const [, next] = await events(server.calls, { streamOption: ofStream("orders-1") });
    expect(next?.id?.value.value).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  });

  test("without metadata has none", async () => {
    expect((await asKurrent({})).customMetadata).toHaveLength(0);
  });
});

describe("a policy of a stream", () => {
  test("set through annals.v1 is the metadata of the stream", async () => {
    await asKurrent({});
    await asKurrent({});
    const policy = {
      maxCount: 5n,
      maxAge: { seconds: 60n },
      truncateBefore: 2n,
      labels: { team: "a" },
    };
    await server.calls.unary(StreamService.method.updateStream, {
      stream: "orders-1",
      policy,
    });
    const [metadata] = await events(server.calls, { streamOption: ofStream("$$orders-1") });
    expect(JSON.parse(textOf(metadata?.data ?? Buffer.alloc(0)))).toEqual({
      $maxAge: 60,
      $maxCount: 5,
      $tb: 1,
      team: "a",
    });
    expect([nameOf(metadata as RecordedEvent), metadata?.metadata["type"]]).toEqual([
      "$$orders-1",
      "$metadata",
    ]);
  });

  test("set as metadata is the policy of the stream", async () => {
    await append(server.calls, "orders-1", [{}, {}]);
    await append(server.calls, "$$orders-1", [
      { type: "$metadata", data: '{"$maxCount":3,"$maxAge":7,"$tb":1}' },
    ]);
    const info = await server.calls.unary(own.getStream, { stream: "orders-1" });
    expect(info.stream?.policy).toMatchObject({
      maxCount: 3n,
      maxAge: { seconds: 7n },
      truncateBefore: 2n,
    });
  });

  test("set as metadata keeps its text as a label, which comes back as it was", async () => {
    const text = '{ "$maxCount": 3, "owner": "ä" }';
    await append(server.calls, "$$orders-1", [{ type: "$metadata", data: text }]);
    const info = await server.calls.unary(own.getStream, { stream: "orders-1" });
    expect(info.stream?.policy?.labels["kurrentdb-metadata"]).toBe(text);
    const [metadata] = await events(server.calls, { streamOption: ofStream("$$orders-1") });
    expect(textOf(metadata?.data ?? Buffer.alloc(0))).toBe(text);
  });

  test("of a stream that is deleted or tombstoned here says so there", async () => {
    await append(server.calls, "orders-1", [{}]);
    const expectedStreamRevision = { case: "any", value: {} } as const;
    const options = { streamIdentifier: named("orders-1"), expectedStreamRevision };
    const there = async () =>
      (await server.calls.unary(own.getStream, { stream: "orders-1" })).stream;
    await server.calls.unary(m.delete, { options });
    expect(await there()).toMatchObject({ lifecycle: StreamLifecycle.DELETED, version: 1n });
    await server.calls.unary(m.tombstone, { options });
    expect(await there()).toMatchObject({ lifecycle: StreamLifecycle.TOMBSTONED, version: 1n });
  });

  test("of a stream that is deleted there says so here, until it has events again", async () => {
    await asKurrent({});
    await server.calls.unary(StreamService.method.deleteStream, { stream: "orders-1" });
    const [answer] = await read(server.calls, { streamOption: ofStream("orders-1") });
    expect(answer?.content.case).toBe("streamNotFound");
    const [metadata] = await events(server.calls, { streamOption: ofStream("$$orders-1") });
    expect(textOf(metadata?.data ?? Buffer.alloc(0))).toBe('{"$tb":9223372036854775807}');
    expect(await asKurrent({})).toMatchObject({ streamRevision: 1n });
  });

  test("and a tombstone are events of all streams", async () => {
    await asKurrent({});
    await server.calls.unary(StreamService.method.deleteStream, {
      stream: "orders-1",
      permanent: true,
    });
    const refused = await trailersOf(read(server.calls, { streamOption: ofStream("orders-1") }));
    expect(refused).toMatchObject({ code: 9, exception: "stream-deleted" });
    const all = await events(server.calls, { streamOption: ofAll() });
    const last = all.at(-1) as RecordedEvent;
    expect([nameOf(last), last.streamRevision, last.metadata["type"]]).toEqual([
      "orders-1",
      2n ** 63n - 1n,
      "$streamDeleted",
    ]);
  });
});

// The protocol of UmaDB on the wire: what the official client cannot send or does not show.
import { randomUUID } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { UmaDBService } from "../../../src/gen/umadb/umadb_pb.js";
import {
  DCB,
  ErrorResponseSchema,
  ErrorResponse_ErrorType as ErrorType,
  type ReadResponse,
} from "../../../src/gen/umadb/v1/umadb_pb.js";
import { Health } from "../../../src/gen/grpc/health/v1/health_pb.js";
import { Calls, collect, deferred, failedOf, nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

const m = DCB.method;
const log = EventStoreService.method;
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(["--protocol", "umadb"]);
});
afterAll(() => server.stop());

let tags = 0;
const fresh = (): string => `order:${tags++}`;
const uuid = (n: number): string => `0190a000-0000-7000-8000-${`${n}`.padStart(12, "0")}`;
const ofTag = (tag: string) => ({ items: [{ tags: [tag] }] });

/** The code of a failed call, and its details as this protocol has them. */
async function failureOf(call: Promise<unknown>): Promise<[number, ErrorType | undefined, string]> {
  const error = (await call.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as { code: number; details: string; metadata: { get(name: string): Buffer[] } };
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (bytes === undefined) return [error.code, undefined, error.details];
  const { errorType, message } = fromBinary(ErrorResponseSchema, bytes);
  expect(message).toBe(error.details);
  return [error.code, errorType, message];
}

async function appendedThere(tag: string): Promise<RecordedEvent[]> {
  const selection = { case: "query" as const, value: ofTag(tag) };
  const messages = await collect(server.calls.stream(log.read, { selection }));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

async function messagesOf(request: object): Promise<ReadResponse[]> {
  return collect(server.calls.stream(m.read, request));
}

describe("an append", () => {
  test("answers with its last position, under the old name of the service as well", async () => {
    const events = [{ eventType: "T", tags: [fresh()] }];
    const { position } = await server.calls.unary(m.append, { events });
    const old = await server.calls.unary(UmaDBService.method.append, { events });
    expect(old.position).toBe(position + 1n);
    expect((await server.calls.unary(UmaDBService.method.head, {})).position).toBe(old.position);
  });

  test.each([
    "0190A000-0000-7000-8000-00000000000A",
    "0190a0000000700080000000000000a0",
    "{0190a000-0000-7000-8000-00000000000a}",
    "urn:uuid:0190a000-0000-7000-8000-00000000000a",
    "00000000-0000-0000-0000-000000000000",
  ])("takes the id %s, and answers it in the common form", async (id) => {
    const tag = fresh();
    await server.calls.unary(m.append, { events: [{ eventType: "T", tags: [tag], uuid: id }] });
    const [message] = await messagesOf({ query: ofTag(tag) });
    expect(message?.events[0]?.event?.uuid).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  });

  test.each([
    ["an id that is none", { uuid: "x" }, 15, ErrorType.CORRUPTION],
    ["no type", { eventType: "" }, 3, ErrorType.INVALID_ARGUMENT],
    ["a type of the system", { eventType: "$x" }, 3, ErrorType.INVALID_ARGUMENT],
    ["an empty tag", { tags: [""] }, 3, ErrorType.INVALID_ARGUMENT],
    [
      "a key twice",
      { metadata: ["1", "2"].map((value) => ({ key: "k", value })) },
      3,
      ErrorType.INVALID_ARGUMENT,
    ],
    [
      "a key that Annals keeps",
      { metadata: [{ key: "umadb-uuid", value: "" }] },
      3,
      ErrorType.INVALID_ARGUMENT,
    ],
  ])("with %s is refused, and nothing is stored", async (_, part, code, type) => {
    const { position } = await server.calls.unary(m.head, {});
    const event = { eventType: "T", ...part };
    const refused = server.calls.unary(m.append, { events: [{ eventType: "T" }, event] });
    expect((await failureOf(refused)).slice(0, 2)).toEqual([code, type]);
    expect((await server.calls.unary(m.head, {})).position).toBe(position);
  });

  test("under a condition that fails, or with stale tracking, is INTEGRITY", async () => {
    const tag = fresh();
    const events = [{ eventType: "T", tags: [tag] }];
    const trackingInfo = { source: "", position: 5n };
    await server.calls.unary(m.append, { events, trackingInfo });
    for (const part of [{ condition: { failIfEventsMatch: ofTag(tag) } }, { trackingInfo }]) {
      const refused = server.calls.unary(m.append, { events, ...part });
      expect((await failureOf(refused)).slice(0, 2)).toEqual([9, ErrorType.INTEGRITY]);
    }
    const stale = server.calls.unary(m.append, { events, trackingInfo });
    await expect(stale).rejects.toThrow(/non-increasing tracking position/);
    const { position } = await server.calls.unary(m.getTrackingInfo, { source: "" });
    expect(position).toBe(5n);
  });

  test("that repeats another is told from it whatever its tracking says", async () => {
    const tag = fresh();
    const request = {
      events: [{ eventType: "T", tags: [tag], uuid: uuid(1) }],
      condition: { failIfEventsMatch: ofTag(tag) },
      trackingInfo: { source: "repeats", position: 5n },
    };
    const { position } = await server.calls.unary(m.append, request);
    for (const at of [4n, 5n, 6n]) {
      const again = { ...request, trackingInfo: { source: "repeats", position: at } };
      expect((await server.calls.unary(m.append, again)).position).toBe(position);
    }
    const tracked = await server.calls.unary(m.getTrackingInfo, { source: "repeats" });
    expect(tracked.position).toBe(5n);
  });

  test("cannot fail on a condition that no event can match", async () => {
    const events = [{ eventType: "T", tags: [fresh()] }];
    for (const items of [[{ types: [""] }], [{ tags: ["", "x"] }]]) {
      const condition = { failIfEventsMatch: { items } };
      expect((await server.calls.unary(m.append, { events, condition })).position).toBeGreaterThan(
        0n,
      );
    }
  });
});

describe("a read", () => {
  test("is cut where a message would get too large, and says the head at its last piece", async () => {
    const tag = fresh();
    const event = { eventType: "T", tags: [tag], data: Buffer.alloc(1_500_000) };
    for (let i = 0; i < 3; i++) await server.calls.unary(m.append, { events: [event] });
    const { position: head } = await server.calls.unary(m.head, {});
    const messages = await messagesOf({ query: ofTag(tag) });
    expect(messages.map((one) => [one.events.length, one.head])).toEqual([
      [2, undefined],
      [1, head],
    ]);
  });

  test("that finds nothing is one message without events, and none at all for limit 0", async () => {
    const query = ofTag(fresh());
    const { position: head } = await server.calls.unary(m.head, {});
    expect((await messagesOf({ query })).map((one) => [one.events.length, one.head])).toEqual([
      [0, head],
    ]);
    expect(await messagesOf({ query, limit: 0 })).toEqual([]);
    const limited = await messagesOf({ query, limit: 3 });
    expect(limited.map((one) => one.head)).toEqual([undefined]);
  });

  test("does not subscribe", async () => {
    const refused = messagesOf({ subscribe: true });
    expect(await failureOf(refused)).toEqual([
      3,
      ErrorType.INVALID_ARGUMENT,
      "subscribe: call Subscribe instead",
    ]);
  });
});

describe("one event is the same from both sides", () => {
  test("appended here, it has no stream and keeps what only this protocol has", async () => {
    const tag = fresh();
    const metadata = ["b", "10", "2"].map((key) => ({ key, value: `${key}!` }));
    const sent = { eventType: "T", tags: [tag], data: Buffer.from("x"), uuid: uuid(7), metadata };
    const trackingInfo = { source: "a b", position: 2n ** 64n - 1n };
    const { position } = await server.calls.unary(m.append, { events: [sent], trackingInfo });
    const [here] = await messagesOf({ query: ofTag(tag) });
    expect(here?.events[0]).toMatchObject({ position, event: sent, trackingInfo });
    const [there] = await appendedThere(tag);
    expect(there).toMatchObject({ stream: "", type: "T", tags: [tag], data: sent.data, position });
    expect(there?.contentType).toBe("application/octet-stream");
    expect(there?.metadata).toEqual({
      b: "b!",
      10: "10!",
      2: "2!",
      "umadb-uuid": uuid(7),
      "umadb-tracking": "18446744073709551615 a b",
    });
    const consumer = { consumer: "umadb:a b" };
    const saved = await server.calls.unary(CheckpointService.method.getCheckpoint, consumer);
    expect(saved.checkpoint).toMatchObject({ position: 2n ** 64n - 1n, source: "umadb" });
  });

  test("appended here, it has each tag once, and no id where its client gave none", async () => {
    const tag = fresh();
    await server.calls.unary(m.append, { events: [{ eventType: "T", tags: [tag, "z", tag] }] });
    const [message] = await messagesOf({ query: ofTag(tag) });
    expect(message?.events[0]?.event).toMatchObject({ tags: [tag, "z"], uuid: "", metadata: [] });
    const [there] = await appendedThere(tag);
    expect(there?.id).toMatch(/^[\da-f-]{36}$/);
  });

  test("appended there, it comes with its id, type, tags and bytes, and no stream", async () => {
    const tag = fresh();
    const payload = { case: "data", value: Buffer.of(0, 255) } as const;
    const metadata = { k: "v", "umadb-tracking": "7 up stream" };
    const events = [{ id: uuid(9), type: "T", tags: [tag, "z"], metadata, payload }];
    const { lastPosition } = await server.calls.unary(log.append, { stream: "s", events });
    const [message] = await messagesOf({ query: ofTag(tag) });
    const [found] = message?.events ?? [];
    expect(found).toMatchObject({
      position: lastPosition,
      event: { uuid: uuid(9), eventType: "T", tags: [tag, "z"], data: payload.value },
      trackingInfo: { source: "up stream", position: 7n },
    });
    expect(found?.event?.metadata).toMatchObject([{ key: "k", value: "v" }]);
  });

  test("events of the system do not come, and leave gaps in the positions", async () => {
    const { position: before = 0n } = await server.calls.unary(m.head, {});
    const policy = { maxCount: 5n };
    await server.calls.unary(StreamService.method.updateStream, { stream: "gap", policy });
    const { position } = await server.calls.unary(m.append, { events: [{ eventType: "T" }] });
    expect(position).toBe(before + 2n);
    const [message] = await messagesOf({ start: before + 1n });
    expect(message?.events.map((event) => event.position)).toEqual([position]);
  });

  test.each([
    ["umadb-uuid", "an order"],
    ["umadb-tracking", "not-a-number source"],
    ["umadb-tracking", "7"],
    ["umadb-tracking", "99999999999999999999 source"],
  ])("an entry %s that is none of this protocol's is an entry like others", async (key, value) => {
    const tag = fresh();
    const events = [{ id: randomUUID(), type: "T", tags: [tag], metadata: { [key]: value } }];
    await server.calls.unary(log.append, { stream: "s", events });
    const [message] = await messagesOf({ query: ofTag(tag) });
    const [found] = message?.events ?? [];
    expect(found?.event?.uuid).toBe(events[0]?.id);
    expect(found?.event?.metadata).toMatchObject([{ key, value }]);
    expect(found?.trackingInfo).toBeUndefined();
  });

  test("a condition holds for events of both, after a position, also one beyond the head", async () => {
    const tag = fresh();
    const { lastPosition } = await server.calls.unary(log.append, {
      stream: "s",
      events: [{ type: "T", tags: [tag] }],
    });
    const failIfEventsMatch = ofTag(tag);
    const sent = (after: bigint) =>
      server.calls.unary(m.append, {
        events: [{ eventType: "T", tags: [tag] }],
        condition: { failIfEventsMatch, after },
      });
    const refused = await failureOf(sent(lastPosition - 1n));
    expect(refused.slice(0, 2)).toEqual([9, ErrorType.INTEGRITY]);
    expect((await sent(lastPosition)).position).toBe(lastPosition + 1n);
    expect((await sent(lastPosition + 1_000n)).position).toBe(lastPosition + 2n);
  });
});

test("a subscription ends without an error when the server stops, and health knows the service", async () => {
  const own = await startTestServer(["--protocol", "umadb"]);
  const calls = new Calls(own.address);
  try {
    const health = await own.calls.unary(Health.method.check, { service: "umadb.v1.DCB" });
    expect(health.status).toBe(1);
    await own.calls.unary(m.append, { events: [{ eventType: "T" }] });
    const following = calls.stream(m.subscribe, {})[Symbol.asyncIterator]();
    expect((await nextOf(following)).events).toHaveLength(1);
    const next = following.next();
    await own.stop();
    expect(await next).toMatchObject({ done: true });
  } finally {
    calls.close();
    await own.stop();
  }
});

test.each([
  ["after a position beyond the head", { after: 2n ** 63n }],
  ["for a query that no event can match", { query: { items: [{ types: [""] }] } }],
])("a subscription %s has its headers at once, and is silent", async (_, request) => {
  const following = server.calls.stream(m.subscribe, request);
  const { promise, resolve } = deferred<string>();
  following.call.once("metadata", () => resolve("headers"));
  following.call.once("error", () => resolve("ended"));
  following.call.once("data", () => resolve("a message"));
  expect(await promise).toBe("headers");
  following.cancel();
});

test("the protocol is not there unless it is turned on", async () => {
  const own = await startTestServer();
  try {
    expect((await failedOf(own.calls.unary(m.head, {}))).code).toBe(12);
  } finally {
    await own.stop();
  }
});

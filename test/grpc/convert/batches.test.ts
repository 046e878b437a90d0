// Batches in their views: stored bytes unchanged, headers without a payload, payloads decoded; and
// every message small enough for a client that changed nothing.
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { composeFrame } from "../../../src/domain/record.ts";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { ReadResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { LoadResponseSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import {
  batchInParts,
  batchMessages,
  batchMessagesOnce,
} from "../../../src/grpc/convert/batches.ts";
import { messagesIn } from "../../../src/grpc/transport/call-format.ts";
import { MessageParts, type PrefixedMessages } from "../../../src/grpc/transport/message-parts.ts";
import type { EventView } from "../../../src/grpc/convert/read-request.ts";
import type { Batch } from "../../../src/log/verbs.ts";
import { newEvent, type EventSketch } from "../../support/events.ts";

const fourMiB = 4 * 1024 * 1024;

function batchOf(sketches: readonly EventSketch[]): Batch {
  const frames = sketches.map((sketch, i) => {
    return composeFrame(newEvent({ stream: "s", ...sketch }).body, i + 1, i + 1, 1_500_000 + i);
  });
  const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
  return { frames, count: sketches.length, bytes, through: sketches.length };
}

function messagesOf(batch: Batch, view: EventView): Buffer[] {
  return batchMessages(batch, 0x0a, view, defaultLimits);
}

function eventsIn(messages: readonly Buffer[]): RecordedEvent[] {
  return messages.flatMap((bytes) => {
    const { message } = fromBinary(ReadResponseSchema, bytes);
    if (message.case !== "batch") throw new Error(`not a batch: ${message.case}`);
    expect(message.value.events.length).toBeGreaterThan(0);
    return message.value.events;
  });
}

const sketch = fc.record<EventSketch>({
  type: fc.constantFrom("T", "U"),
  tags: fc.subarray(["a", "b", "é"]),
  metadata: fc.dictionary(fc.constantFrom("k", "l"), fc.string()),
  contentType: fc.constantFrom("application/json", "a/b+json; x=1", "text/plain"),
  data: fc.oneof(
    fc.constant(""),
    fc.json(),
    fc.uint8Array({ maxLength: 50 }),
    fc.constant("9007199254740993"),
  ),
});

describe("a batch in the full view", () => {
  test("is the stored frames, byte for byte, behind a tag and a length", () => {
    const batch = batchOf([{ data: "one" }, { data: "two" }]);
    const [message] = messagesOf(batch, "full");
    expect(message?.subarray(-batch.bytes)).toEqual(Buffer.concat(batch.frames));
    expect(eventsIn([message as Buffer]).map(({ position }) => position)).toEqual([1n, 2n]);
  });

  test("stands where the message wants it", () => {
    const [bytes] = batchMessages(batchOf([{}]), 0x12, "full", defaultLimits);
    expect(fromBinary(LoadResponseSchema, bytes as Buffer).message.case).toBe("batch");
  });

  test("that is too large for one message is cut between events", () => {
    const large = { data: Buffer.alloc(1_500_000) };
    const messages = messagesOf(batchOf([large, large, large]), "full");
    expect(messages.every((message) => message.length < fourMiB)).toBe(true);
    expect(eventsIn(messages).map(({ position }) => position)).toEqual([1n, 2n, 3n]);
  });

  test("without events is no message", () => {
    expect(messagesOf({ frames: [], count: 0, bytes: 0, through: 9 }, "full")).toEqual([]);
    expect(messagesOf({ frames: [], count: 0, bytes: 0, through: 9 }, "json")).toEqual([]);
  });
});

describe("a batch in pieces", () => {
  test("is the same message, in large parts only, and only in the full view", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 20_000 }), { maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.constantFrom<EventView>("full", "headers", "json"), (bytes, view) => {
        const batch = batchOf(bytes.map((size) => ({ data: Buffer.alloc(size, "a") })));
        const [whole] = batchMessages(batch, 0x0a, view, defaultLimits);
        const [message] = batchInParts(batch, 0x0a, view, defaultLimits);
        const joined = message instanceof MessageParts ? Buffer.concat(message.parts) : message;
        expect(joined).toEqual(whole);
        expect(message?.length).toBe(whole?.length);
        const isCoarse = batch.count > 0 && batch.bytes / batch.count >= 4_096;
        expect(message instanceof MessageParts).toBe(isCoarse && view === "full");
      }),
    );
  });
});

describe("the other views", () => {
  test("say what the full view says, but for the payload", () => {
    fc.assert(
      fc.property(fc.array(sketch, { minLength: 1, maxLength: 5 }), (sketches) => {
        const batch = batchOf(sketches);
        const full = eventsIn(messagesOf(batch, "full"));
        const headers = eventsIn(messagesOf(batch, "headers"));
        const json = eventsIn(messagesOf(batch, "json"));
        const bare = (events: RecordedEvent[]) =>
          events.map((event) => ({ ...event, data: undefined, json: undefined }));
        expect(bare(headers)).toEqual(bare(full));
        expect(bare(json)).toEqual(bare(full));
        expect(headers.every(({ data }) => data.length === 0)).toBe(true);
        json.forEach((event, i) => {
          if (event.json === undefined) expect(event.data).toEqual(full[i]?.data);
          else expect(event.data).toHaveLength(0);
        });
      }),
    );
  });

  test("decode JSON only where it is said to be JSON, is JSON, and is not corrupted by it", () => {
    const of = (contentType: string, data: string): boolean =>
      eventsIn(messagesOf(batchOf([{ contentType, data }]), "json"))[0]?.json !== undefined;
    expect(of("application/json", '{"a":1}')).toBe(true);
    expect(of("application/problem+json", "[]")).toBe(true);
    expect(of("text/plain", '{"a":1}')).toBe(false);
    expect(of("application/json", "{a:1}")).toBe(false);
    expect(of("application/json", "")).toBe(false);
    expect(of("application/json", "12345678901234567890")).toBe(false);
  });

  test("are cut again where decoding makes them grow", () => {
    const numbers = JSON.stringify(Array.from({ length: 9_900 }, (_, i) => i % 10));
    const sketches = Array.from({ length: 16 }, () => ({
      contentType: "application/json",
      data: numbers,
    }));
    const messages = messagesOf(batchOf(sketches), "json");
    expect(messages.length).toBeGreaterThan(8);
    expect(eventsIn(messages).every(({ json }) => json !== undefined)).toBe(true);
  });

  test("are one piece for many subscribers, if they do not grow too much", () => {
    const once = (data: string, count: number) => {
      const sketches = Array.from({ length: count }, () => ({
        contentType: "application/json",
        data,
      }));
      return batchMessagesOnce(batchOf(sketches), 0x0a, "json", defaultLimits);
    };
    const { messages, prefixed } = once(JSON.stringify({ a: "x".repeat(1_000) }), 128);
    expect(messages.length).toBe(2);
    expect(messagesIn(prefixed as PrefixedMessages)).toEqual(messages);
    const numbers = JSON.stringify(Array.from({ length: 9_900 }, (_, i) => i % 10));
    expect(once(numbers, 16).prefixed).toBeUndefined();
    expect(once(numbers, 0)).toEqual({ messages: [], prefixed: undefined });
  });

  test("leave an event as bytes that would not fit decoded, and it still fits", () => {
    const data = `[${"0,".repeat(1_400_000)}0]`;
    const [message, ...rest] = messagesOf(
      batchOf([{ contentType: "application/json", data }]),
      "json",
    );
    expect(rest).toEqual([]);
    expect(message?.length).toBeLessThan(fourMiB);
    const [event] = eventsIn([message as Buffer]);
    expect(event?.json).toBeUndefined();
    expect(event?.data).toHaveLength(data.length);
  });
});

// An append at every limit and past it: what is refused is named by its path and its limit; what is
// at the limit is taken, by either path.
import { appendFromBytes, appendIfPlain } from "../../../src/grpc/convert/append-bytes.ts";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { encode } from "../../support/calls.ts";
import {
  accepted,
  beyondPosition,
  conversion,
  entries,
  event,
  type EventInit,
  type Init,
  many,
  refused,
  x,
} from "./append-request.ts";

describe("at the limit an append is taken, past it refused by name", () => {
  test.each<[string, Init, Init, string]>([
    [
      "stream",
      { ...event(), stream: x(512) },
      { ...event(), stream: x(513) },
      "stream: has 513 bytes of UTF-8, more than stream_name_bytes_max (512)",
    ],
    [
      "stream of an event, in bytes and not characters",
      event({ stream: "é".repeat(256) }),
      event({ stream: "é".repeat(257) }),
      "events[0].stream: has 514 bytes of UTF-8, more than stream_name_bytes_max (512)",
    ],
    [
      "type",
      event({ type: x(256) }),
      event({ type: x(257) }),
      "events[0].type: has 257 bytes of UTF-8, more than type_bytes_max (256)",
    ],
    [
      "tag",
      event({ tags: ["a", x(256)] }),
      event({ tags: ["a", x(257)] }),
      "events[0].tags[1]: has 257 bytes of UTF-8, more than tag_bytes_max (256)",
    ],
    [
      "tags",
      event({ tags: many(64) }),
      event({ tags: many(65) }),
      "events[0].tags: has more entries than tags_max (64)",
    ],
    [
      "metadata entries",
      event({ metadata: entries(64) }),
      event({ metadata: entries(65) }),
      "events[0].metadata: has more entries than metadata_entries_max (64)",
    ],
    [
      "content type",
      event({ contentType: x(128) }),
      event({ contentType: x(129) }),
      "events[0].content_type: has 129 bytes, more than content_type_bytes_max (128)",
    ],
    [
      "events",
      { stream: "s", events: Array.from({ length: 9 }, () => ({ type: "T" })) },
      { stream: "s", events: Array.from({ length: 10 }, () => ({ type: "T" })) },
      "events: has 10 entries, more than append_events_max (9)",
    ],
    [
      "event",
      event({ payload: { case: "data", value: Buffer.alloc(4_096 - 6) } }),
      event({ payload: { case: "data", value: Buffer.alloc(4_096 - 5) } }),
      "events[0]: has 4097 bytes, more than event_bytes_max (4096)",
    ],
    [
      "version",
      { ...event(), expected: { case: "expectedVersion", value: 2n ** 53n - 1n } },
      { ...event(), expected: { case: "expectedVersion", value: 2n ** 53n } },
      `expected_version: is 9007199254740992, ${beyondPosition}`,
    ],
    [
      "after",
      { ...event(), conditions: [{ query: {}, after: 2n ** 53n - 1n }] },
      { ...event(), conditions: [{ query: {}, after: 2n ** 64n - 1n }] },
      `conditions[0].after: is 18446744073709551615, ${beyondPosition}`,
    ],
  ])("%s", (_, within, beyond, violation) => {
    expect(() => accepted(within)).not.toThrow();
    expect(refused(beyond)).toEqual([violation]);
  });

  test("metadata bytes, keys and values together", () => {
    const wide = { ...conversion, limits: defaultLimits };
    const of = (value: string): Buffer =>
      encode(AppendRequestSchema, event({ metadata: { k: value } }));
    expect(appendIfPlain(of(x(16_383)), wide)).toBeDefined();
    expect(appendIfPlain(of(x(16_384)), wide)).toBeUndefined();
    expect(() => appendFromBytes(of(x(16_384)), wide)).toThrow(
      "metadata: has 16385 bytes of keys and values, more than metadata_bytes_max (16384)",
    );
  });

  test("bytes of all events together", () => {
    const value = Buffer.alloc(2_700);
    const three = { stream: "s", events: Array.from({ length: 3 }, () => payload(value)) };
    expect(accepted(three).events).toHaveLength(3);
    const four = { stream: "s", events: [...three.events, payload(value)] };
    expect(refused(four)).toEqual([
      "events: have 10824 bytes together, more than append_bytes_max (8192)",
    ]);
  });

  test("tags of all events together", () => {
    const few = { limits: { ...defaultLimits, appendTagsMax: 100 } };
    const of = (count: number): Buffer =>
      encode(AppendRequestSchema, {
        stream: "s",
        events: [
          { type: "T", tags: many(60) },
          { type: "T", tags: many(count) },
        ],
      });
    expect(appendIfPlain(of(40), few)).toBeDefined();
    expect(appendIfPlain(of(41), few)).toBeUndefined();
    expect(() => appendFromBytes(of(41), few)).toThrow(
      "events: have 101 tags, more than append_tags_max (100)",
    );
  });

  test("metadata entries of all events together", () => {
    const few = { limits: { ...defaultLimits, appendMetadataEntriesMax: 100 } };
    const of = (count: number): Buffer =>
      encode(AppendRequestSchema, {
        stream: "s",
        events: [60, count].map((each) => ({ type: "T", metadata: entries(each) })),
      });
    expect(appendIfPlain(of(40), few)).toBeDefined();
    expect(appendIfPlain(of(41), few)).toBeUndefined();
    expect(() => appendFromBytes(of(41), few)).toThrow(
      "events: have 101 metadata entries, more than append_metadata_entries_max (100)",
    );
  });

  test("expectations, which are counted before they are looked at", () => {
    const of = (count: number) =>
      many(count).map(
        (stream) => ({ stream, expected: { case: "expectedVersion", value: 1n } }) as const,
      );
    expect(accepted({ ...event(), expectations: of(256) }).expectations).toHaveLength(256);
    expect(refused({ ...event(), expectations: of(257) })).toEqual([
      "expectations: has more entries than expectations_max (256)",
    ]);
  });

  test("a JSON payload counts as it was sent and as it is stored", () => {
    const json = (text: string) => payloadJson({ case: "stringValue", value: text });
    expect(refused(event(json("\u0001".repeat(1_000))))).toEqual([
      "events[0].json: has 6002 bytes as JSON text, more than event_bytes_max (4096)",
    ]);
    const [first] = refused(event(json(x(4_097))));
    expect(first).toContain("events[0]: has 4106 bytes, more than event_bytes_max (4096)");
  });
});

function payload(value: Uint8Array): EventInit {
  return { type: "T", payload: { case: "data", value } };
}

function payloadJson(
  kind: { case: "stringValue"; value: string } | { case: "numberValue"; value: number },
): EventInit {
  return { type: "T", payload: { case: "json", value: { kind } } };
}

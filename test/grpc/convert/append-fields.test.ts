// What is wrong with an append is refused by name, all of it at once; what is taken means what was
// sent.
import { convertAppend } from "../../../src/grpc/convert/append-message.ts";
import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { decodeRecord } from "../../../src/domain/record.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import {
  accepted,
  contradiction,
  conversion,
  event,
  type EventInit,
  type Init,
  many,
  refused,
  uuid,
} from "./append-request.ts";

function payloadJson(
  kind: { case: "stringValue"; value: string } | { case: "numberValue"; value: number },
): EventInit {
  return { type: "T", payload: { case: "json", value: { kind } } };
}

describe("what is wrong is refused by name", () => {
  test.each<[string, Init, string]>([
    [
      "no events",
      { stream: "s" },
      "events: is required: an append has at least one event or a checkpoint",
    ],
    ["no type", { stream: "s", events: [{}] }, "events[0].type: is empty, but required"],
    [
      "an expectation of no stream",
      { events: [{ type: "T", stream: "s" }], expected: { case: "expectedVersion", value: 0n } },
      "stream: is required where something is expected of it",
    ],
    [
      "a control character",
      event({ type: "a\u0000b" }),
      "events[0].type: has the control character U+0000 at index 1",
    ],
    [
      "DEL",
      event({ tags: ["\u007f"] }),
      "events[0].tags[0]: has the control character U+007F at index 0",
    ],
    [
      "C1",
      event({ stream: "a\u0085" }),
      "events[0].stream: has the control character U+0085 at index 1",
    ],
    [
      "a line break",
      { ...event(), stream: "a\nb" },
      "stream: has the control character U+000A at index 1",
    ],
    ["an empty tag", event({ tags: [""] }), "events[0].tags[0]: is empty, but required"],
    [
      "a tag twice",
      event({ tags: ["a", "b", "a"] }),
      "events[0].tags[2]: is the same tag as tags[0]",
    ],
    [
      "a system stream",
      { ...event(), stream: "$s" },
      "stream: begins with $, which is reserved for the system",
    ],
    [
      "a system type",
      event({ type: "$T" }),
      "events[0].type: begins with $, which is reserved for the system",
    ],
    [
      "a system tag",
      event({ tags: ["$"] }),
      "events[0].tags[0]: begins with $, which is reserved for the system",
    ],
    [
      "a system key",
      event({ metadata: { $k: "" } }),
      'events[0].metadata["$k"]: begins with $, which is reserved for the system',
    ],
    ["an empty key", event({ metadata: { "": "v" } }), "events[0].metadata: has an empty key"],
    [
      "a content type that is not ASCII",
      event({ contentType: "é" }),
      "events[0].content_type: has a character that is not printable ASCII",
    ],
    [
      "a content type with a line break",
      event({ contentType: "a\nb" }),
      "events[0].content_type: has a character that is not printable ASCII",
    ],
    [
      "JSON under another name",
      event({ contentType: "text/plain", ...payloadJson({ case: "numberValue", value: 1 }) }),
      "events[0].content_type: is not application/json and does not end in +json, but json is set",
    ],
    [
      "JSON that is no number",
      event(payloadJson({ case: "numberValue", value: NaN })),
      "events[0].json: holds NaN: no JSON number",
    ],
    [
      "JSON that is endless",
      event(payloadJson({ case: "numberValue", value: -Infinity })),
      "events[0].json: holds -Infinity: no JSON number",
    ],
    [
      "JSON of no kind",
      event({ payload: { case: "json", value: {} } }),
      "events[0].json: holds a google.protobuf.Value without a kind",
    ],
    [
      "an id that is no UUID",
      event({ id: "nope" }),
      "events[0].id: is not a UUID in its 36-character text form (RFC 9562)",
    ],
    [
      "an id in braces",
      event({ id: `{${uuid(1)}}` }),
      "events[0].id: is not a UUID in its 36-character text form (RFC 9562)",
    ],
    [
      "the nil UUID",
      event({ id: "00000000-0000-0000-0000-000000000000" }),
      "events[0].id: is the nil or the max UUID, which name no event",
    ],
    [
      "the max UUID",
      event({ id: "FFFFFFFF-ffff-ffff-ffff-ffffffffffff" }),
      "events[0].id: is the nil or the max UUID, which name no event",
    ],
    [
      "an id twice, in either case",
      {
        stream: "s",
        events: [
          { type: "T", id: "a190a000-0000-7000-8000-00000000000A" },
          { type: "T" },
          { type: "T", id: "A190A000-0000-7000-8000-00000000000a" },
        ],
      },
      "events[2].id: is the same id as that of events[0]",
    ],
    [
      "an unknown state",
      { ...event(), expected: { case: "expectedState", value: 9 as never } },
      "expected_state: is 9, which is no value of its enum",
    ],
    [
      "an expectation that says nothing",
      { ...event(), expectations: [{ stream: "t" }] },
      "expectations[0]: says nothing: expected_version or expected_state",
    ],
    [
      "an expectation of an unspecified state",
      {
        ...event(),
        expectations: [{ stream: "t", expected: { case: "expectedState", value: 0 } }],
      },
      "expectations[0]: says nothing: expected_version or expected_state",
    ],
    [
      "an expectation of nobody",
      { ...event(), expectations: [{ expected: { case: "expectedState", value: 2 } }] },
      "expectations[0].stream: is empty, but required",
    ],
    [
      "two expectations of one stream",
      {
        ...event(),
        expectations: [
          { stream: "t", expected: { case: "expectedState", value: 1 } },
          { stream: "t", expected: { case: "expectedState", value: 2 } },
        ],
      },
      "expectations[1].stream: is the same stream as expectations[0].stream",
    ],
    [
      "a second expectation of the append's stream",
      {
        ...event(),
        expected: { case: "expectedState", value: 2 },
        expectations: [{ stream: "s", expected: { case: "expectedVersion", value: 1n } }],
      },
      "expectations[0].stream: is the same stream as stream",
    ],
    [
      "a condition without a query",
      { ...event(), conditions: [{ after: 1n }] },
      "conditions[0].query: is required",
    ],
    [
      "a condition that nothing can match",
      {
        ...event(),
        conditions: [{ query: { items: [{ streams: ["a-1", "b-1"], streamPrefixes: ["a-"] }] } }],
      },
      `conditions[0].query.items[0].streams[1]: ${contradiction}`,
    ],
    [
      "a query's empty prefix",
      { ...event(), conditions: [{ query: { items: [{ streamPrefixes: [""] }] } }] },
      "conditions[0].query.items[0].stream_prefixes[0]: is empty, but required",
    ],
    [
      "a query's empty tag",
      { ...event(), conditions: [{ query: { items: [{}, { tags: ["a", ""] }] } }] },
      "conditions[0].query.items[1].tags[1]: is empty, but required",
    ],
    [
      "a query of too many items",
      { ...event(), conditions: [{ query: { items: Array.from({ length: 1_001 }, () => ({})) } }] },
      "conditions[0].query.items: has more entries than query_items_max (1000)",
    ],
    [
      "a query of too many values",
      {
        ...event(),
        conditions: [
          { query: { items: [{ types: many(2_000) }] } },
          { query: { items: [{ tags: many(2_000), tagsAny: many(97) }] } },
        ],
      },
      "conditions[1].query.items[0].tags_any: with those before it has more entries than " +
        "query_values_max (4096)",
    ],
  ])("%s", (_, init, violation) => {
    expect(refused(init)).toEqual([violation]);
  });

  test("everything that is wrong is said at once", () => {
    const wrong = { ...event({ type: "", tags: [""], id: "x" }), stream: "$", conditions: [{}] };
    expect(refused(wrong).map((line) => line.split(":")[0])).toEqual([
      "stream",
      "events[0].tags[0]",
      "events[0].type",
      "events[0].id",
      "conditions[0].query",
    ]);
  });

  test("but no more than can be told", () => {
    const events = Array.from({ length: 9 }, () => ({ tags: many(64).map((tag) => `$${tag}`) }));
    expect(refused({ stream: "s", events })).toHaveLength(64);
    expect(() => accepted({ stream: "s", events })).toThrow("and 584 more)");
  });
});

describe("what is taken means what was sent", () => {
  test("system streams may be expected and queried, they are only not written", () => {
    const { expectations, conditions } = accepted({
      ...event(),
      expectations: [{ stream: "$system", expected: { case: "expectedState", value: 3 } }],
      conditions: [{ query: { items: [{ types: ["$deleted"] }] }, after: 5n }],
    });
    expect(expectations).toEqual([{ stream: "$system", expected: { kind: "absent" } }]);
    expect(conditions[0]?.query.items[0]?.types).toEqual(["$deleted"]);
  });

  test("any state and an unspecified one expect nothing", () => {
    for (const value of [0, 1]) {
      const expected = { case: "expectedState", value } as const;
      expect(accepted({ ...event(), expected }).expectations).toEqual([]);
    }
    const expectations = [{ stream: "t", expected: { case: "expectedState", value: 1 } as const }];
    expect(accepted({ ...event(), expectations }).expectations).toEqual([]);
  });

  test("an upper-case id is lowered, an absent one is left to the store", () => {
    const { events } = accepted({
      stream: "s",
      events: [{ type: "T", id: "ABCDEF00-0000-7000-8000-000000000001" }, { type: "T" }],
    });
    expect(events[0]?.id).toBe("abcdef00-0000-7000-8000-000000000001");
    expect(events[0]?.idFromClient).toBe(true);
    expect(events[1]?.id).toBe("");
    expect(events[1]?.idFromClient).toBe(false);
    expect(events.map(({ body }) => decodeRecord(body).id)).toEqual(events.map(({ id }) => id));
  });

  test("JSON is stored with sorted keys, without spaces, under its media type", () => {
    const fields = {
      b: { kind: { case: "numberValue", value: 1.5 } },
      a: { kind: { case: "nullValue", value: 0 } },
    } as const;
    const value = { kind: { case: "structValue", value: { fields } } } as const;
    const [stored] = accepted(event({ payload: { case: "json", value } })).events;
    const record = decodeRecord(stored?.body ?? Buffer.alloc(0));
    expect(Buffer.from(record.data).toString()).toBe('{"a":null,"b":1.5}');
    expect(record.contentType).toBe("application/json");
    const [typed] = accepted(
      event({ contentType: "application/x+json", payload: { case: "json", value } }),
    ).events;
    expect(decodeRecord(typed?.body ?? Buffer.alloc(0)).contentType).toBe("application/x+json");
  });

  test("a key called __proto__ is a key like any other", () => {
    const request = create(
      AppendRequestSchema,
      event({ payload: { case: "json", value: { kind: { case: "structValue", value: {} } } } }),
    );
    const evil = JSON.parse('{"__proto__":"kept"}') as Record<string, string>;
    const [wire] = request.events;
    if (wire === undefined) throw new Error("no event");
    wire.metadata = evil;
    const [stored] = convertAppend(request, conversion).events;
    expect(Object.entries(decodeRecord(stored?.body ?? Buffer.alloc(0)).metadata)).toEqual([
      ["__proto__", "kept"],
    ]);
  });
});

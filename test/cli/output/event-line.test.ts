// The line format: whatever was stored comes back byte for byte, and bad lines are refused by
// reason.
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventOf, lineOf } from "../../../src/cli/output/event-line.ts";
import { membersOf } from "../../../src/cli/output/json-members.ts";
import { RecordedEventSchema } from "../../../src/gen/annals/v1/event_pb.js";

const utf8 = new TextEncoder();
const name = fc.string({ unit: "grapheme", minLength: 1 });
const spaced = fc
  .tuple(fc.json(), fc.constantFrom(0, 2, "\t"), fc.constantFrom("", " ", "\n"))
  .map(([json, space, around]) => around + JSON.stringify(JSON.parse(json), null, space) + around);
const exact = fc.constantFrom(
  '{"amount":12345678901234567890.10}',
  '{"b":1,"a":{"b":1,"b":2}}',
  "-0",
  "1e400",
  '"\\ud800"',
  '{"__proto__":[{"}":"]"}],"x":"\\\\\\""}',
  "null",
  " 1",
  "not json",
  "\uFEFF{}",
);
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc.oneof(fc.json(), spaced, exact).map((text) => utf8.encode(text)),
);
const contentType = fc.constantFrom(
  "application/json",
  "application/cloudevents+json; charset=utf-8",
  "application/octet-stream",
  "text/plain",
);
const recorded = fc.record({
  id: fc.uuid(),
  stream: name,
  type: name,
  tags: fc.uniqueArray(name),
  metadata: fc.dictionary(name, fc.string({ unit: "grapheme" })),
  contentType,
  data: payload,
  position: fc.bigInt({ min: 1n, max: 2n ** 53n - 1n }),
});

describe("a line", () => {
  test("gives back every event exactly as it was", () => {
    fc.assert(
      fc.property(recorded, (init) => {
        const event = create(RecordedEventSchema, init);
        const line = lineOf(event);
        expect(line.indexOf("\n")).toBe(line.length - 1);
        const back = eventOf(line.slice(0, -1));
        expect({ ...back, payload: undefined }).toEqual({
          id: event.id.toLowerCase(),
          stream: event.stream,
          type: event.type,
          tags: event.tags,
          metadata: { ...event.metadata },
          contentType: event.contentType,
          payload: undefined,
        });
        const bytes = back.payload.case === "data" ? back.payload.value : new Uint8Array();
        expect(Buffer.from(bytes).equals(event.data)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['{"a":12345678901234567890}', true],
    ['{"a": 1, "b": [1.50, 2]}', true],
    ['{"a":\n1}', false],
    [' {"a":1}', false],
    ["{a:1}", false],
  ])("shows the JSON payload %j as JSON: %s", (text, readable) => {
    const data = utf8.encode(text);
    const line = lineOf(
      create(RecordedEventSchema, { type: "T", contentType: "application/json", data }),
    );
    expect(line.includes(`"json":${text}`)).toBe(readable);
    expect(line.includes('"data":"')).toBe(!readable);
  });

  test("written by hand keeps its numbers and may leave out what it does not need", () => {
    const event = eventOf('{ "type" : "Paid", "json" : {"amount": 0.10, "cents":1e2} }');
    expect(event).toMatchObject({ id: "", stream: "", tags: [], contentType: "application/json" });
    expect(event.payload).toEqual({
      case: "data",
      value: utf8.encode('{"amount": 0.10, "cents":1e2}'),
    });
  });

  test.each([
    ["{", "not JSON"],
    ["[]", "not a JSON object"],
    ["{}", '"type" is missing'],
    ['{"type":7}', '"type" is not a string'],
    ['{"type":"T","kind":"x"}', '"kind" is unknown'],
    ['{"type":"T","type":"U"}', '"type" occurs twice'],
    ['{"type":"T","id":"7"}', "is not a UUID"],
    ['{"type":"T","tags":"a"}', '"tags" is not an array of strings'],
    ['{"type":"T","tags":[1]}', '"tags" is not an array of strings'],
    ['{"type":"T","metadata":[]}', '"metadata" is not an object of strings'],
    ['{"type":"T","metadata":{"a":1}}', '"metadata": "a" is not a string'],
    ['{"type":"T","json":1,"data":""}', 'both "json" and "data"'],
    ['{"type":"T","json":1,"contentType":"text/plain"}', 'use "data"'],
    ['{"type":"T","data":"a"}', '"data" is not base64'],
    ['{"type":"T","data":"YQ"}', '"data" is not base64'],
    ['{"type":"T\\ud800"}', "unpaired surrogate"],
    ['{"type":"T","tags":["\\udc00"]}', "unpaired surrogate"],
    ['{"type":"T","metadata":{"\\ud800":""}}', "unpaired surrogate"],
  ])("like %s is refused", (line, message) => {
    expect(() => eventOf(line)).toThrow(message);
  });
});

test("the members of any JSON object are found with their own text", () => {
  const space = fc.constantFrom("", " ", "\t", "  ");
  const member = fc.record({ name: fc.string(), value: spaced, before: space, after: space });
  fc.assert(
    fc.property(fc.array(member), space, (members, around) => {
      const inner = members.map(
        (one) => `${one.before}${JSON.stringify(one.name)}${one.after}:${one.value}${one.before}`,
      );
      const text = `${around}{${around}${inner.join(",")}${around}}${around}`;
      expect(membersOf(text)).toEqual(
        members.map((one) => ({ name: one.name, text: one.value.trim() })),
      );
    }),
    { numRuns: 1_000 },
  );
});

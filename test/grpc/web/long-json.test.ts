// Long requests in JSON: read in steps, they become the same request as read at once, and what is
// malformed is refused by name.
import fc from "fast-check";
import { expect, test } from "vitest";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import { atOnce } from "../../../src/domain/steps.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { SaveSnapshotRequestSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import { requestInSteps } from "../../../src/grpc/web/long-json.ts";
import { requestByCodec } from "../../../src/grpc/web/message-json.ts";

const spaces = " ".repeat(65_536);

function read(text: string): unknown {
  return toJson(
    AppendRequestSchema,
    fromBinary(AppendRequestSchema, atOnce(requestInSteps(AppendRequestSchema, Buffer.from(text)))),
  );
}

function readAtOnce(text: string): unknown {
  const bytes = requestByCodec(AppendRequestSchema, Buffer.from(text));
  return toJson(AppendRequestSchema, fromBinary(AppendRequestSchema, bytes));
}

const text = fc.string({
  unit: fc.constantFrom("a", "{", "}", "[", "]", ",", ":", '"', "\\", "\u00e9"),
});
const event = fc.record(
  { type: text, stream: text, tags: fc.array(text, { maxLength: 3 }), data: fc.base64String() },
  { requiredKeys: ["type"] },
);
const space = fc.constantFrom("", " ", "\n\t ");

test("an append is the same, however it is written", () => {
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 5 }),
      text,
      space,
      fc.nat(3),
      (events, stream, ws, n) => {
        const list = `[${ws}${events.map((each) => JSON.stringify(each)).join(`${ws},${ws}`)}${ws}]`;
        const members = [`"events"${ws}:${ws}${list}`, `"stream":${JSON.stringify(stream)}`];
        if (n > 1) members.reverse();
        if (n === 3) members.push('"expectedVersion":"7"');
        const body = `${ws}{${members.join(`${ws},`)}${ws}}${ws}`;
        expect(read(body + spaces)).toEqual(readAtOnce(body));
      },
    ),
    { numRuns: 100 },
  );
});

test("payloads in JSON are kept, in steps too", () => {
  const events = Array.from({ length: 3_000 }, (_, i) => ({
    type: "T",
    json: { n: i, "a,]}": "{" },
  }));
  const body = Buffer.from(JSON.stringify({ stream: "s", events }));
  const reading = requestInSteps(AppendRequestSchema, body);
  let steps = 0;
  let next = reading.next();
  for (; next.done !== true; next = reading.next()) steps++;
  expect(steps).toBeGreaterThan(10);
  const found = fromBinary(AppendRequestSchema, next.value);
  expect(found.events).toHaveLength(events.length);
  const { payload, contentType } = found.events[2_999] ?? {};
  expect(contentType).toBe("application/json");
  expect(Buffer.from(payload?.value as Uint8Array).toString()).toBe('{"a,]}":"{","n":2999}');
});

const eighty = Array.from({ length: 80 }, (_, i) => ({ [`member-${i}`]: i }));
const ofManyValues = Array.from({ length: 1_000 }, () => ({ type: "T", json: eighty }));

test.each([
  ["values", JSON.stringify({ events: ofManyValues }), 80],
  ["exponents", `{"events":[{"type":"T","json":[${"1e308,".repeat(9_900)}1]}]}`, 200],
])("an append of as many %s as there may be is read in many steps", (_, body, least) => {
  const reading = requestInSteps(AppendRequestSchema, Buffer.from(body));
  let steps = 0;
  while (reading.next().done !== true) steps++;
  expect(steps).toBeGreaterThan(least);
});

test("a large snapshot keeps its bytes", () => {
  const data = Buffer.alloc(300_000, 0xfb);
  const body = JSON.stringify({
    stream: "s",
    kind: "k",
    version: "3",
    data: data.toString("base64"),
  });
  const bytes = atOnce(requestInSteps(SaveSnapshotRequestSchema, Buffer.from(body)));
  const { state, version } = fromBinary(SaveSnapshotRequestSchema, bytes);
  expect(version).toBe(3n);
  expect(Buffer.compare(state.value as Uint8Array, data)).toBe(0);
});

test.each([
  ["", "body: "],
  ["[]", "body: is not JSON"],
  ['{"events":[{"type":"T"},]}', "body: is not JSON"],
  ['{"events":[{"type":"T"} {"type":"T"}]}', "body: is not JSON"],
  ['{"events":[{"type":"T"}]', "body: "],
  ['{"events":[{"type":"T"}]} x', "body: is not JSON"],
  ['{"events":[{"tipe":"T"}]}', "did you mean type?"],
  ['{"events":[7]}', "annals.v1.NewEvent"],
  ['{"events":7}', "events"],
  ['{"events":[],"events":[]}', 'duplicate object key "events"'],
  [`{"events":[${"[".repeat(70_000)}`, "nests deeper than 100 levels"],
  [`{${" ".repeat(3_000_000)}"events":[]}`, "more than 262144 spaces in a row"],
  [`{"events":[{${" ".repeat(3_000_000)}}]}`, "more than 262144 spaces in a row"],
  [`{"stream":"${"s".repeat(3_000_000)}"}`, "beside its events"],
  [`{"events":[${"0,".repeat(300_000)}0]}`, "more than 262144 values"],
])("%.40s is refused", (body, why) => {
  expect(() => read(body + spaces)).toThrow(why);
});

test("too many events are refused before one of them is made", () => {
  const body = `{"stream":"s","events":[${"{},".repeat(100_000)}{}]}`;
  expect(() => read(body)).toThrow("events: has more entries than append_events_max (5000)");
});

test("an event of too many values is refused before it is made", () => {
  const large = `{"type":"T","json":[${"1,".repeat(100_000)}1]}`;
  expect(() => read(`{"events":[${large}]}`)).toThrow("has an event of more than 11000 values");
});

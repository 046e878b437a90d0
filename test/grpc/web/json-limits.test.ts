// The limits of JSON bodies are the same whether a body is short, and read at once, or long, and
// read in steps.
import { fromBinary, type DescMessage } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { atOnce } from "../../../src/domain/steps.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { ReadRequestSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { SaveSnapshotRequestSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import { requestInSteps } from "../../../src/grpc/web/long-json.ts";
import { plainBytesMax } from "../../../src/grpc/web/plain-request.ts";

/** What a body becomes: the payload as it is stored, "read", or why it is refused. */
function outcome(schema: DescMessage, body: string): string {
  try {
    const bytes = atOnce(requestInSteps(schema, Buffer.from(body)));
    return payloadOf(schema, bytes);
  } catch (error) {
    if (error instanceof AnnalsError) return error.message;
    throw error;
  }
}

function payloadOf(schema: DescMessage, bytes: Buffer): string {
  if (schema === AppendRequestSchema) {
    const [event] = fromBinary(AppendRequestSchema, bytes).events;
    return Buffer.from(event?.payload.value as Uint8Array).toString();
  }
  if (schema !== SaveSnapshotRequestSchema) return "read";
  const { state, contentType } = fromBinary(SaveSnapshotRequestSchema, bytes);
  expect(contentType).toBe("application/json");
  return Buffer.from(state.value as Uint8Array).toString();
}

const lists = (levels: number): string => `${"[".repeat(levels)}0${"]".repeat(levels)}`;
const objects = (levels: number): string => `${'{"a":'.repeat(levels)}0${"}".repeat(levels)}`;
const append = (json: string): string => `{"events":[{"type":"T","json":${json}}]}`;
const snapshot = (json: string): string => `{"stream":"s","kind":"k","json":${json}}`;
const ones = (values: number): string => `[${"1,".repeat(values - 2)}1]`;
const tooDeep = "body: the JSON nests deeper than 100 levels";
const numbers = (count: number): string => `[${"1,".repeat(count - 1)}1]`;

describe.each([
  ["a short body", ""],
  ["a long body", " ".repeat(plainBytesMax)],
])("in %s", (_, spaces) => {
  test.each<[string, DescMessage, string, string]>([
    ["32 lists", AppendRequestSchema, append(lists(32)), lists(32)],
    ["97 lists in an event", AppendRequestSchema, append(lists(97)), lists(97)],
    ["98 lists in an event", AppendRequestSchema, append(lists(98)), tooDeep],
    ["97 objects in an event", AppendRequestSchema, append(objects(97)), objects(97)],
    ["98 objects in an event", AppendRequestSchema, append(objects(98)), tooDeep],
    ["99 lists in a snapshot", SaveSnapshotRequestSchema, snapshot(lists(99)), lists(99)],
    ["100 lists in a snapshot", SaveSnapshotRequestSchema, snapshot(lists(100)), tooDeep],
    ["99 objects in a snapshot", SaveSnapshotRequestSchema, snapshot(objects(99)), objects(99)],
    ["100 objects in a snapshot", SaveSnapshotRequestSchema, snapshot(objects(100)), tooDeep],
    ["100 lists of no message", ReadRequestSchema, lists(101), tooDeep],
    ["many values of an event", AppendRequestSchema, append(ones(10_900)), ones(10_900)],
    [
      "too many values of an event",
      AppendRequestSchema,
      append(ones(11_100)),
      "body: the JSON has an event of more than 11000 values",
    ],
    [
      "too many values beside the events",
      AppendRequestSchema,
      `{"conditions":${numbers(10_100)},"events":[]}`,
      "body: the JSON has more than 10000 values",
    ],
    [
      "too many values of another request",
      ReadRequestSchema,
      `{"stream":${numbers(10_100)}}`,
      "body: the JSON has more than 10000 values",
    ],
    [
      "base64 in lines",
      AppendRequestSchema,
      String.raw`{"events":[{"type":"T","data":"QUJD\nREVG"}]}`,
      "ABCDEF",
    ],
  ])("%s", (__, schema, body, expected) => {
    expect(outcome(schema, body + spaces)).toBe(expected);
  });
});

test("base64 in lines is read, however long it is", () => {
  const line = `${"QUJD".repeat(19)}\\n`;
  const body = `{"events":[{"type":"T","data":"${line.repeat(3_000)}REVG"}]}`;
  expect(outcome(AppendRequestSchema, body)).toBe(`${"ABC".repeat(19 * 3_000)}DEF`);
});

// The fast paths between JSON and protobuf against the codec: whatever comes, they leave it alone
// or make exactly what the codec makes.
import {
  ScalarType,
  toBinary,
  fromJsonString,
  type DescField,
  type DescMessage,
} from "@bufbuild/protobuf";
import fc, { type Arbitrary } from "fast-check";
import { describe, expect, test } from "vitest";
import { AppendRequestSchema, AppendResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { RecordedEventSchema } from "../../../src/gen/annals/v1/event_pb.js";
import {
  GetEventRequestSchema,
  ReadRequestSchema,
  ReadResponseSchema,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from "../../../src/gen/annals/v1/read_pb.js";
import { jsonByCodec, requestByCodec } from "../../../src/grpc/web/message-json.ts";
import { plainAnswer } from "../../../src/grpc/web/plain-answer.ts";
import { plainBytesMax, plainRequest } from "../../../src/grpc/web/plain-request.ts";

/** JSON as a list of members, so that a name may come twice and in any form. */
type Said =
  | string
  | number
  | boolean
  | null
  | Said[]
  | { members: readonly (readonly [string, Said])[] };

function textOf(said: Said, space: string): string {
  if (Array.isArray(said)) return `[${said.map((each) => textOf(each, space)).join(`,${space}`)}]`;
  if (typeof said !== "object" || said === null) return JSON.stringify(said);
  const members = said.members.map(([name, value]) => {
    // A name may be written with escapes.
    const key = name.startsWith("\\") ? `"${name}"` : JSON.stringify(name);
    return `${key}${space}:${textOf(value, space)}`;
  });
  return `{${space}${members.join(",")}${space}}`;
}

const texts = ["a", "Ordered", "é漢", "\ud83d\ude00", "a\u0000b", '"\\/', "", "x".repeat(70)];
const oddTexts = ["\ud800", "\ufeff", "__proto__"];
const wholes = [0, 1, 127, 128, 300, 2 ** 31, 2 ** 53 - 1, "0", "42", "9007199254740991"];
const oddWholes = [-1, 1.5, 1e3, 2 ** 53, "01", "-1", "1e3", "", " 1", "9007199254740993", -0];
const base64s = ["", "AQI=", "//79", Buffer.alloc(50, 7).toString("base64")];
const oddBase64s = ["AQI", "__79", "AQI==", "A", "é"];
const names = ["a", "b", "", "1", "10", "é", "x y", "__proto__", "constructor"];

/** Mostly what belongs there. */
function mostly(right: readonly Said[], odd: readonly Said[]): Arbitrary<Said> {
  return fc.oneof(
    { arbitrary: fc.constantFrom<Said>(...right), weight: 12 },
    { arbitrary: fc.constantFrom<Said>(...odd, null, true, 7, "seven", []), weight: 1 },
  );
}

const anyJson: Arbitrary<Said> = fc.letrec<{ json: Said }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom<Said>(...texts, ...oddTexts, null, true, false),
    fc.constantFrom<Said>(0, -0, 1.5, -1e-7, 123456789012345, 1234567890123456, 1e21, 0.1),
    fc.array(tie("json"), { maxLength: 3 }),
    fc
      .array(fc.tuple(fc.constantFrom(...names), tie("json")), { maxLength: 4 })
      .map((members) => ({ members })),
  ),
})).json;

function valueOf(field: DescField, depth: number): Arbitrary<Said> {
  switch (field.fieldKind) {
    case "scalar":
      return scalarOf(field.scalar);
    case "enum":
      return mostly(
        field.enum.values.map(({ name }) => name),
        ["NO_SUCH", 1, 99, -1, 1.5],
      );
    case "message":
      return messageOf(field.message, depth + 1);
    case "list": {
      const element =
        field.listKind === "message"
          ? messageOf(field.message, depth + 1)
          : field.listKind === "enum"
            ? mostly(
                field.enum.values.map(({ name }) => name),
                [1],
              )
            : scalarOf(field.scalar);
      return fc.array(element, { maxLength: 3 });
    }
    case "map":
      return fc
        .array(fc.tuple(fc.constantFrom(...names), mostly(texts, oddTexts)), { maxLength: 3 })
        .map((members) => ({ members }));
  }
}

function scalarOf(scalar: ScalarType): Arbitrary<Said> {
  switch (scalar) {
    case ScalarType.STRING:
      return mostly(texts, oddTexts);
    case ScalarType.BOOL:
      return mostly([true, false], ["true"]);
    case ScalarType.BYTES:
      return mostly(base64s, oddBase64s);
    default:
      return mostly(wholes, oddWholes);
  }
}

function messageOf(schema: DescMessage, depth = 0): Arbitrary<Said> {
  switch (schema.typeName) {
    case "google.protobuf.Value":
      return anyJson;
    case "google.protobuf.Timestamp":
      return mostly(
        ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z", "1970-01-01T00:00:00.000001Z"],
        ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.9Z", "2026-01-31T12:00:00.123456789Z", "now"],
      );
    case "google.protobuf.Duration":
      return mostly(["1s", "0.5s"], ["1", "-1s"]);
    case "google.protobuf.Empty":
      return fc.constant({ members: [] });
    case "google.protobuf.Any":
      return fc.constant({ members: [] });
  }
  const { fields } = schema;
  if (depth > 5 || fields.length === 0) return fc.constant({ members: [] });
  const member = fc
    .record({ at: fc.nat(fields.length - 1), form: fc.nat(19) })
    .chain(({ at, form }) => {
      const field = fields[at] as DescField;
      const [first = "", ...rest] = field.name;
      const escaped = `\\u${first.charCodeAt(0).toString(16).padStart(4, "0")}${rest.join("")}`;
      const name = [field.name, escaped, "no_such"][form] ?? field.jsonName;
      return valueOf(field, depth).map((value) => [name, value] as const);
    });
  const isOften = { minLength: 0, maxLength: Math.min(6, fields.length) };
  return fc.oneof(
    // Each member once, as in most requests.
    {
      arbitrary: fc
        .uniqueArray(member, { ...isOften, selector: ([name]) => name })
        .map((members) => ({ members })),
      weight: 9,
    },
    { arbitrary: fc.array(member, isOften).map((members) => ({ members })), weight: 1 },
  );
}

const written = (schema: DescMessage): Arbitrary<Buffer> =>
  fc
    .tuple(messageOf(schema), fc.constantFrom("", " ", "\n\t"))
    .map(([said, space]) => Buffer.from(textOf(said, space)));

function outcome(make: () => Buffer | string): unknown {
  try {
    return make();
  } catch (error) {
    return error;
  }
}

const requests = [
  AppendRequestSchema,
  ReadRequestSchema,
  SubscribeRequestSchema,
  GetEventRequestSchema,
];

describe("a request in JSON", () => {
  test.each(requests.map((schema) => [schema.typeName, schema] as const))(
    "is the same bytes as by the codec: %s",
    (_, schema) => {
      let taken = 0;
      fc.assert(
        fc.property(written(schema), (body) => {
          const plain = plainRequest(schema, body);
          if (plain === undefined) return;
          taken++;
          const byCodec = outcome(() => requestByCodec(schema, body));
          expect(byCodec, body.toString()).toEqual(Buffer.from(plain));
        }),
        { numRuns: 3_000 },
      );
      expect(taken).toBeGreaterThan(300);
    },
  );

  test("with a byte that is none of its own is the same bytes, or left", () => {
    const change = fc.record({ at: fc.nat(10_000), byte: fc.nat(255), isCut: fc.boolean() });
    fc.assert(
      fc.property(written(AppendRequestSchema), change, (whole, { at, byte, isCut }) => {
        const body = Buffer.from(whole);
        body[at % body.length] = byte;
        const sent = isCut ? body.subarray(0, at % body.length) : body;
        const plain = plainRequest(AppendRequestSchema, sent);
        if (plain === undefined) return;
        const byCodec = outcome(() => requestByCodec(AppendRequestSchema, sent));
        expect(byCodec, sent.toString("latin1")).toEqual(Buffer.from(plain));
      }),
      { numRuns: 3_000 },
    );
  });

  test.each([
    ["an event with JSON", { events: [{ stream: "a", type: "T", json: { b: [1, { c: null }] } }] }],
    [
      "several, and what is expected",
      { stream: "a", expectedVersion: "3", events: [{ type: "T" }] },
    ],
    ["a condition", { conditions: [{ query: { items: [{ tags: ["t"] }] }, after: 7 }] }],
    ["bytes and metadata", { events: [{ type: "T", data: "AQI=", metadata: { user: "é" } }] }],
  ])("is for the fast path: %s", (_, request) => {
    expect(plainRequest(AppendRequestSchema, Buffer.from(JSON.stringify(request)))).toBeDefined();
  });

  test.each([
    ["a member twice", '{"stream":"a","stream":"a"}'],
    ["a member of a payload twice", '{"events":[{"type":"T","json":{"a":1,"\\u0061":1}}]}'],
    ["a number that a double changes", '{"events":[{"type":"T","json":12345678901234567}]}'],
    ["null", '{"stream":null}'],
    ["nesting", `{"events":[{"type":"T","json":${"[".repeat(33)}${"]".repeat(33)}}]}`],
    ["a long body with a payload", `{"events":[{"json":"${"x".repeat(plainBytesMax)}"}]}`],
  ])("is left to the codec: %s", (_, body) => {
    expect(plainRequest(AppendRequestSchema, Buffer.from(body))).toBeUndefined();
  });
});

const answers = [
  AppendResponseSchema,
  ReadResponseSchema,
  SubscribeResponseSchema,
  RecordedEventSchema,
];

/** Encoded messages that the codec makes of generated JSON. */
const encoded = (schema: DescMessage): Arbitrary<Buffer> =>
  written(schema).map((body) => {
    const message = outcome(() =>
      Buffer.from(toBinary(schema, fromJsonString(schema, body.toString()))),
    );
    return Buffer.isBuffer(message) ? message : Buffer.alloc(0);
  });

describe("an answer in JSON", () => {
  test.each(answers.map((schema) => [schema.typeName, schema] as const))(
    "is the same text as by the codec: %s",
    (_, schema) => {
      let taken = 0;
      fc.assert(
        fc.property(encoded(schema), (bytes) => {
          const plain = plainAnswer(schema, bytes);
          if (plain === undefined) return;
          if (bytes.length > 0) taken++;
          expect(plain).toBe(outcome(() => jsonByCodec(schema, bytes)));
        }),
        { numRuns: 3_000 },
      );
      expect(taken).toBeGreaterThan(300);
    },
  );

  test("of bytes in another order, or that are changed, is the same text, or left", () => {
    const two = fc.tuple(encoded(RecordedEventSchema), encoded(RecordedEventSchema));
    const change = fc.option(fc.record({ at: fc.nat(10_000), byte: fc.nat(255) }));
    fc.assert(
      fc.property(two, change, (parts, changed) => {
        const bytes = Buffer.concat(parts);
        if (changed !== null && bytes.length > 0) bytes[changed.at % bytes.length] = changed.byte;
        const plain = plainAnswer(RecordedEventSchema, bytes);
        if (plain === undefined) return;
        expect(plain).toBe(outcome(() => jsonByCodec(RecordedEventSchema, bytes)));
      }),
      { numRuns: 6_000 },
    );
  });
});

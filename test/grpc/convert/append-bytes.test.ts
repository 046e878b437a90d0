// The fast path of an append against the generated codec: whatever bytes come, the fast path leaves
// them alone or means exactly what the generated path means.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Append } from "../../../src/domain/append.ts";
import { wholeBody } from "../../../src/domain/event.ts";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { decodeRecord, isShortest } from "../../../src/domain/record.ts";
import { varintBytes, writeVarint } from "../../../src/domain/wire.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { appendFromBytes, appendIfPlain } from "../../../src/grpc/convert/append-bytes.ts";
import { convertAppend, type Conversion } from "../../../src/grpc/convert/append-message.ts";
import { decodeRequest } from "../../../src/grpc/transport/decode.ts";
import { encode } from "../../support/calls.ts";

const limits = {
  ...defaultLimits,
  eventBytesMax: 400,
  appendBytesMax: 900,
  appendEventsMax: 5,
  streamNameBytesMax: 12,
  typeBytesMax: 12,
  tagBytesMax: 12,
  tagsMax: 3,
  metadataEntriesMax: 3,
  metadataBytesMax: 40,
  contentTypeBytesMax: 30,
};

const conversion: Conversion = { limits };

/** An append as its words say it, bodies decoded: what both paths must agree on. */
function meaning(append: Append): unknown {
  const events = append.events.map((event) => {
    const { body: _, bodyEnd: __, ...words } = event;
    const { $typeName, $unknown, data, ...record } = decodeRecord(wholeBody(event));
    return { ...words, record, data: Buffer.from(data), unknown: $unknown, $typeName };
  });
  return { ...append, events, bytes: 0 };
}

function generated(bytes: Buffer): unknown {
  try {
    const wire = decodeRequest(AppendRequestSchema, bytes, { readUnknownFields: true });
    return meaning(convertAppend(wire, conversion));
  } catch (error) {
    return (error as Error).message;
  }
}

function varint(value: number): Buffer {
  const bytes = Buffer.alloc(varintBytes(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

/** A field by number and wire type; bytes get their length. */
function field(number: number, content: Buffer | number): Buffer {
  if (typeof content === "number") return Buffer.concat([varint(number * 8), varint(content)]);
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

const text = (content: string): Buffer => Buffer.from(content);
const texts = (contents: readonly string[]): Buffer[] => contents.map(text);

const names = ["a", "Ordered", "é漢", "t-1", "0123456789ab", "tag:1"];
const oddNames = ["", "$x", "0123456789abc", "a\u0000", "\u0085", "a\u007f", "\ufeff"];
const badUtf8 = ["80", "c0af", "eda080", "f8888080", "61c3"].map((hex) => Buffer.from(hex, "hex"));
const ids = [
  ...Array.from({ length: 15 }, (_, i) => `0190a000-0000-7000-8000-00000000000${i.toString(16)}`),
  "ffffffff-ffff-ffff-ffff-fffffffffffe",
];
const oddIds = [
  "0190A000-0000-7000-8000-000000000001",
  "00000000-0000-0000-0000-000000000000",
  "ffffffff-ffff-ffff-ffff-ffffffffffff",
  "0190a000-0000-7000-8000-00000000000",
  "0190a000x0000-7000-8000-000000000001",
  "0190a000-0000-7000-8000-00000000000g",
];

/** Mostly plain, sometimes odd, seldom not even UTF-8. */
function contentOf(plain: readonly string[], odd: readonly string[]): fc.Arbitrary<Buffer> {
  return fc.oneof(
    { weight: 300, arbitrary: fc.constantFrom(...plain).map(text) },
    { weight: 4, arbitrary: fc.constantFrom(...odd).map(text) },
    { weight: 1, arbitrary: fc.constantFrom(...badUtf8) },
  );
}

const name = contentOf(names, oddNames);
const contentType = contentOf(
  ["application/json", "text/plain", "a/b+json"],
  ["", "a b", "é", "x".repeat(31), "\u007f"],
);

const entry = fc
  .record({
    key: contentOf(
      ["a", "b", "c", "d", "e", "f", "g", "h", "é", "__proto__"],
      ["", "$k", "x".repeat(41)],
    ),
    value: contentOf(["", "v", "漢", "\u0000"], ["x".repeat(40)]),
    shape: fc.constantFrom(...Array<string>(30).fill("kv"), "vk", "k", "v", "kk", "kvx"),
  })
  .map(({ key, value, shape }) => {
    const parts = { k: field(1, key), v: field(2, value), x: field(3, value) };
    return Buffer.concat(shape.split("").map((part) => parts[part as keyof typeof parts]));
  });

/** A field that no client of today sends. */
const strange = fc.oneof(
  fc.constantFrom(field(9, 7), field(10, 1), field(12, text("later")), field(100, text("x"))),
  fc.constant(Buffer.concat([varint(13 * 8 + 3), field(1, 5), varint(13 * 8 + 4)])),
  fc.constant(Buffer.concat([varint(14 * 8 + 1), Buffer.alloc(8)])),
  fc.constant(Buffer.concat([varint(15 * 8 + 5), Buffer.alloc(4)])),
  // Known fields in wire types that are not theirs, and lengths that lie.
  fc.constantFrom(field(3, 5), field(7, 3), Buffer.from([0x1a, 0x7f]), Buffer.from([0x3a])),
  fc.constantFrom(Buffer.from([0x0b, 0x0c]), Buffer.from([0x9a, 0x00, 0x01, 0x61])),
);

const json = fc.constantFrom(Buffer.from("0800", "hex"), Buffer.from("1a0161", "hex"));

const event = fc
  .record({
    id: fc.option(contentOf(ids, ["", ...oddIds]), { freq: 2 }),
    stream: fc.option(name, { freq: 2 }),
    type: fc.option(name, { freq: 40 }),
    tags: fc.oneof(
      { weight: 9, arbitrary: fc.subarray(names.slice(0, 4), { maxLength: 3 }).map(texts) },
      { weight: 1, arbitrary: fc.array(name, { maxLength: 4 }) },
    ),
    metadata: fc.array(entry, { maxLength: 2 }),
    contentType: fc.option(contentType, { freq: 2 }),
    data: fc.option(fc.uint8Array({ maxLength: 40 }), { freq: 4 }),
    json: fc.option(json, { freq: 30, nil: null }),
    strange: fc.array(strange, { maxLength: 1, size: "xsmall" }),
    again: fc.boolean(),
    order: fc.infiniteStream(fc.nat({ max: 99 })),
  })
  .chain((parts) =>
    fc.record({
      parts: fc.constant(parts),
      oddity: fc.nat({ max: 40 }),
      cut: fc.nat({ max: 300 }),
    }),
  )
  .map(({ parts, oddity, cut }) => {
    const fields = [
      ...(parts.id === null ? [] : [field(1, parts.id)]),
      ...(parts.stream === null ? [] : [field(2, parts.stream)]),
      ...(parts.type === null ? [] : [field(3, parts.type)]),
      ...parts.tags.map((tag) => field(4, tag)),
      ...parts.metadata.map((one) => field(5, one)),
      ...(parts.contentType === null ? [] : [field(6, parts.contentType)]),
      ...(parts.data === null ? [] : [field(7, Buffer.from(parts.data))]),
    ];
    if (oddity === 0 && parts.json !== null) fields.push(field(8, parts.json));
    if (oddity === 1) fields.push(...parts.strange);
    if (oddity === 2) fields.push(...fields.slice(0, 1));
    if (oddity === 3) fields.push(field(3, text("again")));
    const order = parts.order[Symbol.iterator]();
    const shuffled = fields
      .map((bytes) => ({ bytes, rank: oddity < 20 ? (order.next().value as number) : 0 }))
      .toSorted((a, b) => a.rank - b.rank);
    const whole = Buffer.concat(shuffled.map(({ bytes }) => bytes));
    return cut === 0 ? whole.subarray(0, whole.length - 1) : whole;
  });

const condition = fc.constantFrom(
  ...Array.from({ length: 9 }, (_, i) => Buffer.concat([field(1, Buffer.alloc(0)), field(2, i)])),
  Buffer.concat([field(1, field(1, field(4, text("tag")))), field(2, 5)]),
  Buffer.from("1005", "hex"),
);
const expectation = fc.constantFrom(
  Buffer.concat([field(1, text("other")), field(2, 3)]),
  Buffer.concat([field(1, text("more")), field(3, 2)]),
  Buffer.concat([field(1, text("a")), field(3, 1)]),
  ...Array.from({ length: 9 }, (_, i) => Buffer.concat([field(1, text(`n${i}`)), field(2, i)])),
  field(1, text("mute")),
);

const request = fc
  .record({
    stream: fc.option(name, { freq: 8 }),
    events: fc.array(event, { maxLength: 6, size: "xsmall" }),
    expected: fc.option(
      fc.constantFrom(field(3, 0), field(3, 7), field(4, 2), field(4, 3), field(4, 1)),
    ),
    expectations: fc.array(expectation, { maxLength: 2 }),
    conditions: fc.array(condition, { maxLength: 2 }),
    rest: fc.array(
      fc.constantFrom(field(7, 1), field(99, text("x")), field(3, 1), field(1, text("b"))),
      {
        maxLength: 1,
        size: "xsmall",
      },
    ),
    odd: fc.nat({ max: 19 }),
  })
  .map((parts) => {
    const fields = [
      ...(parts.stream === null ? [] : [field(1, parts.stream)]),
      ...parts.events.map((one) => field(2, one)),
      ...(parts.expected === null ? [] : [parts.expected]),
      ...parts.expectations.map((one) => field(5, one)),
      ...parts.conditions.map((one) => field(6, one)),
    ];
    if (parts.odd === 0) fields.push(...parts.rest);
    if (parts.odd === 1) fields.reverse();
    return Buffer.concat(fields);
  });

describe("the fast path of an append", () => {
  test("means what the generated path means, or leaves the request alone", () => {
    let taken = 0;
    let left = 0;
    fc.assert(
      fc.property(request, (bytes) => {
        const fast = appendIfPlain(bytes, conversion);
        if (fast === undefined) left++;
        else {
          taken++;
          expect(meaning(fast)).toEqual(generated(bytes));
          const bodies = fast.events.reduce((sum, one) => sum + wholeBody(one).length, 0);
          expect(fast.bytes).toBe(bodies);
        }
      }),
      { numRuns: 6_000 },
    );
    // A test that never takes the path, or always, proves nothing.
    expect(taken).toBeGreaterThan(600);
    expect(left).toBeGreaterThan(600);
  });

  test("leaves nothing to the generated path that it would not have decoded in one piece", () => {
    fc.assert(
      fc.property(request, (bytes) => {
        const whole = generated(bytes);
        let inSteps: unknown;
        try {
          inSteps = meaning(appendFromBytes(bytes, conversion));
        } catch {
          inSteps = "refused";
        }
        expect(inSteps).toEqual(typeof whole === "string" ? "refused" : whole);
      }),
      { numRuns: 3_000 },
    );
  });

  test("keeps the client's bytes and puts what is missing behind them", () => {
    const data = Buffer.from("payload");
    const sent = Buffer.concat([field(7, data), field(3, text("T"))]);
    const bytes = Buffer.concat([field(2, sent), field(1, text("s"))]);
    const [taken] = appendIfPlain(bytes, conversion)?.events ?? [];
    expect(taken?.body).toEqual(sent);
    expect(decodeRecord(taken === undefined ? sent : wholeBody(taken))).toMatchObject({
      id: "",
      stream: "s",
      type: "T",
      contentType: "application/octet-stream",
      data,
    });
  });

  test("leaves every varint that is longer than needed to the codec, which writes it anew", () => {
    const longer = (number: number, content: Buffer): Buffer => {
      const length = [content.length | 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
      return Buffer.concat([varint(number * 8 + 2), Buffer.from(length), content]);
    };
    const pair = Buffer.concat([longer(1, text("k")), field(2, text("v"))]);
    for (const part of [
      longer(1, text(ids[0] as string)),
      longer(2, text("s")),
      longer(4, text("tag")),
      longer(5, Buffer.concat([field(1, text("k")), field(2, text("v"))])),
      field(5, pair),
      longer(6, text("text/plain")),
      longer(7, text("data")),
    ]) {
      const sent = Buffer.concat([field(3, text("T")), part]);
      const bytes = Buffer.concat([field(1, text("s")), field(2, sent)]);
      expect(appendIfPlain(bytes, conversion)).toBeUndefined();
      const [taken] = appendFromBytes(bytes, conversion).events;
      expect(isShortest(taken === undefined ? sent : wholeBody(taken))).toBe(true);
    }
  });

  test("copies no event, whatever is missing of it", () => {
    const whole = [
      field(1, text(ids[0] as string)),
      field(2, text("s")),
      field(3, text("T")),
      field(6, text("text/plain")),
    ];
    const typed = Buffer.concat([field(3, text("T")), field(7, text("data"))]);
    for (const sent of [Buffer.concat(whole), typed]) {
      const bytes = Buffer.concat([field(1, text("s")), field(2, sent), field(2, typed)]);
      const [first, second] = appendIfPlain(bytes, conversion)?.events ?? [];
      expect(first?.body.buffer).toBe(bytes.buffer);
      expect(first?.body).toEqual(sent);
      expect(first?.bodyEnd === undefined).toBe(sent !== typed);
      // What both of them miss is there once.
      expect(first?.bodyEnd === second?.bodyEnd).toBe(sent === typed);
    }
  });

  test("takes everything a generated client sends that needs no rewriting", () => {
    const plain = encode(AppendRequestSchema, {
      stream: "s",
      events: [
        {
          id: ids[0] as string,
          type: "T",
          tags: ["a", "b"],
          metadata: { k: "v", é: "漢" },
          contentType: "text/plain",
          payload: { case: "data", value: Buffer.from("x") },
        },
        { stream: "other", type: "U" },
      ],
      expected: { case: "expectedVersion", value: 3n },
      expectations: [{ stream: "third", expected: { case: "expectedState", value: 2 } }],
      conditions: [{ query: { items: [{ tags: ["a"] }] }, after: 9n }],
    });
    const fast = appendIfPlain(plain, conversion);
    expect(fast && meaning(fast)).toEqual(generated(plain));
  });

  test("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        appendIfPlain(Buffer.from(bytes), conversion);
      }),
      { numRuns: 20_000 },
    );
  });
});

// Requests to append as no library writes them, byte by byte: mostly one plain event with few
// oddities in it, so that a good part of them is accepted.
import fc from "fast-check";

const wireTypes = { varint: 0, fixed64: 1, bytes: 2, group: 3, endGroup: 4, fixed32: 5 };

/** In `extra` more bytes than needed; a varint has 10 at most. */
function varint(value: number, extra = 0): Buffer {
  const bytes = [];
  do {
    bytes.push((value % 128) | 0x80);
    value = Math.floor(value / 128);
  } while (value > 0);
  while (extra > 0 && bytes.length < 10) {
    bytes.push(0x80);
    extra -= 1;
  }
  bytes.push((bytes.pop() as number) & 0x7f);
  return Buffer.from(bytes);
}

interface Oddity {
  readonly tag: number;
  readonly length: number;
}

/** Extra bytes in a tag and in a length: nearly always none. */
const oddity: fc.Arbitrary<Oddity> = fc.oneof(
  { weight: 60, arbitrary: fc.constant({ tag: 0, length: 0 }) },
  { weight: 1, arbitrary: fc.record({ tag: fc.nat(9), length: fc.constant(0) }) },
  { weight: 2, arbitrary: fc.record({ tag: fc.constant(0), length: fc.nat(9) }) },
);

function tagOf(number: number, type: number, extra = 0): Buffer {
  return varint(number * 8 + type, extra);
}

function lengthDelimited(number: number, content: Buffer, odd: Oddity): Buffer {
  const tag = tagOf(number, wireTypes.bytes, odd.tag);
  return Buffer.concat([tag, varint(content.length, odd.length), content]);
}

/** A field of bytes, with an arbitrary content. */
function field(number: number, content: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc.tuple(content, oddity).map(([bytes, odd]) => lengthDelimited(number, bytes, odd));
}

const plainly = (number: number, content: Buffer | string): Buffer =>
  lengthDelimited(number, Buffer.from(content), { tag: 0, length: 0 });

const notUtf8 = fc
  .constantFrom("80", "c0af", "eda080", "eda080edb080", "f8888080", "61c3", "f4908080", "ff")
  .map((hex) => Buffer.from(hex, "hex"));

/** Names and texts: plain, beyond ASCII, at the limits of Unicode, seldom no UTF-8. */
function textual(...plain: string[]): fc.Arbitrary<Buffer> {
  const limits = ["\u{10FFFF}", "\uFFFE", "\uFEFFa", "\uD7FF", "\uE000", "a\u0301", "\u202E", ""];
  return fc.oneof(
    { weight: 40, arbitrary: fc.constantFrom(...plain).map((text) => Buffer.from(text)) },
    { weight: 2, arbitrary: fc.constantFrom(...limits).map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.string({ unit: "binary" }).map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: notUtf8 },
  );
}

const nested = (depth: number, start: string, end: string): string =>
  start.repeat(depth) + "1" + end.repeat(depth);

const jsonText = fc.oneof(
  fc.json({ stringUnit: "binary" }),
  fc.constantFrom(
    '{"a":1e400}',
    '{"a":9007199254740993}',
    "[-0,1e-400,0.1,12345678901234567890]",
    '{"\\ud800":1,"\\udfff":2}',
    '{"a":1,"a":2}',
    '{"__proto__":{"a":1},"constructor":[],"":null}',
    '"\\u0000"',
    "{broken",
    "null",
  ),
  fc.nat(120).map((depth) => nested(depth, '{"a":', "}")),
  fc.nat(120).map((depth) => nested(depth, "[", "]")),
);

/** A `google.protobuf.Value`, now and then with a kind twice or none. */
const value: fc.Arbitrary<Buffer> = fc.letrec<{ value: Buffer }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: "small" },
    fc.constant(Buffer.from("0800", "hex")),
    fc.double().map((number) => {
      const bytes = Buffer.alloc(9, 0x11);
      bytes.writeDoubleLE(number, 1);
      return bytes;
    }),
    field(3, textual("x", "é")),
    fc.constantFrom("2000", "2001", "208100", "", "20010800").map((hex) => Buffer.from(hex, "hex")),
    field(
      5,
      fc.array(structEntry(tie("value")), { maxLength: 3 }).map((parts) => Buffer.concat(parts)),
    ),
    field(
      6,
      fc.array(field(1, tie("value")), { maxLength: 3 }).map((parts) => Buffer.concat(parts)),
    ),
  ),
})).value;

function structEntry(member: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const parts = fc.tuple(field(1, textual("a", "b", "__proto__")), field(2, member));
  const shape = fc.constantFrom("kv", "kv", "kv", "kv", "kv", "vk", "k", "kkv", "kvv");
  return field(1, inShape(parts, shape));
}

const deepValue = fc.nat(70).map((depth) => {
  let bytes: Buffer = Buffer.from("0800", "hex");
  for (let i = 0; i < depth; i += 1) {
    bytes = plainly(5, plainly(1, Buffer.concat([plainly(1, "a"), plainly(2, bytes)])));
  }
  return bytes;
});

/** A key and a value in the order of the shape's letters; x is a field that is unknown. */
function inShape(
  parts: fc.Arbitrary<[Buffer, Buffer]>,
  shapes: fc.Arbitrary<string>,
): fc.Arbitrary<Buffer> {
  return fc.tuple(parts, shapes, fc.nat(9)).map(([[key, member], shape, n]) => {
    const unknown = plainly(3 + n, "x");
    const letters: Record<string, Buffer> = { k: key, v: member, x: unknown };
    return Buffer.concat(shape.split("").map((letter) => letters[letter] as Buffer));
  });
}

const metadataEntry = field(
  5,
  inShape(
    fc.tuple(field(1, textual("a", "b", "c", "__proto__", "é")), field(2, textual("", "v", "漢"))),
    fc.oneof(
      { weight: 20, arbitrary: fc.constant("kv") },
      { weight: 3, arbitrary: fc.constantFrom("vk", "k", "v", "kk", "kvx", "xkv", "kvv", "kvkv") },
    ),
  ),
);

/** What `NewEvent` does not have, or has in another wire type. */
const strange: fc.Arbitrary<Buffer> = fc.oneof(
  // Numbers that `RecordedEvent` has and `NewEvent` has not: nobody may write these.
  fc.constantFrom(9, 10).map((n) => Buffer.concat([tagOf(n, 0), varint(7)])),
  fc.constantFrom(11, 12, 15, 16, 17, 1_000).map((n) => plainly(n, Buffer.from("0801", "hex"))),
  fc.integer({ min: 1, max: 20 }).map((n) => Buffer.concat([tagOf(n, 0), varint(3)])),
  fc.integer({ min: 1, max: 20 }).map((n) => Buffer.concat([tagOf(n, 1), Buffer.alloc(8, 1)])),
  fc.integer({ min: 1, max: 20 }).map((n) => Buffer.concat([tagOf(n, 5), Buffer.alloc(4, 1)])),
  fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 120 })).map(([n, depth]) => {
    const starts = Array.from({ length: depth }, () => tagOf(n, wireTypes.group));
    const ends = Array.from({ length: depth }, () => tagOf(n, wireTypes.endGroup));
    return Buffer.concat([...starts, tagOf(1, 0), varint(1), ...ends]);
  }),
  fc.integer({ min: 1, max: 20 }).map((n) => tagOf(n, wireTypes.endGroup)),
  fc
    .constantFrom("1a7f", "3a", "00", "07", "ffffffffffffffffff7f")
    .map((hex) => Buffer.from(hex, "hex")),
  // A number beyond 32 bits, which a parser may cut.
  fc.constant(Buffer.from("9a80808080020161", "hex")),
);

const seldom = (many: fc.Arbitrary<Buffer>, weight: number): fc.Arbitrary<Buffer[]> =>
  fc.oneof(
    { weight, arbitrary: fc.constant<Buffer[]>([]) },
    { weight: 1, arbitrary: fc.array(many, { minLength: 1, maxLength: 2 }) },
  );

const payload = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        field(6, textual("application/json", "a/b+json")),
        field(
          7,
          jsonText.map((text) => Buffer.from(text)),
        ),
      )
      .map((parts) => Buffer.concat(parts)),
  },
  {
    weight: 4,
    arbitrary: field(
      7,
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    ),
  },
  { weight: 4, arbitrary: field(8, value) },
  { weight: 1, arbitrary: field(8, deepValue) },
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(0)) },
);

/** An event: its usual fields, seldom in another order, twice, or with strange ones between. */
const event = fc
  .record({
    type: field(3, textual("T", "Ordered", "é漢")),
    stream: fc.oneof(
      { weight: 3, arbitrary: fc.constant(Buffer.alloc(0)) },
      { weight: 1, arbitrary: field(2, textual("s", "other-1")) },
    ),
    tags: fc.array(field(4, textual("a", "b:1", "漢:é")), { maxLength: 2 }),
    metadata: fc.array(metadataEntry, { maxLength: 2 }),
    payload,
    strange: seldom(strange, 8),
    again: seldom(fc.oneof(field(3, textual("T", "U")), field(2, textual("s", "t")), payload), 12),
    isShuffled: fc.integer({ min: 0, max: 9 }),
    order: fc.infiniteStream(fc.nat(1_000)),
  })
  .map(
    ({ type, stream, tags, metadata, payload: body, strange: odd, again, isShuffled, order }) => {
      const fields = [type, stream, ...tags, ...metadata, body, ...again, ...odd];
      if (isShuffled === 0) {
        const keyed = fields.map((each) => [order.next().value as number, each] as const);
        return Buffer.concat(keyed.toSorted(([a], [b]) => a - b).map(([, each]) => each));
      }
      return Buffer.concat(fields);
    },
  );

/** The bytes of an `AppendRequest`. */
export const appendBytes: fc.Arbitrary<Buffer> = fc
  .record({
    stream: field(1, textual("s", "s", "s", "é")),
    events: fc.array(field(2, event), { minLength: 1, maxLength: 3 }),
    strange: seldom(strange, 20),
    isStreamLast: fc.boolean(),
  })
  .map(({ stream, events, strange: odd, isStreamLast }) => {
    const parts = isStreamLast ? [...events, ...odd, stream] : [stream, ...odd, ...events];
    return Buffer.concat(parts);
  });

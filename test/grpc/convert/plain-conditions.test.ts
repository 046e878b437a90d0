// Conditions read by hand against the generated codec: whatever bytes come, they mean the same, or
// are left to it.
import fc from "fast-check";
import { expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { varintBytes, writeVarint } from "../../../src/domain/wire.ts";
import { AppendConditionSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { convertConditions } from "../../../src/grpc/convert/append-message.ts";
import { Violations } from "../../../src/grpc/convert/checks.ts";
import { plainConditions } from "../../../src/grpc/convert/plain-conditions.ts";
import { decodeRequest } from "../../../src/grpc/transport/decode.ts";

const limits = {
  ...defaultLimits,
  streamNameBytesMax: 12,
  typeBytesMax: 10,
  tagBytesMax: 8,
  queryItemsMax: 4,
  queryValuesMax: 8,
};

/** What the generated path makes of the conditions. Undefined: it refuses them. */
function generated(views: readonly Buffer[]): unknown {
  try {
    const v = new Violations();
    const wire = views.map((view) => decodeRequest(AppendConditionSchema, view));
    const converted = convertConditions(v, wire, limits);
    return v.none ? converted : undefined;
  } catch {
    return undefined;
  }
}

function varint(value: number): Buffer {
  const bytes = Buffer.alloc(varintBytes(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

function field(number: number, content: Buffer | number): Buffer {
  if (typeof content === "number") return Buffer.concat([varint(number * 8), varint(content)]);
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

const text = (content: string): Buffer => Buffer.from(content);
const plainName = fc.constantFrom(...["a", "Ordered", "é漢", "t-1", "01234567"].map(text));
const oddName = fc.constantFrom(
  ...["", "$x", "0123456789abc", "012345678", "a\u0000", "\u0085", "\ufeff", "\ufeffa"].map(text),
  ...["80", "c0af", "eda080", "61c3"].map((hex) => Buffer.from(hex, "hex")),
);
const name = fc.oneof({ weight: 30, arbitrary: plainName }, { weight: 1, arbitrary: oddName });
const number = fc.constantFrom(1, 3, 3, 4, 4, 4, 5, 2, 6);
const usual = fc.constantFrom(1, 3, 3, 4, 4, 4, 5);
const named = (numbers: typeof number) =>
  fc.tuple(numbers, name).map(([which, content]) => field(which, content));
const part = fc.oneof(
  { weight: 20, arbitrary: named(usual) },
  { weight: 1, arbitrary: named(number) },
);
const joined = (parts: readonly Buffer[]): Buffer => Buffer.concat(parts);
const item = fc.array(part, { maxLength: 4 }).map(joined);
const query = fc.array(
  item.map((bytes) => field(1, bytes)),
  { maxLength: 3 },
);
const position = fc.constantFrom(0, 1, 127, 128, 2 ** 40, Number.MAX_SAFE_INTEGER);
const extra = fc.constantFrom(
  field(3, 1),
  field(3, 0),
  field(3, 2),
  field(2, 9),
  field(1, Buffer.alloc(0)),
  field(9, 1),
  Buffer.from("10ffffffffffffffffff01", "hex"),
  Buffer.from("108100", "hex"),
);
const condition = fc
  .record({
    query: query.map((items) => field(1, joined(items))),
    after: position.map((at) => field(2, at)),
    extra: fc.option(extra, { freq: 4 }),
    without: fc.nat({ max: 20 }),
    isReversed: fc.boolean(),
    cut: fc.nat({ max: 60 }),
    flipped: fc.nat({ max: 400 }),
  })
  .map(({ query: asked, after, extra: more, without, isReversed, cut, flipped }) => {
    const fields = [
      ...(without === 0 ? [] : [asked]),
      ...(without === 1 ? [] : [after]),
      ...(more === null ? [] : [more]),
    ];
    const bytes = joined(isReversed ? fields.toReversed() : fields);
    if (flipped < bytes.length) bytes[flipped] = (bytes[flipped] as number) ^ 0x09;
    return cut === 0 ? bytes.subarray(0, bytes.length - 1) : bytes;
  });

test("conditions that are read by hand mean what the codec reads", () => {
  let [taken, left] = [0, 0];
  fc.assert(
    fc.property(fc.array(condition, { minLength: 1, maxLength: 3 }), (views) => {
      const plain = plainConditions(views, limits);
      if (plain === undefined) left++;
      else {
        taken++;
        expect(plain).toEqual(generated(views));
      }
    }),
    { numRuns: 10_000 },
  );
  expect(taken).toBeGreaterThan(1_000);
  expect(left).toBeGreaterThan(1_000);
});

test("a length that reaches beyond its message is left to the codec", () => {
  const whole = joined([field(1, field(1, joined([field(3, text("T")), field(4, text("tag"))])))]);
  expect(plainConditions([whole], limits)).toEqual(generated([whole]));
  for (const at of [1, 3, 5, 8]) {
    for (const more of [-2, -1, 1, 2, 5]) {
      const bytes = joined([whole, field(2, 300)]);
      bytes[at] = (bytes[at] as number) + more;
      const plain = plainConditions([bytes], limits);
      if (plain !== undefined) expect(plain).toEqual(generated([bytes]));
    }
  }
});

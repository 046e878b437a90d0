// JSON as `google.protobuf.Value` and back: equal to the generated codec, bounded, and never corrupted.
import {
  create,
  fromBinary,
  fromJson,
  toBinary,
  toJson,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Json } from "../../../src/domain/json.ts";
import { jsonOf, valueBytes, valueBytesOfText } from "../../../src/grpc/convert/json-value.ts";

const json = fc.jsonValue({ noUnicodeString: false, maxDepth: 6 }) as fc.Arbitrary<Json>;
const text = (value: string): Buffer => Buffer.from(value);
const decoded = (bytes: Buffer | undefined): unknown =>
  bytes && toJson(ValueSchema, fromBinary(ValueSchema, bytes));

describe("JSON to the wire", () => {
  test("is what the generated codec says, and comes back the same", () => {
    fc.assert(
      fc.property(json, (value) => {
        const bytes = valueBytes(value, 1_000_000);
        expect(bytes).toEqual(Buffer.from(toBinary(ValueSchema, fromJson(ValueSchema, value))));
        expect(jsonOf(fromBinary(ValueSchema, bytes as Buffer))).toEqual(value);
      }),
      { numRuns: 2_000 },
    );
  });

  test("keeps the order of members and a member called __proto__", () => {
    const value = JSON.parse('{"z":1,"__proto__":{"x":[]},"a":null}') as Json;
    const back = jsonOf(fromBinary(ValueSchema, valueBytes(value, 999) as Buffer));
    expect(JSON.stringify(back)).toBe('{"z":1,"__proto__":{"x":[]},"a":null}');
  });

  test("ends at the byte limit", () => {
    const exact = valueBytes([true, "x", 1.5], 999)?.length ?? 0;
    expect(valueBytes([true, "x", 1.5], exact)).toBeDefined();
    expect(valueBytes([true, "x", 1.5], exact - 1)).toBeUndefined();
    expect(valueBytes("x".repeat(5_000), 6_000)).toHaveLength(5_003);
  });

  test("ends before clients' decoders would: at 29 objects (Python's takes 33) or 44 lists", () => {
    const lists = (levels: number): Json => (levels === 0 ? 0 : [lists(levels - 1)]);
    const objects = (levels: number): Json => (levels === 0 ? 0 : { a: objects(levels - 1) });
    expect(decoded(valueBytes(lists(44), 9_999))).toEqual(lists(44));
    expect(valueBytes(lists(45), 9_999)).toBeUndefined();
    expect(decoded(valueBytes(objects(29), 9_999))).toEqual(objects(29));
    expect(valueBytes(objects(30), 9_999)).toBeUndefined();
    expect(valueBytesOfText(text("[".repeat(100_000) + "]".repeat(100_000)), 1e6)).toBeUndefined();
  });

  test("is quick with a large text of small values", () => {
    const many = text(`[${"0,".repeat(1_000_000)}0]`);
    const parse = vi.spyOn(JSON, "parse");
    expect(valueBytesOfText(many, 1_000_000)).toBeUndefined();
    const deep = text("[".repeat(1_400_000) + "]".repeat(1_400_000));
    expect(valueBytesOfText(deep, 9_999_999)).toBeUndefined();
    expect(parse).not.toHaveBeenCalled();
    parse.mockRestore();
    expect(valueBytesOfText(text(`[${"null,".repeat(9_000)}null]`), 1_000_000)).toHaveLength(
      4 * 9_001 + 4,
    );
  });
});

describe("a text becomes a value only where the value says the same", () => {
  test.each([
    ["0", 0],
    ["-0.5", -0.5],
    ["1e3", 1000],
    ["1.50E-2", 0.015],
    ["123456789012345", 123456789012345],
    ["9007199254740992", 9007199254740992],
    ["1000000000000000000000", 1e21],
    ["0.1", 0.1],
    ["100.000000000000000000000", 100],
    ['"12345678901234567890"', "12345678901234567890"],
    ['{"a\\"9007199254740993":[1]}', { 'a"9007199254740993': [1] }],
  ])("%s", (source, value) => {
    expect(decoded(valueBytesOfText(text(source), 999))).toEqual(value);
  });

  test.each([
    "9007199254740993",
    "-12345678901234567890",
    "0.1000000000000000055511151231257827",
    "1e400",
    "-1e999",
    '[1,{"amount":12345678901234.5678}]',
    '{"s":"\\\\","n":9007199254740993}',
    `1${"0".repeat(600)}`,
  ])("a double would bend %s, so it stays bytes", (source) => {
    expect(valueBytesOfText(text(source), 99_999)).toBeUndefined();
  });

  test.each(["", "nul", "{'a':1}", "[1,]", "\ufeff1", "1 2", '"\u0001"'])(
    "%j is not JSON",
    (source) => {
      expect(valueBytesOfText(text(source), 999)).toBeUndefined();
    },
  );

  test("invalid UTF-8 is not JSON", () => {
    expect(valueBytesOfText(Buffer.from([0x22, 0xff, 0x22]), 999)).toBeUndefined();
  });

  test("any JSON that was written by JSON.stringify is taken", () => {
    fc.assert(
      fc.property(json, (value) => {
        const source = JSON.stringify(value);
        expect(decoded(valueBytesOfText(text(source), 1e6))).toEqual(JSON.parse(source));
      }),
    );
  });
});

describe("a value from the wire", () => {
  test.each([
    [{ case: "numberValue", value: NaN } as const, "holds NaN: no JSON number"],
    [{ case: "numberValue", value: Infinity } as const, "holds Infinity: no JSON number"],
    [{ case: undefined } as const, "holds a google.protobuf.Value without a kind"],
    [
      { case: "listValue", value: { values: [{}] } } as const,
      "holds a google.protobuf.Value without a kind",
    ],
  ])("that is no JSON is refused: %j", (kind, message) => {
    const value = create(ValueSchema, { kind } as MessageInitShape<typeof ValueSchema>);
    expect(() => jsonOf(value)).toThrow(message);
  });
});

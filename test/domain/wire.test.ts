// Varints and fields by hand, against the wire code of the generated codec.
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { varintBytes, WireReader, writeVarint } from "../../src/domain/wire.ts";

/** Every length of varint, and the numbers around each bound between two lengths. */
const bounds = Array.from({ length: 54 }, (_, bits) => 2 ** bits)
  .flatMap((power) => [power - 1, power, power + 1])
  .filter(Number.isSafeInteger);
const safe = fc.oneof(
  fc.constantFrom(...bounds),
  fc.maxSafeNat(),
  fc.nat({ max: 300 }),
  fc.tuple(fc.nat({ max: 53 }), fc.maxSafeNat()).map(([bits, n]) => Math.floor(n / 2 ** bits)),
);

function written(value: number): Uint8Array {
  const into = new Uint8Array(12).fill(0xee);
  const end = writeVarint(into, 1, value);
  expect(into[0]).toBe(0xee);
  expect([...into.subarray(end)].every((byte) => byte === 0xee)).toBe(true);
  return into.subarray(1, end);
}

describe("varints", () => {
  test.each(bounds)("%d is written as the generated codec writes it, and read back", (value) => {
    const expected = new BinaryWriter().uint64(BigInt(value)).finish();
    expect([...written(value)]).toEqual([...expected]);
    expect(varintBytes(value)).toBe(expected.length);
    expect(new WireReader(expected).varint()).toBe(value);
  });

  test("any safe integer is written and read as by the generated codec", () => {
    const property = fc.property(safe, (value) => {
      const expected = new BinaryWriter().uint64(BigInt(value)).finish();
      expect([...written(value)]).toEqual([...expected]);
      expect(varintBytes(value)).toBe(expected.length);
      const reader = new WireReader(expected);
      expect(reader.varint()).toBe(value);
      expect(reader.done).toBe(true);
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  test("a varint padded with empty groups is the number it says", () => {
    const property = fc.property(safe, fc.nat({ max: 9 }), (value, padding) => {
      const bytes = [...written(value)];
      for (let i = 0; i < padding && bytes.length < 10; i++) {
        bytes.push((bytes.pop() ?? 0) | 0x80, 0);
      }
      expect(new WireReader(Uint8Array.from(bytes)).varint()).toBe(value);
    });
    fc.assert(property);
  });

  test("a number beyond 2^53 - 1 is refused, never rounded", () => {
    const beyond = fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n });
    const property = fc.property(beyond, (value) => {
      const bytes = new BinaryWriter().uint64(value).finish();
      expect(() => new WireReader(bytes).varint()).toThrow(RangeError);
      const reader = new WireReader(bytes);
      reader.passOver(0);
      expect(reader.done).toBe(true);
    });
    fc.assert(property);
    expect(new WireReader(new BinaryWriter().uint64(2n ** 53n - 1n).finish()).varint()).toBe(
      Number.MAX_SAFE_INTEGER,
    );
  });

  test("a varint that is cut off or never ends is refused", () => {
    const property = fc.property(
      fc.nat({ max: 12 }),
      fc.integer({ min: 0x80, max: 0xff }),
      (n, byte) => {
        const bytes = new Uint8Array(n).fill(byte);
        expect(() => new WireReader(bytes).varint()).toThrow(RangeError);
        expect(() => new WireReader(bytes).passOver(0)).toThrow(RangeError);
      },
    );
    fc.assert(property);
  });
});

describe("a wire reader", () => {
  test("reads and passes over fields as the generated codec does", () => {
    const field = fc.record({
      number: fc.integer({ min: 1, max: 100_000 }),
      wireType: fc.constantFrom(0, 1, 2, 5),
      bytes: fc.uint8Array({ maxLength: 300 }),
      value: safe,
    });
    const property = fc.property(fc.array(field), (fields) => {
      const writer = new BinaryWriter();
      for (const { number, wireType, bytes, value } of fields) {
        writer.tag(number, wireType);
        if (wireType === 0) writer.uint64(BigInt(value));
        else if (wireType === 1) writer.fixed64(BigInt(value));
        else if (wireType === 2) writer.bytes(bytes);
        else writer.fixed32(value % 2 ** 32);
      }
      const bytes = writer.finish();
      const [ours, theirs] = [new WireReader(bytes), new BinaryReader(bytes)];
      for (const expected of fields) {
        const tag = ours.varint();
        expect([Math.floor(tag / 8), tag & 7]).toEqual(theirs.tag());
        if (expected.wireType === 2) expect(ours.view()).toEqual(expected.bytes);
        else ours.passOver(tag & 7);
        theirs["skip"](expected.wireType);
        expect(ours.offset).toBe(theirs.pos);
      }
      expect(ours.done).toBe(true);
    });
    fc.assert(property);
  });

  test("stays within the range it was given", () => {
    const bytes = Uint8Array.from([0x12, 0x03, 1, 2, 3, 0x12, 0x03, 4, 5, 6]);
    const reader = new WireReader(bytes, 5, 9);
    expect(reader.varint()).toBe(0x12);
    expect(() => reader.view()).toThrow(RangeError);
    expect(() => new WireReader(bytes, 2, 2).varint()).toThrow(RangeError);
    expect(new WireReader(bytes, 10).done).toBe(true);
  });

  test("answers views, not copies", () => {
    const bytes = Uint8Array.from([2, 7, 8, 9]);
    const view = new WireReader(bytes).view();
    expect(view.buffer).toBe(bytes.buffer);
    expect([...view]).toEqual([7, 8]);
  });

  test.each([3, 4, 6, 7])("refuses the wire type %d", (wireType) => {
    expect(() => new WireReader(new Uint8Array(20)).passOver(wireType)).toThrow(RangeError);
  });

  test("refuses fields that are cut off", () => {
    for (const [wireType, bytes] of [
      [1, 7],
      [5, 3],
    ] as const) {
      expect(() => new WireReader(new Uint8Array(bytes)).passOver(wireType)).toThrow(RangeError);
      new WireReader(new Uint8Array(bytes + 1)).passOver(wireType);
    }
    const short = Uint8Array.from([5, 1, 2, 3, 4]);
    expect(() => new WireReader(short).passOver(2)).toThrow(RangeError);
    expect(() => new WireReader(short).view()).toThrow(RangeError);
    const huge = new BinaryWriter().uint64(2n ** 53n - 1n).finish();
    expect(() => new WireReader(huge).view()).toThrow(RangeError);
  });
});

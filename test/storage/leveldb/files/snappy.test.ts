// Our snappy decompressor: every kind of element, and malformed input that ends in a RangeError.
import fc from "fast-check";
import { expect, test } from "vitest";
import { snappyDecompress } from "../../../../src/storage/leveldb/files/snappy.ts";

const bytesMax = 1 << 20;

function decompress(...parts: readonly (number | string | readonly number[])[]): string {
  const bytes = parts.map((part) =>
    typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from([part].flat()),
  );
  return Buffer.from(snappyDecompress(Buffer.concat(bytes), bytesMax)).toString("latin1");
}

const literal = (count: number): number => (count - 1) << 2;

test("literals of up to 60 bytes name their length in the tag", () => {
  expect(decompress(5, literal(5), "hello")).toBe("hello");
  const sixty = "x".repeat(60);
  expect(decompress(60, literal(60), sixty)).toBe(sixty);
});

test("longer literals name their length in one to four bytes behind the tag", () => {
  const text = "abc".repeat(100);
  const length = [0xac, 0x02];
  expect(decompress(length, 61 << 2, [0x2b, 0x01], text)).toBe(text);
  expect(decompress(length, 62 << 2, [0x2b, 0x01, 0], text)).toBe(text);
  expect(decompress(length, 63 << 2, [0x2b, 0x01, 0, 0], text)).toBe(text);
  expect(decompress(100, 60 << 2, 99, text.slice(0, 100))).toBe(text.slice(0, 100));
});

test("copies look back by offsets of 11, 16 and 32 bits", () => {
  expect(decompress(10, literal(5), "abcde", 0b000_001_01, 5)).toBe("abcdeabcde");
  expect(decompress(10, literal(5), "abcde", (4 << 2) | 2, [5, 0])).toBe("abcdeabcde");
  expect(decompress(10, literal(5), "abcde", (4 << 2) | 3, [5, 0, 0, 0])).toBe("abcdeabcde");
  const far = "z".repeat(300);
  const long = decompress([0xb0, 0x02], 61 << 2, [0x2b, 0x01], far, (0b001 << 5) | 1, 0x2c);
  expect(long).toBe("z".repeat(304));
});

test("a copy may overlap what it writes: a run", () => {
  expect(decompress(21, literal(1), "a", (19 << 2) | 2, [1, 0])).toBe("a".repeat(21));
});

test("nothing at all is zero bytes", () => {
  expect(decompress(0)).toBe("");
});

test.each([
  ["no length", []],
  ["longer than believed", [0xff, 0xff, 0xff, 0x7f]],
  ["a literal beyond the input", [5, literal(5), 0x61]],
  ["a literal beyond the output", [2, literal(3), 0x61, 0x61, 0x61]],
  ["a copy from before the beginning", [5, literal(1), 0x61, (3 << 2) | 2, 2, 0]],
  ["a copy from nowhere", [5, literal(1), 0x61, (3 << 2) | 2, 0, 0]],
  ["a copy beyond the output", [3, literal(1), 0x61, (7 << 2) | 2, 1, 0]],
  ["a copy cut off", [9, literal(1), 0x61, (7 << 2) | 2, 1]],
  ["less than was promised", [9, literal(1), 0x61]],
])("malformed input is refused: %s", (_, bytes) => {
  expect(() => decompress(bytes)).toThrow(RangeError);
});

test("whatever the bytes, the answer is bytes of the promised length or a RangeError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(200), (bytes, length) => {
      const input = Buffer.concat([Buffer.from(length < 128 ? [length] : [length, 1]), bytes]);
      try {
        const promised = length < 128 ? length : length - 128 + 128;
        expect(snappyDecompress(input, bytesMax)).toHaveLength(promised);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
    { numRuns: 2_000 },
  );
});

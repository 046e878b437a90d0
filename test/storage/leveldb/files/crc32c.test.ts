// CRC-32C by words is what it is by bits, wherever the bytes lie.
import { expect, test } from "vitest";
import { crc32c, extendCrc32c } from "../../../../src/storage/leveldb/files/crc32c.ts";
import { seededRandom } from "../../../support/seeded.ts";

// Source: RFC 3720, B.4, and the check value of CRC-32/ISCSI.
test.each([
  ["32 zeros", Buffer.alloc(32), 0x8a91_36aa],
  ["32 times 0xff", Buffer.alloc(32, 0xff), 0x62a8_ab43],
  ["0 to 31", Buffer.from(Array.from({ length: 32 }, (_, i) => i)), 0x46dd_794e],
  ["31 to 0", Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113f_db5c],
  ["the digits", Buffer.from("123456789"), 0xe306_9283],
  ["nothing", Buffer.alloc(0), 0],
])("of %s", (_, bytes, expected) => {
  expect(crc32c(bytes, 0, bytes.length)).toBe(expected);
});

function byBits(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

test("of any bytes at any place, at once and in parts", () => {
  const random = seededRandom(32);
  const memory = new Uint8Array(400).map(() => random() * 256);
  for (let offset = 0; offset < 9; offset++) {
    const bytes = memory.subarray(offset);
    for (let start = 0; start < 9; start++) {
      for (let length = 0; length < 80; length++) {
        const end = start + length;
        const expected = byBits(bytes.subarray(start, end));
        expect(crc32c(bytes, start, end)).toBe(expected);
        const middle = start + Math.floor(random() * (length + 1));
        const state = extendCrc32c(~0, bytes, start, middle);
        expect(~extendCrc32c(state, bytes, middle, end) >>> 0).toBe(expected);
      }
    }
  }
});

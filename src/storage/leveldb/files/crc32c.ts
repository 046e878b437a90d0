// CRC-32C (Castagnoli), which LevelDB uses for its log records and table blocks, computed sixteen
// bytes at a time in words of four. Node only provides the other CRC-32. Polynomial 0x1edc6f41,
// reflected.

import { endianness } from "node:os";

/** Words are read as the machine has them. */
const isLittleEndian = endianness() === "LE";

/** What a byte adds that is followed by 0 to 15 others, 256 entries for each of them. */
const table = new Int32Array(16 * 256);
for (let at = 0; at < table.length; at++) {
  const before = at < 256 ? at : (table[at - 256] as number);
  let crc = before;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  table[at] = crc;
}

/** The CRC of `bytes[start..end)`. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  return ~extendCrc32c(~0, bytes, start, end) >>> 0;
}

/** Goes on from the state of earlier bytes; the CRC is the state inverted. It begins as `~0`. */
export function extendCrc32c(state: number, bytes: Uint8Array, start: number, end: number): number {
  // Words must be at whole addresses.
  const toWords = Math.min(end, start + (-(bytes.byteOffset + start) & 3));
  const words = isLittleEndian ? ((end - toWords) >>> 4) << 2 : 0;
  const wordsEnd = toWords + words * 4;
  let crc = byteByByte(state | 0, bytes, start, toWords);
  if (words > 0)
    crc = wordByWord(crc, new Int32Array(bytes.buffer, bytes.byteOffset + toWords, words));
  return byteByByte(crc, bytes, wordsEnd, end);
}

function byteByByte(state: number, bytes: Uint8Array, start: number, end: number): number {
  let crc = state;
  for (let at = start; at < end; at++) {
    crc = (table[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8);
  }
  return crc;
}

/** Of whole groups of four words. */
function wordByWord(state: number, words: Int32Array): number {
  const t = table;
  let crc = state;
  for (let i = 0; i < words.length; i += 4) {
    const a = crc ^ (words[i] as number);
    const b = words[i + 1] as number;
    const c = words[i + 2] as number;
    const d = words[i + 3] as number;
    crc =
      (t[3840 + (a & 0xff)] as number) ^
      (t[3584 + ((a >>> 8) & 0xff)] as number) ^
      (t[3328 + ((a >>> 16) & 0xff)] as number) ^
      (t[3072 + (a >>> 24)] as number) ^
      (t[2816 + (b & 0xff)] as number) ^
      (t[2560 + ((b >>> 8) & 0xff)] as number) ^
      (t[2304 + ((b >>> 16) & 0xff)] as number) ^
      (t[2048 + (b >>> 24)] as number) ^
      (t[1792 + (c & 0xff)] as number) ^
      (t[1536 + ((c >>> 8) & 0xff)] as number) ^
      (t[1280 + ((c >>> 16) & 0xff)] as number) ^
      (t[1024 + (c >>> 24)] as number) ^
      (t[768 + (d & 0xff)] as number) ^
      (t[512 + ((d >>> 8) & 0xff)] as number) ^
      (t[256 + ((d >>> 16) & 0xff)] as number) ^
      (t[d >>> 24] as number);
  }
  return crc;
}

/** LevelDB stores CRCs masked, because the CRC of bytes that contain their own CRC is weak. */
export function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

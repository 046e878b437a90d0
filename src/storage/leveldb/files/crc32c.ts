// CRC-32C (Castagnoli), which LevelDB uses for its log records and table blocks, computed eight
// bytes at a time. Node only provides the other CRC-32. Polynomial 0x1edc6f41, reflected.

const tables: Uint32Array[] = [];
for (let t = 0; t < 8; t++) {
  const table = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const before = t === 0 ? byte : ((tables[t - 1] as Uint32Array)[byte] as number);
    let crc = before;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    table[byte] = crc;
  }
  tables.push(table);
}
const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];

/** The CRC of `bytes[start..end)`. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  return ~extendCrc32c(~0, bytes, start, end) >>> 0;
}

/** Goes on from the state of earlier bytes; the CRC is the state inverted. It begins as `~0`. */
export function extendCrc32c(state: number, bytes: Uint8Array, start: number, end: number): number {
  let crc = state;
  let at = start;
  for (; at + 8 <= end; at += 8) {
    const low =
      crc ^
      ((bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24));
    crc =
      (t7[low & 0xff] as number) ^
      (t6[(low >>> 8) & 0xff] as number) ^
      (t5[(low >>> 16) & 0xff] as number) ^
      (t4[low >>> 24] as number) ^
      (t3[bytes[at + 4] as number] as number) ^
      (t2[bytes[at + 5] as number] as number) ^
      (t1[bytes[at + 6] as number] as number) ^
      (t0[bytes[at + 7] as number] as number);
  }
  for (; at < end; at++) crc = (t0[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8);
  return crc;
}

/** LevelDB stores CRCs masked, because the CRC of bytes that contain their own CRC is weak. */
export function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

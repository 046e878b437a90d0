// LevelDB log files made by hand, in the format of doc/log_format.md, for the tests of our reader.
import { crc32c } from "../../../../src/storage/leveldb/files/crc32c.ts";

const blockBytes = 32_768;
const headerBytes = 7;

/** LevelDB's mask over a CRC: rotated right by 15 bits, plus a constant. */
function mask(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

export function fragment(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(headerBytes + payload.length);
  bytes.writeUInt16LE(payload.length, 4);
  bytes[6] = type;
  bytes.set(payload, headerBytes);
  bytes.writeUInt32LE(mask(crc32c(bytes, 6, bytes.length)), 0);
  return bytes;
}

/** The records as LevelDB's writer would lay them out behind `offset` bytes of log. */
export function logOf(records: readonly Uint8Array[], offset = 0): Buffer {
  const parts: Buffer[] = [];
  let at = offset;
  const push = (bytes: Buffer): void => {
    parts.push(bytes);
    at += bytes.length;
  };
  for (const record of records) {
    let from = 0;
    for (let first = true; first || from < record.length;) {
      const room = blockBytes - (at % blockBytes);
      if (room < headerBytes) {
        push(Buffer.alloc(room));
        continue;
      }
      const take = Math.min(record.length - from, room - headerBytes);
      const last = from + take === record.length;
      push(fragment(first ? (last ? 1 : 2) : last ? 4 : 3, record.subarray(from, from + take)));
      from += take;
      first = false;
    }
  }
  return Buffer.concat(parts);
}

/** A write batch of puts, as it stands in the write-ahead log. */
export function batchOf(
  sequence: number,
  puts: readonly (readonly [key: Uint8Array, value: Uint8Array])[],
): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(sequence), 0);
  head.writeUInt32LE(puts.length, 8);
  const parts: Uint8Array[] = [head];
  for (const [key, value] of puts) {
    parts.push(Buffer.from([1]), sized(key), sized(value));
  }
  return Buffer.concat(parts);
}

function sized(bytes: Uint8Array): Buffer {
  const length: number[] = [];
  let rest = bytes.length;
  while (rest >= 0x80) {
    length.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}

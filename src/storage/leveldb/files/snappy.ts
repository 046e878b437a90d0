// Decompresses Snappy, which LevelDB's index blocks use like its data blocks. Source:
// format_description.txt of google/snappy. Every length is checked.

import { WireReader } from "../../../domain/wire.ts";

const viewBytesMin = 64;

/** Throws `RangeError` on malformed bytes. `bytesMax` limits the stated length that is accepted. */
export function snappyDecompress(compressed: Uint8Array, bytesMax: number): Uint8Array {
  const reader = new WireReader(compressed);
  const length = reader.varint();
  if (length > bytesMax) throw new RangeError("snappy: too long");
  const output = new Uint8Array(length);
  let at = reader.offset;
  let written = 0;
  const byte = (): number => {
    if (at >= compressed.length) throw new RangeError("snappy: cut off");
    return compressed[at++] as number;
  };
  const number = (bytes: number): number => {
    let value = 0;
    for (let i = 0; i < bytes; i++) value += byte() * 2 ** (8 * i);
    return value;
  };
  while (at < compressed.length) {
    const tag = byte();
    const kind = tag & 3;
    if (kind === 0) {
      const short = tag >>> 2;
      const count = (short < 60 ? short : number(short - 59)) + 1;
      if (at + count > compressed.length || written + count > length) {
        throw new RangeError("snappy: literal too long");
      }
      copyLiteral(compressed, at, output, written, count);
      at += count;
      written += count;
      continue;
    }
    const count = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const back = kind === 1 ? ((tag >>> 5) << 8) + byte() : number(kind === 2 ? 2 : 4);
    if (back === 0 || back > written || written + count > length) {
      throw new RangeError("snappy: copy out of range");
    }
    for (let i = 0; i < count; i++, written++) output[written] = output[written - back] as number;
  }
  if (written !== length) throw new RangeError("snappy: too short");
  return output;
}

/** A view for each of the many short literals would be most of the garbage of a start. */
function copyLiteral(
  from: Uint8Array,
  at: number,
  into: Uint8Array,
  to: number,
  count: number,
): void {
  if (count >= viewBytesMin) return into.set(from.subarray(at, at + count), to);
  for (let i = 0; i < count; i++) into[to + i] = from[at + i] as number;
}

// Bytes that are copied several at a time, on the hot path of reads: a call of `Buffer.copy` takes
// as long as this does for 200 bytes.

/** A buffer with a view of it that reads and writes words. */
export class Words {
  readonly bytes: Buffer;
  readonly view: DataView;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
}

const wordBytes = 8;
const wordsBytesMax = 160;

/** Copies bytes and returns the offset after them. */
export function copied(from: Words, start: number, end: number, into: Words, at: number): number {
  const length = end - start;
  if (length > wordsBytesMax) return at + from.bytes.copy(into.bytes, at, start, end);
  if (length < wordBytes) {
    for (let i = 0; i < length; i++) into.bytes[at + i] = from.bytes[start + i] as number;
    return at + length;
  }
  const last = end - wordBytes;
  let to = at;
  for (let i = start; i < last; i += wordBytes, to += wordBytes) {
    into.view.setBigInt64(to, from.view.getBigInt64(i, true), true);
  }
  // The last word may repeat bytes of the one before.
  const rest = at + length - wordBytes;
  into.view.setBigInt64(rest, from.view.getBigInt64(last, true), true);
  return at + length;
}

/** The bytes of a word that are a control character, a quote or a backslash are not 0 in it. */
function escapes(word: number): number {
  const quotes = word ^ 0x22222222;
  const backslashes = word ^ 0x5c5c5c5c;
  const controls = (word - 0x20202020) & ~word;
  const others = ((quotes - 0x01010101) & ~quotes) | ((backslashes - 0x01010101) & ~backslashes);
  return (controls | others) & 0x80808080;
}

/** Copies bytes. False: JSON has to escape one of them. */
export function copiedPlain(
  from: Words,
  start: number,
  end: number,
  into: Words,
  at: number,
): boolean {
  let escaped = 0;
  let to = at;
  let i = start;
  for (; i + 4 <= end; i += 4, to += 4) {
    const word = from.view.getInt32(i, true);
    escaped |= escapes(word);
    into.view.setInt32(to, word, true);
  }
  for (; i < end; i++, to++) {
    const byte = from.bytes[i] as number;
    escaped |= escapes(0x61616100 | byte);
    into.bytes[to] = byte;
  }
  return escaped === 0;
}

/** Whether JSON has to escape one of the bytes. */
export function needsEscape({ bytes, view }: Words, start: number, end: number): boolean {
  let at = start;
  for (; at + 4 <= end; at += 4) if (escapes(view.getInt32(at, true)) !== 0) return true;
  for (; at < end; at++) if (escapes(0x61616100 | (bytes[at] as number)) !== 0) return true;
  return false;
}

// The metadata of events of other clients, as JSON: an object of their entries, and their tags as
// the member `$tags`. It is written from the record's bytes; whatever needs an escape is left to
// `JSON.stringify`.

import { WireReader } from "../../../domain/wire.ts";
import { copied, needsEscape, Words } from "./words.ts";

const tagTag = 0x22;
const tagEntry = 0x2a;
const tagKey = 0x0a;
const tagValue = 0x12;
/** More entries than this are left to the generated codec: of equal keys, the last counts. */
const entriesMax = 16;

const quote = 0x22;
const tagsMember = new Words(Buffer.from('"$tags":['));

/** What `MetadataText.write` answers where the generated codec is needed. */
export const needsCodec = -1;

/** The bytes that the text of so many bytes of a record has, at most. */
export function textBytesMax(bytes: number): number {
  // Each entry has at least four bytes of its own beside key and value, and a tag two.
  return 2 * bytes + tagsMember.bytes.length + 8;
}

/** Writes one text after another. */
export class MetadataText {
  private readonly keyAt = new Int32Array(entriesMax);
  private readonly keyEnd = new Int32Array(entriesMax);

  /**
   * Writes the text of the tags and entries between two offsets of a record. Returns the offset
   * after it, or `needsCodec`. Throws `RangeError` for malformed bytes.
   */
  write(record: Words, [from, end]: readonly [number, number], into: Words, at: number): number {
    into.bytes[at] = 0x7b;
    const entriesEnd = this.writeEntries(record, [from, end], into, at + 1);
    if (entriesEnd === needsCodec) return needsCodec;
    return writeTags(record, [from, end], into, entriesEnd);
  }

  private writeEntries(
    record: Words,
    [from, end]: readonly [number, number],
    into: Words,
    start: number,
  ): number {
    const { bytes } = record;
    const reader = new WireReader(bytes, from, end);
    let at = start;
    let count = 0;
    while (!reader.done) {
      const tag = reader.varint();
      if (tag !== tagEntry) {
        reader.passOver(tag & 7);
        continue;
      }
      const entryEnd = reader.lengthEnd();
      if (count === entriesMax || reader.varint() !== tagKey) return needsCodec;
      const keyEnd = reader.lengthEnd();
      const keyAt = reader.offset;
      reader.offset = keyEnd;
      // The codec decides about `$tags`, which the tags replace, and about keys that are numbers,
      // which an object has first. Both begin with a byte before `:`.
      if (keyEnd === keyAt || (bytes[keyAt] as number) < 0x3a) return needsCodec;
      if (keyEnd >= entryEnd || reader.varint() !== tagValue) return needsCodec;
      const valueEnd = reader.lengthEnd();
      if (valueEnd !== entryEnd || this.isKnown(bytes, keyAt, keyEnd, count)) return needsCodec;
      this.keyAt[count] = keyAt;
      this.keyEnd[count] = keyEnd;
      if (count++ > 0) into.bytes[at++] = 0x2c;
      at = writeText(record, keyAt, keyEnd, into, at);
      if (at === needsCodec) return needsCodec;
      into.bytes[at++] = 0x3a;
      at = writeText(record, reader.offset, valueEnd, into, at);
      if (at === needsCodec) return needsCodec;
      reader.offset = entryEnd;
    }
    return at;
  }

  private isKnown(record: Uint8Array, at: number, end: number, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const other = this.keyAt[i] as number;
      if ((this.keyEnd[i] as number) - other !== end - at) continue;
      let same = 0;
      while (same < end - at && record[at + same] === record[other + same]) same++;
      if (same === end - at) return true;
    }
    return false;
  }
}

/** The tags, and the end of the object, whose entries end at an offset. */
function writeTags(
  record: Words,
  [from, end]: readonly [number, number],
  into: Words,
  start: number,
): number {
  const reader = new WireReader(record.bytes, from, end);
  let at = start;
  let count = 0;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag !== tagTag) {
      reader.passOver(tag & 7);
      continue;
    }
    const textEnd = reader.lengthEnd();
    // An object without entries is its opening brace.
    if (count > 0 || into.bytes[at - 1] === quote) into.bytes[at++] = 0x2c;
    if (count++ === 0) at = copied(tagsMember, 0, tagsMember.bytes.length, into, at);
    at = writeText(record, reader.offset, textEnd, into, at);
    if (at === needsCodec) return needsCodec;
    reader.offset = textEnd;
  }
  if (count > 0) into.bytes[at++] = 0x5d;
  into.bytes[at++] = 0x7d;
  return at;
}

/** Returns the offset after it. `needsCodec`: something in it needs an escape. */
function writeText(record: Words, from: number, end: number, into: Words, start: number): number {
  if (needsEscape(record, from, end)) return needsCodec;
  into.bytes[start] = quote;
  const at = copied(record, from, end, into, start + 1);
  into.bytes[at] = quote;
  return at + 1;
}

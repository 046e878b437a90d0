// The metadata of events of other clients, as JSON: an object of their entries, and their tags as
// the member `$tags`. It is written from the record's bytes; whatever needs an escape is left to
// `JSON.stringify`.

import { WireReader } from "../../../domain/wire.ts";

const tagTag = 0x22;
const tagEntry = 0x2a;
const tagKey = 0x0a;
const tagValue = 0x12;
/** More entries than this are left to the generated codec: of equal keys, the last counts. */
const entriesMax = 16;

const quote = 0x22;
const tagsMember = Buffer.from('"$tags":[');
/** What no text has that is written here: control characters, quotes and backslashes. */
const isEscaped = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte < 0x20 || byte === quote || byte === 0x5c ? 1 : 0,
);

/** What `MetadataText.write` answers where the generated codec is needed. */
export const needsCodec = -1;

/** The bytes that the text of so many bytes of a record has, at most. */
export function textBytesMax(bytes: number): number {
  // Each entry has at least four bytes of its own beside key and value, and a tag two.
  return 2 * bytes + tagsMember.length + 8;
}

/** Writes one text after another. */
export class MetadataText {
  private readonly keyAt = new Int32Array(entriesMax);
  private readonly keyEnd = new Int32Array(entriesMax);

  /**
   * Writes the text of the tags and entries between two offsets of a record. Returns the offset
   * after it, or `needsCodec`. Throws `RangeError` for malformed bytes.
   */
  write(record: Buffer, [from, end]: readonly [number, number], into: Buffer, at: number): number {
    into[at] = 0x7b;
    const entriesEnd = this.writeEntries(new WireReader(record, from, end), into, at + 1);
    if (entriesEnd === needsCodec) return needsCodec;
    return writeTags(new WireReader(record, from, end), into, entriesEnd, entriesEnd > at + 1);
  }

  private writeEntries(reader: WireReader, into: Buffer, start: number): number {
    const record = reader.bytes;
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
      if (keyEnd === keyAt || (record[keyAt] as number) < 0x3a) return needsCodec;
      if (keyEnd >= entryEnd || reader.varint() !== tagValue) return needsCodec;
      const valueEnd = reader.lengthEnd();
      if (valueEnd !== entryEnd || this.isKnown(record, keyAt, keyEnd, count)) return needsCodec;
      this.keyAt[count] = keyAt;
      this.keyEnd[count] = keyEnd;
      if (count++ > 0) into[at++] = 0x2c;
      at = writeText(record, keyAt, keyEnd, into, at);
      if (at === needsCodec) return needsCodec;
      into[at++] = 0x3a;
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

/** The tags, and the end of the object. `isBegun`: it has members. */
function writeTags(reader: WireReader, into: Buffer, start: number, isBegun: boolean): number {
  let at = start;
  let count = 0;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag !== tagTag) {
      reader.passOver(tag & 7);
      continue;
    }
    const textEnd = reader.lengthEnd();
    if (count > 0 || isBegun) into[at++] = 0x2c;
    if (count++ === 0) at += tagsMember.copy(into, at);
    at = writeText(reader.bytes, reader.offset, textEnd, into, at);
    if (at === needsCodec) return needsCodec;
    reader.offset = textEnd;
  }
  if (count > 0) into[at++] = 0x5d;
  into[at++] = 0x7d;
  return at;
}

/** Returns the offset after it. `needsCodec`: something in it needs an escape. */
function writeText(
  record: Uint8Array,
  from: number,
  end: number,
  into: Buffer,
  start: number,
): number {
  let at = start;
  into[at++] = quote;
  for (let i = from; i < end; i++) {
    const byte = record[i] as number;
    if (isEscaped[byte] === 1) return needsCodec;
    into[at++] = byte;
  }
  into[at++] = quote;
  return at;
}

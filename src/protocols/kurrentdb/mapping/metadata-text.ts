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

/** One text, used for one record after another. */
export class MetadataText {
  bytes: Buffer = Buffer.allocUnsafe(1024);
  length = 0;
  private readonly keyAt = new Int32Array(entriesMax);
  private readonly keyEnd = new Int32Array(entriesMax);

  /**
   * Writes the text of the tags and entries between two offsets of a record. False: they need the
   * generated codec. Throws `RangeError` for malformed bytes.
   */
  write(record: Buffer, from: number, end: number): boolean {
    // Each entry has at least four bytes of its own beside key and value, and a tag two.
    const room = 2 * (end - from) + tagsMember.length + 8;
    if (this.bytes.length < room) this.bytes = Buffer.allocUnsafe(2 * room);
    this.length = 0;
    this.put(0x7b);
    return this.writeEntries(record, from, end) && this.writeTags(record, from, end);
  }

  private writeEntries(record: Buffer, from: number, end: number): boolean {
    const reader = new WireReader(record, from, end);
    let count = 0;
    while (!reader.done) {
      const tag = reader.varint();
      if (tag !== tagEntry) {
        reader.passOver(tag & 7);
        continue;
      }
      const entryEnd = reader.lengthEnd();
      if (count === entriesMax || reader.varint() !== tagKey) return false;
      const keyEnd = reader.lengthEnd();
      const keyAt = reader.offset;
      reader.offset = keyEnd;
      // The codec decides about `$tags`, which the tags replace, and about keys that are numbers,
      // which an object has first. Both begin with a byte before `:`.
      if (keyEnd === keyAt || (record[keyAt] as number) < 0x3a) return false;
      if (keyEnd >= entryEnd || reader.varint() !== tagValue) return false;
      const valueEnd = reader.lengthEnd();
      if (valueEnd !== entryEnd || this.isKnown(record, keyAt, keyEnd, count)) return false;
      this.keyAt[count] = keyAt;
      this.keyEnd[count] = keyEnd;
      if (count++ > 0) this.put(0x2c);
      if (!this.putText(record, keyAt, keyEnd)) return false;
      this.put(0x3a);
      if (!this.putText(record, reader.offset, valueEnd)) return false;
      reader.offset = entryEnd;
    }
    return true;
  }

  private writeTags(record: Buffer, from: number, end: number): boolean {
    const reader = new WireReader(record, from, end);
    let count = 0;
    while (!reader.done) {
      const tag = reader.varint();
      if (tag !== tagTag) {
        reader.passOver(tag & 7);
        continue;
      }
      const textEnd = reader.lengthEnd();
      if (count++ > 0) this.put(0x2c);
      else {
        if (this.length > 1) this.put(0x2c);
        this.length += tagsMember.copy(this.bytes, this.length);
      }
      if (!this.putText(record, reader.offset, textEnd)) return false;
      reader.offset = textEnd;
    }
    if (count > 0) this.put(0x5d);
    this.put(0x7d);
    return true;
  }

  private isKnown(record: Buffer, at: number, end: number, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const other = this.keyAt[i] as number;
      if ((this.keyEnd[i] as number) - other !== end - at) continue;
      let same = 0;
      while (same < end - at && record[at + same] === record[other + same]) same++;
      if (same === end - at) return true;
    }
    return false;
  }

  private put(byte: number): void {
    this.bytes[this.length++] = byte;
  }

  /** False: something in it needs an escape. */
  private putText(record: Buffer, from: number, end: number): boolean {
    const { bytes } = this;
    let at = this.length;
    bytes[at++] = quote;
    for (let i = from; i < end; i++) {
      const byte = record[i] as number;
      if (byte < 0x20 || byte === quote || byte === 0x5c) return false;
      bytes[at++] = byte;
    }
    bytes[at++] = quote;
    this.length = at;
    return true;
  }
}

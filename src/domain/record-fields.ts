// Looks at fields of framed records where they lie, without making text of them.

import { enterFrame } from "./record.ts";
import type { WireReader } from "./wire.ts";

const tagStream = 0x12;
const tagType = 0x1a;
const tagVersion = 0x48;
const tagPosition = 0x50;
/** The first character of the names that belong to the system. */
const systemMark = 0x24;

/** The placement of one record after another, and where their streams and types lie. */
export class RecordFields {
  version = 0;
  position = 0;
  private readonly reader: WireReader;
  private stream = 0;
  private streamEnd = 0;
  private type = 0;

  constructor(reader: WireReader) {
    this.reader = reader;
  }

  /** Reads the next frame. Throws `RangeError` on malformed bytes. */
  next(): void {
    const { reader } = this;
    this.version = this.position = this.stream = this.streamEnd = this.type = 0;
    const end = enterFrame(reader);
    while (reader.offset < end) {
      const tag = reader.varint();
      if (tag === tagVersion) this.version = reader.varint();
      else if (tag === tagPosition) this.position = reader.varint();
      else if (tag === tagStream) {
        this.streamEnd = reader.lengthEnd();
        this.stream = reader.offset;
        reader.offset = this.streamEnd;
      } else if (tag === tagType) {
        const typeEnd = reader.lengthEnd();
        this.type = reader.offset;
        reader.offset = typeEnd;
      } else reader.passOver(tag & 7);
    }
    if (reader.offset !== end) throw new RangeError("record: a field is longer than its record");
  }

  get isOfSystem(): boolean {
    return this.reader.bytes[this.type] === systemMark;
  }

  isOfStream(name: Uint8Array): boolean {
    return isAt(this.reader.bytes, this.stream, this.streamEnd - this.stream, name);
  }
}

/** Whether the bytes of a name are there. */
export function isAt(bytes: Uint8Array, start: number, length: number, name: Uint8Array): boolean {
  if (name.length !== length) return false;
  // From the end: names often begin alike.
  let i = length - 1;
  while (i >= 0 && bytes[start + i] === name[i]) i--;
  return i < 0;
}

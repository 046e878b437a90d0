// The entries `content-type` and `created` of an event's metadata map, encoded. They are the same
// for events of one content type and one commit, so that the bytes are kept, and only their last
// digits are written within a second.

import { varintBytes, writeVarint } from "../../../domain/wire.ts";
import { Words } from "../mapping/words.ts";

const microDigits = 6;
const microsPerSecond = 10 ** microDigits;

export class FixedEntries {
  private readonly contentType: Buffer;
  private words = new Words(Buffer.alloc(0));
  private micros = -1;
  private seconds = -1;

  constructor(contentType: string) {
    this.contentType = entry("content-type", contentType);
  }

  /** The bytes are valid until the next call. `micros`: since 1970, which becomes 100 ns. */
  at(micros: number): Words {
    if (micros === this.micros) return this.words;
    this.micros = micros;
    const seconds = Math.floor(micros / microsPerSecond);
    if (seconds === this.seconds) {
      // The last digit is always 0.
      const { bytes } = this.words;
      writeDigits(bytes, bytes.length - 1, micros - seconds * microsPerSecond);
    } else {
      const created = entry("created", `${micros}0`);
      this.words = new Words(Buffer.concat([this.contentType, created]));
    }
    // A time in the first second has fewer digits.
    this.seconds = seconds > 0 ? seconds : -1;
    return this.words;
  }
}

/** The digits of a part of a second, before an offset. */
function writeDigits(into: Buffer, end: number, value: number): void {
  let rest = value;
  for (let at = end - 1; at >= end - microDigits; at--) {
    const next = (rest / 10) | 0;
    into[at] = 0x30 + rest - next * 10;
    rest = next;
  }
}

/** An entry of the map: field 6. */
function entry(key: string, value: string): Buffer {
  const fields = Buffer.concat([textField(0x0a, key), textField(0x12, value)]);
  return Buffer.concat([head(0x32, fields.length), fields]);
}

function textField(tag: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([head(tag, bytes.length), bytes]);
}

function head(tag: number, length: number): Buffer {
  const bytes = Buffer.alloc(1 + varintBytes(length));
  bytes[0] = tag;
  writeVarint(bytes, 1, length);
  return bytes;
}

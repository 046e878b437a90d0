// The entries `content-type` and `created` of an event's metadata map, encoded. They are the same
// for events of one content type and one commit, so that the bytes are kept and only the digits
// change.

import { varintBytes, writeVarint } from "../../../domain/wire.ts";

/** Since 2001-09-09 and until 2286, microseconds since 1970 have so many digits. */
const digitCount = 16;
const halfCount = 8;
const half = 10 ** halfCount;
const least = 10 ** (digitCount - 1);

export class FixedEntries {
  private readonly contentType: Buffer;
  private bytes: Buffer = Buffer.alloc(0);
  private micros = -1;
  /** Whether the bytes have room for as many digits as the usual time. */
  private isUsual = false;

  constructor(contentType: string) {
    this.contentType = entry("content-type", contentType);
  }

  /** The bytes are valid until the next call. `micros`: since 1970, which becomes 100 ns. */
  at(micros: number): Buffer {
    if (micros === this.micros) return this.bytes;
    this.micros = micros;
    const isUsual = micros >= least && micros < 10 * least;
    if (isUsual && this.isUsual) {
      // The last digit is always 0.
      const end = this.bytes.length - 1;
      const high = Math.floor(micros / half);
      writeDigits(this.bytes, end - digitCount, high);
      writeDigits(this.bytes, end - halfCount, micros - high * half);
    } else this.bytes = Buffer.concat([this.contentType, entry("created", `${micros}0`)]);
    this.isUsual = isUsual;
    return this.bytes;
  }
}

/** Half of the digits. */
function writeDigits(into: Buffer, from: number, value: number): void {
  let rest = value;
  for (let at = from + halfCount - 1; at >= from; at--) {
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

// Protobuf's wire format, written by hand for hot paths: varints and field tags. All numbers are
// safe integers (at most 2^53 - 1). Everything else uses the generated codec. Source:
// https://protobuf.dev/programming-guides/encoding/

export const wireVarint = 0;
export const wireFixed64 = 1;
export const wireBytes = 2;
export const wireFixed32 = 5;

/** The encoded size of a varint. */
export function varintBytes(value: number): number {
  let bytes = 1;
  while (value >= 0x80) {
    value = Math.floor(value / 0x80);
    bytes++;
  }
  return bytes;
}

/** Writes a varint and returns the offset after it. */
export function writeVarint(into: Uint8Array, offset: number, value: number): number {
  while (value >= 0x80) {
    into[offset++] = (value % 0x80) | 0x80;
    value = value > 0x7fffffff ? Math.floor(value / 0x80) : value >>> 7;
  }
  into[offset++] = value;
  return offset;
}

/** Writes a varint with a tag of one byte. A zero is not written. Returns the offset after it. */
export function writeField(into: Uint8Array, offset: number, tag: number, value: number): number {
  if (value === 0) return offset;
  into[offset] = tag;
  return writeVarint(into, offset + 1, value);
}

/** Reads wire bytes forwards. Throws `RangeError` on malformed or truncated bytes. */
export class WireReader {
  readonly bytes: Uint8Array;
  offset: number;
  readonly end: number;
  /** Whether varints written in more bytes than they need are malformed. */
  private readonly isStrict: boolean;

  constructor(bytes: Uint8Array, offset = 0, end = bytes.length, isStrict = false) {
    this.bytes = bytes;
    this.offset = offset;
    this.end = end;
    this.isStrict = isStrict;
  }

  get done(): boolean {
    return this.offset >= this.end;
  }

  /** Reads a varint of at most 2^53 - 1. */
  varint(): number {
    const { offset } = this;
    if (offset < this.end) {
      const first = this.bytes[offset] as number;
      if (first < 0x80) {
        this.offset = offset + 1;
        return first;
      }
    }
    return this.longVarint();
  }

  private longVarint(): number {
    let result = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (this.offset >= this.end) throw new RangeError("wire: varint cut off");
      const byte = this.bytes[this.offset++] as number;
      result += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0 && this.isStrict) throw new RangeError("wire: varint too long");
        if (result > Number.MAX_SAFE_INTEGER) throw new RangeError("wire: varint beyond 2^53");
        return result;
      }
      scale *= 0x80;
    }
    throw new RangeError("wire: varint too long");
  }

  /**
   * Reads the length of a length-delimited field and returns the offset of its end. `offset` is
   * then at its first byte.
   */
  lengthEnd(): number {
    const length = this.varint();
    const end = this.offset + length;
    if (end > this.end) throw new RangeError("wire: field cut off");
    return end;
  }

  /** Reads a length-delimited field: a view, not a copy. */
  view(): Uint8Array {
    const end = this.lengthEnd();
    const view = this.bytes.subarray(this.offset, end);
    this.offset = end;
    return view;
  }

  /** Skips a field of the given wire type. Groups are refused. */
  passOver(wireType: number): void {
    if (wireType === wireVarint) this.varintOfAnySize();
    else if (wireType === wireBytes) this.offset = this.lengthEnd();
    else if (wireType === wireFixed64) this.advance(8);
    else if (wireType === wireFixed32) this.advance(4);
    else throw new RangeError(`wire: unknown wire type ${wireType}`);
  }

  private varintOfAnySize(): void {
    for (let i = 0; i < 10; i++) {
      if (this.offset >= this.end) break;
      if ((this.bytes[this.offset++] as number) < 0x80) return;
    }
    throw new RangeError("wire: varint cut off or too long");
  }

  private advance(bytes: number): void {
    this.offset += bytes;
    if (this.offset > this.end) throw new RangeError("wire: field cut off");
  }
}

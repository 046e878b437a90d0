// Writes protobuf from its end to its beginning: a message's length is known when its prefix is
// due, so nested messages need neither a second pass nor copies.

import { varintBytes, writeVarint } from "../../domain/wire.ts";

export class BackwardWriter {
  private readonly bytesMax: number;
  private buffer: Buffer;
  private start: number;

  /** Throws `RangeError` from the byte on that is beyond `bytesMax`. */
  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
    this.buffer = Buffer.allocUnsafe(1_024);
    this.start = this.buffer.length;
  }

  /** Bytes written. */
  get length(): number {
    return this.buffer.length - this.start;
  }

  bytes(): Buffer {
    return this.buffer.subarray(this.start);
  }

  /** Makes a length-delimited field of the last `length` bytes. */
  prefix(tag: number, length: number): void {
    this.varint(length);
    this.varint(tag);
  }

  textField(tag: number, text: string): void {
    const length = Buffer.byteLength(text);
    this.reserve(length);
    this.buffer.write(text, this.start, "utf8");
    this.prefix(tag, length);
  }

  doubleField(tag: number, value: number): void {
    this.reserve(8);
    this.buffer.writeDoubleLE(value, this.start);
    this.varint(tag);
  }

  varintField(tag: number, value: number): void {
    this.varint(value);
    this.varint(tag);
  }

  private varint(value: number): void {
    this.reserve(varintBytes(value));
    writeVarint(this.buffer, this.start, value);
  }

  private reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed > this.bytesMax) throw new RangeError(`wire: more than ${this.bytesMax} bytes`);
    if (bytes > this.start) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.buffer.length * 2));
      const end = grown.length - this.length;
      this.buffer.copy(grown, end, this.start);
      this.buffer = grown;
      this.start = end;
    }
    this.start -= bytes;
  }
}

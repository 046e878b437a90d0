// Writes protobuf from end to beginning, without message objects.

import { varintBytes, writeVarint } from "../../domain/wire.ts";

/** What is written is too large, or has half of a surrogate pair, which UTF-8 does not have. */
export class DoesNotFit extends Error {}

/** Longer texts are encoded by Node. */
const shortMax = 48;

/** With the method of ES2024, which TypeScript does not know of here. */
type Text = string & { isWellFormed(): boolean };

/**
 * Writes protobuf from end to beginning. The length of a message is then known when its prefix is
 * written, so that nested messages need neither a second pass nor copies.
 */
export class BackwardWriter {
  private readonly bytesMax: number;
  private buffer: Buffer;
  private start: number;

  /** Throws `DoesNotFit` at the first byte beyond `bytesMax`. */
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

  /** Turns the last `length` bytes into a length-delimited field. */
  prefix(tag: number, length: number): void {
    this.varint(length);
    this.varint(tag);
  }

  bytesField(tag: number, bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.start);
    this.prefix(tag, bytes.length);
  }

  textField(tag: number, text: string): void {
    if (text.length <= shortMax && this.shortAscii(text)) return this.prefix(tag, text.length);
    if (!(text as Text).isWellFormed()) throw new DoesNotFit();
    const length = Buffer.byteLength(text);
    this.reserve(length);
    this.buffer.write(text, this.start, "utf8");
    this.prefix(tag, length);
  }

  /** A few characters cost less one by one. False, and nothing is written: they are not ASCII. */
  private shortAscii(text: string): boolean {
    const { length } = text;
    this.reserve(length);
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) {
        this.start += length;
        return false;
      }
      this.buffer[this.start + i] = code;
    }
    return true;
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
    if (needed > this.bytesMax) throw new DoesNotFit();
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

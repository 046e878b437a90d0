// A growing byte buffer for varints and length-delimited texts, as wire.ts reads them.

import { varintBytes, writeVarint } from "./wire.ts";

export class ByteWriter {
  private buffer = Buffer.allocUnsafe(256);
  private length = 0;

  varint(value: number): void {
    this.reserve(varintBytes(value));
    this.length = writeVarint(this.buffer, this.length, value);
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.reserve(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  text(value: string): void {
    this.bytes(Buffer.from(value));
  }

  /** The bytes written so far. */
  take(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  private reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.buffer.length * 2));
    larger.set(this.buffer.subarray(0, this.length));
    this.buffer = larger;
  }
}

/** `partial` has its own memory, which is free at once, and not when it is collected. */
export function grown(partial: Buffer, size: number): Buffer {
  if (partial.length === 0) return Buffer.allocUnsafeSlow(size);
  return Buffer.from((partial.buffer as ArrayBuffer).transfer(size));
}

// Bytes and text on hot paths.

import { varintBytes, writeVarint } from "../../../domain/wire.ts";

/** Printable characters of ASCII only. */
export function isPlainAscii(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte < 0x20 || byte > 0x7e) return false;
  return true;
}

export function bufferOf(bytes: Uint8Array): Buffer {
  if (bytes instanceof Buffer) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Whether the bytes from an offset on begin with these, of which the first `known` are known to be
 * there. For a few bytes.
 */
export function hasAt(bytes: Uint8Array, at: number, expected: Uint8Array, known = 0): boolean {
  for (let i = known; i < expected.length; i++) if (bytes[at + i] !== expected[i]) return false;
  return true;
}

/** The encoded size of a length-delimited field with a tag of one byte. */
export function fieldSize(length: number): number {
  return 1 + varintBytes(length) + length;
}

/** Writes a length-delimited field, and returns the offset after it. */
export function writeBytesField(into: Buffer, at: number, tag: number, value: Uint8Array): number {
  into[at] = tag;
  const start = writeVarint(into, at + 1, value.length);
  into.set(value, start);
  return start + value.length;
}

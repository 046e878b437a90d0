// The fields of an append on its fast path (append-bytes.ts): each is read from the request's bytes
// if it is plainly valid. Otherwise the request leaves the fast path.

import { isUtf8 } from "node:buffer";
import type { WireReader } from "../../domain/wire.ts";

/** The request is not for the fast path. Shared, because clients decide how often it is thrown. */
export class NotPlain extends Error {}
const notPlain = new NotPlain("not for the fast path");

export function leave(): never {
  throw notPlain;
}

export const dollar = 0x24;
const control = /\p{Cc}/u;

/**
 * A name that clients may write: 1 to `bytesMax` bytes of UTF-8, no control character, no leading
 * `$`.
 */
export function nameIn(reader: WireReader, bytesMax: number): string {
  const end = reader.lengthEnd();
  const { bytes, offset } = reader;
  reader.offset = end;
  if (end === offset || end - offset > bytesMax || bytes[offset] === dollar) leave();
  for (let i = offset; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte < 0x20 || byte > 0x7e) return unicodeNameIn(bytes.subarray(offset, end));
  }
  return (bytes as Buffer).toString("latin1", offset, end);
}

function unicodeNameIn(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) leave();
  // The request is a `Buffer`, and so are its views, wherever they become text.
  const name = (bytes as Buffer).toString("utf8");
  if (control.test(name)) leave();
  return name;
}

/** Longer texts are checked by native code. */
const shortTextBytes = 64;

/** Passes over any UTF-8 text. Returns where it begins. */
export function passText(reader: WireReader): number {
  const end = reader.lengthEnd();
  const { bytes, offset } = reader;
  reader.offset = end;
  if (!isShortAscii(bytes, offset, end) && !isUtf8(bytes.subarray(offset, end))) leave();
  return offset;
}

function isShortAscii(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > shortTextBytes) return false;
  for (let i = start; i < end; i++) if ((bytes[i] as number) >= 0x80) return false;
  return true;
}

/** 1 to `bytesMax` bytes of printable ASCII. */
export function passPrintableAscii(reader: WireReader, bytesMax: number): void {
  const end = reader.lengthEnd();
  const { bytes, offset } = reader;
  if (end === offset || end - offset > bytesMax) leave();
  for (let i = offset; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte < 0x20 || byte > 0x7e) leave();
  }
  reader.offset = end;
}

const uuidBytes = 36;
const hyphen = 0x2d;

/** A UUID's text form in lower case, neither nil nor max. */
export function uuidIn(reader: WireReader): string {
  const end = reader.lengthEnd();
  const { bytes, offset } = reader;
  if (end - offset !== uuidBytes) leave();
  let zeros = 0;
  let effs = 0;
  for (let i = 0; i < uuidBytes; i++) {
    const byte = bytes[offset + i] as number;
    if (i === 8 || i === 13 || i === 18 || i === 23) {
      if (byte !== hyphen) leave();
    } else if (byte >= 0x30 && byte <= 0x39) {
      if (byte === 0x30) zeros++;
    } else if (byte >= 0x61 && byte <= 0x66) {
      if (byte === 0x66) effs++;
    } else leave();
  }
  if (zeros === 32 || effs === 32) leave();
  reader.offset = end;
  return asciiIn(bytes, offset, end);
}

export function asciiIn(bytes: Uint8Array, start: number, end: number): string {
  return (bytes as Buffer).toString("latin1", start, end);
}

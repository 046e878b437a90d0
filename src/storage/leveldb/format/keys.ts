// The keys on disk, the same in each format version. Numbers are big-endian, so that their order is
// the order of the keys. Except by the reclaimer, no key is written twice, because this LevelDB can
// return an outdated value of an overwritten key.
//
//   chunk     'c' last position (8)                              -> chunk.ts
//   term      't' kind (1) name (UTF-8)                          -> term number (8), CRC (4)
//   posting   'p' term number (8) last position of chunk (8)     -> posting.ts
//   id        'i' UUID (16) occurrence (1)                       -> position (8), CRC (4)
//   side      'n' space (1) name 0x00 2^53-1 - revision (8)      -> write/side-values.ts
//   snapshot  's' of the first builds                            -> write/move-snapshots.ts
//   upgrade   'u' 0x01                                           -> write/upgrade.ts
//
// A term is a stream, a category, a type or a tag. Its number is made from the first event that has
// it: position * 128 + the index of the term in that event.
//
// Every value carries a CRC-32 (IEEE 802.3, as in zlib) over its key and itself: a corrupted value
// is detected, and so is a valid one under the wrong key.

import { crc32 } from "node:zlib";

export const prefixChunk = 0x63;
export const prefixTerm = 0x74;
export const prefixPosting = 0x70;
export const prefixId = 0x69;
export const prefixSideValue = 0x6e;
/**
 * The keys of snapshots in the first builds. They are moved to the side values when the store
 * opens.
 */
export const prefixOldSnapshot = 0x73;

const prefixUpgrade = 0x75;

/** On disk: do not renumber. */
export const sideValueSpaceNumbers = {
  checkpoint: 1,
  group: 2,
  "group-progress": 3,
  "group-parked": 4,
  "group-gone": 5,
  snapshot: 6,
  copy: 7,
  "snapshot-head": 8,
} as const;

/** Whether a key is that of what a copy keeps about itself, which is not part of the copy. */
export function isCopyState(key: Uint8Array): boolean {
  return key[0] === prefixSideValue && key[1] === sideValueSpaceNumbers.copy;
}

/** On disk: do not renumber. */
export const TermKind = { stream: 1, category: 2, type: 3, tag: 4 } as const;
export type TermKind = (typeof TermKind)[keyof typeof TermKind];

/** The number of a term. 0: none. */
export type TermNumber = number;

/** On disk: a power of two, greater than the number of terms that an event can have. */
const termsPerEventMax = 128;

/** The number of a term whose first event is at `position` and has it as its `place`th term. */
export function termNumber(position: number, place: number): TermNumber {
  const number = position * termsPerEventMax + place;
  if (place >= termsPerEventMax || !Number.isSafeInteger(number)) {
    throw new RangeError(`no term number for place ${place} at position ${position}`);
  }
  return number;
}

/** The position of the first event that has the term. */
export function bornAt(term: TermNumber): number {
  return Math.floor(term / termsPerEventMax);
}

export function chunkKey(lastPosition: number): Uint8Array {
  const key = Buffer.allocUnsafe(9);
  key[0] = prefixChunk;
  writeUint64(key, 1, lastPosition);
  return key;
}

/** The last position of the chunk with this key. */
export function lastPositionIn(chunkKeyBytes: Uint8Array): number {
  return readUint64(chunkKeyBytes, 1);
}

export function termKey(kind: TermKind, name: string): Uint8Array {
  const key = Buffer.allocUnsafe(2 + Buffer.byteLength(name));
  key[0] = prefixTerm;
  key[1] = kind;
  key.write(name, 2);
  return key;
}

export function postingKey(term: TermNumber, lastPosition: number): Uint8Array {
  const key = Buffer.allocUnsafe(17);
  key[0] = prefixPosting;
  writeUint64(key, 1, term);
  writeUint64(key, 9, lastPosition);
  return key;
}

/** Its value says that the store was upgraded from what the first builds wrote. */
export function upgradeKey(): Uint8Array {
  return Buffer.from([prefixUpgrade, 1]);
}

/** `id` is a UUID in text form; `occurrence` counts events of the same id, from 0. */
export function idKey(id: string, occurrence: number): Uint8Array {
  const key = Buffer.allocUnsafe(18);
  key[0] = prefixId;
  let at = 1;
  for (let i = 0; i < 36; i += 2) {
    if (id.charCodeAt(i) === 0x2d) i++;
    key[at++] = (hexDigit(id.charCodeAt(i)) << 4) | hexDigit(id.charCodeAt(i + 1));
  }
  key[17] = occurrence;
  return key;
}

function hexDigit(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}

/** Writes a safe integer as 8 bytes, big-endian. */
export function writeUint64(into: Uint8Array, offset: number, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000);
  const low = value >>> 0;
  into[offset] = high >>> 24;
  into[offset + 1] = high >>> 16;
  into[offset + 2] = high >>> 8;
  into[offset + 3] = high;
  into[offset + 4] = low >>> 24;
  into[offset + 5] = low >>> 16;
  into[offset + 6] = low >>> 8;
  into[offset + 7] = low;
}

/**
 * Reads 8 bytes, big-endian. Inexact beyond 2^53 - 1, so callers compare the result instead of
 * trusting it.
 */
export function readUint64(from: Uint8Array, offset: number): number {
  return readUint32(from, offset) * 0x1_0000_0000 + readUint32(from, offset + 4);
}

export function writeUint32(into: Uint8Array, offset: number, value: number): void {
  into[offset] = value >>> 24;
  into[offset + 1] = value >>> 16;
  into[offset + 2] = value >>> 8;
  into[offset + 3] = value;
}

export function readUint32(from: Uint8Array, offset: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [
    from[offset],
    from[offset + 1],
    from[offset + 2],
    from[offset + 3],
  ];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

export const checksumBytes = 4;

/** The CRC of the key followed by the body. */
export function checksum(key: Uint8Array, body: Uint8Array): number {
  return crc32(body, crc32(key));
}

/** The value to store under the key: the body, followed by its CRC. */
export function seal(key: Uint8Array, body: Uint8Array): Uint8Array {
  const value = Buffer.allocUnsafe(body.length + checksumBytes);
  value.set(body);
  writeUint32(value, body.length, checksum(key, body));
  return value;
}

/** The body of a sealed value. Undefined if the CRC does not match. */
export function unseal(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  const bodyBytes = value.length - checksumBytes;
  if (bodyBytes < 0) return undefined;
  const body = value.subarray(0, bodyBytes);
  return readUint32(value, bodyBytes) === checksum(key, body) ? body : undefined;
}

// Usual events as messages of this protocol, in one walk through their records: those whose fields
// come in the order in which they are encoded, with short names, tags and entries. A read of
// everything consists of little else. What is not usual is left to event-writer.ts, which takes
// several times as long.

import { writeVarint } from "../../../domain/wire.ts";
import { prefixBytes, writePrefix } from "../../../grpc/transport/message-parts.ts";
import { hasAt } from "../mapping/bytes.ts";
import { metadataKey } from "../mapping/content.ts";
import { idChars, writeStructuredId } from "../mapping/ids.ts";
import { copied, copiedPlain, Words } from "../mapping/words.ts";
import { FixedEntries } from "./fixed-entries.ts";

/** Where an event is not usual. */
export const unusual = -1;

/** Of a message without its prefix: the lengths in it have two bytes then. */
const recordBytesMax = 4 * 1024;
/** A message has at most this much beside twice its record. */
const envelopeBytes = 256;
/** Lengths of one byte, also with a few bytes before the name. */
const nameBytesMax = 0x7f - 16;
const entriesMax = 16;

const dollar = 0x24;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const entryTag = 0x2a;
/** Of the key in an entry. */
const keyTag = 0x0a;
/** The first byte of keys that an object of JavaScript may order or that begin with `$` is less. */
const keyByteMin = 0x3a;

const jsonType = Buffer.from("application/json");
const ownKey = Buffer.from(metadataKey);
/** What all keys of this protocol begin with. */
const ownPrefix = Buffer.from("kurrentdb-");
const tagsMember = new Words(Buffer.from('"$tags":['));
/** The beginning of an entry of the metadata: key `type`, and the tag of its value. */
const typeEntry = Buffer.from([0x0a, 4, 0x74, 0x79, 0x70, 0x65, 0x12]);

/** The bytes of the message of such a record, at most. */
export function usualBytesMax(recordBytes: number): number {
  return 2 * recordBytes + envelopeBytes;
}

export class UsualEvents {
  private readonly structuredIds: boolean;
  private readonly jsonEntries = new FixedEntries("application/json");
  private readonly otherEntries = new FixedEntries("application/octet-stream");
  /** Where the walk through the record is, and the writing. */
  private at = 0;
  private to = 0;
  private readonly keyAt = new Int32Array(entriesMax);

  constructor(structuredIds: boolean) {
    this.structuredIds = structuredIds;
  }

  /**
   * Writes the record between two offsets as a `ReadResp`, with gRPC's prefix. Returns the offset
   * after it, or `unusual`: then nothing of what was written counts.
   */
  write(source: Words, from: number, end: number, target: Words, start: number): number {
    const { bytes } = source;
    const into = target.bytes;
    if (end - from > recordBytesMax) return unusual;
    // A response, an event with its position, and in it the event.
    const outer = start + prefixBytes + 3;
    const inner = outer + 3;
    this.at = from;
    this.to = inner;
    const hasId = this.writeId(source, target);
    if (!this.writeNames(source, target) || !this.writeMetadata(source, target)) return unusual;
    let { at, to } = this;
    let isJson = false;
    if (bytes[at] === 0x32) {
      const next = at + 2 + (bytes[at + 1] as number);
      isJson = next - at === jsonType.length + 2 && hasAt(bytes, at + 2, jsonType);
      if (!isJson) return unusual;
      at = next;
    }
    if (bytes[at] === 0x3a) {
      const next = fieldEnd(bytes, at);
      if (next < 0 || next > end) return unusual;
      into[to] = 0x42;
      to = copied(source, at + 1, next, target, to + 1);
      at = next;
    }
    this.at = at;
    this.to = to;
    if (!hasId && !this.writeId(source, target)) return unusual;
    return this.writePlace(source, end, target, { start, outer, inner, isJson });
  }

  private writeId(source: Words, target: Words): boolean {
    const { at, to } = this;
    const { bytes } = source;
    if (bytes[at] !== 0x0a || bytes[at + 1] !== idChars) return false;
    const into = target.bytes;
    into[to] = 0x0a;
    this.at = at + 2 + idChars;
    if (this.structuredIds) this.to = writeStructuredId(into, to + 1, bytes, at + 2);
    else {
      into[to + 1] = 2 + idChars;
      into[to + 2] = 0x12;
      this.to = copied(source, at + 1, this.at, target, to + 3);
    }
    return true;
  }

  /** The stream and the type. */
  private writeNames(source: Words, target: Words): boolean {
    const { at } = this;
    const { bytes } = source;
    const into = target.bytes;
    const streamBytes = bytes[at + 1] as number;
    if (bytes[at] !== 0x12 || streamBytes > nameBytesMax || bytes[at + 2] === dollar) return false;
    const typeAt = at + 2 + streamBytes;
    const typeBytes = bytes[typeAt + 1] as number;
    if (bytes[typeAt] !== 0x1a || typeBytes > nameBytesMax) return false;
    let { to } = this;
    into[to] = 0x12;
    into[to + 1] = streamBytes + 2;
    into[to + 2] = 0x1a;
    to = copied(source, at + 1, typeAt, target, to + 3);
    into[to] = 0x32;
    into[to + 1] = typeEntry.length + 1 + typeBytes;
    to += 2;
    for (let i = 0; i < typeEntry.length; i++) into[to++] = typeEntry[i] as number;
    this.at = typeAt + 2 + typeBytes;
    this.to = copied(source, typeAt + 1, this.at, target, to);
    return true;
  }

  /** The metadata of this protocol, or else tags and entries as JSON. */
  private writeMetadata(source: Words, target: Words): boolean {
    const { bytes } = source;
    const tagsAt = this.at;
    let at = tagsAt;
    let tagCount = 0;
    for (; bytes[at] === 0x22; tagCount++) {
      const length = bytes[at + 1] as number;
      if (length > 0x7f) return false;
      at += 2 + length;
    }
    if (bytes[at] !== 0x2a) {
      if (tagCount === 0) return true;
    } else if (hasAt(bytes, fieldStart(bytes, at) + 2, ownPrefix)) {
      return this.writeOwn(source, at, target);
    }
    const entriesAt = at;
    let count = 0;
    for (; bytes[at] === 0x2a; count++) {
      const next = this.entryEnd(bytes, at, count);
      if (next === unusual) return false;
      at = next;
    }
    this.at = at;
    // An entry has six bytes beside key and value, in both forms; a tag three instead of two.
    const entriesBytes = at - entriesAt;
    const tagsBytes = entriesAt - tagsAt + tagCount;
    const textBytes =
      1 + entriesBytes + (tagCount > 0 ? tagsMember.bytes.length + tagsBytes + 1 : 0);
    const into = target.bytes;
    into[this.to] = 0x3a;
    const textAt = writeVarint(into, this.to + 1, textBytes);
    this.to = textAt + textBytes;
    into[textAt] = 0x7b;
    let to = textAt + 1;
    if (!writeTexts(source, entriesAt, at, target, to)) return false;
    if (tagCount > 0) {
      to = copied(tagsMember, 0, tagsMember.bytes.length, target, to + entriesBytes);
      if (!writeTexts(source, tagsAt, entriesAt, target, to)) return false;
      into[this.to - 2] = 0x5d;
    }
    into[this.to - 1] = 0x7d;
    return true;
  }

  /** The only entry, which is of this protocol. */
  private writeOwn(source: Words, at: number, target: Words): boolean {
    const { bytes } = source;
    const { to } = this;
    const next = fieldEnd(bytes, at);
    const keyAt = fieldStart(bytes, at);
    const valueAt = keyAt + 2 + ownKey.length;
    if (bytes[next] === 0x2a || bytes[keyAt] !== 0x0a || bytes[keyAt + 1] !== ownKey.length) {
      return false;
    }
    if (!hasAt(bytes, keyAt + 2, ownKey, ownPrefix.length) || bytes[valueAt] !== 0x12) return false;
    if (next < 0 || fieldEnd(bytes, valueAt) !== next) return false;
    this.at = next;
    if (bytes[valueAt + 1] === 0) return true;
    target.bytes[to] = 0x3a;
    this.to = copied(source, valueAt + 1, next, target, to + 1);
    return true;
  }

  /** The end of entry number `count`, or `unusual`. */
  private entryEnd(bytes: Uint8Array, at: number, count: number): number {
    const end = at + 2 + (bytes[at + 1] as number);
    const keyBytes = bytes[at + 3] as number;
    const keyAt = at + 4;
    const valueAt = keyAt + keyBytes;
    const first = bytes[keyAt] as number;
    if (bytes[at + 2] !== 0x0a || keyBytes === 0 || first < keyByteMin) return unusual;
    if ((bytes[at + 1] as number) > 0x7f || count === entriesMax) return unusual;
    if (bytes[valueAt] !== 0x12 || valueAt + 2 + (bytes[valueAt + 1] as number) !== end) {
      return unusual;
    }
    if (first === ownPrefix[0] && hasAt(bytes, keyAt, ownPrefix)) return unusual;
    this.keyAt[count] = keyAt;
    for (let i = 0; i < count; i++) {
      if (isSame(bytes, this.keyAt[i] as number, keyAt, keyBytes)) return unusual;
    }
    return end;
  }

  /** What comes last in a record, and the lengths. */
  private writePlace(source: Words, end: number, target: Words, message: Begun): number {
    const { bytes } = source;
    const into = target.bytes;
    let { at, to } = this;
    if (bytes[at] === 0x48) {
      const next = varintEnd(bytes, at + 1);
      const version = varintIn(bytes, at + 1, next);
      at = next;
      if (version > 1) {
        into[to] = 0x18;
        to = writeVarint(into, to + 1, version - 1);
      }
    }
    const positionAt = at + 1;
    const positionEnd = varintEnd(bytes, positionAt);
    if (bytes[at] !== 0x50 || bytes[positionEnd] !== 0x5a) return unusual;
    to = copiedNumber(bytes, positionAt, positionEnd, into, tagged(into, to, 0x20));
    to = copiedNumber(bytes, positionAt, positionEnd, into, tagged(into, to, 0x28));
    const timeAt = positionEnd + 2;
    const timeEnd = timeAt + (bytes[timeAt - 1] as number);
    const micros = microsIn(bytes, timeAt, timeEnd);
    if (micros === unusual || !isOver(bytes, timeEnd, end)) return unusual;
    const entries = (message.isJson ? this.jsonEntries : this.otherEntries).at(micros);
    to = copied(entries, 0, entries.bytes.length, target, to);
    const { start, outer, inner } = message;
    const innerBytes = to - inner;
    if (innerBytes < 0x80) return unusual;
    writeHead(into, outer, innerBytes);
    to = copiedNumber(bytes, positionAt, positionEnd, into, tagged(into, to, 0x18));
    writeHead(into, start + prefixBytes, to - outer);
    writePrefix(into, start, to - start - prefixBytes);
    return to;
  }
}

/** Where the parts of a message begin. */
interface Begun {
  readonly start: number;
  readonly outer: number;
  readonly inner: number;
  readonly isJson: boolean;
}

/** Where the content of a field begins whose length has one byte or two. */
function fieldStart(bytes: Uint8Array, at: number): number {
  return at + ((bytes[at + 1] as number) > 0x7f ? 3 : 2);
}

/** Where such a field ends. `unusual`: its length has more bytes. */
function fieldEnd(bytes: Uint8Array, at: number): number {
  const low = bytes[at + 1] as number;
  if (low <= 0x7f) return at + 2 + low;
  const high = bytes[at + 2] as number;
  return high > 0x7f ? unusual : at + 3 + (low & 0x7f) + high * 0x80;
}

function varintEnd(bytes: Uint8Array, at: number): number {
  let end = at;
  while ((bytes[end] as number) > 0x7f) end++;
  return end + 1;
}

function varintIn(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = end - 1; i >= at; i--) value = value * 0x80 + ((bytes[i] as number) & 0x7f);
  return value;
}

/** A time: 0x08 seconds, 0x10 nanos. In microseconds, or `unusual`. */
function microsIn(bytes: Uint8Array, from: number, end: number): number {
  if (bytes[from] !== 0x08) return unusual;
  const nanosAt = varintEnd(bytes, from + 1);
  const micros = varintIn(bytes, from + 1, nanosAt) * 1_000_000;
  if (nanosAt === end) return micros;
  if (bytes[nanosAt] !== 0x10 || varintEnd(bytes, nanosAt + 1) !== end) return unusual;
  return micros + Math.floor(varintIn(bytes, nanosAt + 1, end) / 1_000);
}

/** Whether nothing comes from an offset on but who appended the event, and a trace. */
function isOver(bytes: Uint8Array, from: number, end: number): boolean {
  let at = from;
  if (at < end && bytes[at] === 0x62) at = fieldEnd(bytes, at);
  if (at < end && bytes[at] === 0x6a) at = fieldEnd(bytes, at);
  return at === end;
}

function isSame(bytes: Uint8Array, one: number, other: number, length: number): boolean {
  // What follows a key is no part of any key.
  for (let i = 0; i <= length; i++) if (bytes[one + i] !== bytes[other + i]) return false;
  return true;
}

/**
 * Writes tags, or the keys and values of entries, in quotes, each with a colon or comma after it.
 * False: one needs an escape.
 */
function writeTexts(
  source: Words,
  from: number,
  end: number,
  target: Words,
  start: number,
): boolean {
  const { bytes } = source;
  const into = target.bytes;
  let isPlain = true;
  let to = start;
  for (let at = from; at < end;) {
    if (bytes[at] === entryTag) at += 2;
    const textAt = at + 2;
    const next = textAt + (bytes[at + 1] as number);
    into[to] = quote;
    isPlain = copiedPlain(source, textAt, next, target, to + 1) && isPlain;
    to += 1 + next - textAt;
    into[to] = quote;
    into[to + 1] = bytes[at] === keyTag ? colon : comma;
    to += 2;
    at = next;
  }
  return isPlain;
}

function tagged(into: Buffer, at: number, tag: number): number {
  into[at] = tag;
  return at + 1;
}

/** For a few bytes. */
function copiedNumber(
  bytes: Uint8Array,
  from: number,
  end: number,
  into: Buffer,
  start: number,
): number {
  let to = start;
  for (let i = from; i < end; i++) into[to++] = bytes[i] as number;
  return to;
}

/** Tag 1, and a length of two bytes. */
function writeHead(into: Buffer, at: number, length: number): void {
  into[at] = 0x0a;
  into[at + 1] = (length & 0x7f) | 0x80;
  into[at + 2] = length >>> 7;
}

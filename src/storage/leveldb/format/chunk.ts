// A chunk is the unit in which the log is stored: events of one commit in their wire form, cut
// between events near 16 KiB, or near 8 KiB before a longer event. The value under a chunk's key:
//
//   offset size
//        0    4  CRC-32 of the key and of everything after this field
//        4    1  version of the chunk: 1, or 2 if the space of removed events was reclaimed
//        5    1  flags: bit 0 = the chunk has system events; bits 1 and 2 = who chose the ids:
//                0 the server all, 1 clients all, 2 mixed; bit 3 = version 2 only: every event
//                of the chunk is a removed record
//        6    2  0
//        8    8  position of the first event
//       16    4  count of events
//       20    8  recorded at, microseconds since 1970, UTC
//       28   32  SHA-256 of the complete value of the previous chunk; zeros in the first chunk
//       60   40  version 2 only: 8 position of the `$EventsRemoved` event that records the rewrite,
//                32 SHA-256 of the complete original value
//        -    -  if ids are mixed: one bit per event, lowest first, 1 = chosen by the client
//        -    -  records, framed (domain/record.ts)
//
// The key is the last position, so that a seek to a position finds the chunk that contains it. The
// bits about ids are there so that the whole index follows from the chunks and can be verified and
// rebuilt. The next chunk's hash covers the original value of a rewritten chunk; the rewritten
// value is covered by the event that records the rewrite, which is in the hash chain itself.

import { hash } from "node:crypto";
import { corruption } from "../../../domain/errors.ts";
import { isSystemName, type CommitEvent } from "../../../domain/event.ts";
import { WireReader } from "../../../domain/wire.ts";
import {
  chunkKey,
  lastPositionIn,
  readUint32,
  readUint64,
  writeUint32,
  writeUint64,
  checksum,
} from "./keys.ts";

/** Of a store. 2: its postings may have parts that version 1 did not know (posting.ts). */
export const formatVersion = 2;
const originalVersion = 1;
const reclaimedVersion = 2;
const headerBytes = 60;
const hashBytes = 32;
const reclaimedBytes = 8 + hashBytes;
const flagSystem = 1;
const idsChosen = 2;
const idsMixed = 4;
const flagEmptied = 8;

/**
 * A chunk is cut near this many bytes of records. A compromise: the more events are in a chunk, the
 * fewer entries does the index have for each, and the more is read for one of them.
 */
const chunkBytesTarget = 16 * 1024;
/** The same before an event that is not short, and of all chunks once. */
const chunkBytesTargetMin = 8 * 1024;
const shortFrameBytes = 1024;

/** The previous hash of the first chunk. */
export const firstHash: Uint8Array = new Uint8Array(hashBytes);

/** The part of the header that only rewritten chunks have. */
export interface Reclaimed {
  /** The position of the system event that records the rewrite. */
  readonly recordedIn: number;
  /** The SHA-256 of the original value. */
  readonly originalHash: Uint8Array;
  /** Whether it says that every one of its events is a removed record. */
  readonly isEmptied: boolean;
}

/** A chunk whose checksum was verified. */
export interface Chunk {
  readonly first: number;
  readonly last: number;
  readonly count: number;
  readonly recordedAt: number;
  readonly holdsSystemEvents: boolean;
  /** Whether clients chose the ids: of all events, of none, or a bit for each. */
  readonly idsFromClient: boolean | Uint8Array;
  /** Undefined: the chunk has its original value. */
  readonly reclaimed: Reclaimed | undefined;
  /** The whole value, header and records. */
  readonly value: Uint8Array;
  /** The framed records: a view into `value`. */
  readonly records: Uint8Array;
}

/** Consecutive events, and when they were recorded: microseconds since 1970, UTC. */
export interface TimedEvents {
  readonly events: readonly CommitEvent[];
  readonly recordedAt: number;
}

interface EventsToCut extends TimedEvents {
  /** The time of each event. Absent: that of all. */
  readonly times?: readonly number[] | undefined;
}

/** Cuts the events of a commit into groups that become chunks. A chunk has one time. */
export function cutIntoChunks({ events, recordedAt, times }: EventsToCut): TimedEvents[] {
  const groups: TimedEvents[] = [];
  let group: CommitEvent[] = [];
  let time = times?.[0] ?? recordedAt;
  let bytes = 0;
  for (let i = 0; i < events.length; i++) {
    const event = events[i] as CommitEvent;
    const next = times?.[i] ?? recordedAt;
    const { length } = event.frame;
    const target = length <= shortFrameBytes ? chunkBytesTarget : chunkBytesTargetMin;
    const isOver = bytes + length > target;
    if (group.length > 0 && (isOver || next !== time)) {
      groups.push({ events: group, recordedAt: time });
      group = [];
      bytes = 0;
    }
    group.push(event);
    time = next;
    bytes += length;
  }
  if (group.length > 0) groups.push({ events: group, recordedAt: time });
  return groups;
}

/**
 * Whether two consecutive chunks may be of one commit. A commit cuts where its next event has
 * another time, where it may be parted, or would not have fitted the chunk. Of rewritten chunks
 * that is not known any more.
 */
export function mayShareCommit(chunk: Chunk, next: Chunk): boolean {
  if (chunk.recordedAt !== next.recordedAt) return false;
  if (chunk.reclaimed !== undefined || next.reclaimed !== undefined) return true;
  const reader = new WireReader(next.records);
  reader.varint();
  const end = reader.lengthEnd();
  // Chunks of several events were no longer than 8 KiB before short ones got 16.
  const isLong = chunk.count > 1 && chunk.records.length > chunkBytesTargetMin;
  const target = isLong && end <= shortFrameBytes ? chunkBytesTarget : chunkBytesTargetMin;
  return chunk.records.length + end > target;
}

/** The key of a chunk's value, by its header. Throws CORRUPTION, also if it is not its value. */
export function openReceived(value: Uint8Array): Chunk {
  if (value.length < headerBytes) throw corruption("a chunk is cut off");
  const last = readUint64(value, 8) + readUint32(value, 16) - 1;
  if (!Number.isSafeInteger(last) || last < 1) throw corruption("a chunk has no positions");
  return openChunk(chunkKey(last), value);
}

/** Composes a chunk of at least one event. */
export function composeChunk(
  events: readonly CommitEvent[],
  recordedAt: number,
  previousHash: Uint8Array,
): Chunk {
  let recordsBytes = 0;
  let system = false;
  let chosen = 0;
  for (const event of events) {
    recordsBytes += event.frame.length;
    system ||= isSystemName(event.type);
    if (event.idFromClient) chosen++;
  }
  const mixed = chosen > 0 && chosen < events.length;
  const recordsStart = headerBytes + (mixed ? Math.ceil(events.length / 8) : 0);
  const first = (events[0] as CommitEvent).position;
  const last = first + events.length - 1;
  const value = Buffer.allocUnsafe(recordsStart + recordsBytes);
  value.fill(0, 0, 8);
  value[4] = originalVersion;
  value[5] = (system ? flagSystem : 0) | (mixed ? idsMixed : chosen > 0 ? idsChosen : 0);
  writeUint64(value, 8, first);
  writeUint32(value, 16, events.length);
  writeUint64(value, 20, recordedAt);
  value.set(previousHash, 28);
  if (mixed) value.set(chosenBits(events), headerBytes);
  let offset = recordsStart;
  for (const event of events) {
    value.set(event.frame, offset);
    offset += event.frame.length;
  }
  writeUint32(value, 0, checksum(chunkKey(last), value.subarray(4)));
  return {
    first,
    last,
    count: events.length,
    recordedAt,
    holdsSystemEvents: system,
    idsFromClient: mixed ? value.subarray(headerBytes, recordsStart) : chosen > 0,
    reclaimed: undefined,
    value,
    records: value.subarray(recordsStart),
  };
}

/**
 * The chunk with other frames: removed records in place of some of its events. The rest of the
 * header stays as it was.
 */
export function withFrames(
  chunk: Chunk,
  frames: readonly Uint8Array[],
  { recordedIn, originalHash, isEmptied }: Reclaimed,
): Chunk {
  const { value, last, idsFromClient } = chunk;
  const bits = typeof idsFromClient === "boolean" ? [] : [idsFromClient];
  const tail = Buffer.concat([...bits, ...frames]);
  const rewritten = Buffer.allocUnsafe(headerBytes + reclaimedBytes + tail.length);
  rewritten.set(value.subarray(0, headerBytes));
  rewritten[4] = reclaimedVersion;
  if (isEmptied) rewritten[5] = (rewritten[5] as number) | flagEmptied;
  writeUint64(rewritten, headerBytes, recordedIn);
  rewritten.set(originalHash, headerBytes + 8);
  rewritten.set(tail, headerBytes + reclaimedBytes);
  writeUint32(rewritten, 0, checksum(chunkKey(last), rewritten.subarray(4)));
  return openHeader(rewritten, last);
}

/** Whether a chunk's value is not its original value. */
function isRewritten(value: Uint8Array): boolean {
  return value[4] === reclaimedVersion;
}

function chosenBits(events: readonly CommitEvent[]): Uint8Array {
  const bits = new Uint8Array(Math.ceil(events.length / 8));
  events.forEach((event, i) => {
    if (event.idFromClient) bits[i >> 3] = (bits[i >> 3] as number) | (1 << (i & 7));
  });
  return bits;
}

/** Whether a client chose the id of the event at `ordinal` of the chunk. */
export function isIdFromClient({ idsFromClient }: Chunk, ordinal: number): boolean {
  if (typeof idsFromClient === "boolean") return idsFromClient;
  return (((idsFromClient[ordinal >> 3] as number) >> (ordinal & 7)) & 1) === 1;
}

/** Checks a stored value against its key and decodes its header. Throws CORRUPTION. */
export function openChunk(key: Uint8Array, value: Uint8Array): Chunk {
  const last = lastPositionIn(key);
  if (value.length < headerBytes) throw corruption("a chunk is cut off", { first: last });
  if (readUint32(value, 0) !== checksum(key, value.subarray(4))) {
    throw corruption(`the chunk that ends at position ${last} fails its CRC`, { first: last });
  }
  const isWhole = value.length >= headerBytes + reclaimedBytes;
  if (value[4] !== originalVersion && !(isRewritten(value) && isWhole)) {
    throw corruption(`the chunk that ends at position ${last} has an unknown format version`, {
      first: last,
    });
  }
  const chunk = openHeader(value, last);
  if (chunk.count < 1 || chunk.first + chunk.count - 1 !== last) {
    throw corruption(`the chunk that ends at position ${last} disagrees with its key`, {
      first: last,
    });
  }
  return chunk;
}

function openHeader(value: Uint8Array, last: number): Chunk {
  const flags = value[5] as number;
  const count = readUint32(value, 16);
  const mixed = (flags & idsMixed) !== 0;
  const reclaimed = isRewritten(value) ? openReclaimed(value) : undefined;
  const bitsStart = headerBytes + (reclaimed ? reclaimedBytes : 0);
  const recordsStart = bitsStart + (mixed ? Math.ceil(count / 8) : 0);
  return {
    first: readUint64(value, 8),
    last,
    count,
    recordedAt: readUint64(value, 20),
    holdsSystemEvents: (flags & flagSystem) !== 0,
    idsFromClient: mixed ? value.subarray(bitsStart, recordsStart) : (flags & idsChosen) !== 0,
    reclaimed,
    value,
    records: value.subarray(recordsStart),
  };
}

function openReclaimed(value: Uint8Array): Reclaimed {
  const hashStart = headerBytes + 8;
  return {
    recordedIn: readUint64(value, headerBytes),
    originalHash: value.subarray(hashStart, hashStart + hashBytes),
    isEmptied: ((value[5] as number) & flagEmptied) !== 0,
  };
}

/** The hash of the original value: what the next chunk contains. */
export function hashOf(chunk: Chunk): Uint8Array {
  return chunk.reclaimed?.originalHash ?? hash("sha256", chunk.value, "buffer");
}

/** The hash of the present value. */
export function presentHashOf(chunk: Chunk): Uint8Array {
  return hash("sha256", chunk.value, "buffer");
}

/** The hash of the previous chunk, as this chunk contains it. */
export function previousHashOf(chunk: Chunk): Uint8Array {
  return chunk.value.subarray(28, 28 + hashBytes);
}

/**
 * The offset in `records` of each frame, and at the end the length of them all. Throws CORRUPTION
 * if the framing is not valid.
 */
export function frameOffsets(chunk: Chunk): Uint32Array {
  const offsets = new Uint32Array(chunk.count + 1);
  const reader = new WireReader(chunk.records);
  for (let i = 0; i < chunk.count; i++) {
    offsets[i] = reader.offset;
    if (reader.varint() !== 0x0a) throw framingFault(chunk);
    reader.offset = reader.lengthEnd();
  }
  if (!reader.done) throw framingFault(chunk);
  offsets[chunk.count] = reader.offset;
  return offsets;
}

function framingFault(chunk: Chunk): Error {
  return corruption(`the chunk of positions ${chunk.first} to ${chunk.last} is not well framed`, {
    first: chunk.first,
    last: chunk.last,
  });
}

/** The record in a frame, without the frame's tag and length. */
export function recordOf(frame: Uint8Array): Uint8Array {
  let offset = 1;
  while ((frame[offset] as number) >= 0x80) offset++;
  return frame.subarray(offset + 1);
}

// A posting lists the events of one chunk that have a term. The value under a posting's key:
//
//   varint  before: how many events had the term before this chunk
//   varint  count of events in the chunk
//   varint  count of runs
//   varint  skip, varint take, per run: skip `skip` events, the next `take` events have the term
//   -       then parts, each behind a byte that begins no frame, in this order:
//           1: varint, the position of the chunk's first event minus the last position of the chunk
//           of the term's posting before. Absent in a term's first posting, and in format version 1
//           2: a varint per event, the number of its stream's term. Only of few events in a large
//           chunk that all have a stream, not of a stream, and not in format version 1
//           0: varint, how many of the events, from the first on, are removed records. A term that
//           is no stream says so only where all of them are, and not in any case
//   -       if the term is a stream and the last part is absent: the framed records of these
//           events, unless they are long
//   4       CRC-32 of the key and of everything before
//
// The first part leads from a term's last posting, whose place is known in memory, to the ones
// before: a few postings are found by their keys. The second leads from a tag to the records beside
// the stream, which are a few hundred bytes instead of a chunk. Neither is trusted: what is found
// has to continue the list, and to be the record of its position.
//
// `before` makes the postings of a term a dense list, so that a lost posting is detected as a gap.
// For a stream, it gives the versions. The count of the chunk gives positions without reading the
// chunk. The records keep the events of a stream together on disk: loading an aggregate, the most
// frequent read in event sourcing, is one range instead of one chunk for each event.

import { corruption } from "../../../domain/errors.ts";
import { varintBytes, WireReader, writeVarint } from "../../../domain/wire.ts";
import {
  readUint64,
  writeUint32,
  type TermNumber,
  checksum,
  checksumBytes,
  unseal,
} from "./keys.ts";

export interface Posting {
  /** First and last position of the chunk. */
  readonly chunkFirst: number;
  readonly chunkLast: number;
  /** How many events had the term before this chunk. */
  readonly before: number;
  /**
   * The events of the chunk that have the term, as offsets from its first event. Ascending, at
   * least one.
   */
  readonly ordinals: readonly number[];
  /** The last position of the chunk of the term's posting before. 0: there is none, or not said. */
  readonly previous: number;
  /** The terms of the events' streams. Empty: not said. */
  readonly streams: readonly TermNumber[];
  /** The framed records of these events, in order. Empty if only the chunk has them. */
  readonly records: Uint8Array;
  /** How many of the events, from the first on, are removed records. If any, `records` is empty. */
  readonly removedRecords: number;
}

/** What a posting is composed of, besides records. */
type PostingParts = Pick<Posting, "before" | "ordinals" | "removedRecords"> &
  Partial<Pick<Posting, "previous" | "streams">>;

const partPrevious = 1;
const partStreams = 2;
const partRemoved = 0;

/** Records of a stream that are longer than this are stored in the chunk only. */
export const postingRecordsBytesMax = 16 * 1024;

/**
 * The value to store under `key` for a posting of a chunk, with the framed records if the posting
 * keeps them.
 */
export function composePosting(
  key: Uint8Array,
  { first: chunkFirst, count }: { readonly first: number; readonly count: number },
  { before, ordinals, previous = 0, streams = [], removedRecords }: PostingParts,
  frames: readonly Uint8Array[] = [],
): Uint8Array {
  const numbers = [before, count, 0];
  let next = 0;
  for (let i = 0; i < ordinals.length;) {
    const first = ordinals[i] as number;
    let take = 1;
    while (ordinals[i + take] === first + take) take++;
    numbers.push(first - next, take);
    next = first + take;
    i += take;
  }
  numbers[2] = (numbers.length - 3) / 2;
  if (previous > 0) numbers.push(partPrevious, chunkFirst - previous);
  if (streams.length > 0) numbers.push(partStreams, ...streams);
  if (removedRecords > 0) numbers.push(partRemoved, removedRecords);
  let bytes = 0;
  for (const number of numbers) bytes += varintBytes(number);
  for (const frame of frames) bytes += frame.length;
  const value = Buffer.allocUnsafe(bytes + checksumBytes);
  let offset = 0;
  for (const number of numbers) offset = writeVarint(value, offset, number);
  for (const frame of frames) {
    value.set(frame, offset);
    offset += frame.length;
  }
  writeUint32(value, offset, checksum(key, value.subarray(0, offset)));
  return value;
}

/** Decodes a stored posting. Throws CORRUPTION. */
export function openPosting(key: Uint8Array, value: Uint8Array): Posting {
  const chunkLast = readUint64(key, 9);
  const body = unseal(key, value);
  if (!body) throw corruption("an index entry fails its CRC", { first: chunkLast });
  const reader = new WireReader(body);
  const before = reader.varint();
  const count = reader.varint();
  const runs = reader.varint();
  const ordinals: number[] = [];
  let next = 0;
  for (let run = 0; run < runs; run++) {
    next += reader.varint();
    const end = next + reader.varint();
    while (next < end) ordinals.push(next++);
  }
  const chunkFirst = chunkLast - count + 1;
  const isNext = (part: number): boolean => {
    if (body[reader.offset] !== part) return false;
    reader.offset++;
    return true;
  };
  const previous = isNext(partPrevious) ? chunkFirst - reader.varint() : 0;
  const streams = isNext(partStreams) ? ordinals.map(() => reader.varint()) : noStreams;
  const removedRecords = isNext(partRemoved) ? reader.varint() : 0;
  const records = body.subarray(reader.offset);
  return {
    chunkFirst,
    chunkLast,
    before,
    ordinals,
    previous,
    streams,
    records,
    removedRecords,
  };
}

const noStreams: readonly TermNumber[] = [];

/** The last position of the posting's events. */
export function lastPosition(posting: Posting): number {
  return posting.chunkFirst + (posting.ordinals[posting.ordinals.length - 1] as number);
}

/** Splits framed records into frames. The frames are views. */
export function framesIn(records: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const reader = new WireReader(records);
  while (!reader.done) {
    const start = reader.offset;
    reader.offset++;
    reader.offset = reader.lengthEnd();
    frames.push(records.subarray(start, reader.offset));
  }
  return frames;
}

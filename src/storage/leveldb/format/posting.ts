// A posting lists the events of one chunk that have a term. The value under a posting's key,
// version 1:
//
//   varint  before: how many events had the term before this chunk
//   varint  count of events in the chunk
//   varint  count of runs
//   varint  skip, varint take, per run: skip `skip` events, the next `take` events have the term
//   -       if the term is a stream: the framed records of these events, unless they are long;
//   -       if the first of the events are removed records: a zero (which begins no frame), then a
//           varint with their number, and no records. A term that is no stream says so only where
//           all of them are, and not in any case
//   4       CRC-32 of the key and of everything before
//
// `before` makes the postings of a term a dense list, so that a lost posting is detected as a gap.
// For a stream, it gives the versions. The count of the chunk gives positions without reading the
// chunk. The records keep the events of a stream together on disk: loading an aggregate, the most
// frequent read in event sourcing, is one range instead of one chunk for each event.

import { corruption } from "../../../domain/errors.ts";
import { varintBytes, WireReader, writeVarint } from "../../../domain/wire.ts";
import { checksum, checksumBytes, unseal } from "./checksum.ts";
import { readUint64, writeUint32 } from "./keys.ts";

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
  /** The framed records of these events, in order. Empty if only the chunk has them. */
  readonly records: Uint8Array;
  /** How many of the events, from the first on, are removed records. If any, `records` is empty. */
  readonly removedRecords: number;
}

/** Records of a stream that are longer than this are stored in the chunk only. */
export const postingRecordsBytesMax = 16 * 1024;

/**
 * The value to store under `key` for a posting of a chunk of `count` events, with the framed
 * records if the posting keeps them.
 */
export function composePosting(
  key: Uint8Array,
  count: number,
  { before, ordinals, removedRecords }: Pick<Posting, "before" | "ordinals" | "removedRecords">,
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
  if (removedRecords > 0) numbers.push(0, removedRecords);
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
  if (body[reader.offset] === 0) {
    reader.offset++;
    const removedRecords = reader.varint();
    const records = body.subarray(reader.offset);
    return { chunkFirst, chunkLast, before, ordinals, records, removedRecords };
  }
  const records = body.subarray(reader.offset);
  return { chunkFirst, chunkLast, before, ordinals, records, removedRecords: 0 };
}

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

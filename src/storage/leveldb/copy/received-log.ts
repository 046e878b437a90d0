// What a copy checks before it keeps anything: that each chunk that comes continues its log, and
// that each rewritten chunk is what the removal that comes with it says.

import { AnnalsError } from "../../../domain/errors.ts";
import type { CommitEvent } from "../../../domain/event.ts";
import { scanRecord } from "../../../domain/record.ts";
import { CopyRefused } from "../../copy.ts";
import {
  frameOffsets,
  hashOf,
  isIdFromClient,
  openReceived,
  presentHashOf,
  previousHashOf,
  recordOf,
  type Chunk,
} from "../format/chunk.ts";
import { removalsIn, type FoundRemoval } from "./log-parts.ts";

export interface ChainEnd {
  readonly position: number;
  readonly hash: Uint8Array;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
}

export interface ReceivedPart {
  readonly chunks: readonly Chunk[];
  readonly rewritten: readonly Chunk[];
  readonly removals: readonly FoundRemoval[];
  /** Of the last chunk. */
  readonly end: ChainEnd;
}

interface SentPart {
  readonly chunks: readonly Uint8Array[];
  readonly rewritten: readonly Uint8Array[];
}

/** Throws CopyRefused. */
export function receivedPart(sent: SentPart, before: ChainEnd): ReceivedPart {
  const chunks: Chunk[] = [];
  let end = before;
  for (const value of sent.chunks) {
    const chunk = opened(value);
    const what = continuationFault(chunk, end);
    if (what !== undefined) throw new CopyRefused(what);
    chunks.push(chunk);
    end = { position: chunk.last, hash: hashOf(chunk), recordedAt: chunk.recordedAt };
  }
  const removals = chunks.flatMap(removalsOf);
  const rewritten = sent.rewritten.map((value) => {
    const chunk = opened(value);
    requireRecorded(chunk, removals);
    return chunk;
  });
  return { chunks, rewritten, removals, end };
}

function continuationFault(chunk: Chunk, end: ChainEnd): string | undefined {
  if (chunk.first !== end.position + 1) {
    const { first, last } = chunk;
    return `after position ${end.position} comes a chunk of positions ${first} to ${last}`;
  }
  if (Buffer.compare(previousHashOf(chunk), end.hash) !== 0) {
    return `the hash chain breaks at position ${chunk.first}`;
  }
  return chunk.recordedAt < end.recordedAt
    ? `time runs backwards at position ${chunk.first}`
    : undefined;
}

function requireRecorded(chunk: Chunk, removals: readonly FoundRemoval[]): void {
  const { reclaimed, first, last } = chunk;
  const removal = removals.find(({ position }) => position === reclaimed?.recordedIn);
  const expected = removal?.chunks.get(last);
  if (expected && Buffer.compare(expected, presentHashOf(chunk)) === 0) return;
  throw new CopyRefused(`no removal rewrote positions ${first} to ${last} to what came for them`);
}

function opened(value: Uint8Array): Chunk {
  return orRefused(() => openReceived(value));
}

function removalsOf(chunk: Chunk): FoundRemoval[] {
  return orRefused(() => removalsIn(chunk));
}

export function eventsOf(chunk: Chunk): CommitEvent[] {
  const offsets = frameOffsets(chunk);
  return Array.from({ length: chunk.count }, (_, ordinal) => {
    const frame = chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]);
    const placed = scanRecord(recordOf(frame));
    return { ...placed, frame, idFromClient: isIdFromClient(chunk, ordinal) };
  });
}

export function orRefused<T>(look: () => T): T {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof AnnalsError || error instanceof RangeError)) throw error;
    throw new CopyRefused(`what came is corrupted: ${error.message}`, { cause: error });
  }
}

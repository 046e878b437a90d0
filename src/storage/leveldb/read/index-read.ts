// A read that follows postings: the chunks that hold candidates are fetched in pages, and each
// candidate's record decides. A stream's versions are checked to be dense on the way.

import { corruption } from "../../../domain/errors.ts";
import type { PlacedEvent } from "../../../domain/event.ts";
import { selects } from "../../../domain/query.ts";
import { scanRecord } from "../../../domain/record.ts";
import type { Batch, StorageRead } from "../../storage.ts";
import { frameOffsets, recordOf, type Chunk } from "../format/chunk.ts";
import { chunkHolding, chunksEndingAt } from "./chunks.ts";
import type { OpenStore } from "../state/open-store.ts";
import { chunkOfVersion, MergedPostings } from "./postings.ts";
import type { Candidates, PostingRange } from "./postings.ts";
import type { Visibility } from "./visibility.ts";
import { BatchBuilder } from "./batch-builder.ts";
import type { TermHead } from "../state/term-table.ts";

const chunksPerPageFirst = 12;
const chunksPerPageMax = 64;
const pageBytesTarget = 512 * 1024;

export interface IndexRead extends StorageRead {
  /** System events too, where the selection does not name them. */
  readonly withSystemEvents?: boolean;
}

export async function* indexRead(
  store: OpenStore,
  read: IndexRead,
  terms: readonly TermHead[],
  head: number,
  visibility: Visibility,
): AsyncGenerator<Batch> {
  const range = await postingRange(store, read, terms, head);
  if (!range) return;
  const batch = new BatchBuilder(read.batchBytes, read.batchEvents);
  let through = 0;
  let told = 0;
  const pages = new CandidatePages(store, read, new MergedPostings(store.kv, terms, range));
  for (let page = await pages.next(); page; page = await pages.next()) {
    for (const { candidates, chunk } of page) {
      for (const part of candidateFrames(read, candidates, chunk)) {
        if (!batch.fits(part.frame.length, 1)) yield batch.take((told = through));
        // Delay the slab was taken: that may have been long ago.
        const hidden = visibility.hides(part.event, part.record);
        if (hidden === true || (hidden !== false && (await hidden))) {
          const removedRecord = visibility.removedRecordOf(part.frame, part.event.stream);
          if (removedRecord === undefined) continue;
          batch.add(removedRecord, 1);
        } else {
          visibility.assertWhole(chunk, part.event, part.record);
          batch.add(part.frame, 1);
        }
        through = part.event.position;
      }
      through = reached(read, candidates);
      if (batch.full) yield batch.take((told = through));
    }
    // A page without a match is still progress.
    if (batch.count === 0 && told !== through) yield batch.take((told = through));
  }
  const end = read.direction === "forwards" ? read.positions.last : read.positions.first;
  if (batch.count > 0) yield batch.take(end);
}

/** The postings a read needs: narrowed by its positions and, for a stream, by its versions. */
async function postingRange(
  store: OpenStore,
  read: StorageRead,
  terms: readonly TermHead[],
  head: number,
): Promise<PostingRange | undefined> {
  const { first, last } = read.positions;
  const reverse = read.direction === "backwards";
  let firstChunk = first;
  let lastChunk = head;
  if (last < head) lastChunk = (await chunkHolding(store, last, head)).last;
  const [stream] = terms;
  if (read.versions && stream && stream.count > 0) {
    const lowest = Math.max(1, read.versions.first);
    const highest = Math.min(read.versions.last, stream.count);
    if (lowest > highest) return undefined;
    if (!reverse && lowest > 1) {
      firstChunk = Math.max(firstChunk, await chunkOfVersion(store.kv, stream, lowest));
    }
    if (reverse && highest < stream.count) {
      lastChunk = Math.min(lastChunk, await chunkOfVersion(store.kv, stream, highest));
    }
  }
  return { firstChunk, lastChunk, reverse };
}

interface Candidate {
  readonly candidates: Candidates;
  /** Absent where the candidates bring their records along. */
  readonly chunk: Chunk | undefined;
}

/** Candidates with their chunks, in pages that stay near half a megabyte. */
class CandidatePages {
  private readonly store: OpenStore;
  private readonly read: StorageRead;
  private readonly postings: MergedPostings;
  private pageCount = chunksPerPageFirst;
  private ended = false;

  constructor(store: OpenStore, read: StorageRead, postings: MergedPostings) {
    this.store = store;
    this.read = read;
    this.postings = postings;
  }

  async next(): Promise<readonly Candidate[] | undefined> {
    if (this.ended) return undefined;
    const taken = await this.postings.take(this.pageCount);
    const behind = taken.findIndex((each) => isBehind(this.read, each));
    this.ended = behind >= 0 || taken.length < this.pageCount;
    const within = behind >= 0 ? taken.slice(0, behind) : taken;
    if (within.length === 0) return undefined;
    const page = await withChunks(this.store, within);
    this.pageCount = nextPageCount(page, this.pageCount);
    return page;
  }
}

/** Whether everything from here on lies beyond the read's end. */
function isBehind(read: StorageRead, candidates: Candidates): boolean {
  const { posting } = candidates;
  const { first, last } = read.positions;
  if (read.direction === "forwards") {
    return candidates.chunkFirst > last || posting.before >= (read.versions?.last ?? Infinity);
  }
  const newest = posting.before + posting.ordinals.length;
  return candidates.chunkLast < first || newest < (read.versions?.first ?? 0);
}

async function withChunks(
  store: OpenStore,
  candidates: readonly Candidates[],
): Promise<Candidate[]> {
  const lasts = candidates.filter((each) => !each.frames).map((each) => each.chunkLast);
  const chunks = lasts.length > 0 ? await chunksEndingAt(store, lasts) : [];
  let next = 0;
  return candidates.map((each) => ({
    candidates: each,
    chunk: each.frames ? undefined : chunks[next++],
  }));
}

function nextPageCount(page: readonly Candidate[], pageCount: number): number {
  let bytes = 0;
  for (const { candidates, chunk } of page) {
    bytes += (chunk?.value ?? candidates.posting.records).length;
  }
  const fitting = Math.floor((pageBytesTarget * page.length) / Math.max(bytes, 1));
  return Math.max(1, Math.min(pageCount * 2, fitting, chunksPerPageMax));
}

interface Found {
  readonly frame: Uint8Array;
  readonly record: Uint8Array;
  readonly event: PlacedEvent;
}

/** The candidates of a chunk that the read selects, in its order. */
function* candidateFrames(
  read: IndexRead,
  candidates: Candidates,
  chunk: Chunk | undefined,
): Generator<Found> {
  const { first, last } = read.positions;
  const { ordinals } = candidates;
  const frames = candidates.frames ?? framesFrom(chunk as Chunk, candidates);
  const forwards = read.direction === "forwards";
  for (let i = 0; i < ordinals.length; i++) {
    const at = forwards ? i : ordinals.length - 1 - i;
    const position = candidates.chunkFirst + (ordinals[at] as number);
    if (position < first || position > last) continue;
    const frame = frames[at] as Uint8Array;
    const record = recordOf(frame);
    const event = scanRecord(record);
    if (event.position !== position) {
      throw corruption("a record disagrees with its place", { first: position });
    }
    if (read.selection.kind === "stream") {
      const version = candidates.posting.before + at + 1;
      if (event.stream !== read.selection.stream || event.version !== version) {
        throw corruption("the index of a stream disagrees with the log", {
          first: position,
          stream: read.selection.stream,
        });
      }
      const { versions } = read;
      if (versions && (version < versions.first || version > versions.last)) continue;
    }
    if (read.withSystemEvents === true || selects(read.selection, event)) {
      yield { frame, record, event };
    }
  }
}

/** The candidates' frames out of their chunk. Throws CORRUPTION where the two disagree. */
function framesFrom(chunk: Chunk, { chunkFirst, ordinals }: Candidates): Uint8Array[] {
  if (chunk.first !== chunkFirst || (ordinals.at(-1) as number) >= chunk.count) {
    throw corruption("an index entry disagrees with its chunk", { first: chunk.first });
  }
  const offsets = frameOffsets(chunk);
  return ordinals.map((ordinal) => chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]));
}

function reached(read: StorageRead, candidates: Candidates): number {
  return read.direction === "forwards"
    ? Math.min(candidates.chunkLast, read.positions.last)
    : Math.max(candidates.chunkFirst, read.positions.first);
}
